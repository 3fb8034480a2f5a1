"""How does an asset say what it wrote? Days and segments of a run, data versions, inputs and metadata, in one way.

Dagster gives all partitions of a range run one data version, which would make them stale as soon as one of them is
computed again alone, and an event to each, whether it was computed or not. So a range run logs its own: one event a
partition that it computed, with that partition's content hash, and with a fingerprint of its inputs, by which
`factory run` sees what needs no recomputing.
"""

import datetime as dt
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from factory_assets.identity.damage import damaged
from factory_assets.identity.inputs import BLOCKED, Asset, Recorded, stamps
from factory_assets.identity.nodes import lineage
from factory_resources.dagster_private import reading
from factory_resources.dagster_private.reading import INPUTS, PAGE, newest_numbers
from factory_resources.dagster_private.recording import DATA_VERSION, Recorder
from factory_resources.delta.day_content import DS
from factory_resources.lake import Lake, Written

#: Metadata and tag under which Dagster keeps how many rows there are, and by which code they were made.
ROWS, CODE_VERSION = "dagster/row_count", "dagster/code_version"
#: Metadata: the version of its table that a run wrote.
TABLE_VERSION = "table_version"
#: Metadata for people: what came out in a sentence, and a table of all nodes. They are given first: a page keeps the order.
IN_SHORT, NODES = "in_short", "all_nodes"
#: Metadata of a definition: its columns.
SCHEMA = "schema"
#: Rows of a table for people; the tables in the lake have all.
SHOWN = 100


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[dt.date]:
    """The days of this run, one or a range of them."""
    return sorted(dt.date.fromisoformat(key) for key in context.partition_keys)


@functools.lru_cache(maxsize=16384)  # the same days come again with each asset
def day_of(partition: str | None) -> dt.date | None:
    """The day that a partition of an event is, as our runs write it. Anybody at the UI may report an event of any other name."""
    try:
        day = dt.date.fromisoformat(partition or "")
    except ValueError:
        return None
    return day if str(day) == partition else None


def data_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """Partition -> data version of its newest materialisation."""
    tags_of = reading.newest_tags(instance, key, [DATA_VERSION])
    return {partition: tags[DATA_VERSION] for partition, tags in tags_of.items()}


def newest_events(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str] | None = None
) -> dict[str, int]:
    """Partition -> number of its newest materialisation, of all partitions or of these."""
    return newest_numbers(instance, key, partitions)


def newest_of(instance: dg.DagsterInstance, names: Sequence[str]) -> dict[str, int]:
    """Asset -> number of its newest materialisation, of any partition; without those that have none."""
    records = instance.get_asset_records([dg.AssetKey(name.split("/")) for name in names])
    newest = {each.asset_entry.asset_key.to_user_string(): each.asset_entry for each in records}
    return {name: entry.last_materialization_storage_id or 0 for name, entry in sorted(newest.items())}


def recorded(
    instance: dg.DagsterInstance, key: dg.AssetKey, newest: Mapping[str, int], partitions: Collection[str] | None = None
) -> dict[dt.date, Recorded]:
    """Day -> its data version and stamp by its newest materialisation. newest: as `newest_events` gave it; partitions: those asked."""
    asked = {partition: newest[partition] for partition in (newest if partitions is None else partitions)}
    if not asked:
        return {}
    # Asked for after the numbers: where one has come in between, its number is another the next time.
    tags_of = _indexed(instance, key, asked if len(asked) < len(newest) else None)
    return _by_day(
        instance, key, {partition: (number, tags_of.get(partition, {})) for partition, number in asked.items()}
    )


def recorded_of_all(
    instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]
) -> dict[dg.AssetKey, dict[dt.date, Recorded]]:
    """Asset -> what `recorded` gives of all its days; without assets of which the log cannot tell that in one question."""
    newest = reading.newest_of_all(instance, keys, [DATA_VERSION, INPUTS])
    return {key: _by_day(instance, key, of_asset) for key, of_asset in newest.items()}


def _by_day(
    instance: dg.DagsterInstance, key: dg.AssetKey, newest: Mapping[str, tuple[int, Mapping[str, str]]]
) -> dict[dt.date, Recorded]:
    """Day -> what its newest materialisation says. newest: partition -> its number, and those of its tags that an index has."""
    tagged = {partition: each for partition, each in newest.items() if {DATA_VERSION, INPUTS} <= each[1].keys()}
    by_day = {
        day: Recorded(tags[DATA_VERSION], tags[INPUTS], number)
        for partition, (number, tags) in tagged.items()
        if (day := day_of(partition))
    }
    # Events from before there was an index, or of Dagster's own event log, are in no index: these are read one by one.
    return by_day | fetched(instance, key, [number for each, (number, _) in newest.items() if each not in tagged])


def _indexed(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str] | None
) -> Mapping[str, Mapping[str, str]]:
    """Partition -> data version and stamp of its newest materialisation, where an index has them; of all partitions or of these."""
    wanted = [DATA_VERSION, INPUTS]
    return reading.newest_tags(instance, key, wanted, partitions) if reading.is_indexed(instance, wanted) else {}


def fetched(instance: dg.DagsterInstance, key: dg.AssetKey, numbers: Collection[int]) -> dict[dt.date, Recorded]:
    """Day -> its data version and stamp, by the events of these numbers."""
    by_day: dict[dt.date, Recorded] = {}
    for day, number, tags in _tags_of(instance, key, numbers):
        by_day[day] = Recorded(tags.get(DATA_VERSION, ""), tags.get(INPUTS, ""), number)
    return by_day


def codes(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[dt.date, str]:
    """Day -> version of the code by which its newest materialisation was made."""
    numbers = newest_numbers(instance, key).values()
    return {day: tags.get(CODE_VERSION, "") for day, _, tags in _tags_of(instance, key, numbers)}


def _tags_of(
    instance: dg.DagsterInstance, key: dg.AssetKey, numbers: Collection[int]
) -> Iterator[tuple[dt.date, int, Mapping[str, str]]]:
    """Day, number and tags of the materialisations of these numbers."""
    asked = sorted(numbers)
    for start in range(0, len(asked), PAGE):
        chosen = dg.AssetRecordsFilter(asset_key=key, storage_ids=asked[start : start + PAGE])
        for record in instance.fetch_materializations(chosen, limit=PAGE).records:
            event = record.asset_materialization
            if event and (day := day_of(event.partition)):
                yield day, record.storage_id, event.tags or {}


def table_versions(instance: dg.DagsterInstance, key: dg.AssetKey, numbers: Collection[int]) -> dict[dt.date, int]:
    """Day -> the version of the table in which it was written, by the events of these numbers that tell one."""
    by_day: dict[dt.date, int] = {}
    for event in _events(instance, key, numbers):
        if (day := day_of(event.partition)) and (version := _table_version(event)) is not None:
            by_day[day] = version
    return by_day


def newest_versions(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> dict[dg.AssetKey, tuple[int, int]]:
    """Asset -> number of its newest materialisation and the version of its table that this wrote; without those that tell none."""
    found: dict[dg.AssetKey, tuple[int, int]] = {}
    for each in instance.get_asset_records([*keys]):
        record = each.asset_entry.last_materialization_record
        event = record.asset_materialization if record else None
        if record and event and day_of(event.partition) and (version := _table_version(event)) is not None:
            found[each.asset_entry.asset_key] = record.storage_id, version
    return found


def _table_version(event: dg.AssetMaterialization) -> int | None:
    version = event.metadata.get(TABLE_VERSION)
    return None if version is None else int(str(version.value))


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[dg.AssetMaterialization]:
    """All materialisations of an asset that the event log has, the newest first."""
    return _newest_first(instance, dg.AssetRecordsFilter(key))


def _newest_first(instance: dg.DagsterInstance, chosen: dg.AssetRecordsFilter) -> Iterator[dg.AssetMaterialization]:
    cursor = None
    while True:
        page = instance.fetch_materializations(chosen, limit=PAGE, cursor=cursor)
        yield from (each.asset_materialization for each in page.records if each.asset_materialization)
        if not page.has_more:
            return
        cursor = page.cursor


@dataclass(frozen=True)
class Noted:
    """An event of a partition: what its page shows of it, as texts, by name."""

    partition: str
    at: dt.datetime
    shown: Mapping[str, str]


def noted_since(instance: dg.DagsterInstance, key: dg.AssetKey, moment: dt.datetime) -> Iterator[Noted]:
    """All materialisations and observations of an asset's partitions after a moment."""
    chosen = dg.AssetRecordsFilter(key, after_timestamp=moment.timestamp())
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        cursor, more = None, True
        while more:
            page = fetch(chosen, limit=PAGE, cursor=cursor)
            for record in page.records:
                event = record.asset_materialization or record.event_log_entry.asset_observation
                if event and event.partition:
                    shown = {name: str(each.value) for name, each in event.metadata.items() if each.value is not None}
                    yield Noted(event.partition, dt.datetime.fromtimestamp(record.timestamp, dt.UTC), shown)
            cursor, more = page.cursor, page.has_more


def recorded_before(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str], moment: dt.datetime
) -> dict[dt.date, Recorded]:
    """Day -> its newest materialisation before a moment, of these days."""
    by_day: dict[dt.date, Recorded] = {}
    for start in range(0, len(partitions), PAGE):
        chosen = dg.AssetRecordsFilter(
            key, asset_partitions=list(partitions[start : start + PAGE]), before_timestamp=moment.timestamp()
        )
        for event in _newest_first(instance, chosen):
            if day := day_of(event.partition):
                tags = event.tags or {}
                by_day.setdefault(day, Recorded(tags.get(DATA_VERSION, ""), tags.get(INPUTS, "")))
    return by_day


@dataclass(frozen=True)
class Making:
    """A day of an asset as it was once written: hash of its content, version of the table, rows, version of the code, event."""

    content: str
    version: int
    rows: int
    code: str
    number: int


def makings(instance: dg.DagsterInstance, key: dg.AssetKey, days: Sequence[dt.date]) -> dict[dt.date, list[Making]]:
    """Day -> all that was ever written of it, by the event log, oldest first. A day that was held back was not written."""
    found: dict[dt.date, list[Making]] = {day: [] for day in days}
    for start in range(0, len(days), PAGE):
        chosen = dg.AssetRecordsFilter(key, asset_partitions=list(map(str, days[start : start + PAGE])))
        cursor = None
        while True:
            page = instance.fetch_materializations(chosen, limit=PAGE, cursor=cursor, ascending=True)
            for record in page.records:
                event = record.asset_materialization
                if event and (day := day_of(event.partition)) and TABLE_VERSION in event.metadata:
                    tags = event.tags or {}
                    version, rows = (int(str(event.metadata[name].value)) for name in (TABLE_VERSION, ROWS))
                    made = Making(
                        tags.get(DATA_VERSION, ""), version, rows, tags.get(CODE_VERSION, ""), record.storage_id
                    )
                    found[day].append(made)
            cursor = page.cursor
            if not page.has_more:
                break
    return found


def first_read(
    instance: dg.DagsterInstance, key: dg.AssetKey, of: dg.AssetKey, days: Sequence[dt.date]
) -> dict[dt.date, tuple[Making, Making]]:
    """Day -> the day of `of` from which the asset's day was made when it first had rows, and that of `of` now.

    Days of which the log does not tell both are left out.
    """
    own, read = makings(instance, key, days), makings(instance, of, days)
    found = {}
    for day in days:
        first = next((made.number for made in own[day] if made.rows), None)
        before = [made for made in read[day] if first is not None and made.number < first]
        if before:
            found[day] = before[-1], read[day][-1]
    return found


def lost_days(
    instance: dg.DagsterInstance, lake: Lake, key: dg.AssetKey, partitions: Collection[str]
) -> dict[dt.date, str]:
    """Day -> what of it is lost or damaged in the lake, of these days, as far as they are recorded."""
    events = recorded(instance, key, newest_events(instance, key, partitions))
    versions = table_versions(instance, key, [each.number for each in events.values()])
    table = key.to_user_string()
    held = lake.held(table)
    return damaged(events, held, lake.lacking(table, held), max(versions.values(), default=None), lambda: versions)


def _events(
    instance: dg.DagsterInstance, key: dg.AssetKey, numbers: Collection[int]
) -> Iterator[dg.AssetMaterialization]:
    asked = sorted(numbers)
    for start in range(0, len(asked), PAGE):
        chosen = dg.AssetRecordsFilter(asset_key=key, storage_ids=asked[start : start + PAGE])
        for record in instance.fetch_materializations(chosen, limit=PAGE).records:
            if record.asset_materialization:
                yield record.asset_materialization


def input_stamps(
    instance: dg.DagsterInstance, key: dg.AssetKey, days: Sequence[dt.date] | None = None
) -> dict[str, str]:
    """Partition -> the stamp of the inputs that its newest materialisation was computed from, of all days or of these."""
    newest = newest_events(instance, key, None if days is None else list(map(str, days)))
    return {str(day): each.stamp for day, each in recorded(instance, key, newest).items()}


def day_offsets(dependency: dg.AssetDep) -> tuple[int, int] | None:
    """Days before and after its own that a day of the asset reads of a dependency; None where that has no days."""
    mapping = dependency.partition_mapping
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return mapping.start_offset, mapping.end_offset
    return (0, 0) if mapping is None or isinstance(mapping, dg.IdentityPartitionMapping) else None


def described(spec: dg.AssetSpec) -> Asset:
    """The asset as the plan of work knows it: what it is made by, and which days of which tables it reads."""
    reads = {dep.asset_key.to_user_string(): day_offsets(dep) for dep in spec.deps}
    of_days = {name: offsets for name, offsets in reads.items() if offsets is not None}
    span, days = "", spec.partitions_def
    if isinstance(days, dg.TimeWindowPartitionsDefinition):
        span = f"{days.start:%Y-%m-%d} to {days.end:%Y-%m-%d}" if days.end else f"{days.start:%Y-%m-%d} on"
    return Asset(spec.key.to_user_string(), str(spec.code_version), of_days, span)


def input_fingerprints(
    instance: dg.DagsterInstance,
    spec: dg.AssetSpec,
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> dict[dt.date, str]:
    """For each day a stamp of the code version, the data versions of all days that it reads, and `extra`."""
    asset = described(spec)
    return stamps(asset, read_versions(instance, asset), days, extra)


def read_versions(instance: dg.DagsterInstance, asset: Asset) -> dict[str, dict[dt.date, str]]:
    """Table that an asset reads -> its day -> data version."""
    found = {name: data_versions(instance, dg.AssetKey(name.split("/"))) for name in asset.reads}
    return {name: {day: it for each, it in of.items() if (day := day_of(each))} for name, of in found.items()}


def served_days(instance: dg.DagsterInstance, stream: str) -> set[dt.date]:
    """Days of a stream that have events to build on, or are known to have none."""
    versions = data_versions(instance, dg.AssetKey([stream, "events"]))
    return {day for partition, version in versions.items() if version != BLOCKED and (day := day_of(partition))}


def stale_days(
    instance: dg.DagsterInstance,
    spec: dg.AssetSpec,
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> list[dt.date]:
    """Days of an asset that were never computed, or whose inputs are not what they were computed from."""
    expected, stamped = input_fingerprints(instance, spec, days, extra), input_stamps(instance, spec.key, days)
    return [day for day in days if stamped.get(str(day)) != expected[day]]


def record_days(
    context: dg.AssetExecutionContext,
    written: Written | None,
    inputs: Mapping[dt.date, str],
    metadata: Mapping[str, Any] | None = None,
    by_day: Mapping[dt.date, Mapping[str, Any]] | None = None,
    blocked: Mapping[dt.date, Sequence[str]] | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Report days of a lake table as materialised: table, version, rows and content hash, and the metadata given.

    written: None where every day is blocked.
    metadata: goes to the newest day, where a person looks first.
    blocked: days of the run that were not written, with the reasons; their partitions say so, and keep the data version
        of what they still serve.
    """
    described: dict[str, Mapping[str, Any]] = {}
    tags: dict[str, Mapping[str, str]] = {}
    if written is not None:
        for day, content in written.days.items():
            described[str(day)] = {
                # What people look for first: a page keeps the order.
                IN_SHORT: f"{content.rows:,} {'row' if content.rows == 1 else 'rows'} of {day}",
                **((by_day or {}).get(day) or {}),
                **((metadata or {}) if day == max(written.days) else {}),
                ROWS: content.rows,
                "dagster/uri": written.uri,
                TABLE_VERSION: written.version,
                "content_hash": content.hash,
            }
            tags[str(day)] = {DATA_VERSION: content.hash, INPUTS: inputs.get(day, "")}
    served = data_versions(context.instance, context.asset_key) if blocked else {}
    for day, reasons in (blocked or {}).items():
        described[str(day)] = {"blocked": "; ".join(reasons), **((by_day or {}).get(day) or {})}
        tags[str(day)] = {DATA_VERSION: served.get(str(day), BLOCKED), INPUTS: inputs.get(day, "")}
    yield from record_partitions(context, described, tags)


def record_partitions(
    context: dg.AssetExecutionContext,
    metadata: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, Mapping[str, str]],
    of_all: Mapping[str, Any] | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Report partitions as materialised, each with its own data version, tags and metadata.

    of_all: goes to the one that is written last, with which the asset's page opens: it tells of all of them.
    """
    recorder = Recorder(context, len(metadata))
    for key in (order := shown_last(metadata)):
        recorder.add(key, {**(of_all or {} if key == order[-1] else {}), **metadata[key]}, tags[key])
    yield from recorder.results()


def shown_last(partitions: Iterable[str]) -> list[str]:
    """Partitions in the order in which they are written: that of the last is what an asset's page opens with.

    It is the newest of days, and of nodes the coarsest.

    >>> shown_last(["global", "FR", "FR/Lyon"]), shown_last(["2026-01-02", "2026-01-01"])
    (['FR/Lyon', 'FR', 'global'], ['2026-01-01', '2026-01-02'])
    """
    return sorted(partitions, key=lambda key: (-len(lineage(key)), key))


def table_shown(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> dg.TableMetadataValue:
    """Rows for a page. columns: those to show; without them all that any row has, empty where others lack it.

    Dagster takes no records that differ in their fields. Of no rows it can guess no columns, and fails: they are shown alone.
    """
    shown = list(rows)
    columns = columns or list(dict.fromkeys(name for row in shown for name in row))
    records = [dg.TableRecord({name: row.get(name, "") for name in columns}) for row in shown]
    schema = None if records else dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records, schema=schema)


def column_schema(columns: Mapping[str, str], descriptions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Definition metadata that shows columns, types and meanings on the asset page, behind a link.

    Under the name that Dagster gives it (dagster/column_schema) the columns would stand above all that a run has to say.
    """
    described = {DS: "The day of the partition."} | dict(descriptions or {})
    return {
        SCHEMA: dg.TableSchema(
            [
                dg.TableColumn(name, kind.lower(), description=described.get(name) or None)
                for name, kind in columns.items()
            ]
        )
    }
