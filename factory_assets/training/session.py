"""What does one training run hand to each node, and what does the ledger keep of the outcome?"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.nodes import depth_of, lineage, tree
from factory_assets.identity.versions import contract_hash, model_version
from factory_assets.measures.compared import metric_of
from factory_assets.training.archiving import Release
from factory_assets.training.dataset import TrainingRows, past_stretches
from factory_assets.training.fit.fitting import Failed, Fitted, NotTrained
from factory_assets.training.fit.pool import Done, Job, Task, train_nodes
from factory_assets.training.fit.warm import Continued, may_continue
from factory_assets.training.made import Made, made_before
from factory_assets.training.search.tuned import Tuned
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord

#: A node's version in the ledger, or why there is none.
Result = VersionRecord | NotTrained | Failed


@dataclass(frozen=True)
class Stores:
    """Where a training reads what came before it, and keeps what comes of it."""

    lake: Lake
    archive: ArchiveFolder
    ledger: Ledger


@dataclass(frozen=True)
class Session:
    """One training of a line.

    tables: the versions that the rows were read from. answered: node -> its champion before the day. continued: node -> what its
    candidates may continue.
    """

    declared: DeclaredLine
    span: Timeline
    rows: TrainingRows
    tables: dict[str, int]
    tuned: Tuned
    answered: Mapping[str, str]
    continued: Mapping[str, Continued]
    archive: ArchiveFolder
    run_id: str
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @cached_property
    def job(self) -> Job:
        past = past_stretches(self.declared, self.span)
        return Job(self.declared, metric_of(self.declared), self.span, past, self.archive.root)

    @cached_property
    def contests(self) -> list[int]:
        """How many nodes have enough rows for a model of their own, by level from the root down, whichever of them this run trains."""
        train, least = self.rows.train, self.declared.line.segments.min_rows
        by_level = Counter(depth_of(node) for node in tree(train.leaves) if train.count(node) >= least)
        return [by_level[level] for level in range(max(by_level, default=-1) + 1)]

    def task(self, node: str) -> Task:
        answered = {above: self.answered[above] for above in lineage(node) if above in self.answered}
        return Task(node, self.tuned.of(node), answered, self.continued.get(node, {}))

    def made_before(self, ledger: Ledger, nodes: Iterable[str]) -> dict[str, VersionRecord]:
        """Node -> its version, of those that were made from the same on this day before."""

        def made_now(node: str) -> Made:
            return self.job.made(self.task(node), self.rows.of(node))

        versions = ledger.versions(self.declared.line.name, as_of=self.span.as_of)
        return made_before(versions, self.archive, made_now, nodes)

    def train(self, nodes: Sequence[str]) -> Iterator[tuple[Done, Result]]:
        """Each node's outcome as soon as it is there, with what the ledger keeps of it."""
        for done in train_nodes(self.job, self.rows, map(self.task, nodes)):
            outcome, released, made, _ = done
            if isinstance(outcome, Fitted) and released and made:
                yield done, self._record(outcome, released, made)
            else:
                assert not isinstance(outcome, Fitted)
                yield done, outcome

    def _record(self, fitted: Fitted, released: Release, made: Made) -> VersionRecord:
        line, span = self.declared.line, self.span
        search = self.tuned.source(fitted.node, fitted.candidate)
        importances = dict(zip(fitted.encoding.features, map(float, fitted.model.importances()), strict=True))
        return VersionRecord(
            version=released.version,
            line=line.name,
            node=fitted.node,
            task=line.task,
            estimator=fitted.estimator,
            candidate=fitted.candidate,
            configuration={
                "id": model_version(self.declared),
                "contract": contract_hash(self.declared),
                "params": dict(fitted.params),
                "features": self.declared.features,
                "seed": line.seed,
                "past_from": str(self.job.past.from_day),
                "contests": self.contests,
                "choice": fitted.choice,
                **({"start": fitted.start} if fitted.start else {}),
                **({"warm_from": fitted.warm.record()} if fitted.warm else {}),
                **({"options": fitted.options} if fitted.options else {}),
                **({"rounds": fitted.rounds} if fitted.rounds else {}),
                **({"search": search.record()} if search else {}),
                **made.configuration(),
            },
            as_of=span.as_of,
            train_from=span.train_from,
            train_to=span.train_to,
            holdout_from=span.holdout_from,
            holdout_to=span.holdout_to,
            rows=fitted.rows,
            positives=fitted.positives,
            tables=self.tables,
            validation=fitted.validation,
            metrics=released.metrics,
            importances=importances,
            charts=released.charts,
            owner=line.owner,
            archive_uri=self.archive.uri(line.name, released.version),
            run_id=self.run_id,
            started_at=self.started,
            ended_at=dt.datetime.now(dt.UTC),
        )


def session_of(
    declared: DeclaredLine,
    span: Timeline,
    read: tuple[TrainingRows, dict[str, int]],
    tuned: Tuned,
    learning: Iterable[str],
    stores: Stores,
    run_id: str,
) -> Session:
    """The training of these nodes, by what the ledger has of the days before. read: its rows, and the table versions they are of."""
    line, lake, archive, ledger = declared.line.name, stores.lake, stores.archive, stores.ledger
    continued = may_continue(declared, span, ((node, tuned.of(node)) for node in learning), lake, archive, ledger)
    answered = {node: str(by.champion) for node, by in ledger.champions(line, before=span.as_of).items()}
    return Session(declared, span, *read, tuned, answered, continued, archive, run_id)
