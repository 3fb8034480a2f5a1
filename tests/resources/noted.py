"""Assets whose run over a range of partitions writes events of every kind that is about assets."""

from collections.abc import Iterator

import dagster as dg

PARTS = [f"part-{number}" for number in range(30)]
#: The tags of a run of all parts.
WHOLE_RANGE = {"dagster/asset_partition_range_start": PARTS[0], "dagster/asset_partition_range_end": PARTS[-1]}


@dg.multi_asset(
    specs=[dg.AssetSpec(name, skippable=True) for name in ("first", "second", "skipped")],
    partitions_def=dg.StaticPartitionsDefinition(PARTS),
    check_specs=[dg.AssetCheckSpec("whole", asset="first")],
)
def noted(context: dg.AssetExecutionContext) -> Iterator[object]:
    for key in ("first", "second"):
        yield dg.MaterializeResult(key)
    yield dg.AssetCheckResult(passed=True, asset_key="first", check_name="whole")
