"""The checks on monitors: a drifted day and a day no better than a naive guess are warnings on that day's partition."""

import datetime as dt
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.events.assets import partitions
from factory_assets.features.segments import ROOT
from factory_assets.materialization import days_of
from factory_assets.measures.metrics import better
from factory_assets.training.assets import metric_of
from factory_resources.lake import Lake

Finding = tuple[dt.date, bool, dict[str, Any]]


def drift_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([declared.line.name, "drift"])

    @dg.asset_check(
        asset=key,
        name="no_drift",
        partitions_def=partitions(declared.observed),
        description="No feature and no prediction of the day left what its champion was trained on.",
    )
    def no_drift(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        days = days_of(context)
        rows = lake.read("/".join(key.path), days[0], days[-1], empty_if_absent=True).to_pylist()
        findings: list[Finding] = []
        for day in days:
            drifted = [row for row in rows if row["ds"] == day and row["verdict"] == "drifted"]
            shown = ", ".join(f"{row['column']} of {row['node']} ({row['statistic']:.2f})" for row in drifted[:10])
            findings.append((day, not drifted, {"drifted": shown or "nothing"}))
        return _report(context, key, "no_drift", findings)

    return no_drift


def performance_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([declared.line.name, "performance"])
    metric = metric_of(declared)

    @dg.asset_check(
        asset=key,
        name="better_than_naive",
        partitions_def=partitions(declared.observed),
        description=f"The day's {metric} over all segments is better than that of a naive guess, once it can be measured.",
    )
    def better_than_naive(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        days = days_of(context)
        table: pa.Table = lake.read("/".join(key.path), days[0], days[-1], empty_if_absent=True)
        overall = {row["ds"]: row for row in table.to_pylist() if row["segment"] == ROOT}
        findings: list[Finding] = []
        for day in days:
            row = overall.get(day, {})
            value, naive = row.get(metric), row.get(f"naive_{metric}")
            known = value is not None and naive is not None
            told = (
                {metric: value, "naive": naive, "labelled": row["labelled"]}
                if known
                else {"status": "not measurable yet"}
            )
            findings.append((day, not known or better(metric, value, naive), told))
        return _report(context, key, "better_than_naive", findings)

    return better_than_naive


def _report(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, name: str, findings: list[Finding]
) -> dg.AssetCheckResult:
    """The result of a day, or an evaluation on each day of a range and one result over all of them."""
    if len(findings) == 1:
        _, passed, metadata = findings[0]
        return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=metadata)
    for day, passed, metadata in findings:
        context.op_execution_context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=name,
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={label: dg.MetadataValue.text(str(value)) for label, value in metadata.items()},
                partition=str(day),
            )
        )
    failed = [str(day) for day, passed, _ in findings if not passed]
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"days": len(findings), "days_failed": ", ".join(failed) or "none"},
    )
