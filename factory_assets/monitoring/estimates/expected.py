"""What is a metric to be expected, from predictions alone? And how far has such an expectation been from the truth before?

A prediction says how often it comes true (binary), or how large its error will be, once rows like it have shown it: a curve over
the prediction is fitted on labelled rows, and gives each later row what its label, or its loss, will be on average. From these
follow the metrics of any set of rows in closed form: nothing is drawn at random.

How sure that is, only its own past tells. What labels do by chance alone is the smallest part of an estimate's error: a band
of chance holds in 15 to 85 % of the weeks where 95 % are stated. So a band is made of the errors of estimates whose labels came.

Sources: Białek et al., Estimating Model Performance Under Covariate Shift Without Labels, 2024 (confidence-based estimation, and
estimation of the loss); Hahn & Meeker, Statistical Intervals, 1991.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory_assets.declarations.tasks import kind_of, level_of
from factory_assets.measures.metrics import METRICS, Floats, most_likely

#: Rows are told apart by their prediction to so many digits: a metric of them is that of the rows to about a thousandth.
DIGITS = 3
#: Labelled rows, and of a binary label rows of either kind, that a curve is fitted on at least.
LEAST_ROWS, LEAST_OF_A_KIND = 200, 10
#: Points of a curve of losses, each the mean of as many rows: a loss seldom bends more often over its prediction.
POINTS, ROWS_A_POINT = 12, 50
#: Share of windows that a band holds, and share in which chance alone puts the truth beyond the limit of concept change.
HELD, FALSE_ALARM_RATE = 0.95, 0.001
#: Windows that share no day, of past errors, below which there is no band. Of two it is wide: Student's t of as many.
FEWEST = 2
#: An error counts up to so many times the median of all: what is normal exceeds four medians in 7 of 1,000 cases.
USUAL = 4.0
#: What a curve gives, by kind of task: the share that happens, or the mean of each loss.
LOSSES = {
    "binary": ("happened",),
    "regression": ("mae", "squared"),
    "count": ("poisson_deviance", "mae", "squared"),
    "quantile": ("pinball", "coverage"),
    "multiclass": ("log_loss", "accuracy"),
}
#: Metrics that are estimated, by kind of task; the others need more of a label than its share or its mean loss.
ESTIMATED = {
    "binary": ("average_precision", "roc_auc", "log_loss", "brier", "base_rate"),
    "regression": ("mae", "rmse"),
    "count": ("poisson_deviance", "mae", "rmse"),
    "quantile": ("pinball", "coverage"),
    "multiclass": ("log_loss", "accuracy"),
}
#: Metrics between 0 and 1. The others are 0 or more, and err in proportion to their size.
SHARES = ("average_precision", "roc_auc", "brier", "base_rate", "coverage", "accuracy")
#: What the others are at least, or a window without an error would be endlessly far from any other.
SMALLEST = 1e-9


def cells(task: str, predictions: Floats) -> Floats:
    """The prediction to `DIGITS` digits, of a probability the distance from the nearer end; of classes that of the likeliest.

    predictions: shape (n,), or (n, k) for k classes. Returns shape (n,).
    """
    if kind_of(task) not in ("binary", "multiclass"):
        return _to_digits(predictions)
    chance = predictions.max(axis=1) if predictions.ndim == 2 else predictions
    return np.where(chance <= 0.5, _to_digits(chance), 1 - _to_digits(1 - chance))


def _to_digits(values: Floats) -> Floats:
    sizes = np.abs(values)
    scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.where(sizes > 1e-300, sizes, 1.0))))
    return np.round(values * scale) / scale + 0.0


def outcomes(task: str, labels: Floats, predictions: Floats) -> Floats:
    """What happened to each row, in the order of `LOSSES`: shape (n, losses). labels: places for classes; none is NaN."""
    kind, level = kind_of(task), level_of(task)
    if kind == "binary":
        return labels[:, None]
    if kind == "multiclass":
        said = np.maximum(predictions[np.arange(len(labels)), labels.astype(np.intp)], np.finfo(np.float64).eps)
        return np.column_stack([-np.log(said), most_likely(predictions) == labels])
    error = labels - predictions
    if level is not None:
        return np.column_stack([np.maximum(level * error, (level - 1) * error), error <= 0])
    of_error = [np.abs(error), error**2]
    if kind == "count":
        expected = np.maximum(predictions, np.finfo(np.float64).eps)
        surprise = labels * np.log(np.where(labels > 0, labels, 1) / expected)
        of_error.insert(0, 2 * (surprise - labels + expected))
    return np.column_stack(of_error)


@dataclass(frozen=True)
class Counted:
    """Rows by the cell of their prediction. x: the cell, ascending, may repeat; rows: how many; sums: of outcomes, (n, losses).

    varied: of a binary task how much the sum of labels in a cell may vary, n q (1 - q); 0 where labels are known.
    """

    x: Floats
    rows: Floats
    sums: Floats
    varied: Floats | None = None

    def take(self, places: np.ndarray) -> Counted:
        """Some of the cells. places: shape (m,)."""
        varied = None if self.varied is None else self.varied[places]
        return Counted(self.x[places], self.rows[places], self.sums[places], varied)


def values(task: str, counted: Counted) -> dict[str, float]:
    """Every estimated metric that these rows define, of labels that happened or of those expected."""
    number = counted.rows.sum()
    if number <= 0:
        return {}
    kind = kind_of(task)
    if kind != "binary":
        means = dict(zip(LOSSES[kind], counted.sums.sum(axis=0) / number, strict=True))
        found = {("rmse" if name == "squared" else name): float(mean) for name, mean in means.items()}
        return found | ({"rmse": max(found["rmse"], 0.0) ** 0.5} if "rmse" in found else {})
    positive = counted.sums[:, 0]
    negative = counted.rows - positive
    epsilon = np.finfo(np.float64).eps
    p = np.clip(counted.x, epsilon, 1 - epsilon)
    found = {
        "log_loss": -float(np.sum(positive * np.log(p) + negative * np.log1p(-p)) / number),
        "brier": float(np.sum(positive * (1 - counted.x) ** 2 + negative * counted.x**2) / number),
        "base_rate": float(positive.sum() / number),
    }
    if positive.sum() > 0 and negative.sum() > 0:
        found |= _ranked(counted, positive, negative)
    return found


def _ranked(counted: Counted, positive: Floats, negative: Floats) -> dict[str, float]:
    """Average precision and area under the curve, cells of the same prediction as one threshold.

    Of expected labels: a row that is positive is one for sure, which adds what its cell varies by to the pairs of it with itself.
    """
    ends = np.append(counted.x[1:] != counted.x[:-1], True)
    starts = np.flatnonzero(np.append(True, ends[:-1]))
    varied = np.zeros_like(positive) if counted.varied is None else counted.varied
    pos, neg, own, rows = (np.add.reduceat(of, starts) for of in (positive, negative, varied, counted.rows))
    all_pos, all_neg = pos.sum(), neg.sum()
    # From the highest prediction down.
    found, seen = np.cumsum(pos[::-1])[::-1], np.cumsum(rows[::-1])[::-1]
    precision = np.divide(pos * found + own, seen, out=np.zeros_like(pos), where=seen > 0)
    below = np.cumsum(neg) - neg
    pairs = all_pos * all_neg - own.sum()
    both = {"average_precision": float(precision.sum() / all_pos)}
    if pairs > 0:
        both["roc_auc"] = float((np.sum(pos * (below + neg / 2)) - own.sum() / 2) / pairs)
    return both


@dataclass(frozen=True)
class Curve:
    """What becomes of a row by its prediction. x: shape (points,), ascending; means: (points, losses). Flat beyond the ends."""

    x: Floats
    means: Floats

    def at(self, x: Floats) -> Floats:
        """Shape (n, losses)."""
        return np.column_stack([np.interp(x, self.x, each) for each in self.means.T])


def curve(task: str, counted: Counted) -> Curve | None:
    """The curve of labelled rows; None where they are too few to tell one.

    Of a binary task isotonic (Zadrozny & Elkan, 2002): whoever has a higher score is not less likely. Losses need not rise with the
    prediction, nor fall: they are means of about a twelfth of the rows each, between which the curve is straight. That is so few
    numbers that small nodes have one of their own, and it needs no features: a model of them would have to be kept and watched.
    """
    kind, number = kind_of(task), counted.rows.sum()
    if number < LEAST_ROWS:
        return None
    some = counted.rows > 0
    x, rows, sums = counted.x[some], counted.rows[some], counted.sums[some]
    if kind != "binary":
        points = int(min(POINTS, number // ROWS_A_POINT))
        part = np.minimum(((np.cumsum(rows) - rows / 2) / number * points).astype(np.intp), points - 1)
        starts = np.flatnonzero(np.diff(part, prepend=-1))
        weight = np.add.reduceat(rows, starts)
        return Curve(
            np.add.reduceat(rows * x, starts) / weight, np.add.reduceat(sums, starts, axis=0) / weight[:, None]
        )
    if min(sums.sum(), number - sums.sum()) < LEAST_OF_A_KIND:
        return None
    from scipy.optimize import isotonic_regression

    starts = np.flatnonzero(np.diff(x, prepend=x[0] - 1))
    weight = np.add.reduceat(rows, starts)
    shares = np.add.reduceat(sums[:, 0], starts) / weight
    return Curve(x[starts], np.asarray(isotonic_regression(shares, weights=weight).x)[:, None])


def expected(task: str, x: Floats, rows: Floats, means: Floats) -> Counted:
    """Rows with what their curves let expect. x: ascending; means: shape (n, losses)."""
    varied = rows * means[:, 0] * (1 - means[:, 0]) if kind_of(task) == "binary" else None
    return Counted(x, rows, rows[:, None] * means, varied)


@dataclass(frozen=True)
class Band:
    """Where the truth lies in `HELD` of the windows, and the value beyond which, on the worse side, it is concept change.

    limit: None for a metric of which neither more nor less is worse.
    """

    low: float
    high: float
    limit: float | None


def error(metric: str, estimate: float, truth: float) -> float:
    """By how much an estimate missed, on the scale on which errors of large and small values are alike."""
    return _scaled(metric, truth) - _scaled(metric, estimate)


def band(metric: str, estimate: float, errors: Sequence[float], alone: int) -> Band | None:
    """The band around an estimate; None for too few errors.

    errors: of past estimates, one a day. alone: days from one window to the next that says nothing of the same: so many errors
    count as one. They are taken about 0, not about their mean: an estimate that is always too high is as wrong as one that sways.
    """
    from scipy.special import stdtrit

    freedom = len(errors) / alone
    if freedom < FEWEST:
        return None
    sizes = np.abs(errors)
    # The windows of an earlier concept change are among them, and must not hide the next one.
    usual = USUAL * float(np.median(sizes))
    spread = float(np.sqrt(np.mean(np.square(np.minimum(sizes, usual) if usual else sizes))))
    half, far = (spread * float(stdtrit(freedom, share)) for share in ((1 + HELD) / 2, 1 - FALSE_ALARM_RATE))
    at, worse = _scaled(metric, estimate), _worse(metric)
    low, high = _unscaled(metric, at - half), _unscaled(metric, at + half)
    return Band(low, high, _unscaled(metric, at + worse * far) if worse else None)


def is_beyond(metric: str, value: float, limit: float) -> bool:
    """Whether a value lies on the worse side of a limit."""
    return (value - limit) * _worse(metric) > 0


def _worse(metric: str) -> int:
    """1 where more of a metric is worse, -1 where less is, 0 where neither."""
    greater = METRICS[metric].greater_is_better if metric in METRICS else None
    return 0 if greater is None else -1 if greater else 1


def _scaled(metric: str, value: float) -> float:
    """The arc sine of the root of a share, which errs alike near the ends and amid; the logarithm of any other."""
    if metric in SHARES:
        return float(np.arcsin(np.sqrt(min(max(value, 0.0), 1.0))))
    return float(np.log(max(value, SMALLEST)))


def _unscaled(metric: str, value: float) -> float:
    return float(np.sin(min(max(value, 0.0), np.pi / 2)) ** 2 if metric in SHARES else np.exp(value))
