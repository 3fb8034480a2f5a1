"""The asset of a served view, `serving/<view>`: its newest day in the store that servers ask."""

import hashlib
import time

import dagster as dg

from factory_assets.declarations.declared import DeclaredStream, feature_types
from factory_assets.declarations.view import View
from factory_assets.materialization import INPUTS, code_version, column_schema, data_versions
from factory_assets.serving import export
from factory_assets.serving.stores import AS_OF, StoreError, store_of
from factory_resources.dagster_private.reading import newest_checks
from factory_resources.engine import Engine
from factory_resources.lake import Lake

GROUP = "serving"
EQUAL = "equal"


def serving_key(view: View) -> dg.AssetKey:
    return dg.AssetKey(["serving", view.name])


def serving_asset(view: View, declared: DeclaredStream) -> dg.AssetsDefinition:
    """Without partitions: a day of the past that is made again must not be written over a newer one."""
    key, serve = serving_key(view), view.serve
    assert serve is not None  # only served views have the asset

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey(["features", view.name]), partition_mapping=dg.LastPartitionMapping())],
        group_name=GROUP,
        owners=[view.owner],
        kinds={serve.kind},
        code_version=code_version("serving", serve.place, view.entity, view.names),
        description=f"{view.description}\n\nThe newest values of each {' and '.join(view.entity)}, where servers look them up. "
        "An older snapshot is never written over a newer one; entities that are not in the newest are removed.",
        metadata=column_schema(
            {key: declared.types[key] for key in view.entity} | feature_types(view, declared) | {AS_OF: "timestamptz"},
            view.features,
        ),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=view.freshness)
        if not declared.stream.end
        else None,
    )
    def served(context: dg.AssetExecutionContext, lake: Lake, engine: Engine) -> dg.MaterializeResult:
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


def export_state(instance: dg.DagsterInstance, lake: Lake, view: View, spec: dg.AssetSpec) -> str:
    """A hash of what an export now would write, and where to: the newest day, its data version, the declaration."""
    day = max(lake.days(f"features/{view.name}"), default=None)
    content = data_versions(instance, dg.AssetKey(["features", view.name])).get(str(day))
    return hashlib.sha256(f"{spec.code_version}|{day}|{content}".encode()).hexdigest()[:16]


def export_due(instance: dg.DagsterInstance, lake: Lake, view: View, spec: dg.AssetSpec) -> bool:
    """Whether the store was not given the newest features yet, or did not hold them when it was last compared."""
    if not lake.days(f"features/{view.name}"):
        return False
    event = instance.get_latest_materialization_event(spec.key)
    stamped = (event.asset_materialization.tags or {}).get(INPUTS) if event and event.asset_materialization else None
    check = dg.AssetCheckKey(spec.key, EQUAL)
    compared = newest_checks(instance, [check]).get(check)
    # Of a run that failed before it, the check is only planned.
    equal = compared is not None and compared.passed
    return not equal or stamped != export_state(instance, lake, view, spec)
