"""The challengers of a training that pass are fitted again on all labelled days, checked, and registered."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.definitions import declared_from
from factory_assets.identity.nodes import lineage
from factory_assets.identity.versions import contract_hash, model_version
from factory_assets.measures.compared import metric_of
from factory_assets.release.shipped import CHECKED, checked
from factory_assets.training.dataset import RefitRows, past_stretches
from factory_assets.training.fit.fitting import Failed, Fitted, NotTrained
from factory_assets.training.fit.pool import Done, Job, Task, train_nodes
from factory_assets.training.made import Made, made_before
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.ledger import JUDGED, Ledger, VersionRecord

#: A refit, or why there is none.
Result = VersionRecord | NotTrained | Failed


@dataclass(frozen=True)
class Refits:
    """The refits of one training. judged: node -> the version that passed. unsafe: why a version may not be served, or None.

    span: of the training itself. tables: the versions that the rows were read from. answered: node -> its champion before the day.
    """

    declared: DeclaredLine
    span: Timeline
    judged: Mapping[str, VersionRecord]
    rows: RefitRows
    tables: dict[str, int]
    answered: Mapping[str, str]
    ledger: Ledger
    archive: ArchiveFolder
    unsafe: Callable[[str], str | None]
    run_id: str
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def made(self) -> Iterator[tuple[str, Result]]:
        """Node -> its refit or why there is none, as soon as it is there; first of those that were made from the same before."""
        job, tasks = self._job(), {node: self._task(node) for node in self.judged}
        there = [
            each
            for each in self.ledger.versions(self.declared.line.name, as_of=self.span.as_of, refits=True)
            if each.judged is not None
        ]

        def made_now(node: str) -> Made:
            return job.made(tasks[node], self.rows.of(node))

        before = made_before(there, self.archive, made_now, tasks)
        yield from before.items()
        for done in train_nodes(job, self.rows, (task for node, task in tasks.items() if node not in before)):
            yield done.outcome.node, self._result(done)

    def _job(self) -> Job:
        span = self.span.refit
        past = past_stretches(self.declared, span)
        return Job(self.declared, metric_of(self.declared), span, past, self.archive.root)

    def _task(self, node: str) -> Task:
        record = self.judged[node]
        recorded = record.configuration
        line = declared_from(recorded["definitions"], recorded["recipe"]).line
        answered = {above: self.answered[above] for above in lineage(node) if above in self.answered}
        warm = recorded.get("warm_from")
        continued = {record.candidate: self.ledger.version(record.line, warm["version"])} if warm else {}
        return Task(node, line, answered, continued, record)

    def _result(self, done: Done) -> Result:
        fitted, released, made, found = done
        if not isinstance(fitted, Fitted):
            return fitted
        assert released and made and found
        judged, span = self.judged[fitted.node], self.span
        shares = map(float, fitted.model.importances())
        configuration = judged.configuration | made.configuration() | {JUDGED: judged.version}
        for name, value in {
            "start": fitted.start, "warm_from": fitted.warm.record() if fitted.warm else None, "rounds": fitted.rounds,
        }.items():  # fmt: skip
            configuration.pop(name, None)
            configuration |= {name: value} if value else {}
        return replace(
            judged,
            version=released.version,
            configuration=configuration | {CHECKED: checked(found, self.unsafe(released.version))},
            as_of=span.as_of,
            train_from=span.train_from,
            train_to=span.refit.train_to,
            holdout_from=span.holdout_from,
            holdout_to=span.holdout_to,
            rows=fitted.rows,
            positives=fitted.positives,
            tables=self.tables,
            metrics=released.metrics,
            importances=dict(zip(fitted.encoding.features, shares, strict=True)),
            charts=released.charts,
            owner=self.declared.line.owner,
            archive_uri=self.archive.uri(judged.line, released.version),
            run_id=self.run_id,
            started_at=self.started,
            ended_at=dt.datetime.now(dt.UTC),
        )


def unfit_for_it(declared: DeclaredLine, record: VersionRecord) -> str:
    """Why a version cannot be fitted again as it was made; empty where it can."""
    recorded = record.configuration
    if not recorded.get("definitions"):
        return "it was recorded before records held what a model is made from"
    if (recorded.get("id"), recorded.get("contract")) != (model_version(declared), contract_hash(declared)):
        return "it was made from other declarations, or under another contract, than those of now"
    return ""
