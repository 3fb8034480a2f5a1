"""How does an asset say what it wrote? Days and segments of a run, data versions, inputs and metadata, in one way.

Dagster gives all partitions of a range run one data version, which would make them stale as soon as one of them is
computed again alone, and an event to each, whether it was computed or not. So a range run logs its own: one event a
partition that it computed, with that partition's content hash, and with a fingerprint of its inputs, by which
`factory run` sees what needs no recomputing.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

# Inside Dagster's own: no public way gives each partition of a run its data version, and only one event.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, generate_event_batch_id
from dagster._core.execution.plan.execute_step import (
    _build_data_version_tags,
    _get_code_version,
    _get_input_provenance_data,
)

from factory_assets.identity.code import code_of
from factory_assets.identity.hashes import hash_of
from factory_resources.lake import DAY, Written

DATA_VERSION = "dagster/data_version"
INPUTS = "factory/inputs"
#: Events asked for at a time: Dagster sets a limit, and so do databases to the length of a query.
PAGE = 1000


def code_version(station: str, *parts: Any) -> str:
    """A short hash of what an asset's result depends on besides its inputs: the code of its station, and its declaration.

    station: of `identity.stations.STATIONS`.
    """
    return hash_of(code_of(station), *parts)


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[dt.date]:
    """The days of this run, one or a range of them."""
    inner = context.op_execution_context if isinstance(context, dg.AssetCheckExecutionContext) else context
    return sorted(dt.date.fromisoformat(key) for key in inner.partition_keys)


def data_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """Of each partition the data version of its newest materialisation."""
    found = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, tag_keys=[DATA_VERSION]
    )
    return {partition: tags[DATA_VERSION] for partition, tags in found.items()}


def input_stamps(
    instance: dg.DagsterInstance, key: dg.AssetKey, days: Sequence[dt.date] | None = None
) -> dict[str, str]:
    """Of each partition, or of these days, the fingerprint of the inputs that its newest materialisation was computed from."""
    kind, chosen_days = dg.DagsterEventType.ASSET_MATERIALIZATION, None if days is None else set(map(str, days))
    newest = list(instance.event_log_storage.get_latest_storage_id_by_partition(key, kind, chosen_days).values())
    # Only data versions are indexed by tag; the events themselves carry all of theirs.
    stamps: dict[str, str] = {}
    for start in range(0, len(newest), PAGE):
        chosen = dg.AssetRecordsFilter(asset_key=key, storage_ids=newest[start : start + PAGE])
        for record in instance.fetch_materializations(chosen, limit=PAGE).records:
            event = record.asset_materialization
            if event and event.partition:
                stamps[event.partition] = (event.tags or {}).get(INPUTS, "")
    return stamps


def day_offsets(dependency: dg.AssetDep) -> tuple[int, int] | None:
    """Days before and after its own that a day of the asset reads of a dependency; None where that has no days."""
    mapping = dependency.partition_mapping
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return mapping.start_offset, mapping.end_offset
    return (0, 0) if mapping is None or isinstance(mapping, dg.IdentityPartitionMapping) else None


def input_fingerprints(
    instance: dg.DagsterInstance,
    spec: dg.AssetSpec,
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> dict[dt.date, str]:
    """For each day a hash of the code version, the data versions of all days that it reads, and `extra`."""
    digests = {day: hashlib.sha256(f"{spec.code_version}|{(extra or {}).get(day, '')}".encode()) for day in days}
    for dependency in sorted(spec.deps, key=lambda dep: dep.asset_key):
        offsets = day_offsets(dependency)
        if offsets is None:
            continue
        versions = data_versions(instance, dependency.asset_key)
        # Before its first day an asset has nothing, however far a window reaches.
        start = dt.date.fromisoformat(min(versions)) if versions else dt.date.max
        for day in days:
            for offset in range(max(offsets[0], (start - day).days), offsets[1] + 1):
                upstream = str(day + dt.timedelta(days=offset))
                digests[day].update(f"|{versions.get(upstream, '-')}".encode())
    return {day: digest.hexdigest()[:16] for day, digest in digests.items()}


def stale_days(
    instance: dg.DagsterInstance,
    spec: dg.AssetSpec,
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> list[dt.date]:
    """Days of an asset that were never computed, or whose inputs are not what they were computed from.

    The one rule for what has to be computed: of `factory run`, and of the sensors that look for new data.
    """
    expected, stamped = input_fingerprints(instance, spec, days, extra), input_stamps(instance, spec.key, days)
    return [day for day in days if stamped.get(str(day)) != expected[day]]


def record_days(
    context: dg.AssetExecutionContext,
    written: Written,
    inputs: Mapping[dt.date, str],
    metadata: Mapping[str, Any] | None = None,
    by_day: Mapping[dt.date, Mapping[str, Any]] | None = None,
    blocked: Mapping[dt.date, Sequence[str]] | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Report days of a lake table as materialised: table, version, rows and content hash, and the metadata given.

    metadata: goes to the newest day, where a person looks first.
    blocked: days of the run that were not written, with the reasons; their partitions say so, and keep the data version
        of what they still serve.
    """
    newest = max(written.days)
    described = {
        str(day): {
            "dagster/row_count": content.rows,
            "dagster/uri": written.uri,
            "table_version": written.version,
            "content_hash": content.hash,
            **((by_day or {}).get(day) or {}),
            **((metadata or {}) if day == newest else {}),
        }
        for day, content in written.days.items()
    }
    tags = {
        str(day): {DATA_VERSION: content.hash, INPUTS: inputs.get(day, "")} for day, content in written.days.items()
    }
    served = data_versions(context.instance, context.asset_key) if blocked else {}
    for day, reasons in (blocked or {}).items():
        described[str(day)] = {"blocked": "; ".join(reasons), **((by_day or {}).get(day) or {})}
        tags[str(day)] = {DATA_VERSION: served.get(str(day), "blocked"), INPUTS: inputs.get(day, "")}
    yield from record_partitions(context, described, tags)


def record_partitions(
    context: dg.AssetExecutionContext, metadata: Mapping[str, Mapping[str, Any]], tags: Mapping[str, Mapping[str, str]]
) -> Iterator[dg.MaterializeResult]:
    """Report partitions as materialised, each with its own data version, tags and metadata."""
    recorder = Recorder(context, len(metadata))
    for key in sorted(metadata):
        recorder.add(key, metadata[key], tags[key])
    recorder.write()
    yield recorder.result()


class Recorder:
    """Reports partitions as materialised. The event log takes them together, at most DAGSTER_EVENT_BATCH_SIZE at a time."""

    def __init__(self, context: dg.AssetExecutionContext, partitions: int):
        """partitions: how many will be added in all."""
        self._key, self._step = context.asset_key, context.get_step_execution_context()
        self._alone = partitions == 1 and len(context.partition_keys) == 1
        self._added = list[dg.AssetMaterialization]()
        self._inputs = _get_input_provenance_data(self._key, self._step)
        # An output says that there is something for the steps after this one; the events about it are our own.
        self._result: dg.MaterializeResult = dg.MaterializeResult(
            metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
        )

    def add(self, key: str, metadata: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Of tags, that of the data version is needed."""
        made = dg.DataVersion(tags[DATA_VERSION])
        if self._alone:
            own = {name: value for name, value in tags.items() if name != DATA_VERSION}
            self._result = dg.MaterializeResult(metadata=metadata, data_version=made, tags=own)
            return
        provenance = _build_data_version_tags(made, _get_code_version(self._key, self._step), self._inputs, True)
        event = dg.AssetMaterialization(self._key, partition=key, metadata=metadata, tags={**provenance, **tags})
        self._added.append(event)

    def write(self) -> None:
        """Report what was added since the last time."""
        batch, count = generate_event_batch_id(), len(self._added)
        for number, event in enumerate(self._added, 1):
            place = DagsterEventBatchMetadata(batch, is_end=number == count)
            DagsterEvent.asset_materialization(self._step, event, place)
        self._added = []

    def result(self) -> dg.MaterializeResult:
        """What the asset gives in the end."""
        return self._result


def column_schema(columns: Mapping[str, str], descriptions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Definition metadata that shows columns, types and meanings on the asset page."""
    described = {DAY: "The day of the partition."} | dict(descriptions or {})
    return {
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn(name, kind.lower(), description=described.get(name) or None)
                for name, kind in columns.items()
            ]
        )
    }
