"""The asset `<line>/estimates`: how good predictions are before their labels are in."""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples import labels as label_rows
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, tree
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.materialization import (
    IN_SHORT,
    column_schema,
    days_of,
    input_fingerprints,
    record_days,
    served_days,
)
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.estimates import windows as estimate_rows
from factory_assets.words import counted, figure
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: Days in the plot of estimates: a quarter of a year. The table in the lake has all days.
SHOWN = dt.timedelta(days=90)
#: Nodes in the table of what estimates foretold, from the root down.
NODES_SHOWN = 50
#: Line of the plot of estimates -> column.
COURSE = {"final": "final", "estimate": "estimate", "low": "low", "high": "high"}


def estimates_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line, asked = declared.line, estimate_rows.asked_of(declared.line)
    key = dg.AssetKey([line.name, "estimates"])
    past = dg.TimeWindowPartitionMapping(
        start_offset=-asked.reach, end_offset=0, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=past) for name in ("predictions", "labels")
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("estimates", *map(str, dataclasses.astuple(asked))),
        description=introduced(
            f"Metrics of the predictions of {counted(asked.window, 'day')} up to the day, for every "
            f"node, as expected before labels were in; and what came of it, {counted(asked.horizon, 'day')} later.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in estimate_rows.SCHEMA}, estimate_rows.MEANS),
    )
    def estimates(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        through = label_rows.through(declared, lake, served_days(context.instance, label_rows.stream_of(declared))).day
        known = estimate_rows.state(asked, days, through)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days, known)
        first = days[0] - dt.timedelta(days=asked.reach)
        with engine.connect() as con:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line.name}/{name}", first, days[-1], empty_if_absent=True)
            found = estimate_rows.estimates(asked, estimate_rows.query(con, line.task), days, through)
            written = lake.replace(f"{line.name}/estimates", found, days)
            ages = estimate_rows.maturity(con, through, asked.horizon)
        import pyarrow.compute as pc

        metric = metric_of(declared)
        rows = lake.read(f"{line.name}/estimates", days[-1] - SHOWN, days[-1], empty_if_absent=True)
        shown = _came_true(declared, rows.filter(pc.equal(rows["metric"], metric)).to_pylist()) | _maturity(ages)
        yield from record_days(context, written, inputs, shown)

    return estimates


def _came_true(declared: DeclaredLine, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How well the estimates of the last days foretold what came. rows: of the line's metric."""
    metric, records = metric_of(declared), list[dg.TableRecord]()
    for node in tree({row["node"] for row in rows}) if rows else ():
        if foretold := estimate_rows.foretold(row for row in rows if row["node"] == node):
            in_band = "" if foretold.in_band is None else f"{foretold.in_band:.0%} of {foretold.banded}"
            records.append(
                dg.TableRecord(
                    {
                        "node": node,
                        "days": foretold.days,
                        "error": figure(foretold.error),
                        "again": figure(foretold.again),
                        "in band": in_band,
                    }
                )
            )
    of_root = sorted((row for row in rows if row["node"] == ROOT), key=lambda row: row["ds"])
    shown: dict[str, Any] = {}
    if of_root:
        shown[IN_SHORT] = _newest(metric, of_root[-1])
    if records:
        shown["foretold"] = dg.MetadataValue.table(records[:NODES_SHOWN])
    if of_root:
        series = {name: [row[column] for row in of_root] for name, column in COURSE.items()}
        title = f"{declared.line.name}: {metric}, estimated and final, all segments"
        png = plots.series_plot([row["ds"] for row in of_root], series, title, metric)
        shown["course"] = dg.MetadataValue.md(plots.markdown(png, title))
    return shown


def _newest(metric: str, row: Mapping[str, Any]) -> str:
    """What is said of the newest window of all segments."""
    estimate, final, partial = row["estimate"], row["final"], row["partial"]
    between = "" if row["low"] is None else f", between {figure(row['low'])} and {figure(row['high'])}"
    told = (
        f"{metric} {figure(estimate)} estimated{between}" if estimate is not None else f"{metric} cannot be estimated"
    )
    came = (
        f"{figure(final)} came"
        if final is not None
        else f"{figure(partial)} by the labels so far"
        if partial is not None
        else ""
    )
    return f"all segments, {row['ds']}: {told}; {came or 'no label is in yet'}"


def _maturity(ages: Sequence[tuple[int, int, float]]) -> dict[str, dg.MetadataValue]:
    records = [
        dg.TableRecord({"age in days": age, "rows": rows, "labels known": f"{share:.1%}"}) for age, rows, share in ages
    ]
    return {"label_maturity": dg.MetadataValue.table(records)} if records else {}
