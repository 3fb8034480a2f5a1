"""The asset `<line>/counts`: the numbers of a day that control charts hold against the days before."""

from collections.abc import Iterator

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.code import code_version
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.identity.versions import stream_version
from factory_assets.materialization import column_schema, days_of, input_fingerprints, record_days
from factory_assets.monitoring.charts import counts as counted_rows
from factory_resources.engine import Engine
from factory_resources.lake import Lake


def counts_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "counts"])
    same_day = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        key=key,
        deps=[
            *(
                dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
                for name in ("examples", "predictions")
            ),
            # What is held back stands beside events, and follows from raw rows.
            *(
                dg.AssetDep(dg.AssetKey([stream, name]), partition_mapping=same_day)
                for stream in declared.stands_on
                for name in ("raw", "events")
            ),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version(
            "counts", declared.features, *(stream_version(declared.streams[name]) for name in declared.stands_on)
        ),
        description=introduced(
            "Rows of the day by node and stream, how old the newest of a stream were at its close, and how many were held "
            "back, answered by another node, of an entity without events, or without a value. Control charts are drawn from them.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in counted_rows.SCHEMA}, counted_rows.MEANING),
    )
    def counts(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        with engine.connect() as con:

            def view(table: str) -> str | None:
                if lake.version(table) is None:
                    return None
                name = table.replace("/", "_")
                lake.view(con, name, table, days[0], days[-1], empty_if_absent=True)
                return name

            rows = counted_rows.counts(con, declared, view)
        yield from record_days(context, lake.replace(f"{line.name}/counts", rows, days), inputs)

    return counts
