"""The assets `<line>/performance`, by metrics once labels are in, and `<line>/outcomes`, in measures of the line's owner."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.features.point_in_time.tables import loader
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.materialization import IN_SHORT, column_schema, days_of, input_fingerprints, record_days
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.models.archived import naive_of
from factory_assets.monitoring.performance import measured as performance_rows
from factory_assets.monitoring.performance import outcomes as outcome_rows
from factory_assets.words import counted, figure
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: Days in the plot of performance: a quarter of a year. The table in the lake has all days.
SHOWN = dt.timedelta(days=90)
#: Versions and weeks in a table of outcomes, the newest first.
WEEKS_SHOWN = 20


def performance_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line, parents, metric = declared.line, bool(declared.line.segments.levels), metric_of(declared)
    key, read = dg.AssetKey([line.name, "performance"]), ["predictions", "labels", *(["parents"] if parents else [])]

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
            for name in read
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("performance", line.task, metric, *(["parents"] if parents else [])),
        description=introduced(
            "Metrics of the day's predictions for every node, beside a naive guess on the same rows"
            f"{', and beside what the champion above would have made of them' if parents else ''}; "
            f"complete {counted(line.horizon_days, 'day')} after the day.",
            line.description,
        ),
        metadata=column_schema(
            {field.name: str(field.type) for field in performance_rows.schema(line.task, parents)},
            performance_rows.meaning(line.task, parents),
        ),
    )
    def performance(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        with engine.connect() as con:
            for name in read:
                lake.view(con, name, f"{line.name}/{name}", days[0], days[-1], empty_if_absent=True)
            measured = performance_rows.measure(con, line.task, metric, _naive(con, archive, line), parents)
            written = lake.replace(f"{line.name}/performance", measured, days)
            overall = _overall(con, lake, f"{line.name}/performance", days)
        by_day = {row["ds"]: _numbers(row, metric) for row in overall if row["ds"] in written.days}
        yield from record_days(context, written, inputs, _course(declared, overall, metric), by_day)

    return performance


def _overall(con: duckdb.DuckDBPyConnection, lake: Lake, table: str, days: Sequence[dt.date]) -> list[dict[str, Any]]:
    """The root's rows by day, of the run's days and of the days before its newest that the plot shows."""
    first = min(days[0], days[-1] - SHOWN + dt.timedelta(days=1))
    lake.view(con, "history", table, first, days[-1], empty_if_absent=True)
    rows: pa.Table = con.execute("SELECT * FROM history WHERE node = ? ORDER BY ds", [ROOT]).to_arrow_table()
    return rows.to_pylist()


def _numbers(row: dict[str, Any], metric: str) -> dict[str, Any]:
    labels = f"{row['labelled']:,} of {row['predicted']:,} predictions have their label"
    if row[metric] is None:
        told = f"{metric} cannot be measured yet"
    else:
        within = "" if row["low"] is None else f", with 95 % between {figure(row['low'])} and {figure(row['high'])}"
        told = f"{metric} {figure(row[metric])}{within}, naive guess {figure(row[f'naive_{metric}'])}"
    numbers: dict[str, Any] = {
        IN_SHORT: f"all segments: {told}; {labels}",
        "predicted": row["predicted"],
        "labelled": row["labelled"],
    }
    return numbers | {name: row[name] for name in (metric, f"naive_{metric}") if row[name] is not None}


def _course(declared: DeclaredLine, overall: Sequence[dict[str, Any]], metric: str) -> dict[str, dg.MetadataValue]:
    measured = [row for row in overall if row[metric] is not None]
    if not measured:
        return {}
    series = {"champion": [row[metric] for row in measured], "naive": [row[f"naive_{metric}"] for row in measured]}
    title = f"{declared.line.name}: {metric} by day, all segments"
    png = plots.series_plot([row["ds"] for row in measured], series, title, metric)
    return {"course": dg.MetadataValue.md(plots.markdown(png, title))}


def outcomes_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    """Of a line that declares some."""
    line = declared.line
    key = dg.AssetKey([line.name, "outcomes"])
    expressions = {name: outcome.expression for name, outcome in line.outcomes.items()}

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey(table.split("/")), partition_mapping=dg.IdentityPartitionMapping())
            for table in outcome_rows.reads(declared)
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version("outcomes", line.task, expressions),
        description=introduced(
            "What the day's predictions came to, for every node and version, beside a naive guess on "
            f"the same rows: {', '.join(f'{name} in {outcome.unit}' for name, outcome in line.outcomes.items())}. Complete "
            f"{counted(line.horizon_days, 'day')} after the day.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in outcome_rows.SCHEMA}, outcome_rows.MEANS),
    )
    def outcomes(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        with engine.connect() as con:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line.name}/{name}", days[0], days[-1], empty_if_absent=True)
            observations = outcome_rows.observed(con, declared, days, loader(lake, con))
            rows = outcome_rows.measure(con, declared, observations, _naive(con, archive, line))
            written = lake.replace(f"{line.name}/outcomes", rows, days)
            overall = _overall(con, lake, f"{line.name}/outcomes", days)
        shown: dict[str, dg.MetadataValue] = {}
        by_day: dict[dt.date, dict[str, Any]] = {}
        for name in line.outcomes:
            own = [row for row in overall if row["outcome"] == name]
            shown |= _came_to(line, name, own)
            for day, of_day in outcome_rows.by_days(own).items():
                by_day.setdefault(day, {})[f"{name}_mean"] = of_day["mean"]
        yield from record_days(context, written, inputs, shown, by_day)

    return outcomes


def _came_to(line: Line, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, dg.MetadataValue]:
    """An outcome over time by version, and its last weeks. rows: of the root, by day."""
    if not rows:
        return {}
    unit, better = line.outcomes[name].unit, line.outcomes[name].better
    weeks = [
        dg.TableRecord(
            {
                f"mean in {unit}": figure(week["mean"]),
                "naive": figure(week["naive"]),
                "rows": week["rows"],
                "week to": str(week["week_to"]),
                "version": week["version"],
            }
        )
        for week in outcome_rows.by_week(rows, rows[-1]["ds"])
    ]
    days, series = outcome_rows.courses(rows)
    title = f"{line.name}: {name} by version"
    png = plots.series_plot(days, series, title, f"{unit}, {better} is better")
    return {
        f"{name}_course": dg.MetadataValue.md(plots.markdown(png, title)),
        f"{name}_weeks": dg.MetadataValue.table(weeks[:WEEKS_SHOWN]),
    }


def _naive(con: duckdb.DuckDBPyConnection, archive: ArchiveFolder, line: Line) -> dict[str, np.ndarray]:
    """Version -> its naive guess, of the versions in the view `predictions`."""
    versions = [row[0] for row in con.execute("SELECT DISTINCT version FROM predictions ORDER BY 1").fetchall()]
    return {version: naive_of(archive, line.name, version, line.task) for version in versions}
