"""The challengers of a training that pass are fitted again on all labelled days, and checked."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.definitions import declared_from
from factory_assets.identity.nodes import lineage
from factory_assets.identity.versions import contract_hash, model_version
from factory_assets.measures.compared import metric_of
from factory_assets.release.rulings import winners
from factory_assets.release.shipped import CHECKED, checked
from factory_assets.training.dataset import RefitRows, learnt_rows, past_stretches
from factory_assets.training.fit.fitting import Failed, Fitted, NotTrained
from factory_assets.training.fit.pool import Done, Job, Task, train_nodes
from factory_assets.training.made import Made, made_before
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import JUDGED, Ledger, VersionRecord

#: A refit, or why there is none.
Result = VersionRecord | NotTrained | Failed


@dataclass(frozen=True)
class Stores:
    """What refits are made from, and go to. unsafe: why a version of the archive may not be served, None where nothing is found."""

    con: duckdb.DuckDBPyConnection
    lake: Lake
    ledger: Ledger
    archive: ArchiveFolder
    unsafe: Callable[[str], str | None]


def passing(
    declared: DeclaredLine, ledger: Ledger, day: dt.date, nodes: Sequence[str], untrained: Mapping[str, str]
) -> dict[str, VersionRecord]:
    """Node -> its challenger, of those that pass in the training of a day and are to be fitted again; none where no refit is declared.

    nodes, untrained: as of `rulings.decide`.
    """
    passed = winners(declared, ledger, day, nodes, untrained) if declared.line.train.refit else {}
    records = ledger.versions(declared.line.name, ids=set(passed.values())) if passed else []
    return {record.node: record for record in records}


def refits(
    declared: DeclaredLine, span: Timeline, passed: Mapping[str, VersionRecord], stores: Stores, run_id: str
) -> Iterator[tuple[str, Result]]:
    """Node -> its refit or why there is none, as soon as it is there; those first that were made from the same before.

    span: of the training. passed: as of `passing`.
    """
    line, started = declared.line.name, dt.datetime.now(dt.UTC)
    unfit = {node: why for node, record in passed.items() if (why := _unfit(declared, record))}
    yield from ((node, NotTrained(node, passed[node].rows, why)) for node, why in unfit.items())
    if not passed.keys() - unfit.keys():
        return
    train, tables = learnt_rows(stores.con, stores.lake, line, span.refit)
    rows, past = RefitRows(train), past_stretches(declared, span.refit)
    job = Job(declared, metric_of(declared), span.refit, past, stores.archive.root)
    answered = {node: str(by.champion) for node, by in stores.ledger.champions(line, before=span.as_of).items()}
    tasks = {node: _task(record, stores.ledger, answered) for node, record in passed.items() if node not in unfit}

    def made_now(node: str) -> Made:
        return job.made(tasks[node], rows.of(node))

    there = [each for each in stores.ledger.versions(line, as_of=span.as_of, refits=True) if each.judged]
    before = made_before(there, stores.archive, made_now, tasks)
    yield from before.items()
    for done in train_nodes(job, rows, (task for node, task in tasks.items() if node not in before)):
        node, made = done.outcome.node, done.outcome
        if isinstance(made, Fitted):
            record = _record(passed[node], span, done, stores)
            yield node, replace(record, tables=tables, run_id=run_id, owner=declared.line.owner, started_at=started)
        else:
            yield node, made


def _unfit(declared: DeclaredLine, record: VersionRecord) -> str:
    """Why a version cannot be fitted again as it was made; empty where it can."""
    recorded = record.configuration
    if not recorded.get("definitions"):
        return "it was recorded before records held what a model is made from"
    if (recorded.get("id"), recorded.get("contract")) != (model_version(declared), contract_hash(declared)):
        return "it was made from other declarations, or under another contract, than those of now"
    return ""


def _task(record: VersionRecord, ledger: Ledger, answered: Mapping[str, str]) -> Task:
    """What a version is fitted again from: its own parameters, and the version that it continues."""
    recorded, above = record.configuration, lineage(record.node)
    line = declared_from(recorded["definitions"], recorded["recipe"]).line
    warm = recorded.get("warm_from")
    continued = {record.candidate: ledger.version(record.line, warm["version"])} if warm else {}
    return Task(record.node, line, {each: answered[each] for each in above if each in answered}, continued, record)


def _record(judged: VersionRecord, span: Timeline, done: Done, stores: Stores) -> VersionRecord:
    """What the ledger keeps of a refit: what it keeps of the judged version, but for what another fit changes."""
    fitted, released, made, disagreement = done
    assert isinstance(fitted, Fitted) and released and made and disagreement
    own = {
        "start": fitted.start, "warm_from": fitted.warm.record() if fitted.warm else None, "rounds": fitted.rounds,
        **made.configuration(),
        JUDGED: judged.version,
        CHECKED: checked(disagreement, stores.unsafe(released.version)),
    }  # fmt: skip
    kept = {name: value for name, value in judged.configuration.items() if name not in own}
    return replace(
        judged,
        version=released.version,
        configuration=kept | {name: value for name, value in own.items() if value},
        as_of=span.as_of,
        train_from=span.train_from,
        train_to=span.refit.train_to,
        holdout_from=span.holdout_from,
        holdout_to=span.holdout_to,
        rows=fitted.rows,
        positives=fitted.positives,
        metrics=released.metrics,
        importances=dict(zip(fitted.encoding.features, map(float, fitted.model.importances()), strict=True)),
        charts=released.charts,
        archive_uri=stores.archive.uri(judged.line, released.version),
        ended_at=dt.datetime.now(dt.UTC),
    )
