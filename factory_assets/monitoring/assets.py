"""The monitors of a line: `performance` of its predictions once labels are in, `outcomes` in measures of its owner's, `estimates`
before labels are in, `drift`, `counts` of its rows, `monitors`, the one table of what all of them say, and `calibration`: what that is
worth on the line's past.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.point_in_time.tables import loader
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, tree
from factory_assets.identity.partitions import partitions
from factory_assets.identity.versions import stream_version
from factory_assets.materialization import column_schema, days_of, input_fingerprints, record_days, served_days
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.measures.tables import LABEL, prediction_columns, with_columns
from factory_assets.models.archived import load, naive_of
from factory_assets.monitoring import calibration, drift_table, label_days, schemas
from factory_assets.monitoring import counts as counted_rows
from factory_assets.monitoring import estimates as estimate_rows
from factory_assets.monitoring import monitors as monitor_rows
from factory_assets.monitoring import outcomes as outcome_rows
from factory_assets.monitoring import performance as performance_rows
from factory_assets.monitoring.drift import Drift
from factory_assets.monitoring.drift_days import DriftDays
from factory_assets.monitoring.label_days import LabelDays
from factory_assets.monitoring.losses import WORSE_OF_FEW, floor_of, window
from factory_assets.monitoring.released import Reign, gains, reigns, releases
from factory_assets.monitoring.report import drift_report, excess
from factory_assets.scoring.champions import champions_of_days
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports

GROUP = "monitoring"
#: Days in the plot of performance: a quarter of a year. The table in the lake has all days.
SHOWN = dt.timedelta(days=90)
#: Nodes in the table of what estimates foretold, from the root down; versions and weeks in a table of outcomes, the newest first.
NODES_SHOWN, WEEKS_SHOWN = 50, 20
#: Line of the plot of estimates -> column.
COURSE = {"final": "final", "estimate": "estimate", "low": "low", "high": "high"}


def performance_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "performance"])

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
            for name in ("predictions", "labels")
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("performance", line.task),
        description=f"{line.description}\n\nMetrics of the day's predictions for every node, beside a naive guess on the same rows; "
        f"complete {counted(line.horizon_days, 'day')} after the day.",
        metadata=column_schema(
            {field.name: str(field.type) for field in performance_rows.schema(line.task)},
            performance_rows.meaning(line.task),
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
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line.name}/{name}", days[0], days[-1], empty_if_absent=True)
            measured = performance_rows.measure(con, line.task, _naive(con, archive, line))
            written = lake.replace(f"{line.name}/performance", measured, days)
            overall = _overall(con, lake, f"{line.name}/performance", days)
        metric = metric_of(declared)
        by_day = {row["ds"]: _numbers(row, metric) for row in overall if row["ds"] in written.days}
        yield from record_days(context, written, inputs, _course(declared, overall, metric), by_day)

    return performance


def outcomes_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    """Of a line that declares some."""
    line = declared.line
    key = dg.AssetKey([line.name, "outcomes"])
    told = {name: outcome.expression for name, outcome in line.outcomes.items()}

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey(table.split("/")), partition_mapping=dg.IdentityPartitionMapping())
            for table in outcome_rows.reads(declared)
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version("outcomes", line.task, told),
        description=f"{line.description}\n\nWhat the day's predictions came to, for every node and version, beside a naive guess on "
        f"the same rows: {', '.join(f'{name} in {outcome.unit}' for name, outcome in line.outcomes.items())}. Complete "
        f"{counted(line.horizon_days, 'day')} after the day.",
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
                f"mean in {unit}": _figure(week["mean"]),
                "naive": _figure(week["naive"]),
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


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _naive(con: duckdb.DuckDBPyConnection, archive: ArchiveFolder, line: Line) -> dict[str, np.ndarray]:
    """Version -> its naive guess, of the versions in the view `predictions`."""
    versions = [row[0] for row in con.execute("SELECT DISTINCT version FROM predictions ORDER BY 1").fetchall()]
    return {version: naive_of(archive, line.name, version, line.task) for version in versions}


def _overall(con: duckdb.DuckDBPyConnection, lake: Lake, table: str, days: Sequence[dt.date]) -> list[dict[str, Any]]:
    """The root's rows by day, of the run's days and of the days before its newest that the plot shows."""
    first = min(days[0], days[-1] - SHOWN + dt.timedelta(days=1))
    lake.view(con, "history", table, first, days[-1], empty_if_absent=True)
    rows: pa.Table = con.execute("SELECT * FROM history WHERE node = ? ORDER BY ds", [ROOT]).to_arrow_table()
    return rows.to_pylist()


def _numbers(row: dict[str, Any], metric: str) -> dict[str, Any]:
    numbers = {"predicted": row["predicted"], "labelled": row["labelled"]}
    return numbers | {name: row[name] for name in (metric, f"naive_{metric}") if row[name] is not None}


def _course(declared: DeclaredLine, overall: Sequence[dict[str, Any]], metric: str) -> dict[str, dg.MetadataValue]:
    measured = [row for row in overall if row[metric] is not None]
    if not measured:
        return {}
    series = {"champion": [row[metric] for row in measured], "naive": [row[f"naive_{metric}"] for row in measured]}
    title = f"{declared.line.name}: {metric} by day, all segments"
    png = plots.series_plot([row["ds"] for row in measured], series, title, metric)
    return {"course": dg.MetadataValue.md(plots.markdown(png, title))}


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
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("estimates", *map(str, dataclasses.astuple(asked))),
        description=f"{line.description}\n\nMetrics of the predictions of {counted(asked.window, 'day')} up to the day, for every "
        f"node, as expected before labels were in; and what came of it, {counted(asked.horizon, 'day')} later.",
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


def _came_true(declared: DeclaredLine, rows: Sequence[dict[str, Any]]) -> dict[str, dg.MetadataValue]:
    """How well the estimates of the last days foretold what came. rows: of the line's metric."""
    metric, records = metric_of(declared), list[dg.TableRecord]()
    for node in tree({row["node"] for row in rows}) if rows else ():
        if told := estimate_rows.foretold(row for row in rows if row["node"] == node):
            held = "" if told.held is None else f"{told.held:.0%} of {told.banded}"
            records.append(
                dg.TableRecord(
                    {
                        "node": node,
                        "days": told.days,
                        "error": f"{told.error:.4g}",
                        "last window again": f"{told.again:.4g}",
                        "in the band": held,
                    }
                )
            )
    of_root = sorted((row for row in rows if row["node"] == ROOT), key=lambda row: row["ds"])
    shown: dict[str, dg.MetadataValue] = {}
    if records:
        shown["foretold"] = dg.MetadataValue.table(records[:NODES_SHOWN])
    if of_root:
        series = {name: [row[column] for row in of_root] for name, column in COURSE.items()}
        title = f"{declared.line.name}: {metric}, estimated and final, all segments"
        png = plots.series_plot([row["ds"] for row in of_root], series, title, metric)
        shown["course"] = dg.MetadataValue.md(plots.markdown(png, title))
    return shown


def _maturity(ages: Sequence[tuple[int, int, float]]) -> dict[str, dg.MetadataValue]:
    records = [
        dg.TableRecord({"age in days": age, "rows": rows, "labels known": f"{share:.1%}"}) for age, rows, share in ages
    ]
    return {"label_maturity": dg.MetadataValue.table(records)} if records else {}


def drift_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "drift"])
    due = label_days.due_of(line)
    first_label, last_label = due.offsets
    # Examples say of which segment a label is, so that they are read as far back as labels.
    seen, of_labels = (
        dg.TimeWindowPartitionMapping(
            start_offset=first_label, end_offset=last, allow_nonexistent_upstream_partitions=True
        )
        for last in (0, last_label)
    )

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, "examples"]), partition_mapping=seen),
            dg.AssetDep(dg.AssetKey([line.name, "labels"]), partition_mapping=of_labels),
            # Read through the ledger: a day that is scored by another champion is judged against that one.
            dg.AssetDep(dg.AssetKey([line.name, "predictions"]), partition_mapping=dg.IdentityPartitionMapping()),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "evidently"},
        code_version=code_version(
            "drift", declared.features, line.monitor.model_dump(mode="json"), *map(str, dataclasses.astuple(due))
        ),
        description=f"{line.description}\n\nEvery feature, and the prediction, of the last "
        f"{counted(due.window, 'day')}, and the labels of the newest as many days whose labels are due, against the training data "
        "of each node's champion. The Evidently report of the newest day of a run draws the node with the worst drift, or else the "
        "coarsest.",
        metadata=column_schema({field.name: str(field.type) for field in drift_table.SCHEMA}, drift_table.MEANS),
    )
    def drift_of_day(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
        reports: dg.ResourceParam[Reports],
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        champions = champions_of_days(ledger, line.name, days)
        through = label_rows.through(declared, lake, served_days(context.instance, label_rows.stream_of(declared))).day
        known = label_days.state(days, through)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days, known)
        watched = DriftDays(
            read=lambda first, last: lake.read(f"{line.name}/examples", first, last, empty_if_absent=True),
            load=lambda version: load(archive, line.name, version),
            monitor=line.monitor,
            labels=LabelDays(lambda first, last: label_days.read(engine, lake, line.name, first, last), due, through),
        )
        by_day: dict[dt.date, dict[str, Any]] = {}
        verdicts: list[tuple[str, str, Drift]] = []

        def judged() -> Iterator[pa.RecordBatch]:
            nonlocal verdicts
            for day in days:
                verdicts = watched.judge(day, champions[day])
                by_day[day] = _summary(verdicts)
                rows = [
                    drift_table.row(declared.features, day, node, version, verdict)
                    for node, version, verdict in verdicts
                ]
                yield from pa.Table.from_pylist(rows, schema=drift_table.SCHEMA).to_batches()

        written = lake.replace(
            f"{line.name}/drift", pa.RecordBatchReader.from_batches(drift_table.SCHEMA, judged()), days
        )
        report = _report(declared, watched, verdicts, days[-1], reports)
        yield from record_days(context, written, inputs, report, by_day)

    return drift_of_day


def _summary(verdicts: list[tuple[str, str, Drift]]) -> dict[str, Any]:
    drifted = [(node, verdict) for node, _, verdict in verdicts if verdict.verdict == "drifted"]
    if not verdicts:
        return {"verdict": "no verdict: too few rows, or no champion yet"}
    worst = sorted(drifted, key=lambda item: -excess(item[1]))[:10]
    stable = any(verdict.verdict == "stable" for _, _, verdict in verdicts)
    return {
        "verdict": "drifted" if drifted else "stable" if stable else f"no verdict: {verdicts[0][2].reason}",
        "columns_drifted": len(drifted),
        "columns_judged": sum(verdict.verdict != "no verdict" for _, _, verdict in verdicts),
        "worst": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "node": node,
                        "column": verdict.column,
                        "part": verdict.part,
                        "psi": round(verdict.statistic, 4),
                        "limit": round(verdict.limit, 4),
                    }
                )
                for node, verdict in worst
            ],
            schema=dg.TableSchema([dg.TableColumn(name) for name in ("node", "column", "part", "psi", "limit")]),
        ),
    }


def _report(
    declared: DeclaredLine,
    watched: DriftDays,
    verdicts: Sequence[tuple[str, str, Drift]],
    day: dt.date,
    reports: Reports,
) -> dict[str, dg.MetadataValue]:
    """Evidently's pictures of a node's rows in the window that ends with the newest day: of the node with the worst drift, if any.

    verdicts: of that day, which was judged last.
    """
    judged = watched.judged
    if not judged:
        return {}
    drifted = [(node, verdict) for node, _, verdict in verdicts if verdict.verdict == "drifted"]
    coarsest = next(node for node in tree(judged) if node in judged)
    # Labels have no picture: rows are drawn.
    drawn = [each for each in drifted if each[1].column != LABEL]
    shown, _ = max(drawn, key=lambda each: excess(each[1]), default=(coarsest, None))
    model, rows = watched.model(judged[shown]), watched.rows(shown)
    predicted = prediction_columns(model.task, model.predict(rows))
    rows = with_columns(rows, predicted)
    categorical = [name for name in model.features if name in model.encoding.categories]
    categorical += [name for name, values in predicted.items() if pa.types.is_string(values.type)]
    numerical = [name for name in (*model.features, *predicted) if name not in categorical]
    title = f"{declared.line.name}, {shown}, {counted(declared.line.monitor.window.days, 'day')} to {day}"
    now = rows.select([*numerical, *categorical])
    of_node = [verdict for node, _, verdict in verdicts if node == shown]
    html = drift_report(model.sample, now, numerical, categorical, title, of_node, drifted)
    return {"evidently_report": dg.MetadataValue.path(reports.write(f"{declared.line.name}/drift/{day}.html", html))}


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
        group_name=GROUP,
        owners=[line.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version(
            "counts", declared.features, *(stream_version(declared.streams[name]) for name in declared.stands_on)
        ),
        description=f"{line.description}\n\nRows of the day by node and stream, and how many of them were held back, answered by "
        "another node, of an entity without events, or without a value. Control charts are drawn from them.",
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


def monitors_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line, metric = declared.line, metric_of(declared)
    key, block, floor = dg.AssetKey([line.name, "monitors"]), line.overlap_days, floor_of(line, metric)
    # A loss is held against a window of days, and may have begun in the one before.
    behind = {"counts": monitor_rows.BEHIND, "performance": 2 * window(block)}
    quiet = {name: declared.streams[name].contract for name in declared.stands_on}
    quiet[counted_rows.EXAMPLES] = declared.observed.contract

    @dg.asset(
        key=key,
        deps=[
            *(
                dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
                for name in ("drift", "estimates")
            ),
            *(
                dg.AssetDep(
                    dg.AssetKey([line.name, name]),
                    partition_mapping=dg.TimeWindowPartitionMapping(
                        start_offset=-days, end_offset=0, allow_nonexistent_upstream_partitions=True
                    ),
                )
                for name, days in behind.items()
            ),
            # Which columns a day was delivered with is recorded beside its raw rows.
            *(
                dg.AssetDep(
                    dg.AssetKey([stream, "raw"]),
                    partition_mapping=dg.TimeWindowPartitionMapping(
                        start_offset=-monitor_rows.BEHIND, end_offset=0, allow_nonexistent_upstream_partitions=True
                    ),
                )
                for stream in declared.stands_on
            ),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version(
            "monitors",
            metric,
            block,
            declared.features,
            line.monitor.model_dump(mode="json"),
            {name: sorted(map(str, contract.quiet)) for name, contract in quiet.items()},
            *([] if floor is None else [floor]),
        ),
        description=f"{line.description}\n\nWhat every monitor says of the day, a row a node, monitor and column: drift, performance, "
        "estimates, columns that streams are delivered with, and control charts of rows, and of shares that are held back, answered "
        "by another node, cold, or without a value.",
        metadata=column_schema({field.name: str(field.type) for field in monitor_rows.SCHEMA}, monitor_rows.MEANING),
    )
    def monitors(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        first = {name: days[0] - dt.timedelta(days=before) for name, before in behind.items()}
        counts = lake.read(f"{line.name}/counts", first["counts"], days[-1], empty_if_absent=True)
        shown = [first["counts"] + dt.timedelta(days=at) for at in range((days[-1] - first["counts"]).days + 1)]
        off = {name: {day for day in shown if contract.is_quiet(day)} for name, contract in quiet.items()}
        series = counted_rows.series(counts, first["counts"], days[-1], off)
        measured: dict[dt.date, list[dict[str, Any]]] = {}
        columns = ["node", "ds", "labelled", metric, f"naive_{metric}"]
        of_line = f"{line.name}/performance"
        for row in lake.read(of_line, first["performance"], days[-1], columns, empty_if_absent=True).to_pylist():
            measured.setdefault(row["ds"], []).append(row)
        delivered = {stream: _delivered(lake, stream, first["counts"], days[-1]) for stream in declared.stands_on}
        flags = len(counted_rows.flags_of(declared))
        # Who answers is read through the ledger: where it is another, drift of the day is of another version.
        standing: Mapping[dt.date, Mapping[str, Reign]] = {}
        if metric not in WORSE_OF_FEW:
            standing = reigns(ledger.steps(line.name), days)
        versions = {reign.version for of_day in standing.values() for reign in of_day.values()}
        gained = gains(ledger.evaluations(line.name, versions=versions), metric)
        by_day: dict[dt.date, dict[str, Any]] = {}

        def told() -> Iterator[pa.RecordBatch]:
            for day in days:
                of_day = series.until(day, monitor_rows.BEHIND + 1)
                known = monitor_rows.Known(
                    day, metric, block, line.monitor,
                    drift=lake.read(f"{line.name}/drift", day, day, empty_if_absent=True),
                    estimates=lake.read(f"{line.name}/estimates", day, day, empty_if_absent=True),
                    performance={on: rows for on, rows in measured.items() if 0 <= (day - on).days <= behind["performance"]},
                    series=of_day,
                    looks=monitor_rows.looks(of_day, len(declared.features), flags),
                    floor=floor,
                    releases=releases(standing.get(day, {}), gained),
                    delivered=delivered,
                )  # fmt: skip
                table = monitor_rows.monitors(line.name, known)
                by_day[day] = _verdicts(table)
                yield from table.to_batches()

        rows = pa.RecordBatchReader.from_batches(monitor_rows.SCHEMA, told())
        yield from record_days(context, lake.replace(f"{line.name}/monitors", rows, days), inputs, by_day=by_day)

    return monitors


def _delivered(lake: Lake, stream: str, first: dt.date, last: dt.date) -> dict[dt.date, schemas.Delivered]:
    """Day -> what the stream was delivered with."""
    table = f"{stream}/deliveries"
    if lake.version(table) is None:
        return {}
    rows = lake.read(table, first, last, empty_if_absent=True)
    return schemas.delivered({name: row.get(name) for name in schemas.READ} for row in rows.to_pylist())


def _verdicts(table: pa.Table) -> dict[str, Any]:
    """How many rows of a day have each verdict, and those that are alarms."""
    import pyarrow.compute as pc

    alarms = table.filter(pc.equal(table["verdict"], monitor_rows.ALARM))
    named = ("node", "monitor", "column", "reason")
    shown = alarms.select(named).slice(0, 20).to_pylist()
    return {
        "alarms": alarms.num_rows,
        "stable": pc.sum(pc.equal(table["verdict"], monitor_rows.STABLE)).as_py() or 0,
        "alarmed": dg.MetadataValue.table(
            [dg.TableRecord(row) for row in shown], schema=dg.TableSchema([dg.TableColumn(name) for name in named])
        ),
    }


#: What a page shows of a calibration -> columns of its rows, and what people call them there.
CALIBRATED = {
    "alarms": {"month": "month", "monitor": "monitor", "tried": "days watched", "number": "alarms that began"},
    "changes": {"change": "change", "after": "days of it", "tried": "columns changed", "number": "found"},
}


class Rehearsed(dg.Config):
    """How much of the past has changes put in."""

    weeks: int = Field(4, ge=1, description="So many of the newest weeks have changes put in.")


def calibration_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line

    @dg.asset(
        key=dg.AssetKey([line.name, "calibration"]),
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.AllPartitionMapping())
            for name in ("examples", "performance", "drift")
        ],
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("drift", line.monitor.model_dump(mode="json")),
        description=f"{line.description}\n\nWhat the monitors are worth on the line's own past: alarms by month, and changes put into "
        "its newest weeks, found after how many days. Materialise it when you want to know; `factory calibrate` says the same.",
        metadata=column_schema({field.name: str(field.type) for field in calibration.SCHEMA}, calibration.MEANS),
    )
    def calibrated(
        config: Rehearsed,
        lake: dg.ResourceParam[Lake],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        found = calibration.calibrate(declared, lake, archive, ledger, config.weeks)
        if found is None:
            return dg.MaterializeResult(metadata={"status": "no day of drift yet"})
        day, rows = found.ends[-1], found.table()
        written = lake.replace(f"{line.name}/calibration", rows, [day])
        shown = {name: dg.MetadataValue.table(_records(rows, columns)) for name, columns in CALIBRATED.items()}
        return dg.MaterializeResult(
            metadata={**shown, "declared": line.monitor.declared},
            data_version=dg.DataVersion(written.days[day].hash),
        )

    return calibrated


def _records(rows: pa.Table, shown: Mapping[str, str]) -> list[dg.TableRecord]:
    """The rows that have a value in the first of the columns shown. shown: column -> what people call it there."""
    by = next(iter(shown))
    return [
        dg.TableRecord({title: str(row[name]) if name == by else row[name] for name, title in shown.items()})
        for row in rows.to_pylist()
        if row[by] is not None
    ]
