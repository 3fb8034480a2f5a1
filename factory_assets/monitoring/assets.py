"""The monitors of a line: `performance` of its predictions once labels are in, `drift` of what it sees and says."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.events.assets import partitions
from factory_assets.features.segments import ROOT, tree
from factory_assets.materialization import code_version, column_schema, days_of, input_fingerprints, record_days
from factory_assets.measures import plots
from factory_assets.measures.tables import prediction_columns, with_columns
from factory_assets.monitoring import performance as performance_rows
from factory_assets.monitoring.drift import Drift, drift
from factory_assets.monitoring.report import drift_report
from factory_assets.scoring.champions import champions_of_days
from factory_assets.training.assets import metric_of
from factory_assets.training.fitting import rows_within
from factory_assets.training.released import ReleasedModel, load
from factory_resources.archive import Archive
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports

GROUP = "monitoring"
#: Fewer rows than this on either side give no verdict: a bin would hold too few for the chi-square limit.
MINIMUM_ROWS = 100
DRIFT_MEANS = {
    "node": "Segment node whose rows are compared.",
    "version": "Its champion, whose training data is the reference.",
    "column": "The feature, or the prediction.",
    "statistic": "Population stability index against the reference, in nats.",
    "limit": "The index above which the column has drifted.",
    "p_value": "Chance of at least this index if nothing changed.",
    "rows": "Rows of the days that are compared.",
    "null_share": "Share of them without a value.",
    "verdict": "stable, drifted, or no verdict where there are too few rows for one.",
}
DRIFT_SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("version", pa.string()),
        ("column", pa.string()),
        ("statistic", pa.float64()),
        ("limit", pa.float64()),
        ("p_value", pa.float64()),
        ("rows", pa.int64()),
        ("null_share", pa.float64()),
        ("verdict", pa.string()),
        ("ds", pa.date32()),
    ]
)


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
        f"complete {line.horizon_days} days after the day.",
        metadata=column_schema(
            {field.name: str(field.type) for field in performance_rows.schema(line.task)},
            performance_rows.meaning(line.task),
        ),
    )
    def performance(
        context: dg.AssetExecutionContext, lake: Lake, engine: Engine, archive: Archive
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        with engine.connect() as con:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line.name}/{name}", days[0], days[-1], empty_if_absent=True)
            versions = [row[0] for row in con.execute("SELECT DISTINCT version FROM predictions ORDER BY 1").fetchall()]
            naive = {version: load(archive, line.name, version).naive(1, line.task) for version in versions}
            written = lake.replace(f"{line.name}/performance", performance_rows.measure(con, line.task, naive), days)
        history = lake.read(f"{line.name}/performance", last=days[-1], empty_if_absent=True)
        overall = _rows_of(history, ROOT)
        metric = metric_of(declared)
        by_day = {row["ds"]: _numbers(row, metric) for row in overall if row["ds"] in written.days}
        yield from record_days(context, written, inputs, _course(declared, overall, metric), by_day)

    return performance


def _rows_of(history: pa.Table, node: str) -> list[dict[str, Any]]:
    return sorted(history.filter(pc.equal(history["segment"], node)).to_pylist(), key=lambda row: row["ds"])


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


def drift_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "drift"])
    window = dg.TimeWindowPartitionMapping(
        start_offset=1 - line.monitor.window.days, end_offset=0, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, "examples"]), partition_mapping=window),
            # Read through the ledger: a day that is scored by another champion is judged against that one.
            dg.AssetDep(dg.AssetKey([line.name, "predictions"]), partition_mapping=dg.IdentityPartitionMapping()),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "evidently"},
        code_version=code_version("drift", declared.features, line.monitor.model_dump(mode="json")),
        description=f"{line.description}\n\nEvery feature, and the prediction, of the last "
        f"{line.monitor.window.days} days against the training data of each node's champion. The Evidently report of the newest "
        "day of a run draws the coarsest node.",
        metadata=column_schema({field.name: str(field.type) for field in DRIFT_SCHEMA}, DRIFT_MEANS),
    )
    def drift_of_day(
        context: dg.AssetExecutionContext, lake: Lake, archive: Archive, ledger: Ledger, reports: Reports
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        champions = champions_of_days(ledger, line.name, days)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        models: dict[str, ReleasedModel] = {}
        rows: list[dict[str, Any]] = []
        by_day: dict[dt.date, dict[str, Any]] = {}
        for day in days:
            seen = _window(lake, declared, day)
            found = _verdicts(archive, declared, seen, champions[day], models)
            by_day[day] = _summary(found)
            rows += [_row(day, node, version, verdict) for node, version, verdict in found]
        written = lake.replace(f"{line.name}/drift", pa.Table.from_pylist(rows, schema=DRIFT_SCHEMA), days)
        report = _report(declared, seen, champions[days[-1]], models, days[-1], reports)
        yield from record_days(context, written, inputs, report, by_day)

    return drift_of_day


def _window(lake: Lake, declared: DeclaredLine, day: dt.date) -> pa.Table:
    """Examples of the days that a day's drift is judged on."""
    first = day - declared.line.monitor.window + dt.timedelta(days=1)
    return lake.read(f"{declared.line.name}/examples", first, day, empty_if_absent=True)


def _verdicts(
    archive: Archive,
    declared: DeclaredLine,
    seen: pa.Table,
    champions: Mapping[str, str],
    models: dict[str, ReleasedModel],
) -> list[tuple[str, str, Drift]]:
    """Judge every node that has a champion on all rows of its subtree, because that is what it was trained on.

    Rows for which a child answers count too, with what this champion says of them: otherwise a model that is left with
    the small segments would seem to drift as soon as the large ones get models of their own. A node with too few rows
    for any verdict has no row in the table.
    """
    rate = declared.line.monitor.false_alarm_rate
    found = []
    for node, version in sorted(champions.items()):
        rows = rows_within(seen, node)
        if rows.num_rows < MINIMUM_ROWS:
            continue
        models[version] = models.get(version) or load(archive, declared.line.name, version)
        model = models[version]
        said = prediction_columns(model.task, model.predict(rows))
        judged = {name: rows[name] for name in model.features} | said
        verdicts = [
            drift(model.profiles[name], values, false_alarm_rate=rate, minimum_rows=MINIMUM_ROWS)
            for name, values in judged.items()
        ]
        found += [(node, version, verdict) for verdict in verdicts]
    return found


def _row(day: dt.date, node: str, version: str, verdict: Drift) -> dict[str, Any]:
    fields = ("column", "statistic", "limit", "p_value", "rows", "null_share", "verdict")
    return {"node": node, "version": version, "ds": day} | {name: getattr(verdict, name) for name in fields}


def _summary(found: list[tuple[str, str, Drift]]) -> dict[str, Any]:
    drifted = [(node, verdict) for node, _, verdict in found if verdict.verdict == "drifted"]
    if not found:
        return {"verdict": "no verdict: too few rows, or no champion yet"}
    worst = sorted(drifted, key=lambda item: -item[1].statistic)[:10]
    return {
        "verdict": "drifted" if drifted else "stable",
        "columns_drifted": len(drifted),
        "columns_judged": sum(verdict.verdict != "no verdict" for _, _, verdict in found),
        "worst": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "node": node,
                        "column": verdict.column,
                        "psi": round(verdict.statistic, 4),
                        "limit": round(verdict.limit, 4),
                    }
                )
                for node, verdict in worst
            ],
            schema=dg.TableSchema(
                [dg.TableColumn("node"), dg.TableColumn("column"), dg.TableColumn("psi"), dg.TableColumn("limit")]
            ),
        ),
    }


def _report(
    declared: DeclaredLine,
    seen: pa.Table,
    champions: Mapping[str, str],
    models: Mapping[str, ReleasedModel],
    day: dt.date,
    reports: Reports,
) -> dict[str, dg.MetadataValue]:
    """Evidently's pictures of the coarsest node's rows in the window that ends with the newest day."""
    if not seen.num_rows or not champions:
        return {}
    judged = [name for name in tree(champions) if champions.get(name) in models]
    if not judged:
        return {}
    model, rows = models[champions[judged[0]]], rows_within(seen, judged[0])
    said = prediction_columns(model.task, model.predict(rows))
    rows = with_columns(rows, said)
    categorical = [name for name in model.features if name in model.encoding.categories]
    categorical += [name for name, values in said.items() if pa.types.is_string(values.type)]
    numerical = [name for name in (*model.features, *said) if name not in categorical]
    title = f"{declared.line.name}, {judged[0]}, {declared.line.monitor.window.days} days to {day}"
    html = drift_report(model.sample, rows.select([*numerical, *categorical]), numerical, categorical, title)
    return {"evidently_report": dg.MetadataValue.path(reports.write(f"{declared.line.name}/drift/{day}.html", html))}
