"""The checks on monitors and predictions: drift, a node worse than a naive guess, than the floor or than estimated, and features that
are no longer those that were predicted from, are warnings on the day's partition."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.partitions import partitions
from factory_assets.launching import to_retrain
from factory_assets.materialization import Making, days_of, first_read
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import improvement
from factory_assets.monitoring.alarms import Looks, alarms
from factory_assets.monitoring.episodes import began
from factory_assets.monitoring.estimates.expected import FALSE_ALARM_RATE as CONCEPT_RATE
from factory_assets.monitoring.monitors import (
    ALARM,
    CONCERNS,
    NONE,
    RELEASE,
    SCHEMA_OF,
    STABLE,
    WATCHED,
    rank,
)
from factory_assets.monitoring.performance.losses import (
    FALSE_ALARM_RATE,
    LOSS_RATE,
    NAIVE,
    BesideFloor,
    Loss,
    Rival,
    begun_before,
    beside_floor,
    floor_of,
    losses,
    window,
)
from factory_assets.monitoring.skew import Skews, skews
from factory_assets.scoring.champions import champions_of_days
from factory_assets.words import counted, figure, listed
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: Nodes, or columns of nodes, that a message names.
SHOWN = 5
#: Nodes that a link names.
LINKED = 20


def _linked(finding: Finding, line: str, nodes: Collection[str] = ()) -> Finding:
    """A finding that speaks for a training, with a link to the job that starts one. nodes: those that it names; none: all."""
    if finding.passed:
        return finding
    # Most nodes of a line are as well trained all together, and a link has to stay short enough for a browser.
    named = sorted(set(nodes))
    link = to_retrain(line, named if len(named) <= LINKED else [])
    return replace(finding, metadata={**finding.metadata, "to_retrain": link})


def drift_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([declared.line.name, "drift"])
    looks = Looks("/".join(key.path), ("node", "column"), "drifted", "stable")

    @dg.asset_check(
        asset=key,
        name="no_drift",
        partitions_def=partitions(declared.observed),
        description="No feature and no prediction of the day, and no label that was due by then, left what its champion was trained "
        "on, further than its weeks differ.",
    )
    def no_drift(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        import pyarrow.compute as pc

        days = days_of(context)
        rows = lake.read(looks.table, days[0], days[-1], ["verdict", "ds"], empty_if_absent=True)
        judged, without = (
            {each["values"]: each["counts"] for each in of_days.value_counts().to_pylist()}
            for of_days in (rows["ds"], rows.filter(pc.equal(rows["verdict"], "no verdict"))["ds"])
        )
        columns = ["kind", "part", "finding", "statistic", "limit", "rows"]
        drifted = alarms(lake, looks, days, columns, declared.line.monitor.remind)
        findings = [
            _linked(
                _drift_of_day(day, drifted.get(day, ()), judged.get(day, 0), without.get(day, 0)),
                declared.line.name,
                [row["node"] for row in drifted.get(day, ())],
            )
            for day in days
        ]
        return report(context, key, "no_drift", findings)

    return no_drift


def _drift_of_day(day: dt.date, drifted: Sequence[dict[str, Any]], judged: int, without: int) -> Finding:
    """drifted: rows of the drift table, and `since` when. judged, without: columns looked at, and those of them without a verdict."""
    findings: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(drifted, key=lambda row: -row["statistic"] / row["limit"]):
        findings.setdefault((row["node"], row["finding"]), []).append(row)
    found = list(findings.values())
    message = (
        f"drifted: {listed([_finding(rows) for rows in found], SHOWN)}"
        if found
        else f"nothing drifted of {counted(judged - without, 'column')}"
    )
    message += f"; no verdict on {counted(without, 'column')}" if without else ""
    columns = sum(map(len, found))
    numbers = {"drifted": columns, "stable": judged - without - columns, "no verdict": without}
    kinds = Counter(row["kind"] for rows in found for row in rows)
    return Finding(
        day,
        not found,
        message=message,
        metadata={name: dg.MetadataValue.int(value) for name, value in (numbers | kinds).items()},
    )


def _finding(rows: Sequence[dict[str, Any]]) -> str:
    """One finding in words: a column of a node, or several that are absent in the same rows. rows: the worst first."""
    worst = rows[0]
    return (
        f"{worst['kind']}: {worst['part']} of {', '.join(row['column'] for row in rows)} of {worst['node']} "
        f"since {worst['since']} (PSI {worst['statistic']:.3g}, limit {worst['limit']:.3g}, {worst['rows']:,} rows)"
    )


def performance_check(declared: DeclaredLine, rival: Rival = NAIVE) -> dg.AssetChecksDefinition:
    """rival: whom nodes are held against."""
    key, line = dg.AssetKey([declared.line.name, "performance"]), declared.line
    metric, other = metric_of(declared), rival.column(metric_of(declared))
    block, name = line.overlap_days, f"better_than_{rival.name}"

    @dg.asset_check(
        asset=key,
        name=name,
        partitions_def=partitions(declared.observed),
        description=f"No node's {metric} is worse than that of {rival.words} by more than its own days vary, once it can be "
        f"measured. Of a node where nothing is lost, {LOSS_RATE:.1%} of the days fail at most.",
    )
    def better_than(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        days = days_of(context)
        read = _reader(lake, "/".join(key.path), ["node", "ds", "labelled", metric, other])
        by_day: dict[dt.date, list[Loss]] = {day: [] for day in days}
        for loss in begun_before(lambda rows: losses(metric, rows, days, block, rival), read, days, block):
            by_day[loss.day].append(loss)
        of_days: dict[dt.date, list[Mapping[str, Any]]] = {}
        for row in read(days[0], days[-1]):
            of_days.setdefault(row["ds"], []).append(row)
        findings = [
            _linked(
                _of_day(metric, rival, day, of_days.get(day, ()), lost, line.horizon_days),
                line.name,
                [loss.node for loss in lost],
            )
            for day, lost in by_day.items()
        ]
        return report(context, key, name, findings)

    return better_than


def _reader(lake: Lake, table: str, columns: Sequence[str]) -> Callable[[dt.date, dt.date], list[dict[str, Any]]]:
    """Reads rows of a table from a day to another."""
    return lambda first, last: lake.read(table, first, last, columns, empty_if_absent=True).to_pylist()


def _of_day(
    metric: str, rival: Rival, day: dt.date, rows: Sequence[Mapping[str, Any]], lost: Sequence[Loss], delay: int
) -> Finding:
    """rows: of the performance table, of the day. delay: days until the labels of a day are in."""
    other = rival.column(metric)
    root = next((row for row in rows if row["node"] == ROOT), {})
    measured = [row for row in rows if row[metric] is not None and row[other] is not None]
    message = "not measurable yet"
    if measured:
        least = (
            root if root in measured else min(measured, key=lambda row: improvement(metric, row[metric], row[other]))
        )
        message = f"{metric} {figure(least[metric])}, {rival.name} {figure(least[other])}"
        message += (
            "" if least is root else f" of {least['node']}, which is the least gain of {counted(len(measured), 'node')}"
        )
    if lost:
        message = listed([f"{loss.node}, {began(loss.since, delay)}: {loss.reason}" for loss in lost], SHOWN, "node")
    numbers = {"labelled": root.get("labelled", 0), "measured": len(measured), "worse": len(lost)}
    metadata = {name: dg.MetadataValue.int(number) for name, number in numbers.items()}
    return Finding(day, not lost, message=message, metadata=metadata)


def floor_check(declared: DeclaredLine) -> dg.AssetChecksDefinition | None:
    """None where no floor is declared, or days cannot be held against it."""
    key, line, metric = dg.AssetKey([declared.line.name, "performance"]), declared.line, metric_of(declared)
    block, floor = line.overlap_days, floor_of(line, metric)
    if floor is None:
        return None

    @dg.asset_check(
        asset=key,
        name="above_floor",
        partitions_def=partitions(declared.observed),
        description=f"No node's {metric} is worse than the gate's floor of {floor:g} on average of {counted(window(block), 'day')}, "
        f"by more than its days vary. Of a node that is no worse, {FALSE_ALARM_RATE:.1%} of the days fail at most.",
    )
    def above_floor(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        days = days_of(context)
        read = _reader(lake, "/".join(key.path), ["node", "ds", "labelled", metric])
        by_day: dict[dt.date, list[BesideFloor]] = {day: [] for day in days}
        for one in begun_before(lambda rows: beside_floor(metric, floor, rows, days, block), read, days, block):
            by_day[one.day].append(one)
        findings = [
            _linked(
                _floor_of_day(metric, floor, day, nodes, line.horizon_days),
                line.name,
                [one.node for one in nodes if one.since],
            )
            for day, nodes in by_day.items()
        ]
        return report(context, key, "above_floor", findings)

    return above_floor


def _floor_of_day(metric: str, floor: float, day: dt.date, nodes: Sequence[BesideFloor], delay: int) -> Finding:
    """delay: days until the labels of a day are in."""
    broken = [f"{one.node}, {began(one.since, delay)}: {one.reason(metric, floor)}" for one in nodes if one.since]
    root = next((one for one in nodes if one.node == ROOT), None)
    message = listed(broken, SHOWN, "node") or (root.reason(metric, floor) if root else "not measurable yet")
    numbers = {"broken": dg.MetadataValue.int(len(broken)), "measured": dg.MetadataValue.int(len(nodes))}
    return Finding(day, not broken, message=message, metadata=numbers)


def skew_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    line = declared.line
    key, examples = dg.AssetKey([line.name, "predictions"]), dg.AssetKey([line.name, "examples"])

    @dg.asset_check(
        asset=key,
        name="no_skew",
        partitions_def=partitions(declared.observed),
        description="The features from which a day was first predicted are those that its examples hold now, and from which models "
        "are trained: every value, numbers exactly.",
    )
    def no_skew(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        days = days_of(context)
        read = first_read(context.instance, key, examples, days)
        findings = [_skew_of_day(declared, day, read.get(day), lake) for day in days]
        return report(context, key, "no_skew", findings)

    return no_skew


def _skew_of_day(declared: DeclaredLine, day: dt.date, read: tuple[Making, Making] | None, lake: Lake) -> Finding:
    """read: the day's examples as they were when it was first predicted, and as they are now."""
    table = f"{declared.line.name}/examples"
    if read is None:
        return Finding(day, True, message="nothing was predicted yet")
    first, now = read
    if first.content == now.content:
        return Finding(day, True, message=f"all features of {counted(now.rows, 'row')} are as they were predicted from")
    if first.code != now.code:
        return Finding(day, True, message="no verdict: the features are declared or computed otherwise since")
    if not _readable(lake, table, first.version, day):
        return Finding(day, True, message=f"no verdict: version {first.version} of {table} was removed by a vacuum")
    used = lake.read(table, day, day, version=first.version, empty_if_absent=True)
    found = skews(used, lake.read(table, day, day, empty_if_absent=True), declared.features)
    records = [
        dg.TableRecord(
            {
                "feature": skew.feature,
                "compared": skew.compared,
                "mismatches": skew.mismatches,
                "rate": round(skew.rate, 6),
                "examples": "; ".join(f"{example}: {then} then, {new} now" for example, then, new in skew.examples),
            }
        )
        for skew in found.differing
    ]
    numbers = {"compared": found.compared, "gone": found.gone, "new": found.new}
    metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(number) for name, number in numbers.items()}
    if records:
        metadata["skew"] = dg.MetadataValue.table(records)
    return Finding(day, not (records or found.gone or found.new), message=_skewed(found), metadata=metadata)


def _readable(lake: Lake, table: str, version: int, day: dt.date) -> bool:
    """Whether the files of a day are there still, as a version of the table had them."""
    if lake.written_at(table, version) is None:
        return False
    held = lake.held(table, version)
    return not held.unreadable and day not in lake.lacking(table, held)


def _skewed(found: Skews) -> str:
    differing = found.differing
    parts = [
        f"{skew.feature} differs in {skew.rate:.2%} of {counted(skew.compared, 'row')} "
        f"({skew.examples[0][0]}: {skew.examples[0][1]} when it was predicted, {skew.examples[0][2]} now)"
        for skew in differing
    ]
    parts = [listed(parts, SHOWN, "feature")] if parts else []
    parts += [f"{counted(found.gone, 'row')} that were predicted are gone"] if found.gone else []
    parts += [f"{counted(found.new, 'row')} came later"] if found.new else []
    return "; ".join(parts) or f"all features of {counted(found.compared, 'row')} are as they were predicted from"


def estimates_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    key, metric = dg.AssetKey([declared.line.name, "estimates"]), metric_of(declared)
    looks = Looks("/".join(key.path), ("node", "metric"), "concept", "final")

    @dg.asset_check(
        asset=key,
        name="as_estimated",
        partitions_def=partitions(declared.observed),
        description=f"No node's {metric}, once labels are in, is so much worse than estimated that what is predicted depends on "
        "the features otherwise than before: concept change, which inputs alone cannot show. While nothing changes, "
        f"{CONCEPT_RATE:.1%} of a node's days fail.",
    )
    def as_estimated(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        days = days_of(context)
        changed, by_day = dict[dt.date, list[dict[str, Any]]](), dict[dt.date, list[dict[str, Any]]]()
        columns = ["final", "estimate", "low", "high", "error"]
        for day, rows in alarms(lake, looks, days, columns, declared.line.monitor.remind).items():
            changed[day] = [row for row in rows if row["metric"] == metric]
        for row in lake.read(looks.table, days[0], days[-1], empty_if_absent=True).to_pylist():
            if row["metric"] == metric:
                by_day.setdefault(row["ds"], []).append(row)
        findings = [
            _linked(
                _estimated_of_day(metric, day, by_day.get(day, ()), changed.get(day, ())),
                declared.line.name,
                [row["node"] for row in changed.get(day, ())],
            )
            for day in days
        ]
        return report(context, key, "as_estimated", findings)

    return as_estimated


def _estimated_of_day(
    metric: str, day: dt.date, rows: Sequence[Mapping[str, Any]], changed: Sequence[Mapping[str, Any]]
) -> Finding:
    """rows: of the table of estimates of the metric. changed: those of them that are concept change, and `since` when."""
    # How far a node is beyond its limit, in units of its band, puts the worst first.
    found = sorted(changed, key=_excess, reverse=True)
    named = [
        f"{row['node']}, since {row['since']}: {metric} {figure(row['final'])}, estimated "
        f"{figure(row['estimate'])}, 95 % between {figure(row['low'])} and {figure(row['high'])}"
        for row in found
    ]
    root = next((row for row in rows if row["node"] == ROOT), None)
    if found:
        message = f"concept change: {listed(named, SHOWN, 'node')}"
    elif root is None:
        message = f"{metric} is not estimated: no predictions, or no metric that can be"
    else:
        now = "not in yet" if root["final"] is None else figure(root["final"])
        message = f"{metric} of the labels: {now}; estimated: {root['reason']}"
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("final", "concept")}
    numbers = {name: dg.MetadataValue.int(number) for name, number in counts.items()}
    return Finding(day, not found, message=message, metadata=numbers)


def _excess(row: Mapping[str, Any]) -> float:
    return float(abs(row["error"]) / max(row["high"] - row["low"], 1e-12))


DESCRIPTIONS = {
    "rows_in_control": "Streams and nodes have as many rows as their past days let expect.",
    "freshness_in_control": "The newest row of a stream that was known when the day closed is no older than on its past days.",
    "quarantine_in_control": "No larger share of a stream's rows is held back than on its past days.",
    "fallback_in_control": "No larger share of a node's rows is answered by a node above the leaf, or of entities without events.",
    "nulls_in_control": "No larger share of a feature's values is absent than on the node's past days.",
}
SCHEMA_DESCRIPTION = (
    "Streams are delivered with the columns of the day before: none came, is gone, or is of another type. It fails on the day of the "
    "change alone."
)
#: Days of monitors that count beside those whose labels are not due yet: in a week, all monitors look.
REACH = 7
#: Times `retrain.every` labelled days after which a training is missed, and not just late.
MISSED = 2
#: The check by which people are told, while the others say how a day is; and how many alarms its page lists.
NEWS, LISTED = "nothing_new", 20
#: Columns of a node that it names.
COLUMNS = 3


def control_checks(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "monitors"])
    looks = Looks("/".join(key.path), ("node", "monitor", "column"), ALARM, STABLE)
    descriptions = {
        name: f"{DESCRIPTIONS[name]} All charts of the line give {line.monitor.declared} at most while nothing changes."
        if name in DESCRIPTIONS
        else SCHEMA_DESCRIPTION
        for name in CONCERNS
    }
    descriptions[NEWS] = (
        "Of what the line's monitors call an alarm nothing began on the day, and nothing has lasted for "
        f"{counted(line.monitor.remind.days, 'day')} since it was last told. The other checks fail for as long as something lasts."
    )

    @dg.multi_asset_check(
        name=f"{line.name}__in_control",
        specs=[
            dg.AssetCheckSpec(name, asset=key, partitions_def=partitions(declared.observed), description=description)
            for name, description in descriptions.items()
        ],
    )
    def in_control(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckResult]:
        import pyarrow.compute as pc

        days = days_of(context)
        found = alarms(lake, looks, days, ["reason", "n"], line.monitor.remind)
        found = {day: list(map(_of_its_day, rows)) for day, rows in found.items()}
        rows = lake.read(looks.table, days[0], days[-1], ["monitor", "verdict", "ds"], empty_if_absent=True)
        for name, monitors in CONCERNS.items():
            own = rows.filter(pc.is_in(rows["monitor"], pa.array(monitors)))
            verdicts = own.group_by(["ds", "verdict"]).aggregate([([], "count_all")]).to_pylist()
            numbers = {(each["ds"], each["verdict"]): each["count_all"] for each in verdicts}
            of_day = {day: sum(many for (on, _), many in numbers.items() if on == day) for day in days}
            of_name = {day: [row for row in found.get(day, ()) if row["monitor"] in monitors] for day in days}
            findings = [_control_of_day(day, of_name[day], of_day[day], numbers.get((day, NONE), 0)) for day in days]
            yield report(context, key, name, findings)
        # Of a release there is never one.
        without = Counter(
            rows.filter(pc.and_(pc.equal(rows["verdict"], NONE), pc.not_equal(rows["monitor"], RELEASE)))[
                "ds"
            ].to_pylist()
        )
        yield report(context, key, NEWS, [_news_of_day(day, found.get(day, ()), without[day]) for day in days])

    return in_control


def _of_its_day(row: dict[str, Any]) -> dict[str, Any]:
    """An alarm of the table of monitors. A change of schema is of one day: that the same column changed before is another."""
    return row | {"since": row["ds"], "is_news": True} if row["monitor"] == SCHEMA_OF else row


def _news_of_day(day: dt.date, rows: Sequence[Mapping[str, Any]], without: int) -> Finding:
    """rows: alarms of the table of monitors, `since` when, and whether each `is_news` on the day.

    without: looks without a verdict, as those are that wait for labels.
    """
    telling = sorted((row for row in rows if row["is_news"]), key=lambda row: (row["since"] != day, *rank(row)))
    of_nodes: dict[tuple[dt.date, str, str], list[Mapping[str, Any]]] = {}
    for row in telling:
        of_nodes.setdefault((row["since"], row["monitor"], row["node"]), []).append(row)
    message = listed(
        [
            f"{'new' if since == day else f'still, since {since}'}: {_alarming(own)}"
            for (since, *_), own in of_nodes.items()
        ],
        SHOWN,
    )
    new, lasting = sum(row["since"] == day for row in telling), len(rows) - len(telling)
    if not telling:
        message = "nothing new" if rows else "no alarm"
    if lasting:
        earliest = min(row["since"] for row in rows if not row["is_news"])
        message += f"; as before: {counted(lasting, 'alarm')}, the first since {earliest}"
    message += f"; no verdict on {without} series" if without else ""
    numbers = {"new": new, "still": len(telling) - new, "going on": lasting}
    metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(number) for name, number in numbers.items()}
    if telling:
        named = ("node", "monitor", "column", "since", "reason")
        records = [dg.TableRecord({name: str(row[name]) for name in named}) for row in telling[:LISTED]]
        metadata["news"] = dg.MetadataValue.table(records)
    return Finding(day, not telling, message=message, metadata=metadata)


def _alarming(rows: Sequence[Mapping[str, Any]]) -> str:
    """Alarms of a monitor and a node in words."""
    first, names = rows[0], [row["column"] for row in rows]
    if len(rows) == 1:
        return f"{first['monitor']} of {first['column']} of {first['node']}: {first['reason']}"
    more = f" and {counted(len(names) - COLUMNS, 'column')} more" if len(names) > COLUMNS else ""
    return f"{first['monitor']} of {', '.join(names[:COLUMNS])}{more} of {first['node']}"


def _control_of_day(day: dt.date, alarms: Sequence[Mapping[str, Any]], judged: int, without: int) -> Finding:
    """alarms: rows of the table of monitors, and `since` when. judged, without: series looked at, and those without a verdict."""
    found = sorted(alarms, key=lambda row: (-row["n"], row["node"], row["column"]))
    named = [
        f"{row['monitor']} of {row['column']} of {row['node']} since {row['since']}: {row['reason']}" for row in found
    ]
    message = listed(named, SHOWN) or f"nothing out of control of {judged - without} series"
    message += f"; no verdict on {without} series" if without else ""
    numbers = {"alarms": len(found), "stable": judged - without - len(found), "no verdict": without}
    return Finding(
        day, not found, message=message, metadata={name: dg.MetadataValue.int(value) for name, value in numbers.items()}
    )


def standing_checks(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    """Whether trainings come as declared, and whether somebody watches every node that answers. Neither is a matter of chance."""
    line = declared.line
    key = dg.AssetKey([line.name, "monitors"])
    every, behind = line.retrain.every.days, line.horizon_days + REACH
    fresh, watched = "champions_fresh", "answers_watched"
    # Where new days start no training, none is missed.
    asked = "new_data" in line.retrain.on
    descriptions = {
        fresh: f"Fewer than {MISSED * every} labelled days have come in since the last training, where one is asked for each "
        f"{counted(every, 'day')}.",
        watched: f"Of every node with a champion of its own, for {counted(behind, 'day')} and more, a monitor had a verdict in these "
        "days, or it is watched through a node above.",
    }

    @dg.multi_asset_check(
        name=f"{line.name}__standing",
        specs=[
            dg.AssetCheckSpec(name, asset=key, partitions_def=partitions(declared.observed), description=description)
            for name, description in descriptions.items()
            if name != fresh or asked
        ],
    )
    def standing(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
    ) -> Iterator[dg.AssetCheckResult]:
        days, reach = days_of(context), dt.timedelta(days=behind)
        trained, labelled = sorted(ledger.trained_as_of(line.name)), lake.days(f"{line.name}/labels")
        if asked:
            stale = [_fresh(day, trained, labelled, line.horizon_days, every) for day in days]
            yield report(context, key, fresh, [_linked(each, line.name) for each in stale])
        champions = champions_of_days(ledger, line.name, sorted({*days, *(day - reach for day in days)}))
        rows = lake.read("/".join(key.path), days[0] - reach, days[-1], ["node", "verdict", "ds"], empty_if_absent=True)
        seen = [(row["ds"], row["node"]) for row in rows.to_pylist() if _is_watched(row["verdict"])]
        findings = []
        for day in days:
            answering = champions[day].keys() & champions[day - reach].keys()
            findings.append(_watched(day, answering, {node for on, node in seen if day - reach < on <= day}))
        yield report(context, key, watched, findings)

    return standing


def _is_watched(verdict: str) -> bool:
    return verdict in (STABLE, ALARM) or verdict.startswith(WATCHED)


def _fresh(day: dt.date, trained: Sequence[dt.date], labelled: Sequence[dt.date], horizon: int, every: int) -> Finding:
    """trained: days as of which the line was trained. labelled: days that have labels, which are known `horizon` days later."""
    last = max((each for each in trained if each <= day), default=None)
    if last is None:
        return Finding(day, True, message="nothing is trained yet")
    late = dt.timedelta(days=horizon)
    since = sum(last < each + late <= day for each in labelled)
    message = f"{counted(since, 'labelled day')} since the training as of {last}, one is asked for each {every}"
    return Finding(
        day, since < MISSED * every, message=message, metadata={"labelled_days": dg.MetadataValue.int(since)}
    )


def _watched(day: dt.date, answering: Collection[str], watched: Collection[str]) -> Finding:
    """answering: nodes that have had a champion of their own for long enough. watched: nodes of which there was a verdict."""
    alone = sorted(set(answering) - set(watched))
    message = (
        f"nobody watches {listed(alone, SHOWN, 'node')}: no monitor had a verdict of it"
        if alone
        else f"{counted(len(answering), 'node')} watched"
    )
    numbers = {"unwatched": dg.MetadataValue.int(len(alone)), "answering": dg.MetadataValue.int(len(answering))}
    return Finding(day, not alone, message=message, metadata=numbers)
