"""Is one model better than another, or was it luck? Both on the same rows, which are no independent witnesses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations.tasks import level_of
from factory_assets.measures.metrics import METRICS, improvement

#: What may be left of a day's difference on the day after: no more than the last of these.
LEFT = np.linspace(0, 0.8, 81)
#: Groups of rows are put together until there are so many at most: more would say little more, and cost as much again.
GROUPS = 30
#: Of fewer stretches of time than this only what is better by three times its spread is sure: days are divided into so many.
FEWEST = 4

Numbers = npt.NDArray[np.intp]
#: What is gained on some of the rows, shape (n,): one number.
Gain = Callable[[npt.NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Alike:
    """How much two models differ on one group of rows as on the group before.

    like: the correlation, as it comes out of so few groups as one meeting has; of several meetings their mean.
    groups: how many each meeting has. meetings: how many there were.
    """

    like: float
    groups: int
    meetings: int = 1


@dataclass(frozen=True)
class Groups:
    """Rows that are no independent witnesses. of: the number of each row's group, shape (n,): 0, 1, 2 ...

    follow: whether groups are in order, and one may be like that before. past: what earlier meetings tell of that.
    """

    of: Numbers
    follow: bool = False
    past: tuple[Alike, ...] = ()

    @property
    def number(self) -> int:
        return int(self.of.max()) + 1 if len(self.of) else 0

    def within(self, rows: npt.NDArray[np.bool_]) -> "Groups":
        """The same of some of the rows, shape (n,)."""
        return replace(self, of=np.asarray(np.unique(self.of[rows], return_inverse=True)[1], np.intp))


@dataclass(frozen=True)
class Judged:
    """Two models on one set of rows. sure: that the first is better, from 0 to 1; None where the rows cannot say.

    alike: how much they differ on one group as on the one before, by the first grouping that is in order; None as above.
    """

    sure: float | None
    alike: Alike | None = None


def certainty(
    task: str,
    metric: str,
    y: npt.NDArray,
    ours: npt.NDArray,
    theirs: npt.NDArray,
    groupings: Sequence[Groups],
    worse: float = 0.0,
) -> float | None:
    """How sure it is, from 0 to 1, that `ours` stay better than `theirs`; see `judge`.

    >>> days, y = np.arange(600) // 100, np.sin(np.arange(600.0))
    >>> ours, theirs = y + 0.1, y + np.where(days < 5, 0.2, 0.05)
    >>> round(certainty("regression", "mae", y, ours, theirs, [Groups(days)]), 2)
    0.98
    """
    return judge(task, metric, y, ours, theirs, groupings, worse).sure


def judge(
    task: str,
    metric: str,
    y: npt.NDArray,
    ours: npt.NDArray,
    theirs: npt.NDArray,
    groupings: Sequence[Groups],
    worse: float = 0.0,
) -> Judged:
    """How sure it is that `ours` stay better than `theirs` by the metric on other rows such as these.

    y, ours, theirs: labels and predictions of the same rows, shape (n,) or (n, classes), as `score` takes them.
    groupings: one or more ways in which rows belong together; see `witnesses`. worse: by how much ours may be worse all the same.

    Rows of one day have a day in common, and a model that is lucky with it is lucky with all of them; rows of one customer
    likewise. So the spread of the difference is that over the samples that lack one group, which serves any metric, and what is
    read from it has one degree of freedom less than there are groups. Days may be like the day before, too: then they say as much
    as fewer that are not. A week tells little of that, so that earlier meetings of such models are asked, too. Of several groupings
    the least sure one holds. Nothing is sure where one has not two groups, or where without one of them the metric is undefined, or
    too large for a double. The same rows give the same value: nothing is drawn.

    Source: delete-a-group jackknife, Kott 2001; for differences of metrics, Efron & Tibshirani 1993, chapter 11; for days that
    follow each other, Zwiers & von Storch 1995.
    """
    level = level_of(task)

    def gain(kept: npt.NDArray[np.bool_]) -> float:
        values = [METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level])) for p in (ours, theirs)]
        return improvement(metric, *values) + worse

    return judge_gain(gain, len(y), groupings)


def judge_gain(gain: Gain, rows: int, groupings: Sequence[Groups]) -> Judged:
    """As `judge`, of any gain: how sure it is that it is more than nothing."""
    spreads = _spreads(gain, rows, groupings)
    return Judged(_sure(spreads), spreads[0].alike) if spreads else Judged(None)


def limits_of(gain: Gain, rows: int, groupings: Sequence[Groups], level: float = 0.95) -> tuple[float, float] | None:
    """Between which values a gain lies, with a certainty of `level`: the widest of the groupings. None as of `certainty`."""
    from scipy.special import stdtrit

    spreads = _spreads(gain, rows, groupings)
    if not spreads:
        return None
    reach = max(float(stdtrit(each.freedom, (1 + level) / 2)) * each.error for each in spreads)
    return spreads[0].gained - reach, spreads[0].gained + reach


@dataclass(frozen=True)
class _Spread:
    """A gain, its standard error, the degrees of freedom of that, and how much one group is like the one before."""

    gained: float
    error: float
    freedom: float
    alike: Alike | None = None


def _sure(spreads: Sequence[_Spread]) -> float | None:
    from scipy.special import stdtr

    return min(
        (
            float(stdtr(each.freedom, each.gained / each.error))
            if each.error
            else float((np.sign(each.gained) + 1) / 2)
            for each in spreads
        ),
        default=None,
    )


def _spreads(gain: Gain, rows: int, groupings: Sequence[Groups]) -> list[_Spread]:
    """By each grouping; none where the rows cannot say, as of `certainty`."""
    if any(groups.number < 2 for groups in groupings):
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        gained = gain(np.ones(rows, dtype=bool))
        found = [
            _spread(gained, np.array([gain(groups.of != each) for each in range(groups.number)]), groups)
            for groups in groupings
        ]
    spreads = [each for each in found if each is not None]
    return spreads if len(spreads) == len(found) else []


def _spread(gained: float, without: npt.NDArray, groups: Groups) -> _Spread | None:
    """gained: on all rows. without: on the rows that lack one group, shape (groups,)."""
    count, differing = len(without), without - without.mean()
    squares = float(np.sum(differing**2))
    variance = (count - 1) / count * squares
    if not np.isfinite([gained, variance, *without]).all():
        return None
    if variance == 0:
        return _Spread(gained, 0.0, count - 1.0)
    alike = Alike(float(np.sum(differing[1:] * differing[:-1])) / squares, count) if count > 2 else None
    told = [*groups.past, *([alike] if alike and (groups.follow or groups.past) else [])]
    wider, freedom = _as_told(count, told) if told else (1.0, count - 1.0)
    return _Spread(gained, float(np.sqrt(variance * wider)), freedom, alike)


def _as_told(count: int, told: Sequence[Alike]) -> tuple[float, float]:
    """By how much the variance is larger than so many groups show that are like each other, and its degrees of freedom.

    told: of meetings. Source of the latter: Satterthwaite 1946.
    """
    weights = np.array([each.groups * each.meetings for each in told], float)
    like = float(weights @ [each.like for each in told] / weights.sum())
    expected = weights @ np.array([_comes_out(each.groups) for each in told]) / weights.sum()
    left = float(np.interp(like, expected, LEFT))
    likeness, centred = left ** _apart(count), np.eye(count) - 1 / count
    around_mean = centred @ likeness
    within = float(np.trace(around_mean))
    wider = float(likeness.sum()) / count * (count - 1) / within
    return wider, within**2 / float(np.trace(around_mean @ around_mean))


def _apart(groups: int) -> npt.NDArray[np.int_]:
    """How many groups apart each two of them are."""
    return np.abs(np.subtract.outer(np.arange(groups), np.arange(groups)))


@lru_cache(maxsize=64)
def _comes_out(groups: int) -> npt.NDArray[np.float64]:
    """What the correlation comes out as on average, of so few groups, whose mean is taken from them too; by what is `LEFT`.

    Source: the mean of a ratio of quadratic forms, Magnus 1986, theorem 6, as an integral over t from 0 to infinity.
    """
    apart, centred = _apart(groups), np.eye(groups) - 1 / groups
    beside = (apart == 1) / 2
    points, weights = np.polynomial.legendre.leggauss(200)
    share = (points + 1) / 2
    t, step = share / (1 - share), weights / 2 / (1 - share) ** 2
    means = []
    for left in LEFT:
        root = np.linalg.cholesky(left**apart)
        of_squares, along = np.linalg.eigh(root.T @ centred @ root)
        of_products = np.diag(along.T @ root.T @ centred @ beside @ centred @ root @ along)
        grown = 1 + 2 * np.outer(t, of_squares)
        means.append(float(step @ ((of_products / grown).sum(axis=1) / np.sqrt(grown.prod(axis=1)))))
    return np.array(means)


def witnesses(
    days: npt.NDArray,
    overlap: int = 1,
    clusters: pa.ChunkedArray | None = None,
    follow: bool = False,
    past: Sequence[Alike] = (),
) -> list[Groups]:
    """The groupings that rows are judged by: stretches of time, and groups of clusters where there are such.

    days: shape (n,), the day of each row, a number or a date. overlap: days over which labels overlap, 1 where they do not.
    clusters: whose each row is, such as the customer's; n values of any type that sorts.
    follow, past: whether a stretch may be like that before, and what earlier meetings tell of that.
    Stretches are as long as labels overlap. Where so long ones would be fewer than `FEWEST`, they are shorter: days on which the
    models differ are told from luck by them, and labels that overlap are those of one cluster.
    """
    reach = int((days.max() - days.min()).astype(np.int64)) + 1 if len(days) else 0
    of_time = replace(stretches(days, min(overlap, max(reach // FEWEST, 1)), follow), past=tuple(past))
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
