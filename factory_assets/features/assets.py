"""The assets of features: a snapshot of each view, and for each line its examples and their labels, a partition a day."""

import datetime as dt
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredLine, DeclaredStream
from factory_assets.declarations.catalogue import require as require_declared
from factory_assets.declarations.declared import feature_types
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.tasks import classes_of
from factory_assets.declarations.view import View
from factory_assets.features.catalogue import inventory as catalogue
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples import rows as example_rows
from factory_assets.features.point_in_time import snapshots, tiles
from factory_assets.features.point_in_time.tables import loader
from factory_assets.identity.code import code_version
from factory_assets.identity.partitions import add_nodes, partitions, window_of
from factory_assets.identity.places import introduced, station, views_group
from factory_assets.identity.versions import examples_version, stream_version, view_definition
from factory_assets.materialization import (
    IN_SHORT,
    column_schema,
    days_of,
    input_fingerprints,
    record_days,
    served_days,
)
from factory_assets.words import counted
from factory_resources.dagster_private.refusals import refusal
from factory_resources.engine import Engine
from factory_resources.lake import Lake, Written


def listed(records: Iterable[Mapping[str, str]]) -> dict[str, dg.TableMetadataValue]:
    """Definition metadata that shows features as a table on the asset page; their names begin with that of their view."""
    shown = [{name: value for name, value in record.items() if name != "view"} for record in records]
    return {"features": dg.MetadataValue.table([dg.TableRecord(record) for record in shown])}


def _meaning(record: Mapping[str, str]) -> str:
    """The meaning of a feature, for its column on the asset page."""
    return f"{record['definition']} [{record['unit']}]"


@dataclass(frozen=True)
class Output:
    """Where computed days are written.

    table: of the lake. order: columns by which the rows of a day are sorted.
    rows: name of the connection's table that has the rows of the stretch that was computed last.
    """

    lake: Lake
    con: duckdb.DuckDBPyConnection
    table: str
    order: Sequence[str]
    rows: str = "built"


def computed(
    output: Output, build: Callable[[Sequence[dt.date]], str], stretches: Iterable[Sequence[dt.date]]
) -> Iterator[Written]:
    """Compute and write one stretch of days after another.

    build: gives the query for some days. A column that changes its type makes all days one stretch, since it changes for
        all of them at once.
    """
    waiting = [list(days) for days in stretches]
    while waiting:
        query = build(waiting[0])
        if len(waiting) > 1 and output.lake.retyped(
            output.table, output.con.sql(f"SELECT * FROM ({query}) LIMIT 0").to_arrow_table().schema
        ):
            waiting = [[day for days in waiting for day in days]]
            query = build(waiting[0])
        yield replace_computed(output, query, waiting.pop(0))


def replace_computed(
    output: Output, query: str, days: Sequence[dt.date], require: Callable[[str], None] = lambda rows: None
) -> Written:
    """Compute days as a table of the connection, which spills where memory ends, and write it a stretch at a time.

    require: called with the name of that table before anything is written; its ValueError fails the asset.
    """
    output.con.execute(f"CREATE OR REPLACE TEMP TABLE {output.rows} AS {query}").fetchall()
    try:
        require(output.rows)
    except ValueError as refused:
        raise refusal(str(refused)) from None
    order = ", ".join(["ds", *map(identifier, output.order)])
    return output.lake.replace_from(output.con, output.table, output.rows, days, order)


def view_asset(view: View, declared: DeclaredStream, records: Sequence[Mapping[str, str]]) -> dg.AssetsDefinition:
    """records: the catalogue's record of each feature, for the asset page."""
    key = dg.AssetKey(["features", view.name])

    @dg.asset(
        key=key,
        deps=[window_of(view.stream, -whole_days(view.reach))],
        partitions_def=partitions(declared),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=views_group(view.stream),
        tags=station("features"),
        owners=[view.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version("features", view_definition(view), stream_version(declared)),
        description=introduced(
            f"Values of each {' and '.join(view.entity)} at the close of the day (UTC), for those "
            f"with an event within {whole_days(view.reach)} days. Lines ask for them as {', '.join(view.canonical[:3])}, ...",
            view.description,
        ),
        metadata=column_schema(
            {key: declared.types[key] for key in view.entity} | feature_types(view, declared),
            declared.meanings | {record["feature"].partition(".")[2]: _meaning(record) for record in records},
        )
        | listed(records),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=view.freshness)
        if not declared.stream.end
        else None,
    )
    def snapshot(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        with engine.connect() as con:
            output = Output(lake, con, f"features/{view.name}", view.entity)
            if tiles.fit(view, days):
                # No event tells of them, so no plan misses them: those that cannot be read are made again here.
                for kept in ("tiles", "totals"):
                    lake.drop_damaged(f"{kept}/{view.name}")
                query, read = tiles.Tiles(con, lake, view, declared).snapshot(days)
                written = replace_computed(output, query, days)
            else:
                stretches, load = snapshots.in_stretches(con, lake, view, declared, days), loader(lake, con)
                build = functools.partial(snapshots.snapshot, con, view, declared, load=load)
                written = functools.reduce(operator.add, computed(output, build, stretches))
                read = {}
        by_day = {
            day: {
                IN_SHORT: f"{content.rows:,} of {' and '.join(view.entity)} with {counted(len(view.canonical), 'feature')} each"
            }
            for day, content in written.days.items()
        }
        yield from record_days(context, written, inputs, {f"{what}_read": rows for what, rows in read.items()}, by_day)

    return snapshot


def examples_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "examples"])
    fresh, records = [view.name for view in example_rows.fresh_views(declared)], catalogue.of_line(declared)
    offset = example_rows.snapshot_offset(declared)
    read = dg.TimeWindowPartitionMapping(
        start_offset=offset, end_offset=offset, allow_nonexistent_upstream_partitions=True
    )
    views = [
        dg.AssetDep(
            dg.AssetKey(["features", name]), partition_mapping=dg.IdentityPartitionMapping() if name in fresh else read
        )
        for name in declared.views
    ]

    @dg.asset(
        key=key,
        deps=[window_of(stream, -back) for stream, back in example_rows.lookback(declared).items()] + views,
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("features"),
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=examples_version(declared),
        description=introduced(
            "One row an observation of the day with its complete feature vector, computed from "
            "what was known at that moment. The same rows are scored, trained on and watched for drift.",
            line.description,
        ),
        metadata=column_schema(
            {"example_id": "varchar", "leaf": "varchar", "observed_at": "timestamp"}
            | {name: declared.observed.types[name] for name in [*declared.carried, *declared.row_features]}
            | {name: declared.types[name] for name in declared.features if name in declared.types},
            {
                "example_id": "The observed event's id.",
                "leaf": "Its own segment, a leaf of the tree.",
                "observed_at": "The moment as of which its features are computed, in UTC.",
            }
            | declared.observed.meanings
            | {record["feature"]: _meaning(record) for record in records},
        )
        | listed(records),
    )
    def examples(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        written, nodes, cold = list[Written](), set[str](), dict[dt.date, dict[str, float]]()
        with engine.connect() as con:
            stretches = example_rows.in_stretches(con, lake, declared, days)
            build = functools.partial(example_rows.build, con, declared, load=loader(lake, con))
            output = Output(lake, con, f"{line.name}/examples", ["observed_at", "example_id"])
            for part in computed(output, build, stretches):
                written.append(part)
                nodes |= set(example_rows.nodes_seen(con, output.rows))
                cold |= example_rows.cold_starts(con, declared, output.rows)
                if len(part.days) < len(days):
                    context.log.info(f"{max(part.days)}: {sum(len(done.days) for done in written)} of {len(days)} days")
        add_nodes(context.instance, declared, nodes)
        all_written = functools.reduce(operator.add, written)
        by_day = {day: _seen(content.rows, cold.get(day, {})) for day, content in all_written.days.items()}
        yield from record_days(context, all_written, inputs, {"segment_nodes": len(nodes)}, by_day)

    return examples


def _seen(rows: int, cold: Mapping[str, float]) -> dict[str, Any]:
    """Metadata of a day's examples. cold: flag -> share of the rows for whose entity its view had no event."""
    told = f"{rows:,} {'observation' if rows == 1 else 'observations'}"
    if not cold:
        return {IN_SHORT: told}
    worst = max(cold, key=lambda flag: cold[flag])
    cold_start = (
        f"{cold[worst]:.1%} without an event of {worst.partition('.')[0]}" if cold[worst] else "none without events"
    )
    return {IN_SHORT: f"{told}, {cold_start}", "cold_starts": dg.MetadataValue.json(dict(cold))}


def _filled(rows: int, whole: bool) -> str:
    """What a day's labels come to. whole: whether all that the day can have are in."""
    return f"{rows:,} {'label' if rows == 1 else 'labels'}, {'complete' if whole else 'more are to come'}"


def labels_asset(declared: DeclaredLine, folder: Path) -> dg.AssetsDefinition:
    """folder: of the line's declaration, which is named where its labels are not those of its task."""
    line = declared.line
    key = dg.AssetKey([line.name, "labels"])

    @dg.asset(
        key=key,
        deps=[window_of(stream, *around) for stream, around in label_rows.lookaround(declared).items()],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("features"),
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version(
            "labels",
            line.observe.model_dump(mode="json"),
            line.label.model_dump(mode="json", exclude={"freshness", "told", "known"}),
            # Labels of other tasks are numbers, whatever the task.
            *([line.task] if classes_of(line.task) else []),
        ),
        description=f"The truth for the observations of the day, complete {line.horizon_days} days later. "
        "Filled again as more of it arrives.",
        metadata=column_schema(
            {"example_id": "varchar", "label": "varchar" if classes_of(line.task) else "double"}
            | {"known_at": "timestamp", "superseded_at": "timestamp"},
            {
                "example_id": "The observation, as in the examples.",
                "label": "What happened.",
                "known_at": "When it was known, in UTC.",
                "superseded_at": "When another label of the same observation was known; empty for the one that holds.",
            },
        ),
    )
    def labels(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        through = label_rows.through(declared, lake, served_days(context.instance, label_rows.stream_of(declared)))
        passed = label_rows.state(declared, days, through)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days, passed)
        with engine.connect() as con:
            query = label_rows.build(con, declared, days, through, loader(lake, con))
            output = Output(lake, con, f"{line.name}/labels", ["example_id"])
            written = replace_computed(
                output,
                query,
                days,
                lambda rows: require_declared(label_rows.strange(con, declared, rows), folder, line.name),
            )
        by_day = {
            day: {IN_SHORT: _filled(content.rows, label_rows.complete(declared, day, through))}
            for day, content in written.days.items()
        }
        yield from record_days(context, written, inputs, {"labels_known_through": str(through.day)}, by_day)

    return labels
