"""Is one model better than another, or was it luck? Both on the same rows, which are no independent witnesses."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations.tasks import level_of
from factory_assets.measures.metrics import METRICS, improvement

#: Groups of rows are put together until there are so many at most: more would say little more, and cost as much again.
GROUPS = 30
#: Of fewer stretches of time than this only what is better by three times its spread is sure: days are divided into so many.
FEWEST = 4

Groups = npt.NDArray[np.intp]


def certainty(
    task: str, metric: str, y: npt.NDArray, ours: npt.NDArray, theirs: npt.NDArray, groupings: Sequence[Groups]
) -> float | None:
    """How sure it is, from 0 to 1, that `ours` stay better than `theirs` by the metric on other rows such as these.

    y, ours, theirs: labels and predictions of the same rows, shape (n,) or (n, classes), as `score` takes them.
    groupings: one or more, each with the number of each row's group, shape (n,): 0, 1, 2 ... See `witnesses`.

    Rows of one day have a day in common, and a model that is lucky with it is lucky with all of them; rows of one customer
    likewise. So the spread of the difference is that over the samples that lack one group, which serves any metric, and what is
    read from it has one degree of freedom less than there are groups. Of several groupings the least sure one holds. None where
    one has not two groups, or where without one of them the metric is undefined, or too large for a double. The same rows give
    the same value: nothing is drawn.

    Source: delete-a-group jackknife, Kott 2001; for differences of metrics, Efron & Tibshirani 1993, chapter 11.

    >>> days, y = np.arange(600) // 100, np.sin(np.arange(600.0))
    >>> ours, theirs = y + 0.1, y + np.where(days < 5, 0.2, 0.05)
    >>> round(certainty("regression", "mae", y, ours, theirs, [days]), 2)
    0.98
    """
    level = level_of(task)

    def gain(kept: npt.NDArray[np.bool_]) -> float:
        values = [METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level])) for p in (ours, theirs)]
        return improvement(metric, *values)

    if any(number_of(groups) < 2 for groups in groupings):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        gained = gain(np.ones(len(y), dtype=bool))
        sure = [
            _sure(gained, np.array([gain(groups != each) for each in range(number_of(groups))])) for groups in groupings
        ]
    return None if None in sure else min(each for each in sure if each is not None)


def _sure(gained: float, without: npt.NDArray) -> float | None:
    """gained: on all rows. without: on the rows that lack one group, shape (groups,)."""
    from scipy.special import stdtr

    count = len(without)
    spread = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    if not np.isfinite([gained, spread, *without]).all():
        return None
    if spread == 0:
        return float((np.sign(gained) + 1) / 2)
    return float(stdtr(count - 1, gained / spread))


def witnesses(days: npt.NDArray, overlap: int = 1, clusters: pa.ChunkedArray | None = None) -> list[Groups]:
    """The groupings that rows are judged by: stretches of time, and groups of clusters where there are such.

    days: shape (n,), the day of each row, a number or a date. overlap: days over which labels overlap, 1 where they do not.
    clusters: whose each row is, such as the customer's; n values of any type that sorts.
    Stretches are as long as labels overlap. Where so long ones would be fewer than `FEWEST`, they are shorter: days on which the
    models differ are told from luck by them, and labels that overlap are those of one cluster.
    """
    reach = int((days.max() - days.min()).astype(np.int64)) + 1 if len(days) else 0
    of_time = stretches(days, min(overlap, max(reach // FEWEST, 1)))
    return [of_time] if clusters is None else [of_time, grouped(clusters)]


def stretches(days: npt.NDArray, length: int = 1) -> Groups:
    """The number of each row's stretch of days, none of them shorter than `length` days; the arguments are those of `witnesses`."""
    if not len(days):
        return np.zeros(0, np.intp)
    since = (days - days.min()).astype(np.int64)
    whole = max((int(since.max()) + 1) // length, 1)
    distinct, place = np.unique(np.minimum(since // length, whole - 1), return_inverse=True)
    return np.asarray(place * min(len(distinct), GROUPS) // len(distinct), np.intp)


def grouped(clusters: pa.ChunkedArray) -> Groups:
    """The number of each row's group of clusters: in order of the clusters' values, each is of the next group. Nulls are one."""
    import pyarrow.compute as pc

    ordered = pc.unique(clusters).sort()
    return np.asarray(pc.index_in(clusters, value_set=ordered).to_numpy(), np.intp) % GROUPS


def number_of(groups: Groups) -> int:
    return int(groups.max()) + 1 if len(groups) else 0
