"""Is one model better than another, or was it luck? Both on the same rows, which are no independent witnesses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations.tasks import level_of
from factory_assets.measures.metrics import METRICS, improvement

#: Of a day's difference no more than this is taken to be left of that of the day before.
MOST_LEFT = 0.8
#: Groups of rows are put together until there are so many at most: more would say little more, and cost as much again.
GROUPS = 30
#: Of fewer stretches of time than this only what is better by three times its spread is sure: days are divided into so many.
FEWEST = 4

Numbers = npt.NDArray[np.intp]
#: What is gained on some of the rows, shape (n,): one number.
Gain = Callable[[npt.NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Groups:
    """Rows that are no independent witnesses. of: the number of each row's group, shape (n,): 0, 1, 2 ...

    follow: whether groups are in order, and one may be like that before.
    """

    of: Numbers
    follow: bool = False

    @property
    def number(self) -> int:
        return int(self.of.max()) + 1 if len(self.of) else 0

    def within(self, rows: npt.NDArray[np.bool_]) -> "Groups":
        """The same of some of the rows, shape (n,)."""
        return Groups(np.asarray(np.unique(self.of[rows], return_inverse=True)[1], np.intp), self.follow)


def certainty(
    task: str,
    metric: str,
    y: npt.NDArray,
    ours: npt.NDArray,
    theirs: npt.NDArray,
    groupings: Sequence[Groups],
    worse: float = 0.0,
) -> float | None:
    """How sure it is, from 0 to 1, that `ours` stay better than `theirs` by the metric on other rows such as these.

    y, ours, theirs: labels and predictions of the same rows, shape (n,) or (n, classes), as `score` takes them.
    groupings: one or more ways in which rows belong together; see `witnesses`. worse: by how much ours may be worse all the same.

    Rows of one day have a day in common, and a model that is lucky with it is lucky with all of them; rows of one customer
    likewise. So the spread of the difference is that over the samples that lack one group, which serves any metric, and what is
    read from it has one degree of freedom less than there are groups. Days may be like the day before, too: then they say as much
    as fewer that are not. Of several groupings the least sure one holds. None where one has not two groups, or where without one
    of them the metric is undefined, or too large for a double. The same rows give the same value: nothing is drawn.

    Source: delete-a-group jackknife, Kott 2001; for differences of metrics, Efron & Tibshirani 1993, chapter 11; for days that
    follow each other, Zwiers & von Storch 1995, with the lag's bias by Kendall 1954.

    >>> days, y = np.arange(600) // 100, np.sin(np.arange(600.0))
    >>> ours, theirs = y + 0.1, y + np.where(days < 5, 0.2, 0.05)
    >>> round(certainty("regression", "mae", y, ours, theirs, [Groups(days)]), 2)
    0.98
    """
    level = level_of(task)

    def gain(kept: npt.NDArray[np.bool_]) -> float:
        values = [METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level])) for p in (ours, theirs)]
        return improvement(metric, *values) + worse

    return sure_of(gain, len(y), groupings)


def sure_of(gain: Gain, rows: int, groupings: Sequence[Groups]) -> float | None:
    """As `certainty`, of any gain: how sure it is that it is more than nothing."""
    from scipy.special import stdtr

    spreads = _spreads(gain, rows, groupings)
    if spreads is None:
        return None
    return min(
        float(stdtr(each.freedom, each.gained / each.error)) if each.error else float((np.sign(each.gained) + 1) / 2)
        for each in spreads
    )


def limits_of(gain: Gain, rows: int, groupings: Sequence[Groups], level: float = 0.95) -> tuple[float, float] | None:
    """Between which values a gain lies, with a certainty of `level`: the widest of the groupings. None as of `certainty`."""
    from scipy.special import stdtrit

    spreads = _spreads(gain, rows, groupings)
    if spreads is None:
        return None
    reach = max(float(stdtrit(each.freedom, (1 + level) / 2)) * each.error for each in spreads)
    return spreads[0].gained - reach, spreads[0].gained + reach


@dataclass(frozen=True)
class _Spread:
    """A gain, its standard error, and the degrees of freedom of that."""

    gained: float
    error: float
    freedom: float


def _spreads(gain: Gain, rows: int, groupings: Sequence[Groups]) -> list[_Spread] | None:
    """By each grouping; None as of `certainty`."""
    if any(groups.number < 2 for groups in groupings):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        gained = gain(np.ones(rows, dtype=bool))
        found = [
            _spread(gained, np.array([gain(groups.of != each) for each in range(groups.number)]), groups.follow)
            for groups in groupings
        ]
    spreads = [each for each in found if each is not None]
    return spreads if len(spreads) == len(found) else None


def _spread(gained: float, without: npt.NDArray, follow: bool) -> _Spread | None:
    """gained: on all rows. without: on the rows that lack one group, shape (groups,). follow: as of `Groups`."""
    count, differing = len(without), without - without.mean()
    variance = (count - 1) / count * float(np.sum(differing**2))
    if not np.isfinite([gained, variance, *without]).all():
        return None
    each_counts = _each_counts(differing) if follow and variance else 1.0
    # Days that are alike differ less from their mean than from that of all days, too.
    variance *= each_counts * (count - 1) / max(count - each_counts, 1.0)
    return _Spread(gained, float(np.sqrt(variance)), max(count / each_counts - 1, 1.0))


def _each_counts(differing: npt.NDArray) -> float:
    """How many groups in a row say as much as one that is not like the one before: 1 where none is.

    differing: by how much each differs from their mean, in their order, on any scale; shape (groups,).
    """
    count = len(differing)
    if count < 3:
        return 1.0
    like = float(np.sum(differing[1:] * differing[:-1]) / np.sum(differing**2))
    # Of few groups it comes out too low, by as much as it says itself.
    left = min(max((count * like + 1) / max(count - 3, 1), 0.0), MOST_LEFT)
    apart = np.arange(1, count)
    return 1 + 2 * float(np.sum((1 - apart / count) * left**apart))


def witnesses(
    days: npt.NDArray, overlap: int = 1, clusters: pa.ChunkedArray | None = None, follow: bool = False
) -> list[Groups]:
    """The groupings that rows are judged by: stretches of time, and groups of clusters where there are such.

    days: shape (n,), the day of each row, a number or a date. overlap: days over which labels overlap, 1 where they do not.
    clusters: whose each row is, such as the customer's; n values of any type that sorts.
    Stretches are as long as labels overlap. Where so long ones would be fewer than `FEWEST`, they are shorter: days on which the
    models differ are told from luck by them, and labels that overlap are those of one cluster.
    """
    reach = int((days.max() - days.min()).astype(np.int64)) + 1 if len(days) else 0
    of_time = stretches(days, min(overlap, max(reach // FEWEST, 1)), follow)
    return [of_time] if clusters is None else [of_time, grouped(clusters)]


def stretches(days: npt.NDArray, length: int = 1, follow: bool = False) -> Groups:
    """Rows by stretch of days, none of them shorter than `length` days; the arguments are those of `witnesses`."""
    if not len(days):
        return Groups(np.zeros(0, np.intp), follow)
    since = (days - days.min()).astype(np.int64)
    whole = max((int(since.max()) + 1) // length, 1)
    distinct, place = np.unique(np.minimum(since // length, whole - 1), return_inverse=True)
    return Groups(np.asarray(place * min(len(distinct), GROUPS) // len(distinct), np.intp), follow)


def grouped(clusters: pa.ChunkedArray) -> Groups:
    """Rows by group of clusters: in order of the clusters' values, each is of the next group. Nulls are one."""
    import pyarrow.compute as pc

    ordered = pc.unique(clusters).sort()
    return Groups(np.asarray(pc.index_in(clusters, value_set=ordered).to_numpy(), np.intp) % GROUPS)
