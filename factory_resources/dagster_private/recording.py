"""How does a run over many partitions say of each what it wrote, and what a check found on each?

Dagster gives all partitions of a range run one data version, and an event to each, whether it was computed or not. By its
private names the factory writes its own events instead, in batches. The public way is to let Dagster write its events, and then
others over them: what a partition's newest event says is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from factory_resources.dagster_private.versions import private, require

DATA_VERSION = "dagster/data_version"
#: Tag by which Dagster tells a data version that was given from one that it has worked out.
GIVEN = "dagster/data_version_is_user_provided"


@dataclass(frozen=True)
class _Names:
    """Dagster's own, by which an asset's events are written by us and Dagster writes none."""

    without_events: str
    batch_id: Any
    place: Any
    write: Any
    tags: Any
    code_version: Any
    inputs: Any


def _take() -> _Names:
    from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
    from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, generate_event_batch_id
    from dagster._core.execution.plan import execute_step

    require(dg.AssetExecutionContext.get_step_execution_context)
    require(generate_event_batch_id)
    require(DagsterEventBatchMetadata, "id", "is_end")
    require(DagsterEvent.asset_materialization, "step_context", "materialization", "batch_metadata")
    require(execute_step._get_code_version, "asset_key", "step_context")
    require(execute_step._get_input_provenance_data, "asset_key", "step_context")
    of_tags = ("data_version", "code_version", "input_provenance_data", "data_version_is_user_provided")
    require(execute_step._build_data_version_tags, *of_tags)
    if execute_step.SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION != SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION:
        raise AttributeError("the key by which Dagster writes no events of its own is another where it is read")
    return _Names(
        SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
        generate_event_batch_id,
        DagsterEventBatchMetadata,
        DagsterEvent.asset_materialization,
        execute_step._build_data_version_tags,
        execute_step._get_code_version,
        execute_step._get_input_provenance_data,
    )


_names = private("recording partitions", _take)


class Recorder:
    """Reports partitions of a run as materialised; an asset yields what `results` gives, once, in the end."""

    def __init__(self, context: dg.AssetExecutionContext, partitions: int):
        """partitions: how many will be added in all."""
        self._context = context
        self._alone = partitions == 1 and len(context.partition_keys) == 1
        self._result: dg.MaterializeResult | None = None
        self._many = PublicEvents(context) if _names is None else PrivateEvents(context, _names)

    def add(self, key: str, metadata: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Of tags, that of the data version is needed."""
        if self._alone:
            own = {name: value for name, value in tags.items() if name != DATA_VERSION}
            made = dg.DataVersion(tags[DATA_VERSION])
            self._result = dg.MaterializeResult(metadata=metadata, data_version=made, tags=own)
        else:
            self._many.add(key, metadata, tags)

    def write(self) -> None:
        """Report what was added since the last time, where that can be before the end."""
        self._many.write()

    def results(self) -> Iterator[dg.MaterializeResult]:
        """What the asset gives in the end."""
        if self._result is not None:
            yield self._result
        else:
            self.write()
            yield from self._many.results()


class PrivateEvents:
    """One event a partition. The event log takes them together, at most DAGSTER_EVENT_BATCH_SIZE at a time."""

    def __init__(self, context: dg.AssetExecutionContext, names: _Names):
        self._names, self._key, self._step = names, context.asset_key, context.get_step_execution_context()
        self._added = list[dg.AssetMaterialization]()
        self._inputs = names.inputs(self._key, self._step)

    def add(self, key: str, metadata: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        made, code = dg.DataVersion(tags[DATA_VERSION]), self._names.code_version(self._key, self._step)
        provenance = self._names.tags(made, code, self._inputs, True)
        event = dg.AssetMaterialization(self._key, partition=key, metadata=metadata, tags={**provenance, **tags})
        self._added.append(event)

    def write(self) -> None:
        batch, count = self._names.batch_id(), len(self._added)
        for number, event in enumerate(self._added, 1):
            self._names.write(self._step, event, self._names.place(batch, is_end=number == count))
        self._added = []

    def results(self) -> Iterator[dg.MaterializeResult]:
        # An output says that there is something for the steps after this one; the events about it are our own.
        yield dg.MaterializeResult(metadata={self._names.without_events: True})


class PublicEvents:
    """Two events a partition: Dagster's, which has no stamp of inputs, and ours over it, with Dagster's tags and our own.

    A run that is killed between them leaves its partitions without a stamp, to be made again. Of a partition of the run that was
    not made, its newest event is written once more; one that was never made shows as made, without a stamp.
    """

    def __init__(self, context: dg.AssetExecutionContext):
        self._context, self._key = context, context.asset_key
        self._added: dict[str, tuple[Mapping[str, Any], Mapping[str, str]]] = {}

    def add(self, key: str, metadata: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self._added[key] = metadata, tags

    def write(self) -> None:
        """Nothing before Dagster has written: its events would be the newer ones."""

    def results(self) -> Iterator[dg.MaterializeResult]:
        context = self._context
        before = self._newest([key for key in context.partition_keys if key not in self._added])
        yield dg.MaterializeResult()
        newest = self._newest(context.partition_keys[:1])
        # Code version and inputs are the same for all partitions of a run.
        common = {**(next(iter(newest.values())).tags or {}), GIVEN: "true"} if newest else {}
        for key, (metadata, tags) in self._added.items():
            event = dg.AssetMaterialization(self._key, partition=key, metadata=metadata, tags={**common, **tags})
            context.log_event(event)
        for key, event in before.items():
            context.log_event(
                dg.AssetMaterialization(self._key, partition=key, metadata=event.metadata, tags=dict(event.tags or {}))
            )

    def _newest(self, partitions: Sequence[str]) -> dict[str, dg.AssetMaterialization]:
        """Of these partitions what their newest events say."""
        found: dict[str, dg.AssetMaterialization] = {}
        for partition in partitions:
            asked = dg.AssetRecordsFilter(self._key, asset_partitions=[partition])
            for record in self._context.instance.fetch_materializations(asked, limit=1).records:
                if record.asset_materialization:
                    found[partition] = record.asset_materialization
        return found


def _take_checks() -> bool:
    """`log_event` takes evaluations, though Dagster's annotation does not say so."""
    from dagster._core.events import DagsterEvent

    require(DagsterEvent.asset_check_evaluation, "step_context", "asset_check_evaluation")
    require(dg.OpExecutionContext.log_event, "event")
    if not isinstance(dg.AssetCheckExecutionContext.op_execution_context, property):
        raise AttributeError("AssetCheckExecutionContext.op_execution_context is no property")
    return True


_of_partitions = private("recording checks", _take_checks)


def record_evaluations(context: dg.AssetCheckExecutionContext, evaluations: Sequence[dg.AssetCheckEvaluation]) -> bool:
    """Record what a check found on each partition; False where this Dagster has no way to, and the result has to tell."""
    if not _of_partitions:
        return False
    for each in evaluations:
        context.op_execution_context.log_event(each)  # type: ignore[arg-type]
    return True
