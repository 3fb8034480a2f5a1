"""Which nodes do worse than a naive guess, their parent or the floor, and is that more than chance? Told by the days behind a day.

A model that is better in the long run is worse than a naive guess on many a single day: on one of three where a node has 15
rows a day. So a day's gain over the naive guess, or over the parent, is held against what the node's own days vary by, in three ways.
A collapse shows on its first day: the gain is a loss, and falls out of all that the sound days before it let expect; it lasts until a
day is as expected again. What is too small for that, or comes after few days or wild ones, shows within days: several on end are
losses, and lower than all the sound days before them. A model that has become useless little by little shows over weeks: its mean gain
lies below nothing. So does one that the gate would not have let pass: its mean gain over the floor lies below nothing.

A day of storms, or one of three rows, is further from the others than any bell curve lets expect: by Student's t of one more
observation ten times as many collapses would be told of real days as stated. So a day is held against the day that was furthest from
the mean, and against what is further still in tails that fall with a power. Days on end need no tails: that the last k of n + k days
are the k lowest has a chance of one in (n + k choose k), whatever they are distributed like. Means are judged by Student's t.
`benchmarks/release.py` has how often all three are wrong on real days.

Source: extremes of tails that fall with a power, Embrechts, Klueppelberg and Mikosch, Modelling Extremal Events, 1997, chapter 3;
days on end, the largest rank sum there is, Wilcoxon, Individual Comparisons by Ranking Methods, 1945; the mean, Hahn and Meeker,
Statistical Intervals, 1991.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any, TypeVar

import numpy as np

from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import COST
from factory_assets.measures.metrics import METRICS, improvement
from factory_assets.words import counted, figure

#: Share of a node's days on which a collapse, or the floor, may be told while nothing is lost; on which low days on end; on which a
#: mean below nothing.
FALSE_ALARM_RATE, ON_END_RATE, MEAN_RATE = 0.001, 0.0002, 0.0008
#: On which any loss may be told.
LOSS_RATE = FALSE_ALARM_RATE + ON_END_RATE + MEAN_RATE
#: The power with which the tails of days are taken to fall: lower, and they would have no spread that days could tell.
TAIL = 3
#: The normal quantile below which nine of ten lie.
NINE_IN_TEN = 1.2815515655446004
#: Days that a day is held against, and how few of them that are sound still say what the node's days vary by.
PAST, FEWEST = 28, 8
#: Where labels overlap, so many blocks of days in place of as many days; and how few blocks still give a verdict.
BLOCKS, FEWEST_BLOCKS = 24, 4


#: Metrics that are worse on a day's few rows than on a holdout's many, whatever the model: their days say nothing of a floor.
WORSE_OF_FEW = ("r2", "calibration_error")


@dataclass(frozen=True)
class Rival:
    """Whom a node's model is held against, on the same rows. name: of it in columns; words: for people."""

    name: str
    words: str

    def column(self, metric: str) -> str:
        """Of the performance table."""
        return f"{self.name}_{metric}"


NAIVE = Rival("naive", "the naive guess")
#: The champion above, had it answered the rows that the node answered itself.
PARENT = Rival("parent", "its parent")


@dataclass(frozen=True)
class Loss:
    """A node that does worse than it must on a day. since: the first of the measured days on end that say so."""

    node: str
    day: dt.date
    since: dt.date
    reason: str


def window(block: int) -> int:
    """Days that a day is held against."""
    return PAST if block == 1 else BLOCKS * block


#: What is found of a node on a day.
Found = TypeVar("Found", Loss, "BesideFloor")


def losses(
    metric: str, rows: Iterable[Mapping[str, Any]], days: Sequence[dt.date], block: int = 1, rival: Rival = NAIVE
) -> list[Loss]:
    """The losses on these days, by day and node. A day that cannot be measured, or has too few days behind it, has none.

    rows: of the performance table, from two windows before the first of the days on: what a day is held against, and how long a loss
    has lasted. Without the column `labelled` all days are taken to be of as many rows. block: over so many days labels overlap, so
    that neighbours say the same twice; 1 where every row has a label of its own.
    """
    gains: dict[str, dict[dt.date, _Measured]] = {}
    for row in rows:
        value, other = row.get(metric), row.get(rival.column(metric))
        if value is not None and other is not None:
            gains.setdefault(row["node"], {})[row["ds"]] = _Measured(value, other, row.get("labelled", 1))
    asked = set(days)
    # A node that was better than its rival on every day has lost nothing.
    gains = {
        node: measured
        for node, measured in gains.items()
        if any(improvement(metric, each.value, each.other) < 0 for each in measured.values())
    }
    found = [loss for node, measured in gains.items() for loss in _of_node(node, metric, measured, block, rival)]
    return sorted((loss for loss in found if loss.day in asked), key=lambda loss: (loss.day, loss.node))


def begun_before(
    judge: Callable[[Sequence[Mapping[str, Any]]], list[Found]],
    read: Callable[[dt.date, dt.date], Sequence[Mapping[str, Any]]],
    days: Sequence[dt.date],
    block: int = 1,
) -> list[Found]:
    """What is found on these days, since its first day, however long ago that is.

    judge: `losses`, or `beside_floor`, of rows. read: rows of the performance table from a day to another; none before its first.
    """
    first = days[0] - 2 * window(block) * DAY
    rows: Sequence[Mapping[str, Any]] = read(first, days[-1])
    found = judge(rows)
    # Before its first day it may have lasted for a window of days, and these are held against another one.
    while early := {one.node for one in found if one.since and one.since < first + 2 * window(block) * DAY}:
        past: Sequence[Mapping[str, Any]] = read(first - 2 * window(block) * DAY, first - DAY)
        first -= 2 * window(block) * DAY
        if not past:
            break
        rows = [row for row in (*past, *rows) if row["node"] in early]
        found = [one for one in found if one.node not in early] + judge(rows)
    return sorted(found, key=lambda one: (one.day, one.node))


def floor_of(line: Line, metric: str) -> float | None:
    """The floor that the line's days are held against; None where it declares none, or days cannot be."""
    return None if metric in WORSE_OF_FEW or line.gate.metric == COST else line.gate.floor


@dataclass(frozen=True)
class BesideFloor:
    """A node's metric up to a day, held against the floor. value: its mean over the days of the window that could be measured.

    days, rows: how many of them, and of labels in them. since: as of a loss, where the floor is broken. visible: by how much worse
    the value would have been found broken nine times in ten; None where it is, or too few days say nothing.
    """

    node: str
    day: dt.date
    value: float
    days: int
    rows: int
    since: dt.date | None
    visible: float | None

    def reason(self, metric: str, floor: float) -> str:
        return f"{metric} {figure(self.value)} on average of {counted(self.days, 'day')}, the floor is {figure(floor)}"


def beside_floor(
    metric: str, floor: float, rows: Iterable[Mapping[str, Any]], days: Sequence[dt.date], block: int = 1
) -> list[BesideFloor]:
    """Nodes by day, of the days that can be measured. The arguments are those of `losses`."""
    measured: dict[str, dict[dt.date, tuple[float, int]]] = {}
    for row in rows:
        if (value := row.get(metric)) is not None:
            measured.setdefault(row["node"], {})[row["ds"]] = (improvement(metric, value, floor), row["labelled"])
    asked, sign, found = set(days), 1 if METRICS[metric].greater_is_better else -1, list[BesideFloor]()
    for node, by_day in measured.items():
        gains = {day: by_day[day][0] for day in sorted(by_day)}
        below, since = any(gain < 0 for gain in gains.values()), None
        for day in gains:
            # A node that was better than the floor on every day has not broken it.
            if day not in asked and not below:
                continue
            means = _means(gains, day, block)
            since = (since or day) if below and _below_nothing(means) else None
            if day in asked:
                counts = [number for on, (_, number) in by_day.items() if 0 <= (day - on).days < window(block)]
                mean = sum(means) / len(means)
                unseen = None if since or len(means) < FEWEST_BLOCKS else mean + _margin(means)
                found.append(BesideFloor(node, day, floor + sign * mean, len(counts), sum(counts), since, unseen))
    return sorted(found, key=lambda one: (one.day, one.node))


def visible(gains: Sequence[float], block: int = 1, fewer: float = 1.0) -> float | None:
    """By how much the metric of one more day must be worse than usual to be found nine times in ten; None where too few are known.

    gains: over the rival, of the days that a day is held against. fewer: as `thinner` gives it.
    """
    alone = len(gains) / block
    if len(gains) < FEWEST or alone < FEWEST_BLOCKS:
        return None
    mean, spread = float(np.mean(gains)), float(np.std(gains, ddof=1))
    return mean - min(0.0, mean - fewer * _reach(gains, alone)) + NINE_IN_TEN * fewer * spread


def thinner(rows: int, past: Sequence[int]) -> float:
    """How many times as much as past days a day may scatter that is of fewer rows. past: rows of these.

    >>> thinner(24, [24, 23, 24]), thinner(6, [24, 23, 24])
    (1.0, 2.0)
    """
    return max(1.0, float(np.sqrt(np.median(past) / max(rows, 1)))) if past else 1.0


@dataclass(frozen=True)
class _Measured:
    """A node's day: the metric of the model and of its rival, and how many rows have a label."""

    value: float
    other: float
    labelled: int


def _of_node(node: str, metric: str, measured: Mapping[dt.date, _Measured], block: int, rival: Rival) -> list[Loss]:
    found: list[Loss] = []
    gains = {day: improvement(metric, measured[day].value, measured[day].other) for day in sorted(measured)}
    sound: dict[dt.date, float] = {}
    # The last days on end that are losses, and lower than all the sound days before them.
    low: list[dt.date] = []
    last_measured: dt.date | None = None
    for day, gain in gains.items():
        value, other = measured[day].value, measured[day].other
        reason, again = "", bool(found) and found[-1].day == last_measured
        # While a loss lasts no sound days are added, and those before it go on saying what is to be expected. After a window of it,
        # the mean is of the loss alone; and so two windows are all that a day depends on.
        lasts = again and gain < 0 and day < found[-1].since + window(block) * DAY
        held_against = found[-1].since if lasts else day
        past = {earlier: each for earlier, each in sound.items() if earlier >= held_against - window(block) * DAY}
        fewer = thinner(measured[day].labelled, [measured[earlier].labelled for earlier in past])
        # Low days say nothing of what the next day may be: the second bad day would pass because of the first.
        before = [each for earlier, each in past.items() if earlier not in low]
        low = [*low, day] if gain < 0 and _lowest(gain, before, fewer) else []
        if (gain < 0 or again) and _unexpected(gain, before, block, fewer):
            of_past = f"the {counted(len(before), 'day')} before it"
            reason = (
                f"{metric} {figure(value)}, {rival.name} {figure(other)}: far worse than {of_past} let expect, on which "
                f"it was better than {rival.words} by {figure(float(np.mean(before)))} on average"
            )
        elif _seldom(len(low), len(before), block):
            usual = figure(float(np.mean(before)))
            reason = (
                f"{metric} {figure(value)}, {rival.name} {figure(other)}: for {counted(len(low), 'day')} on end worse than on each of "
                f"the {counted(len(before), 'day')} before, on which it was better than {rival.words} by {usual} on average"
            )
            # Nor are they among the sound days once the loss is over.
            sound = {earlier: each for earlier, each in sound.items() if earlier not in low}
        elif (mean := _lasting(gains, day, block)) is not None:
            reason = (
                f"{metric} is worse than {rival.words} by {figure(-mean)} on average of {counted(window(block), 'day')}"
            )
        if reason:
            found.append(Loss(node, day, found[-1].since if again else day, reason))
        else:
            sound[day] = gain
        last_measured = day
    return found


def _unexpected(gain: float, past: Sequence[float], block: int, fewer: float) -> bool:
    """Whether a gain is lower than one more of the past gains would be but for the false alarm rate. fewer: as of `visible`."""
    alone = len(past) / block
    if len(past) < FEWEST or alone < FEWEST_BLOCKS or gain >= min(past):
        return False
    return bool(gain < np.mean(past) - fewer * _reach(past, alone))


def _lowest(gain: float, before: Sequence[float], fewer: float) -> bool:
    """Whether a gain is lower than all of these, had its day as many rows. fewer: as of `visible`."""
    return bool(before) and float(np.mean(before) + (gain - np.mean(before)) / fewer) < min(before)


def _seldom(low: int, before: int, block: int) -> bool:
    """Whether so many days on end are the lowest, after so many before them, but for their false alarm rate.

    >>> [_seldom(low, before, 1) for low, before in [(6, 8), (7, 8), (4, 16), (4, 17), (3, 28)]]
    [False, True, False, True, False]
    """
    if before < FEWEST or before // block < FEWEST_BLOCKS:
        return False
    return comb((low + before) // block, low // block) * ON_END_RATE >= 1


def _reach(past: Sequence[float], alone: float) -> float:
    """How far below the mean of past gains one more may be but for the false alarm rate. alone: how many of them say something new.

    Of so many and one more each is as likely to be the furthest on either side. If chances of being so many times as far fall with
    a power, one more is c times as far as the furthest of the others with a chance of 1 / (1 + alone x c ** power).
    """
    times = ((0.5 / FALSE_ALARM_RATE - 1) / alone) ** (1 / TAIL)
    return float(times * np.abs(np.asarray(past) - np.mean(past)).max())


def _lasting(gains: Mapping[dt.date, float], day: dt.date, block: int) -> float | None:
    """The mean gain of the blocks of days up to a day, where it lies below nothing by more than chance."""
    means = _means(gains, day, block)
    return sum(means) / len(means) if _below_nothing(means, MEAN_RATE) else None


def _means(gains: Mapping[dt.date, float], day: dt.date, block: int) -> list[float]:
    """The mean gain of each block of days in the window that ends with a day."""
    # Blocks as long as labels overlap still share half of a label's days with the next one.
    length = 2 * block if block > 1 else 1
    in_block: dict[int, list[float]] = {}
    for earlier, gain in gains.items():
        if 0 <= (back := (day - earlier).days) < window(block):
            in_block.setdefault(back // length, []).append(gain)
    return [sum(values) / len(values) for values in in_block.values()]


def _below_nothing(means: Sequence[float], rate: float = FALSE_ALARM_RATE) -> bool:
    """Whether the mean of these lies below nothing by more than chance."""
    # Most nodes are better on average, and cost no more than that.
    if len(means) < FEWEST_BLOCKS or (mean := sum(means) / len(means)) >= 0:
        return False
    return mean < -_error(means) * _quantile(len(means) - 1, rate)


def _error(means: Sequence[float]) -> float:
    """The standard error of the mean of these."""
    return float(np.std(means, ddof=1)) / len(means) ** 0.5


def _margin(means: Sequence[float]) -> float:
    """How much worse than this mean the next one has to be to be found below nothing nine times in ten, where this one is nothing."""
    freedom = len(means) - 1
    edge = _quantile(freedom, FALSE_ALARM_RATE)
    # Both means vary, and both errors, by which the edge is multiplied.
    return _error(means) * (edge + NINE_IN_TEN * float(np.sqrt(2 + edge**2 / freedom)))


@lru_cache(maxsize=1024)
def _quantile(freedom: float, rate: float) -> float:
    """Student's t that is exceeded at this rate."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - rate))
