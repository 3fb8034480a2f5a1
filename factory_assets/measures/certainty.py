"""Is one model better than another, or was it luck? Both on the same rows, a day counting as one observation."""

import numpy as np
import numpy.typing as npt

from factory_assets.declarations.tasks import level_of
from factory_assets.measures.metrics import METRICS, improvement

#: Days are put together in this many stretches at most: more would say little more, and cost as much again.
STRETCHES = 30


def certainty(
    task: str, metric: str, y: npt.NDArray, ours: npt.NDArray, theirs: npt.NDArray, days: npt.NDArray
) -> float | None:
    """How sure it is, from 0 to 1, that `ours` stay better than `theirs` by the metric on other days such as these.

    y, ours, theirs: labels and predictions of the same rows, shape (n,) or (n, classes), as `score` takes them.
    days: shape (n,), the day of each row, in any type that sorts by time.

    Rows of one day have a day in common, and a model that is lucky with it is lucky with all of them. So the spread of
    the difference is that over the samples that lack one day (or stretch of days), which serves any metric, and what is
    read from it has one degree of freedom less than there are days. None where there are not two days, or where
    without one of them the metric is undefined, or too large for a double. The same rows give the same value: nothing is drawn.

    Source: delete-a-group jackknife, Kott 2001; for differences of metrics, Efron & Tibshirani 1993, chapter 11.

    >>> days, y = np.arange(600) // 100, np.sin(np.arange(600.0))
    >>> ours, theirs = y + 0.1, y + np.where(days < 5, 0.2, 0.05)
    >>> round(certainty("regression", "mae", y, ours, theirs, days), 2)
    0.98
    """
    from scipy.special import stdtr

    stretch = _stretches(days)
    count = int(stretch.max()) + 1 if len(stretch) else 0
    if count < 2:
        return None
    level = level_of(task)

    def gain(kept: npt.NDArray[np.bool_]) -> float:
        values = [METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level])) for p in (ours, theirs)]
        return improvement(metric, *values)

    with np.errstate(over="ignore", invalid="ignore"):
        all_days = gain(np.ones(len(y), dtype=bool))
        without = np.array([gain(stretch != each) for each in range(count)])
        spread = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    if not np.isfinite([all_days, spread, *without]).all():
        return None
    if spread == 0:
        return (np.sign(all_days) + 1) / 2
    return float(stdtr(count - 1, all_days / spread))


def _stretches(days: npt.NDArray) -> npt.NDArray[np.intp]:
    """The number of each row's stretch of days, shape (n,): 0, 1, 2 ... in order of time, as long as each other."""
    distinct, place = np.unique(days, return_inverse=True)
    return place * min(len(distinct), STRETCHES) // max(len(distinct), 1)
