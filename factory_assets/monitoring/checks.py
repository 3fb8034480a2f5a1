"""The checks on monitors: drift, a node worse than a naive guess, or worse than estimated, are warnings on the day's partition."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.partitions import partitions
from factory_assets.materialization import days_of
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.expected import FALSE_ALARM_RATE as CONCEPT_RATE
from factory_assets.monitoring.losses import FALSE_ALARM_RATE, Loss, block_of, losses, window
from factory_assets.words import counted
from factory_resources.lake import Lake

#: Nodes, or columns of nodes, that a message names.
SHOWN = 5
#: So far back it is looked for the first day of a drift.
EPISODE = dt.timedelta(days=60)


def drift_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([declared.line.name, "drift"])

    @dg.asset_check(
        asset=key,
        name="no_drift",
        partitions_def=partitions(declared.observed),
        description="No feature and no prediction of the day left what its champion was trained on, further than its weeks differ.",
    )
    def no_drift(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        import pyarrow.compute as pc

        days = days_of(context)
        columns = ["node", "column", "part", "statistic", "limit", "rows", "verdict", "ds"]
        rows = lake.read("/".join(key.path), days[0] - EPISODE, days[-1], columns, empty_if_absent=True)
        judged, without = (
            {each["values"]: each["counts"] for each in of_days.value_counts().to_pylist()}
            for of_days in (rows["ds"], rows.filter(pc.equal(rows["verdict"], "no verdict"))["ds"])
        )
        drifted: dict[dt.date, list[dict[str, Any]]] = {}
        for row in rows.filter(pc.equal(rows["verdict"], "drifted")).to_pylist():
            drifted.setdefault(row["ds"], []).append(row)
        findings = [_drift_of_day(day, drifted, judged.get(day, 0), without.get(day, 0)) for day in days]
        return report(context, key, "no_drift", findings)

    return no_drift


def _drift_of_day(day: dt.date, drifted: Mapping[dt.date, list[dict[str, Any]]], judged: int, without: int) -> Finding:
    """drifted: day -> rows of the drift table. judged, without: columns looked at that day, and those of them without a verdict."""
    found = sorted(drifted.get(day, ()), key=lambda row: -row["statistic"] / row["limit"])
    told = [
        f"{row['part']} of {row['column']} of {row['node']} since {_since(row, day, drifted)} "
        f"(PSI {row['statistic']:.3g}, limit {row['limit']:.3g}, {row['rows']:,} rows)"
        for row in found[:SHOWN]
    ]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    message = (
        f"drifted: {'; '.join([*told, *more])}"
        if found
        else f"nothing drifted of {counted(judged - without, 'column')}"
    )
    message += f"; no verdict on {counted(without, 'column')}" if without else ""
    numbers = {"drifted": len(found), "stable": judged - without - len(found), "no verdict": without}
    return Finding(
        day, not found, message=message, metadata={name: dg.MetadataValue.int(value) for name, value in numbers.items()}
    )


def _since(row: dict[str, Any], day: dt.date, drifted: Mapping[dt.date, list[dict[str, Any]]]) -> dt.date:
    """The first of the days on end on which a node's column has drifted."""
    while any((one["node"], one["column"]) == (row["node"], row["column"]) for one in drifted.get(day - DAY, ())):
        day -= DAY
    return day


def performance_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key, line = dg.AssetKey([declared.line.name, "performance"]), declared.line
    metric = metric_of(declared)
    block = block_of(line)

    @dg.asset_check(
        asset=key,
        name="better_than_naive",
        partitions_def=partitions(declared.observed),
        description=f"No node's {metric} is worse than that of a naive guess by more than its own days vary, once it can be "
        f"measured. Of a node where nothing is lost, {2 * FALSE_ALARM_RATE:.1%} of the days fail at most.",
    )
    def better_than_naive(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        days = days_of(context)
        first = days[0] - 2 * window(block) * DAY
        columns = ["node", "ds", "labelled", metric, f"naive_{metric}"]
        rows = lake.read("/".join(key.path), first, days[-1], columns, empty_if_absent=True).to_pylist()
        by_day: dict[dt.date, list[Loss]] = {day: [] for day in days}
        for loss in losses(metric, rows, days, block):
            by_day[loss.day].append(loss)
        overall = {row["ds"]: row for row in rows if row["node"] == ROOT}
        findings = [_of_day(metric, day, overall.get(day, {}), lost) for day, lost in by_day.items()]
        return report(context, key, "better_than_naive", findings)

    return better_than_naive


def _of_day(metric: str, day: dt.date, root: dict[str, Any], lost: list[Loss]) -> Finding:
    value, naive = root.get(metric), root.get(f"naive_{metric}")
    message = "not measurable yet" if value is None or naive is None else f"{metric} {value:.4g}, naive {naive:.4g}"
    if lost:
        message = "; ".join(f"{loss.node}, since {loss.since}: {loss.reason}" for loss in lost[:SHOWN])
        message += f"; and {counted(len(lost) - SHOWN, 'node')} more" if len(lost) > SHOWN else ""
    numbers = {"labelled": dg.MetadataValue.int(root.get("labelled", 0)), "worse": dg.MetadataValue.int(len(lost))}
    return Finding(day, not lost, message=message, metadata=numbers)


def estimates_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key, metric = dg.AssetKey([declared.line.name, "estimates"]), metric_of(declared)

    @dg.asset_check(
        asset=key,
        name="as_estimated",
        partitions_def=partitions(declared.observed),
        description=f"No node's {metric}, once labels are in, is so much worse than estimated that what is predicted depends on "
        "the features otherwise than before: concept change, which inputs alone cannot show. While nothing changes, "
        f"{CONCEPT_RATE:.1%} of a node's days fail.",
    )
    def as_estimated(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        import pyarrow.compute as pc

        days = days_of(context)
        rows = lake.read("/".join(key.path), days[0] - EPISODE, days[-1], empty_if_absent=True)
        by_day: dict[dt.date, list[dict[str, Any]]] = {}
        for row in rows.filter(pc.equal(rows["metric"], metric)).to_pylist():
            by_day.setdefault(row["ds"], []).append(row)
        findings = [_estimated_of_day(metric, day, by_day) for day in days]
        return report(context, key, "as_estimated", findings)

    return as_estimated


def _estimated_of_day(metric: str, day: dt.date, by_day: Mapping[dt.date, list[dict[str, Any]]]) -> Finding:
    """by_day: rows of the table of estimates of the metric."""
    rows = by_day.get(day, [])
    # How far a node is beyond its limit, in units of its band, puts the worst first.
    found = sorted((row for row in rows if row["verdict"] == "concept"), key=_excess, reverse=True)
    told = [
        f"{row['node']}, since {_concept_since(row['node'], day, by_day)}: {metric} {row['final']:.4g}, estimated "
        f"{row['estimate']:.4g}, 95 % between {row['low']:.4g} and {row['high']:.4g}"
        for row in found[:SHOWN]
    ]
    told += [f"and {counted(len(found) - SHOWN, 'node')} more"] if len(found) > SHOWN else []
    root = next((row for row in rows if row["node"] == ROOT), None)
    if found:
        message = f"concept change: {'; '.join(told)}"
    elif root is None:
        message = f"{metric} is not estimated: no predictions, or no metric that can be"
    else:
        now = "not in yet" if root["final"] is None else f"{root['final']:.4g}"
        message = f"{metric} of the labels: {now}; estimated: {root['reason']}"
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("final", "concept")}
    numbers = {name: dg.MetadataValue.int(number) for name, number in counts.items()}
    return Finding(day, not found, message=message, metadata=numbers)


def _excess(row: dict[str, Any]) -> float:
    return float(abs(row["error"]) / max(row["high"] - row["low"], 1e-12))


def _concept_since(node: str, day: dt.date, by_day: Mapping[dt.date, list[dict[str, Any]]]) -> dt.date:
    """The first of the days on end whose verdict of a node is concept change."""
    while any((row["node"], row["verdict"]) == (node, "concept") for row in by_day.get(day - DAY, ())):
        day -= DAY
    return day
