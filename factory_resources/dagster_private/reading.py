"""What does the event log say of an asset's partitions and checks, without reading every event? Else, by reading them.

The public ways read whole events, which for a year of some dozens of assets takes seconds. The names are taken when they are
first needed: Dagster's storages load for a third of a second, and to read declarations nothing is asked of them.
"""

import functools
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as sa

from factory_resources.dagster_private.versions import private, require

#: Tag of a materialisation: the stamp of what it was made from.
INPUTS = "factory/inputs"
MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION
#: Events asked for at a time: Dagster sets a limit, and so do databases to the length of a query.
PAGE = 1000
#: Runs whose events are read, where checks cannot be asked for: what was evaluated before them counts as never evaluated.
RUNS = 1000


@dataclass(frozen=True)
class _Log:
    """Ways to ask a storage of events."""

    numbers: Callable[..., Mapping[str, int]]
    tags: Callable[..., Mapping[str, Mapping[str, str]]]
    indexed: Callable[..., set[str]]


def _take_log() -> _Log:
    from dagster._core.storage.event_log import EventLogStorage

    require(EventLogStorage.get_latest_storage_id_by_partition, "asset_key", "event_type", "partitions")
    require(EventLogStorage.get_latest_tags_by_partition, "asset_key", "event_type", "tag_keys", "asset_partitions")
    require(EventLogStorage.get_asset_tags_to_index, "tag_keys")
    if not isinstance(dg.DagsterInstance.event_log_storage, property):
        raise AttributeError("DagsterInstance.event_log_storage is no property")
    return _Log(
        lambda log, *asked: log.get_latest_storage_id_by_partition(*asked),
        lambda log, *asked: log.get_latest_tags_by_partition(*asked),
        lambda log, tags: log.get_asset_tags_to_index(tags),
    )


@functools.cache
def _log() -> _Log | None:
    return private("reading events", _take_log)


@dataclass(frozen=True)
class _Tables:
    """Of an event log in a database."""

    in_sql: type[Any]
    events: sa.Table
    tags: sa.Table
    assets: sa.Table


def _take_tables() -> _Tables:
    from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
    from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable

    require(SqlEventLogStorage.index_connection)
    for table, columns in (
        (SqlEventLogStorageTable, ("id", "asset_key", "partition", "dagster_event_type")),
        (AssetEventTagsTable, ("event_id", "key", "value")),
        (AssetKeyTable, ("asset_key", "wipe_timestamp", "asset_details")),
    ):
        if missing := [name for name in columns if name not in table.c]:
            raise AttributeError(f"the table {table.name} has no {', '.join(missing)}")
    return _Tables(SqlEventLogStorage, SqlEventLogStorageTable, AssetEventTagsTable, AssetKeyTable)


@functools.cache
def _tables() -> _Tables | None:
    return private("marking assets", _take_tables)


def newest_numbers(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str] | None = None
) -> dict[str, int]:
    """Of each partition, or of these, the number of its newest materialisation."""
    chosen = None if partitions is None else set(partitions)
    if chosen is not None and not chosen:  # Dagster would take it for all
        return {}
    if (log := _log()) is None:
        return {each: number for each, (number, _) in _newest(instance, key, MATERIALIZATION, chosen).items()}
    return dict(log.numbers(instance.event_log_storage, key, MATERIALIZATION, chosen))


def newest_tags(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    wanted: Sequence[str],
    partitions: Collection[str] | None = None,
    kind: dg.DagsterEventType = MATERIALIZATION,
) -> dict[str, Mapping[str, str]]:
    """Of each partition, or of these, those of the wanted tags that its newest event of a kind has; nothing where it has none.

    kind: materialisations, or observations.
    """
    if (log := _log()) is None:
        found = _newest(instance, key, kind, None if partitions is None else set(partitions))
        chosen = {each: {tag: tags[tag] for tag in wanted if tag in tags} for each, (_, tags) in found.items()}
        return {each: tags for each, tags in chosen.items() if tags}
    few = list(partitions) if partitions is not None and len(partitions) <= PAGE else None
    tags = log.tags(instance.event_log_storage, key, kind, list(wanted), few)
    return dict(tags) if few or partitions is None else {each: tags[each] for each in partitions if each in tags}


def is_indexed(instance: dg.DagsterInstance, tags: Collection[str]) -> bool:
    """Whether the log finds all these tags by index, so that asking for them spares reading events."""
    return (log := _log()) is not None and log.indexed(instance.event_log_storage, {*tags}) == {*tags}


def marks(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> dict[dg.AssetKey, object]:
    """Asset -> what changes with every materialisation of it that comes, or is deleted or wiped; None where the log cannot tell.

    Not the newest number alone: a run may be deleted, and PostgreSQL gives numbers in another order than it shows events.
    """
    if (tables := _tables()) is None or not isinstance(instance.event_log_storage, tables.in_sql):
        return dict.fromkeys(keys)
    events, assets = tables.events.c, tables.assets.c
    named, found = {key.to_string(): key for key in keys}, dict[dg.AssetKey, object]()
    for first in range(0, len(named), PAGE):
        names = [*named][first : first + PAGE]
        made = (
            sa.select(events.asset_key, sa.func.max(events.id), sa.func.count())
            .where(events.asset_key.in_(names), events.dagster_event_type == MATERIALIZATION.value)
            .group_by(events.asset_key)
        )
        wiped = sa.select(assets.asset_key, assets.wipe_timestamp, assets.asset_details).where(
            assets.asset_key.in_(names)
        )
        with instance.event_log_storage.index_connection() as connection:
            numbers, states = ({row[0]: tuple(row)[1:] for row in connection.execute(each)} for each in (made, wiped))
        found |= {named[name]: (numbers.get(name), states.get(name)) for name in names}
    return found


def newest_of_all(
    instance: dg.DagsterInstance, keys: Collection[dg.AssetKey], wanted: Sequence[str]
) -> dict[dg.AssetKey, dict[str, tuple[int, Mapping[str, str]]]]:
    """Asset -> partition -> number of its newest materialisation, and those of the wanted tags that an index has of it.

    All in one question, which for a year of some hundred assets takes half as long as one of each. Assets of which it cannot tell
    are left out: those that were ever wiped, and all where the log is another.
    """
    if (tables := _tables()) is None or not isinstance(instance.event_log_storage, tables.in_sql):
        return {}
    events, tags, assets = tables.events.c, tables.tags.c, tables.assets.c
    named, found = {key.to_string(): key for key in keys}, dict[dg.AssetKey, dict[str, tuple[int, Mapping[str, str]]]]()
    for first in range(0, len(named), PAGE):
        names = [*named][first : first + PAGE]
        newest = (
            sa.select(events.asset_key, events.partition, sa.func.max(events.id).label("id"))
            .where(events.asset_key.in_(names), events.dagster_event_type == MATERIALIZATION.value)
            .where(events.partition.is_not(None))
            .group_by(events.asset_key, events.partition)
            .subquery()
        )
        tagged = sa.select(newest.c.asset_key, newest.c.partition, newest.c.id, tags.key, tags.value).outerjoin_from(
            newest, tables.tags, (tags.event_id == newest.c.id) & tags.key.in_(wanted)
        )
        wiped = sa.select(assets.asset_key).where(
            assets.asset_key.in_(names), assets.wipe_timestamp.is_not(None) | assets.asset_details.is_not(None)
        )
        with instance.event_log_storage.index_connection() as connection:
            unknown = set(connection.scalars(wiped))
            of_all: dict[str, dict[str, tuple[int, dict[str, str]]]] = {
                name: {} for name in names if name not in unknown
            }
            for name, partition, number, tag, value in connection.execute(tagged).all():
                if name in of_all:
                    of = of_all[name].setdefault(partition, (number, {}))[1]
                    if tag is not None:
                        of[tag] = value
        found |= {named[name]: dict(of) for name, of in of_all.items()}
    return found


def _newest(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: dg.DagsterEventType, partitions: set[str] | None
) -> dict[str, tuple[int, Mapping[str, str]]]:
    """Partition -> number and tags of its newest event of a kind, by the events themselves."""
    found: dict[str, tuple[int, Mapping[str, str]]] = {}
    if partitions is not None and not partitions:
        return found
    few = sorted(partitions) if partitions is not None and len(partitions) <= PAGE else None
    fetch = instance.fetch_materializations if kind == MATERIALIZATION else instance.fetch_observations
    cursor = None
    while True:
        page = fetch(dg.AssetRecordsFilter(key, asset_partitions=few), limit=PAGE, cursor=cursor)
        for record in page.records:  # newest first
            event: Any = record.asset_materialization or record.event_log_entry.asset_observation
            if event.partition and (partitions is None or event.partition in partitions):
                found.setdefault(event.partition, (record.storage_id, event.tags or {}))
        if not page.has_more or (partitions is not None and len(found) == len(partitions)):
            return found
        cursor = page.cursor


@dataclass(frozen=True)
class Checked:
    """The newest that is known of a check: the run that planned or evaluated it, and whether it passed; None: not evaluated."""

    run_id: str
    passed: bool | None


def _take_checks() -> tuple[Any, Any]:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
    from dagster._core.storage.event_log import EventLogStorage

    require(EventLogStorage.get_latest_asset_check_execution_by_key, "check_keys")
    return AssetCheckExecutionRecordStatus.PLANNED, AssetCheckExecutionRecordStatus.SUCCEEDED


@functools.cache
def _checks() -> tuple[Any, Any] | None:
    return private("reading checks", _take_checks)


def newest_checks(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> dict[dg.AssetCheckKey, Checked]:
    """Of each check that was ever planned or evaluated, the newest."""
    if (states := _checks()) is None:
        return _checks_by_runs(instance, checks)
    planned, succeeded = states
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    return {
        key: Checked(each.run_id, None if each.status == planned else each.status == succeeded)
        for key, each in newest.items()
    }


def _checks_by_runs(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, Checked]:
    """The same by the events of runs, the newest first, until each check is found."""
    found, missing = dict[dg.AssetCheckKey, Checked](), set(checks)
    for run_id, key, passed in _told_of_checks(instance):
        if key in missing:
            found[key] = Checked(run_id, passed)
            missing.discard(key)
        if not missing:
            break
    return found


def _told_of_checks(instance: dg.DagsterInstance) -> Iterator[tuple[str, dg.AssetCheckKey, bool | None]]:
    """Run, check, and whether it passed, if it was evaluated: the newest first."""
    evaluated, planned = (
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    )
    for run in instance.get_run_records(limit=RUNS):
        run_id = run.dagster_run.run_id
        records = instance.get_records_for_run(run_id, of_type={evaluated, planned}, ascending=False).records
        for record in records:
            data: Any = record.event_log_entry.get_dagster_event().event_specific_data
            passed = data.passed if hasattr(data, "passed") else None
            yield run_id, dg.AssetCheckKey(data.asset_key, data.check_name), passed


def executing(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    """Processes that execute steps of a run, by its own events."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    data: list[Any] = [each.event_log_entry.get_dagster_event().event_specific_data for each in records]
    pids = (each.metadata.get("pid") for each in data if each is not None)
    return {int(str(pid.value)) for pid in pids if pid is not None and str(pid.value).isdigit()}


def launched_here(run: dg.DagsterRun) -> bool:
    """Whether a code server of this very machine started the run's process; False where Dagster does not tell."""
    try:
        server = json.loads(run.tags.get(".dagster/grpc_info", "{}"))
    except ValueError:
        return False
    return isinstance(server, dict) and bool(
        server.get("socket") or server.get("host") in ("127.0.0.1", "::1", "localhost")
    )


def name_of(instance: dg.DagsterInstance) -> str:
    """What tells an instance from another in one process. Where Dagster does not tell, that is its home."""
    # Every storage of Dagster's has an id, though their common base does not say so.
    own = getattr(getattr(instance, "run_storage", None), "get_run_storage_id", None)
    return str(own()) if own else os.environ.get("DAGSTER_HOME", "")


def sensors_on(instance: dg.DagsterInstance, on: Collection[str]) -> set[str] | None:
    """Names of sensors and schedules whose status is one of `on`; None of an instance that knows no daemon."""
    if getattr(instance, "schedule_storage", None) is None:
        return None
    return {each.instigator_name for each in instance.all_instigator_state() if each.status.value in on}
