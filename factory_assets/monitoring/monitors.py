"""What does every monitor of a line say of a day? One long table, `<line>/monitors`, from which checks, pages and people read.

A source of it is a function from what is known up to a day to rows. Those here put verdicts of drift, performance and estimates
into the words of the table, and draw control charts. What a row says depends on days up to its own alone, and on their labels.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.line import Monitor
from factory_assets.identity.nodes import ROOT, lineage
from factory_assets.measures.metrics import improvement
from factory_assets.measures.tables import LABEL
from factory_assets.monitoring import schemas
from factory_assets.monitoring.charts import control
from factory_assets.monitoring.charts.control import DAY_OUT, NO_VERDICT, PAST, WEEK_OUT, Chart
from factory_assets.monitoring.charts.counts import (
    COLD,
    EXAMPLES,
    FALLBACK,
    FRESHNESS,
    NULLS,
    QUARANTINED,
    ROWS,
    Series,
)
from factory_assets.monitoring.drift.days import MINIMUM_ROWS
from factory_assets.monitoring.performance.losses import (
    FEWEST,
    FEWEST_BLOCKS,
    NAIVE,
    Rival,
    beside_floor,
    losses,
    thinner,
    visible,
    window,
)
from factory_assets.monitoring.performance.losses import PARENT as ABOVE
from factory_assets.monitoring.performance.released import Release
from factory_assets.monitoring.schemas import Delivered
from factory_assets.words import counted, figure

STABLE, ALARM, NONE, WATCHED = "stable", "alarm", "no verdict", "watched by "
DRIFT, PERFORMANCE, FLOOR, RELEASE, ESTIMATES = "drift", "performance", "floor", "release", "estimates"
PARENT = "parent"
SCHEMA_OF = "schema"
#: What is named first: what has become worse, before what may be why.
FIRST = (PERFORMANCE, PARENT, FLOOR, ESTIMATES, SCHEMA_OF, DRIFT)
#: In place of a column's name: all of a node's.
ALL = "*"
SCHEMA = pa.schema(
    [
        ("line", pa.string()),
        ("node", pa.string()),
        ("monitor", pa.string()),
        ("column", pa.string()),
        ("value", pa.float64()),
        ("limit", pa.float64()),
        ("n", pa.int64()),
        ("verdict", pa.string()),
        ("visible", pa.float64()),
        ("reason", pa.string()),
        ("ds", pa.date32()),
    ]
)
MEANING = {
    "line": "The line.",
    "node": "Segment node that is watched; global for all rows, and for a stream.",
    "monitor": "drift, performance, parent, floor, release, estimates, rows, freshness, quarantined, fallback, cold, nulls or schema.",
    "column": "The feature, the prediction, label, the metric, the stream, a column of it, or examples; * for all columns of a node.",
    "value": "PSI; the metric; beside a floor its mean over the last days; of a release the mean gain over the naive guess since; of "
    "estimates the metric of the labels, or the estimate while there are none; a number of rows; minutes; or a share.",
    "limit": "Beyond it the value is an alarm: of rows on the side on which the value lies, of performance the naive guess's metric, "
    "of parent the metric had the champion above answered, of estimates that at which it is concept change; beyond a floor by more "
    "than chance. Of a release, which is no alarm, the gain on the holdout.",
    "n": "Rows that the value is taken from.",
    "verdict": "stable, alarm, no verdict, or watched by a node above.",
    "visible": "Of a stable value: the smallest change that would have been found nine times in ten. Of drift a factor on all values, "
    "less 1, or else the share of rows with new values; of performance a worsening of the metric; of rows the share that would be "
    "missing; of minutes and of a share what would be added.",
    "reason": "The verdict in a sentence.",
}


@dataclass(frozen=True)
class Known:
    """What is known up to a day.

    drift, estimates: the day's rows of these tables. performance: day -> rows of the performance table, of all days that `losses`
        looks at.
    series: counts of the day and of the 56 before it. looks: at how many series the line's charts look that day.
    floor: that the metric is held against; None for none. releases: by node, of those that answer all of their rows.
    delivered: stream -> day -> what it was delivered with, of the same days. answered: whether there were champions to answer.
    """

    day: dt.date
    metric: str
    block: int
    monitor: Monitor
    drift: pa.Table
    estimates: pa.Table
    performance: Mapping[dt.date, Sequence[Mapping[str, Any]]]
    series: Series
    looks: int
    floor: float | None = None
    releases: Mapping[str, Release] = field(default_factory=dict)
    delivered: Mapping[str, Mapping[dt.date, Delivered]] = field(default_factory=dict)
    answered: bool = True


def rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order in which alarms are named: what has become worse first, and of that what has most rows."""
    monitor = row["monitor"]
    return FIRST.index(monitor) if monitor in FIRST else len(FIRST), monitor, -row["n"], row["node"], row["column"]


def monitors(line: str, known: Known) -> pa.Table:
    """All rows of a day."""
    rows = [source(known) for source in SOURCES]
    table = pa.concat_tables([_OWN.empty_table(), *rows])
    ends = {"line": line, "ds": known.day}
    columns = {
        field.name: pa.array([ends[field.name]], field.type).take(pa.array(np.zeros(table.num_rows, np.int64)))
        if field.name in ends
        else table[field.name]
        for field in SCHEMA
    }
    return pa.table(columns, schema=SCHEMA)


_OWN = pa.schema([field for field in SCHEMA if field.name not in ("line", "ds")])


def from_drift(known: Known) -> pa.Table:
    """The drift of every column of every node that is judged by itself."""
    import pyarrow.compute as pc

    rows = known.drift
    drifted = pc.equal(rows["verdict"], "drifted")
    columns = {
        "node": rows["node"],
        "monitor": _same(DRIFT, rows.num_rows),
        "column": rows["column"],
        "value": rows["statistic"],
        "limit": rows["limit"],
        "n": rows["rows"],
        "verdict": pc.if_else(drifted, ALARM, rows["verdict"]),
        "visible": pc.coalesce(rows["visible_change"], rows["visible_new"]),
        "reason": rows["reason"],
    }
    return pa.table(columns).cast(_OWN)


def from_watched(known: Known) -> pa.Table:
    """A row of each node whose rows have no verdict of drift: the nearest node above that has one watches it."""
    import pyarrow.compute as pc

    if not known.answered:
        # There is no model whose columns could drift.
        return _OWN.empty_table()
    # Labels may be judged of a node that has too few rows now.
    of_rows = known.drift.filter(pc.not_equal(known.drift["column"], LABEL))
    judged = set(pc.unique(of_rows["node"]).to_pylist())
    judged_by_itself = set(pc.unique(of_rows.filter(pc.not_equal(of_rows["verdict"], NONE))["node"]).to_pylist())
    rows_of = _rows_of_window(known)
    rows = []
    for node, number in rows_of.items():
        if node in judged:
            continue
        above = next((each for each in lineage(node) if each in judged_by_itself), None)
        verdict = f"{WATCHED}{above}" if above else NONE
        days = counted(known.monitor.window.days, "day")
        reason = (
            f"{counted(number, 'row')} in {days}, fewer than the {MINIMUM_ROWS} that a verdict takes"
            if number < MINIMUM_ROWS
            else "it has no champion of its own"
        )
        rows.append(_row(node, DRIFT, ALL, n=number, verdict=verdict, reason=reason))
    return pa.Table.from_pylist(rows, schema=_OWN)


def _rows_of_window(known: Known) -> dict[str, int]:
    """Node -> its rows in the days that drift is judged on."""
    days = min(known.monitor.window.days, known.series.of.shape[1])
    sums = np.nansum(known.series.of[:, -days:], axis=1)
    own = zip(known.series.keys, sums.tolist(), strict=True)
    return {node: int(rows) for (node, monitor, column), rows in own if (monitor, column) == (ROWS, EXAMPLES) and rows}


def from_performance(known: Known) -> pa.Table:
    """The line's metric of every node beside that of the naive guess."""
    return _beside(known, PERFORMANCE, NAIVE)


def from_parent(known: Known) -> pa.Table:
    """The line's metric of every node that answers beside what the champion above would have made of its rows."""
    rows = _beside(known, PARENT, ABOVE)
    named = {row["node"] for of_day in known.performance.values() for row in of_day if _is_held_against(row, known)}
    return rows.filter(pa.array([node in named for node in rows["node"].to_pylist()], pa.bool_()))


def _is_held_against(row: Mapping[str, Any], known: Known) -> bool:
    """Whether a row of the performance table tells of a champion above."""
    return row.get(ABOVE.column(known.metric)) is not None


def _beside(known: Known, monitor: str, rival: Rival) -> pa.Table:
    """The line's metric of every node beside that of a rival."""
    day, metric, other = known.day, known.metric, rival.column(known.metric)
    measured = [row for rows in known.performance.values() for row in rows]
    lost = {loss.node: loss for loss in losses(metric, measured, [day], known.block, rival)}
    first = day - dt.timedelta(days=window(known.block))
    gains: dict[str, list[float]] = {}
    labelled: dict[str, list[int]] = {}
    for row in measured:
        if first <= row["ds"] < day and row[metric] is not None and row.get(other) is not None:
            gains.setdefault(row["node"], []).append(improvement(metric, row[metric], row[other]))
            labelled.setdefault(row["node"], []).append(row["labelled"])
    rows = []
    for row in known.performance.get(day, ()):
        node, past = row["node"], gains.get(row["node"], [])
        seen = None
        if node in lost:
            verdict, reason = ALARM, lost[node].reason
        elif row[metric] is None or row.get(other) is None:
            verdict, reason = NONE, "not measurable yet"
        elif (seen := visible(past, known.block, thinner(row["labelled"], labelled.get(node, ())))) is None:
            verdict = NONE
            reason = f"{counted(len(past), 'day')} to hold it against; a verdict takes {max(FEWEST, FEWEST_BLOCKS * known.block)}"
        else:
            verdict, reason = (
                STABLE,
                f"as the {counted(len(past), 'day')} before it let expect; {figure(seen)} worse would have shown",
            )
        rows.append(
            _row(
                node, monitor, metric, n=row["labelled"], verdict=verdict, reason=reason, value=row[metric],
                limit=row.get(other), visible=seen,
            )
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_OWN)


def from_floor(known: Known) -> pa.Table:
    """The line's metric of every node, on average of the days up to this one, beside the floor of the gate."""
    metric, floor, rows = known.metric, known.floor, list[dict[str, Any]]()
    if floor is not None:
        measured = [row for of_day in known.performance.values() for row in of_day]
        for one in beside_floor(metric, floor, measured, [known.day], known.block):
            verdict, reason = STABLE, one.reason(metric, floor)
            if one.since:
                verdict = ALARM
            elif one.visible is None:
                verdict, reason = NONE, f"{reason}; too few days for a verdict"
            else:
                reason += f"; {figure(one.visible)} worse would have shown"
            rows.append(
                _row(
                    one.node, FLOOR, metric, n=one.rows, verdict=verdict, reason=reason, value=one.value, limit=floor,
                    visible=one.visible,
                )
            )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_OWN)


def from_release(known: Known) -> pa.Table:
    """By how much champions are better than the naive guess since they answer, and were on the holdout of their release."""
    metric, naive, rows = known.metric, f"naive_{known.metric}", list[dict[str, Any]]()
    measured: dict[str, list[tuple[dt.date, float, int]]] = {}
    for on, of_day in known.performance.items():
        for row in of_day:
            if (known.day - on).days < window(known.block) and row[metric] is not None and row[naive] is not None:
                gain = improvement(metric, row[metric], row[naive])
                measured.setdefault(row["node"], []).append((on, gain, row["labelled"]))
    for node, release in known.releases.items():
        days = [(gain, labelled) for on, gain, labelled in measured.get(node, ()) if on >= release.since]
        if days:
            mean = float(np.mean([gain for gain, _ in days]))
            reason = (
                f"better than the naive guess by {figure(mean)} on average of {counted(len(days), 'day')} since {release.since}, by "
                f"{figure(release.gain)} on the holdout of its release; no verdict: a week differs from another by more than its days"
            )
            number = sum(labelled for _, labelled in days)
            rows.append(
                _row(node, RELEASE, metric, n=number, verdict=NONE, reason=reason, value=mean, limit=release.gain)
            )
    return pa.Table.from_pylist(rows, schema=_OWN)


def from_estimates(known: Known) -> pa.Table:
    """The line's metric of the days up to this one as it was estimated, and whether it came as estimated."""
    import pyarrow.compute as pc

    rows = known.estimates.filter(pc.equal(known.estimates["metric"], known.metric))
    judged = pc.and_(pc.is_in(rows["verdict"], pa.array(["final", "concept"])), pc.is_valid(rows["limit"]))
    changed = pc.equal(rows["verdict"], "concept")
    verdict = pc.if_else(changed, ALARM, STABLE)
    came = pa.array([f"{figure(value)} came, estimated " for value in rows["final"].to_numpy()], pa.string())
    columns = {
        "node": rows["node"],
        "monitor": _same(ESTIMATES, rows.num_rows),
        "column": rows["metric"],
        "value": pc.coalesce(rows["final"], rows["partial"], rows["estimate"]),
        "limit": rows["limit"],
        "n": rows["rows"],
        "verdict": pc.if_else(judged, verdict, NONE),
        "visible": pa.nulls(rows.num_rows, pa.float64()),
        "reason": pc.binary_join_element_wise(pc.if_else(pc.and_(judged, changed), came, ""), rows["reason"], ""),
    }
    return pa.table(columns).cast(_OWN)


def from_schema(known: Known) -> pa.Table:
    """Columns of a stream that came, are gone, or are of another type than on the newest day before; one row where none is."""
    rows = []
    for stream, days in known.delivered.items():
        if (now := days.get(known.day)) is None:
            continue
        then = schemas.before(days, known.day, BEHIND)
        changed = schemas.changes(then, now) if then else []
        rows += [
            _row(ROOT, SCHEMA_OF, f"{stream}.{each.column}", n=now.rows, verdict=ALARM, reason=each.reason)
            for each in changed
        ]
        if then is None:
            reason = f"no day of {BEHIND} before it was delivered"
            rows.append(_row(ROOT, SCHEMA_OF, stream, n=now.rows, verdict=NONE, reason=reason))
        elif not changed:
            rows.append(_row(ROOT, SCHEMA_OF, stream, n=now.rows, verdict=STABLE, reason=schemas.as_before(then, now)))
    return pa.Table.from_pylist(rows, schema=_OWN)


def from_charts(known: Known) -> pa.Table:
    """Control charts of rows, of how old the newest of a stream are at the close of the day, and of the shares of rows that are
    quarantined, answered by another node, cold, or without a value."""
    rate = known.monitor.rate(known.looks)
    of_rows = [at for at, key in enumerate(known.series.keys) if key[1] == ROWS]
    counts, of = known.series.counts, known.series.of
    newest = counts[of_rows, -1]
    tables = [_charted(known, of_rows, control.judged_counts(counts[of_rows], rate), newest, newest)]
    if of_ages := [at for at, key in enumerate(known.series.keys) if key[1] == FRESHNESS]:
        # A day of which no row was known at its close has no newest one. The chart of rows tells it.
        ages = np.where(of[of_ages] > 0, counts[of_ages], np.nan)
        chart = control.judged_ages(ages, rate, LONGEST)
        tables.append(_charted(known, of_ages, chart, ages[:, -1], of[of_ages, -1]))
    size_of = {known.series.keys[at][::2]: of[at] for at in of_rows}
    of_shares = [at for at, key in enumerate(known.series.keys) if key[1] not in (ROWS, FRESHNESS)]
    if of_shares:
        sizes = np.array([_sizes(known.series, at, size_of) for at in of_shares])
        # What has not been seen before was 0 on the days before: shares are kept where they are more.
        shares = np.where(np.isfinite(sizes), np.nan_to_num(counts[of_shares]), np.nan)
        sizes = np.nan_to_num(sizes)
        value = np.where(sizes[:, -1] > 0, shares[:, -1] / np.maximum(sizes[:, -1], 1), np.nan)
        chart = control.judged_shares(shares, sizes, rate)
        tables.append(_charted(known, of_shares, chart, value, sizes[:, -1]))
    return pa.concat_tables(tables)


def _sizes(seen: Series, at: int, size_of: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Of how many rows the counts of a share are, day by day. size_of: node and column of rows -> how many there are."""
    node, monitor, column = seen.keys[at]
    if monitor == FALLBACK:
        return seen.of[at]
    return size_of[node, column if monitor == QUARANTINED else EXAMPLES]


def _charted(known: Known, which: Sequence[int], chart: Chart, value: np.ndarray, n: np.ndarray) -> pa.Table:
    """Rows of the series that have a value on the day, which is NaN else. n: of how many rows it is taken."""
    rows = []
    for at in np.flatnonzero(np.isfinite(value)).tolist():
        node, monitor, column = known.series.keys[which[at]]
        verdict = int(chart.verdict[at])
        rows.append(
            _row(
                node, monitor, column, n=int(n[at]),
                verdict=NONE if verdict == NO_VERDICT else ALARM if verdict in (DAY_OUT, WEEK_OUT) else STABLE,
                reason=_reason(chart, at, float(value[at]), monitor), value=float(value[at]),
                limit=_number(chart.limit[at]), visible=_number(chart.visible[at]),
            )
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_OWN)


def _reason(chart: Chart, at: int, value: float, monitor: str) -> str:
    """The verdict on a series in a sentence."""
    days, verdict, visible = int(chart.days[at]), int(chart.verdict[at]), float(chart.visible[at])
    in_words = {ROWS: _rows_in_words, FRESHNESS: _minutes_in_words}.get(monitor, _share_in_words)
    if verdict == NO_VERDICT:
        if days < control.FEWEST:
            return f"{counted(days, 'day')} in control to hold it against; a verdict takes {control.FEWEST}"
        if monitor not in (ROWS, FRESHNESS) and chart.usual[at] >= 1:
            return "all of them, as on the days before: the share cannot rise"
        return f"{UNSEEN.get(monitor, UNSEEN[NULLS])}: {in_words(float(chart.usual[at]))} are usual, and days differ as much"
    now = f"the newest row known at the close is {in_words(value)} old" if monitor == FRESHNESS else in_words(value)
    usual = f"usual are {in_words(float(chart.usual[at]))}, the limit is {in_words(float(chart.limit[at]))}, by {counted(days, 'day')}"
    if verdict == DAY_OUT:
        return f"{now}; {usual}"
    if verdict == WEEK_OUT:
        week, before = (in_words(float(each[at])) for each in (chart.week, chart.weeks_before))
        return f"of the last 7 days on average {week}, of the weeks before {before}; of the day {in_words(value)}"
    if np.isnan(visible):
        return f"{now}; {usual}"
    worth = {ROWS: f"{visible:.0%} of them missing", FRESHNESS: f"{in_words(visible)} more"}
    # A share is told whole: "3 % more" of 2 % would be read as a factor.
    share = in_words(float(chart.usual[at]) + visible)
    return f"{now}; {usual}; {worth.get(monitor, share)} would have shown"


def _rows_in_words(rows: float) -> str:
    return f"{round(rows):,} rows" if rows != 1 else "1 row"


def _minutes_in_words(minutes: float) -> str:
    return counted(round(minutes), "minute")


def _share_in_words(share: float) -> str:
    return f"{100 * share:.3g}%"


def _row(
    node: str, monitor: str, column: str, *, n: int, verdict: str, reason: str, **numbers: float | None
) -> dict[str, Any]:
    own: dict[str, Any] = {
        "node": node,
        "monitor": monitor,
        "column": column,
        "n": n,
        "verdict": verdict,
        "reason": reason,
    }
    return own | {name: numbers.get(name) for name in ("value", "limit", "visible")}


def _number(value: np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None


def _same(text: str, rows: int) -> pa.Array:
    return pa.array(np.full(rows, text, dtype=object), pa.string())


def looks(series: Series, features: int, flags: int) -> int:
    """At how many series a day's charts look: rows, freshness, and each share of each node, of which those that are 0 are not kept."""
    of_rows = [key for key in series.keys if key[1] == ROWS]
    nodes = sum(column == EXAMPLES for _, _, column in of_rows)
    return nodes * (2 + features + flags) + 3 * (len(of_rows) - nodes)


#: Where the rows come from. One more source is one more function.
SOURCES: tuple[Callable[[Known], pa.Table], ...] = (
    from_drift,
    from_watched,
    from_performance,
    from_parent,
    from_floor,
    from_release,
    from_estimates,
    from_schema,
    from_charts,
)
#: Check -> the monitors that it looks at.
CONCERNS = {
    "rows_in_control": (ROWS,),
    "freshness_in_control": (FRESHNESS,),
    "quarantine_in_control": (QUARANTINED,),
    "fallback_in_control": (FALLBACK, COLD),
    "nulls_in_control": (NULLS,),
    "schema_in_control": (SCHEMA_OF,),
}
#: Minutes of a day.
LONGEST = 24 * 60
#: Monitor -> what would happen, at the worst, and not show; that of nulls goes for all shares.
UNSEEN = {
    ROWS: "a day without a row would not show",
    FRESHNESS: "a feed that stops after its first minute would not show",
    NULLS: "not even all rows would show",
}
#: Days before the newest one that a chart reads.
BEHIND = PAST
