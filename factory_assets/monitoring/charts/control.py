"""Did a count, a share of counts, or an age leave the range that its own past days explain?

A control chart (Shewhart, 1931) of a daily series, in the two phases of the trade: limits are learned from the days before the
judged one, without those that were out of control themselves (Montgomery, Introduction to Statistical Quality Control, chapter 6),
and the weekday is taken out where there are four weeks of each. Two rules, of which each may be wrong on half of the stated
false alarm rate while nothing changes:

- a day: it lies beyond what one more of the past days would do;
- a week: the mean of the last seven days lies beyond what one more of the past whole weeks would do. It takes the place of
  "nine in a row on one side" (Nelson, 1984), which states .004 of days that are independent and gives many times as much where
  days follow each other, or a stream grows: weeks that sway by themselves, or climb, make the limit wide.

A limit has to hold in two ways, and is the wider of both. By the days' own scatter it is Student's t of one more observation (Hahn
and Meeker, Statistical Intervals, 1991), of the logarithm of a count, or of the arcsine of a share (Anscombe, Biometrika 35, 1948),
and the scatter is at least what independent rows have: what Laney's p' chart (Quality Engineering 14, 2002) is after, with the
degrees of freedom counted. By counting, a number of rows as rare as the past ones is negative binomial: Poisson with a rate that
is known from the past alone (Gelman and others, Bayesian Data Analysis, 2.6). Without this one, days
with 8 rows would be alarms three times as often as stated: the logarithm of so few is not normal.
"""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

#: Past days that a day is held against: eight whole weeks. How few of them, in control, still say what the days vary by.
PAST, FEWEST = 56, 8
WEEK = 7
#: Days of each weekday from which on the weekday is taken out.
OF_WEEKDAY = 4
#: Past weeks that a week is held against at the least, and days that a week has at the least.
FEWEST_WEEKS, FEWEST_DAYS = 4, 5
#: Of so many past days one may be left out as out of control. Where more are, they are how the series is, or its new level.
FEW_OUT = 20
#: How sure it is that a day which belongs to the past stays in it.
KEPT = 0.999
#: The median deviation knows the scatter as well as the standard deviation of so small a share of the days (Rousseeuw and Croux,
#: JASA 88, 1993), and is so much smaller than it.
MEDIAN_KNOWS, MEDIAN_IS = 0.37, 0.6745
#: Rarer shares are also held against what counting alone explains; of others the arcsine is as good.
RARE = 0.1
#: How often the smallest visible change is found, as a normal quantile.
POWER = 1.2815515655446004
#: On the scale of this power times between rows, which are exponential where rows come by chance, are nearly normal (Nelson, Journal
#: of Quality Technology 26, 1994). Their logarithm is skewed by -1.14 (Gumbel), that of delays, which have heavy tails, is not: past
#: days of which it is skewed further than this are times between rows. Of 56 days without skew a hundredth are, by chance.
BETWEEN, SKEWED = 1 / 3.6, -0.75
#: Logarithm of more rows than there will be.
MOST_LOG = 100.0
NO_VERDICT, IN_CONTROL, DAY_OUT, WEEK_OUT = 0, 1, 2, 3


@dataclass(frozen=True)
class Chart:
    """The verdict on the newest day of each series, arrays of shape (series,).

    usual: what the past expects of the day, rows or a share as the value. limit: on the side on which the value lies.
    verdict: NO_VERDICT, IN_CONTROL, DAY_OUT or WEEK_OUT. days: past days in control. week: by what factor the last seven days
        differ from the weeks before, where the week is out; else NaN. weeks_before: how many of them.
    visible: smallest change of a day that would have been found nine times in ten, NaN if none would: of counts the share of rows
        that would be missing, of shares the share that would be added, of ages the minutes.
    """

    usual: np.ndarray
    limit: np.ndarray
    verdict: np.ndarray
    days: np.ndarray
    week: np.ndarray
    weeks_before: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True)
class _Scale:
    """Counts, shares of counts, or ages, on the scale on which they are judged.

    counts, sizes: shape (series, 57), oldest day first, the judged one last; sizes are 1 but of shares. kind: which of them these are.
    """

    counts: np.ndarray
    sizes: np.ndarray
    kind: Literal["counts", "shares", "delays", "gaps"]

    @property
    def shares(self) -> bool:
        return self.kind == "shares"

    @property
    def ages(self) -> bool:
        return self.kind in ("delays", "gaps")

    @property
    def upward(self) -> bool:
        """Whether they are judged for being too high alone."""
        return self.kind != "counts"

    @property
    def values(self) -> np.ndarray:
        if self.shares:
            return np.arcsin(np.sqrt((self.counts + 0.375) / (self.sizes + 0.75)))
        return (self.counts + 0.5) ** BETWEEN if self.kind == "gaps" else np.log1p(self.counts)

    def chance(self, level: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Variance of independent rows at a level of this scale."""
        if self.kind == "gaps":
            return BETWEEN**2 * np.maximum(level, 0.5**BETWEEN) ** (2 - 1 / BETWEEN)
        return 1 / (4 * sizes + 2) if self.shares else np.exp(-level)

    def rows(self, level: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The count of which a level is."""
        if self.shares:
            return np.sin(np.clip(level, 0, np.pi / 2)) ** 2 * (sizes + 0.75) - 0.375
        if self.kind == "gaps":
            return np.maximum(level, 0) ** (1 / BETWEEN) - 0.5
        # Few days give limits that no number holds.
        return np.expm1(np.minimum(level, MOST_LOG))


@dataclass(frozen=True)
class _Past:
    """What past days say. kept: shape (series, weeks, 7), the days in control. Of each weekday: level (on the scale), its days,
    its counts and their sizes, shape (series, 7). scatter: variance of a day; chance: of it, what independent rows have."""

    kept: np.ndarray
    level: np.ndarray
    days: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray
    scatter: np.ndarray
    chance: np.ndarray
    freedom: np.ndarray


def judged_counts(counts: np.ndarray, false_alarm_rate: float) -> Chart:
    """The newest day of each series of counts against the 56 days before it, on both sides.

    counts: shape (series, 57), one day after the other, NaN where a day has no value.
    false_alarm_rate: share of days that may be called out of control while nothing changes, by either rule.
    """
    present = np.isfinite(counts)
    return _judged(_Scale(np.where(present, counts, 0.0), np.ones_like(counts), "counts"), present, false_alarm_rate)


def judged_shares(counts: np.ndarray, sizes: np.ndarray, false_alarm_rate: float) -> Chart:
    """As `judged_counts`, of shares, for being too high. sizes: the rows among which are counted; a day without any has no value."""
    present = np.isfinite(counts) & (sizes > 0)
    return _judged(
        _Scale(np.where(present, counts, 0.0), np.where(present, sizes, 1.0), "shares"), present, false_alarm_rate
    )


def judged_ages(minutes: np.ndarray, false_alarm_rate: float, longest: float = np.inf) -> Chart:
    """As `judged_counts`, of whole minutes, for being too many. longest: no day can have more.

    They scatter at least as minutes that are counted do, so that of a feed which is always a minute behind two are no alarm. Days
    alone are judged, no weeks: of one day on which a feed broke off the six that follow would be alarms as well.
    """
    present, ones = np.isfinite(minutes), np.ones_like(minutes)
    there = np.where(present, minutes, 0.0)
    of_delays = _judged(_Scale(there, ones, "delays"), present, false_alarm_rate, longest)
    of_gaps = _judged(_Scale(there, ones, "gaps"), present, false_alarm_rate, longest)
    between = _skew(np.log(there[:, :-1] + 0.5), present[:, :-1]) < SKEWED
    pairs = ((getattr(of_gaps, each.name), getattr(of_delays, each.name)) for each in fields(Chart))
    return Chart(*(np.where(between, gaps, delays) for gaps, delays in pairs))


def _judged(scale: _Scale, present: np.ndarray, rate: float, longest: float = np.inf) -> Chart:
    # Half of the rate for each rule, and half of that for each side. Of ages there is one rule, and one side.
    of_rule = rate if scale.ages else rate / 2 if scale.shares else rate / 4
    past = _past(scale, present, slice(-PAST - 1, -1))
    # Of the weekdays of the past the first is the judged day's own: it comes 56 days, whole weeks, after that.
    level, alone = past.level[:, 0], np.maximum(past.days[:, 0], 1)
    now, size = scale.counts[:, -1], scale.sizes[:, -1]
    own = np.maximum(past.scatter - past.chance, 0)
    reach = _student(past.freedom, of_rule) * np.sqrt((own + scale.chance(level, size)) * (1 + 1 / alone))
    lower, upper = (scale.rows(level + side * reach, size) for side in (-1, 1))
    rarest, most = _counting(past.counts[:, 0], past.sizes[:, 0], size, of_rule, scale.shares)
    lower, upper = np.minimum(lower, rarest), np.maximum(upper, most)
    usual = past.counts[:, 0] / np.maximum(past.sizes[:, 0], 1) * size
    out = (now > upper) | ((now < lower) & (not scale.upward))
    if scale.ages:
        visible = _visible_longer(scale, upper, level, own, longest)
    else:
        visible = _visible_more(scale, upper, own, usual) if scale.shares else _visible_less(scale, lower, own, usual)
    week, weeks_before, week_out = _week(scale, present, of_rule)
    week_out &= not scale.ages
    days = past.kept.sum(axis=(1, 2))
    judgeable = present[:, -1] & (days >= FEWEST)
    verdict = np.where(
        out, DAY_OUT, np.where(week_out, WEEK_OUT, np.where(np.isfinite(visible), IN_CONTROL, NO_VERDICT))
    )
    limit = upper if scale.upward else np.where(now < usual, np.maximum(lower, 0), upper)
    by = size if scale.shares else 1.0
    return Chart(
        usual=np.where(judgeable, usual / by, np.nan),
        limit=np.where(judgeable, np.minimum(limit / by, 1.0) if scale.shares else limit, np.nan),
        verdict=np.where(judgeable, verdict, NO_VERDICT),
        days=days,
        week=week,
        weeks_before=weeks_before,
        visible=np.where(judgeable, visible, np.nan),
    )


def _past(scale: _Scale, present: np.ndarray, days: slice) -> _Past:
    """What these days say, whole weeks of them, without those that were out of control."""
    values, there, counts, sizes = (
        each[:, days].reshape(len(present), len(range(PAST + 1)[days]) // WEEK, WEEK)
        for each in (scale.values, present, scale.counts, scale.sizes)
    )
    of_weekday = there.sum(axis=1)
    by_weekday = (np.where(of_weekday > 0, of_weekday, PAST).min(axis=1) >= OF_WEEKDAY) & (of_weekday[:, 0] > 0)
    middle = np.where(by_weekday[:, None], _median(values, there), _of_all(values, there)[:, None])
    number = there.sum(axis=(1, 2))
    levels = np.where(by_weekday, (of_weekday > 0).sum(axis=1), 1)
    freedom = np.maximum(number - levels, 1)
    away = np.abs(values - middle[:, None, :])
    spread = _of_all(away, there) / MEDIAN_IS * np.sqrt(number / freedom)
    least = scale.chance(middle[:, None, :], sizes)
    far = _student(np.maximum(MEDIAN_KNOWS * freedom, 1), (1 - KEPT) / 2 / np.maximum(number, 1))
    near = there & (away <= far[:, None, None] * np.sqrt(np.maximum(spread[:, None, None] ** 2, least)))
    rare = number - near.sum(axis=(1, 2)) <= np.maximum(number // FEW_OUT, 1)
    kept = np.where(rare[:, None, None], near, there)
    return _learned(scale, kept, by_weekday, (values, counts, sizes))


def _learned(
    scale: _Scale, kept: np.ndarray, by_weekday: np.ndarray, of_days: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> _Past:
    """of_days: values, counts and sizes of the days, shape (series, weeks, 7)."""
    own = kept.sum(axis=1)
    by_weekday = by_weekday & (own[:, 0] > 0)
    days, values, counts, sizes = (
        np.where(by_weekday[:, None], (each * kept).sum(axis=1), (each * kept).sum(axis=(1, 2))[:, None])
        for each in (np.ones_like(kept), *of_days)
    )
    level = values / np.maximum(days, 1)
    number, levels = own.sum(axis=1), np.where(by_weekday, (own > 0).sum(axis=1), 1)
    freedom = np.maximum(number - levels, 1)
    scatter = (((of_days[0] - level[:, None, :]) ** 2) * kept).sum(axis=(1, 2)) / freedom
    chance = (scale.chance(level[:, None, :], of_days[2]) * kept).sum(axis=(1, 2)) / np.maximum(number, 1)
    return _Past(kept, level, days, counts, sizes, np.maximum(scatter, chance), chance, freedom)


def _week(scale: _Scale, present: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the last seven days have, and the whole weeks before them, on average; and whether that is out of control."""
    past = _past(scale, present, slice(-PAST, -WEEK))
    newest = present[:, -WEEK:]
    enough = past.kept.sum(axis=2) >= FEWEST_DAYS
    weeks = enough.sum(axis=1)
    before = _mean((scale.values[:, -PAST:-WEEK].reshape(past.kept.shape) - past.level[:, None, :]), past.kept, 2)
    now = _mean(scale.values[:, -WEEK:] - past.level, newest, 1)
    centre = _mean(before, enough, 1)
    freedom = np.maximum(weeks - 1, 1)
    scatter = (((before - centre[:, None]) ** 2) * enough).sum(axis=1) / freedom
    scatter = np.maximum(scatter, past.chance / WEEK)
    reach = _student(freedom, rate) * np.sqrt(scatter * (1 + 1 / np.maximum(weeks, 1)))
    rows, sizes = (scale.counts * present)[:, -WEEK:].sum(axis=1), (scale.sizes * present)[:, -WEEK:].sum(axis=1)
    rows_before, sizes_before = (
        (each[:, -PAST:-WEEK].reshape(past.kept.shape) * past.kept).sum(axis=(1, 2))
        for each in (scale.counts, scale.sizes)
    )
    rarest, most = _counting(rows_before, sizes_before, sizes, rate, scale.shares)
    above, below = (now - centre > reach) & (rows > most), (now - centre < -reach) & (rows < rarest)
    judgeable = (weeks >= FEWEST_WEEKS) & (newest.sum(axis=1) >= FEWEST_DAYS)
    now_out = judgeable & (above | (below & (not scale.upward)))
    return rows / np.maximum(sizes, 1), rows_before / np.maximum(sizes_before, 1), now_out


def _counting(
    counts: np.ndarray, sizes: np.ndarray, size: np.ndarray, rate: float, shares: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The fewest and the most rows that counting alone explains of one more size, after so many of those sizes."""
    from scipy.special import nbdtrik

    known = counts + 0.5
    of_one = known / (known + known * size / np.maximum(sizes, 1))
    most = np.ceil(nbdtrik(1 - rate, known, of_one))
    least = np.where(of_one**known > rate, 0.0, np.floor(nbdtrik(rate, known, of_one)) + 1)
    common = shares & (counts > RARE * sizes)
    return np.where(common, np.inf, least), np.where(common, -np.inf, most)


def _visible_less(scale: _Scale, lower: np.ndarray, own: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """The share of rows that would be missing, and be found nine times in ten."""
    ones = np.ones_like(lower)
    edge = np.log1p(np.maximum(lower, 0))
    level = edge
    for _ in range(4):
        level = np.maximum(edge - POWER * np.sqrt(own + scale.chance(level, ones)), 0)
    missing = 1 - scale.rows(level, ones) / np.maximum(usual, 1e-300)
    return np.where(lower > 0, np.clip(missing, 0, 1), np.nan)


def _visible_more(scale: _Scale, upper: np.ndarray, own: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """The share that would be added, and be found nine times in ten."""
    size = scale.sizes[:, -1]
    edge = np.arcsin(np.sqrt(np.clip((upper + 0.375) / (size + 0.75), 0, 1)))
    level = edge + POWER * np.sqrt(own + scale.chance(edge, size))
    share = np.where(level < np.pi / 2, scale.rows(level, size) / size, 1.0)
    return np.where(upper < size, np.clip(share, 0, 1) - usual / size, np.nan)


def _visible_longer(scale: _Scale, upper: np.ndarray, level: np.ndarray, own: np.ndarray, longest: float) -> np.ndarray:
    """The minutes that would be added, and be found nine times in ten: to an age that only a tenth of the days lie below."""
    ones = np.ones_like(upper)
    young = scale.rows(np.maximum(level - POWER * np.sqrt(own + scale.chance(level, ones)), 0), ones)
    added = np.floor(upper) + 1 - np.floor(young)
    return np.where(added <= longest, added, np.nan)


def _of_all(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The median of each series over all of its days. Shape (series, weeks, 7)."""
    flat = len(values), values.shape[1] * values.shape[2]
    return _median(values.reshape(flat), there.reshape(flat))


def _median(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The median along the second axis of the values that are there, 0 where none is."""
    number = there.sum(axis=1, keepdims=True)
    ordered = np.sort(np.where(there, values, np.inf), axis=1)
    low, high = (np.take_along_axis(ordered, np.maximum(place, 0), 1) for place in ((number - 1) // 2, number // 2))
    return np.asarray(np.where(number > 0, low + high, 0)[:, 0] / 2)


def _skew(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The skewness of each series, 0 of fewer than 28 days: those do not tell one. Shape (series,)."""
    away = np.where(there, values - _mean(values, there, 1)[:, None], 0)
    third, second = (_mean(away**power, there, 1) for power in (3, 2))
    return np.where(there.sum(axis=1) >= PAST // 2, third / np.maximum(second, 1e-12) ** 1.5, 0.0)


def _mean(values: np.ndarray, there: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray((values * there).sum(axis=axis) / np.maximum(there.sum(axis=axis), 1))


def _student(freedom: np.ndarray, rate: float | np.ndarray) -> np.ndarray:
    """Student's t that is exceeded on one side by a share of the days."""
    from scipy.special import stdtrit

    return np.asarray(-stdtrit(freedom, rate))
