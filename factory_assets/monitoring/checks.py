"""The checks on monitors: a drifted day and a day no better than a naive guess are warnings on that day's partition."""

import datetime as dt
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.partitions import partitions
from factory_assets.materialization import days_of
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import better
from factory_resources.lake import Lake


def drift_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([declared.line.name, "drift"])

    @dg.asset_check(
        asset=key,
        name="no_drift",
        partitions_def=partitions(declared.observed),
        description="No feature and no prediction of the day left what its champion was trained on.",
    )
    def no_drift(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        import pyarrow.compute as pc

        days = days_of(context)
        rows = lake.read("/".join(key.path), days[0], days[-1], empty_if_absent=True)
        by_day: dict[dt.date, list[dict[str, Any]]] = {day: [] for day in days}
        for row in rows.filter(pc.equal(rows["verdict"], "drifted")).to_pylist():
            by_day[row["ds"]].append(row)
        findings = []
        for day, drifted in by_day.items():
            shown = ", ".join(f"{row['column']} of {row['node']} ({row['statistic']:.2f})" for row in drifted[:10])
            message = f"drifted: {shown}" if drifted else "nothing drifted"
            findings.append(
                Finding(day, not drifted, message=message, metadata={"drifted": dg.MetadataValue.int(len(drifted))})
            )
        return report(context, key, "no_drift", findings)

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
    def better_than_naive(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        import pyarrow.compute as pc

        days = days_of(context)
        table: pa.Table = lake.read("/".join(key.path), days[0], days[-1], empty_if_absent=True)
        overall = {row["ds"]: row for row in table.filter(pc.equal(table["node"], ROOT)).to_pylist()}
        findings = []
        for day in days:
            row = overall.get(day, {})
            value, naive = row.get(metric), row.get(f"naive_{metric}")
            measured = value is not None and naive is not None
            message = f"{metric} {value:.4g}, naive {naive:.4g}" if measured else "not measurable yet"
            labelled = dg.MetadataValue.int(row.get("labelled", 0))
            findings.append(
                Finding(
                    day, not measured or better(metric, value, naive), message=message, metadata={"labelled": labelled}
                )
            )
        return report(context, key, "better_than_naive", findings)

    return better_than_naive
