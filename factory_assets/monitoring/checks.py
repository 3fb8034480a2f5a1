"""The checks on monitors: what drifted, does worse than a naive guess, or is out of control is a warning on the day's partition."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.partitions import partitions
from factory_assets.materialization import days_of
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.losses import FALSE_ALARM_RATE, Loss, block_of, losses, window
from factory_assets.monitoring.monitors import ALARM, CONCERNS, NONE
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


DESCRIPTIONS = {
    "rows_in_control": "Streams and nodes have as many rows as their past days let expect.",
    "quarantine_in_control": "No larger share of a stream's rows is held back than on its past days.",
    "fallback_in_control": "No larger share of a node's rows is answered by a node above the leaf, or of entities without events.",
    "nulls_in_control": "No larger share of a feature's values is absent than on the node's past days.",
}


def control_checks(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "monitors"])

    @dg.multi_asset_check(
        name=f"{line.name}__in_control",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                partitions_def=partitions(declared.observed),
                description=f"{DESCRIPTIONS[name]} All charts of the line give {line.monitor.declared} at most while nothing changes.",
            )
            for name in CONCERNS
        ],
    )
    def in_control(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckResult]:
        import pyarrow.compute as pc

        days = days_of(context)
        columns = ["node", "monitor", "column", "verdict", "reason", "n", "ds"]
        rows = lake.read("/".join(key.path), days[0] - EPISODE, days[-1], columns, empty_if_absent=True)
        for name, monitors in CONCERNS.items():
            own = rows.filter(pc.is_in(rows["monitor"], pa.array(monitors)))
            told = own.group_by(["ds", "verdict"]).aggregate([([], "count_all")]).to_pylist()
            numbers = {(each["ds"], each["verdict"]): each["count_all"] for each in told}
            alarms: dict[dt.date, list[dict[str, Any]]] = {}
            for row in own.filter(pc.equal(own["verdict"], ALARM)).to_pylist():
                alarms.setdefault(row["ds"], []).append(row)
            of_day = {day: sum(many for (on, _), many in numbers.items() if on == day) for day in days}
            findings = [_control_of_day(day, alarms, of_day[day], numbers.get((day, NONE), 0)) for day in days]
            yield report(context, key, name, findings)

    return in_control


def _control_of_day(day: dt.date, alarms: Mapping[dt.date, list[dict[str, Any]]], judged: int, without: int) -> Finding:
    """alarms: day -> rows of the table of monitors. judged, without: series looked at, and those of them without a verdict."""
    found = sorted(alarms.get(day, ()), key=lambda row: (-row["n"], row["node"], row["column"]))
    told = [
        f"{row['monitor']} of {row['column']} of {row['node']} since {_began(row, day, alarms)}: {row['reason']}"
        for row in found[:SHOWN]
    ]
    told += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    message = "; ".join(told) if found else f"nothing out of control of {judged - without} series"
    message += f"; no verdict on {without} series" if without else ""
    numbers = {"alarms": len(found), "stable": judged - without - len(found), "no verdict": without}
    return Finding(
        day, not found, message=message, metadata={name: dg.MetadataValue.int(value) for name, value in numbers.items()}
    )


def _began(row: dict[str, Any], day: dt.date, alarms: Mapping[dt.date, list[dict[str, Any]]]) -> dt.date:
    """The first of the days on end on which a series is out of control."""
    same = ("node", "monitor", "column")
    while any(all(one[name] == row[name] for name in same) for one in alarms.get(day - DAY, ())):
        day -= DAY
    return day
