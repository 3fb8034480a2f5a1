"""The asset of a served view, `serving/<view>`: its newest day in the store that servers ask."""

import time

import dagster as dg

from factory_assets.declarations.declared import DeclaredStream, feature_types
from factory_assets.declarations.view import View
from factory_assets.identity.code import code_version
from factory_assets.identity.places import introduced, station, views_group
from factory_assets.materialization import INPUTS, column_schema
from factory_assets.serving import export
from factory_assets.serving.due import export_state, serving_key
from factory_assets.serving.stores import AS_OF, StoreError, store_of
from factory_resources.engine import Engine
from factory_resources.lake import Lake


def serving_asset(view: View, declared: DeclaredStream) -> dg.AssetsDefinition:
    """Without partitions: a day of the past that is made again must not be written over a newer one."""
    key, serve = serving_key(view), view.serve
    assert serve is not None  # only served views have the asset

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey(["features", view.name]), partition_mapping=dg.LastPartitionMapping())],
        group_name=views_group(view.stream),
        tags=station("serving"),
        owners=[view.owner],
        kinds={serve.kind},
        code_version=code_version("serving", serve.place, view.entity, view.names),
        description=introduced(
            f"The newest values of each {' and '.join(view.entity)}, where servers look them up. "
            "An older snapshot is never written over a newer one; entities that are not in the newest are removed.",
            view.description,
        ),
        metadata=column_schema(
            {key: declared.types[key] for key in view.entity} | feature_types(view, declared) | {AS_OF: "timestamptz"},
            view.features,
        ),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=view.freshness)
        if not declared.stream.end
        else None,
    )
    def served(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> dg.MaterializeResult:
        state = export_state(context.instance, lake, view, context.assets_def.get_asset_spec(key))
        began = time.monotonic()
        try:
            with engine.connect() as con, store_of(serve) as store:
                snapshot = export.newest(lake, con, view)
                done = store.write(snapshot)
        except (StoreError, LookupError, TypeError) as error:
            raise dg.Failure(f"serving/{view.name}: {error}") from None
        seconds = time.monotonic() - began
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{export.day_of(snapshot.as_of)}-{snapshot.content.hash}"),
            tags={INPUTS: state},
            metadata={
                "dagster/row_count": done.rows,
                "rows_written": done.written,
                "rows_changed": done.changed,
                "rows_removed": done.removed,
                AS_OF: dg.MetadataValue.timestamp(snapshot.as_of),
                "table_version": snapshot.table_version,
                "content_hash": snapshot.content.hash,
                "seconds": seconds,
                "rows_per_second": done.rows / seconds,
            },
        )

    return served
