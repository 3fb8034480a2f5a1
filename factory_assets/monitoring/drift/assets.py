"""The asset `<line>/drift`: columns that left what champions were trained on, and a report that draws them."""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples import labels as label_rows
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import tree
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.materialization import (
    IN_SHORT,
    column_schema,
    days_of,
    input_fingerprints,
    record_days,
    served_days,
    table_shown,
)
from factory_assets.measures.tables import LABEL, prediction_columns, with_columns
from factory_assets.monitoring.drift import labels as label_days
from factory_assets.monitoring.drift import table as drift_table
from factory_assets.monitoring.drift.days import DriftDays, watching
from factory_assets.monitoring.drift.labels import LabelDays
from factory_assets.monitoring.drift.report import drift_report, excess
from factory_assets.monitoring.drift.verdicts import Drift
from factory_assets.scoring.champions import champions_of_days
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports


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
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"python", "evidently"},
        code_version=code_version(
            "drift", declared.features, line.monitor.judging, *map(str, dataclasses.astuple(due))
        ),
        description=introduced(
            "Every feature, and the prediction, of the last "
            f"{counted(due.window, 'day')}, and the labels of the newest as many days whose labels are due, against the training data "
            "of each node's champion. The Evidently report of the newest day of a run draws the node with the worst drift, or else "
            "the coarsest.",
            line.description,
        ),
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
            load=watching(archive, line.name),
            monitor=line.monitor,
            labels=LabelDays(lambda first, last: label_days.read(engine, lake, line.name, first, last), due, through),
            stream_of=declared.stream_of,
            through=days[-1],
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
        none = "no verdict: too few rows, or no champion yet"
        return {IN_SHORT: none, "verdict": none}
    worst = sorted(drifted, key=lambda item: -excess(item[1]))[:10]
    stable = any(verdict.verdict == "stable" for _, _, verdict in verdicts)
    verdict = "drifted" if drifted else "stable" if stable else f"no verdict: {verdicts[0][2].reason}"
    judged = sum(verdict.verdict != "no verdict" for _, _, verdict in verdicts)
    most = f"; most of all {worst[0][1].column} of {worst[0][0]}" if worst else ""
    return {
        IN_SHORT: f"{verdict}: {len(drifted)} of {judged} columns that could be judged drifted{most}"
        if judged
        else verdict,
        "verdict": verdict,
        "columns_drifted": len(drifted),
        "columns_judged": judged,
        "worst": table_shown(
            [
                {
                    "node": node,
                    "column": verdict.column,
                    "part": verdict.part,
                    "psi": round(verdict.statistic, 4),
                    "limit": round(verdict.limit, 4),
                }
                for node, verdict in worst
            ],
            ("node", "column", "part", "psi", "limit"),
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
