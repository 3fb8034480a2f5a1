"""How good are these predictions, and which of two values of a metric is the better one?

Every metric is a function of labels and predictions alone, written in numpy: a gate resamples its holdout
thousands of times, and a scoring process should not have to import scikit-learn to know its own precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory_assets.declarations import tasks
from factory_assets.declarations.limits import OUTCOMES
from factory_assets.declarations.tasks import classes_of, kind_of, level_of

Floats = npt.NDArray[np.float64]
#: By how much probabilities of classes may miss 1.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Metric:
    """One way to score predictions.

    greater_is_better: None where neither is, so that models cannot be compared by it.
    fn: takes labels and predictions, both of shape (n,), and returns the value, or NaN where these rows leave the
        metric undefined; that of a quantile takes its level as well, that of costs
        what is declared of them, and predictions of k classes are of shape (n, k).
        It trusts its input; `score` is where input is checked.
    source: where the definition comes from.
    """

    name: str
    greater_is_better: bool | None
    fn: Callable[..., float]
    source: str


def average_precision(y: Floats, p: Floats) -> float:
    """Sum over distinct thresholds of precision times the gain in recall; equal predictions share one threshold."""
    if _one_class(y):
        return np.nan
    threshold, found = by_threshold(y, p)
    precision, recall = found / (threshold + 1), found / found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def roc_auc(y: Floats, p: Floats) -> float:
    """Share of (positive, negative) pairs in the right order, a tie counting one half: the Mann-Whitney statistic."""
    if _one_class(y):
        return np.nan
    _, level, count = np.unique(p, return_inverse=True, return_counts=True)
    mid_rank = (np.cumsum(count) - (count - 1) / 2)[level]
    positives = float(y.sum())
    negatives = len(y) - positives
    return float((mid_rank[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(y: Floats, p: Floats) -> float:
    """Mean negative log likelihood in nats; a probability of exactly 0 or 1 is moved inside by one machine epsilon."""
    if len(y) == 0:
        return np.nan
    epsilon = np.finfo(np.float64).eps
    if p.ndim == 2:
        return float(-np.mean(np.log(np.maximum(_of_what_happened(y, p), epsilon))))
    q = np.clip(p, epsilon, 1 - epsilon)
    return float(-np.mean(y * np.log(q) + (1 - y) * np.log1p(-q)))


def brier(y: Floats, p: Floats) -> float:
    """Mean squared distance between the probability and what happened, from 0 (perfect) to 1."""
    return float(np.mean((y - p) ** 2)) if len(y) else np.nan


def mae(y: Floats, p: Floats) -> float:
    """Mean absolute error, in the unit of the label."""
    return float(np.mean(np.abs(y - p))) if len(y) else np.nan


def rmse(y: Floats, p: Floats) -> float:
    """Root of the mean squared error, in the unit of the label."""
    return float(np.sqrt(np.mean((y - p) ** 2))) if len(y) else np.nan


def r2(y: Floats, p: Floats) -> float:
    """Share of the label's variance explained; 0 is the mean of these rows, negative is worse than it."""
    if len(y) < 2 or np.all(y == y[0]):
        return np.nan
    around = np.sum((y - y.mean()) ** 2)
    # Labels that lie nearer to each other than a square can tell have none either.
    return float(1 - np.sum((y - p) ** 2) / around) if around else np.nan


def calibration_error(y: Floats, p: Floats) -> float:
    """Mean distance between the mean probability of a tenth of the rows and what share of them happened.

    Tenths by probability, equal ones together: bins of equal width would put every row of a rare class into the first.
    """
    if len(y) == 0:
        return np.nan
    tenth = tenths(p)
    return float(np.abs(np.bincount(tenth, p) - np.bincount(tenth, y)).sum() / len(y))


def tenths(p: Floats) -> npt.NDArray[np.intp]:
    """The tenth of the rows that each is of by its value, equal ones together, from 0; shape (n,)."""
    edges = np.unique(np.quantile(p, np.arange(1, 10) / 10))
    return np.searchsorted(edges, p, side="left")


def poisson_deviance(y: Floats, p: Floats) -> float:
    """Mean of 2 (y log(y / p) - y + p), 0 for perfect predictions; a prediction of 0 is taken for one machine epsilon."""
    if len(y) == 0:
        return np.nan
    expected = np.maximum(p, np.finfo(np.float64).eps)
    surprise = y * np.log(np.where(y > 0, y, 1) / expected)
    return float(2 * np.mean(surprise - y + expected))


def pinball(y: Floats, p: Floats, level: float) -> float:
    """Mean of level times the shortfall, or 1 - level times the excess, of the prediction; in the unit of the label."""
    return float(np.mean(np.maximum(level * (y - p), (level - 1) * (y - p)))) if len(y) else np.nan


def coverage(y: Floats, p: Floats, level: float) -> float:
    """Share of labels that are at or below their prediction; of a good quantile it is the level."""
    return float(np.mean(y <= p)) if len(y) else np.nan


def accuracy(y: Floats, p: Floats) -> float:
    """Share of rows whose most likely class is the one that happened."""
    return float(np.mean(most_likely(p) == y)) if len(y) else np.nan


def macro_f1(y: Floats, p: Floats) -> float:
    """Mean of the classes' F1, 2 hits / (rows + times predicted), over classes that happened or were predicted."""
    if len(y) == 0:
        return np.nan
    happened, predicted, hits = _tallies(y, p)
    met = happened + predicted > 0
    return float(np.mean(2 * hits[met] / (happened + predicted)[met]))


def balanced_accuracy(y: Floats, p: Floats) -> float:
    """Mean over the classes that happened of the share of their rows that were predicted so."""
    if len(y) == 0:
        return np.nan
    happened, _, hits = _tallies(y, p)
    return float(np.mean(hits[happened > 0] / happened[happened > 0]))


def cost(y: Floats, p: Floats, threshold: float, outcomes: Mapping[str, float]) -> float:
    """Mean of what decisions cost; see `costs_of`."""
    return float(np.mean(costs_of(y, p, threshold, outcomes))) if len(y) else np.nan


def costs_of(y: Floats, p: Floats, threshold: float, outcomes: Mapping[str, float]) -> Floats:
    """What the decision on each row costs, shape (n,): a yes from the threshold on. outcomes: what each of `OUTCOMES` costs."""
    yes, happened = p >= threshold, y == 1
    cases = [yes & happened, yes & ~happened, ~yes & ~happened, ~yes & happened]
    return np.select(cases, [outcomes[name] for name in OUTCOMES]).astype(np.float64)


def most_likely(p: Floats) -> npt.NDArray[np.intp]:
    """The place of each row's largest probability, the first of equals; shape (n, k) -> (n,)."""
    return np.argmax(p, axis=1)


def _of_what_happened(y: Floats, p: Floats) -> Floats:
    return p[np.arange(len(y)), y.astype(np.intp)]


def _tallies(y: Floats, p: Floats) -> tuple[Floats, Floats, Floats]:
    """How often each class happened, was predicted, and both at once; shape (k,) each."""
    predicted, classes = most_likely(p), p.shape[1]
    count = [np.bincount(rows.astype(np.intp), minlength=classes) for rows in (y, predicted, y[predicted == y])]
    return count[0].astype(np.float64), count[1].astype(np.float64), count[2].astype(np.float64)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("average_precision", True, average_precision, "Davis & Goadrich 2006, uninterpolated"),
        Metric("roc_auc", True, roc_auc, "Hanley & McNeil 1982"),
        Metric("log_loss", False, log_loss, "Good 1952"),
        Metric("brier", False, brier, "Brier 1950"),
        Metric("calibration_error", False, calibration_error, "Naeini, Cooper & Hauskrecht 2015; bins of equal mass"),
        Metric("mae", False, mae, "Willmott & Matsuura 2005"),
        Metric("rmse", False, rmse, "Willmott & Matsuura 2005"),
        Metric("r2", True, r2, "Wright 1921"),
        Metric("poisson_deviance", False, poisson_deviance, "McCullagh & Nelder 1989"),
        Metric("pinball", False, pinball, "Koenker & Bassett 1978"),
        Metric("coverage", None, coverage, "Christoffersen 1998, unconditional"),
        Metric("accuracy", True, accuracy, "Sokolova & Lapalme 2009"),
        Metric("macro_f1", True, macro_f1, "Opitz & Burst 2019, averaged F1"),
        Metric("cost", False, cost, "Elkan 2001"),
        Metric("balanced_accuracy", True, balanced_accuracy, "Brodersen et al. 2010"),
    )
}

# Average precision because labels are rare where models are watched most, and ROC AUC hides errors among the rare
# positives (Saito & Rehmsmeier 2015); absolute error because one extreme label cannot decide a release; log loss of classes
# because what is most likely says nothing of a rare one.
DEFAULT: dict[str, str] = {kind: names[0] for kind, names in tasks.METRICS.items()}


def metrics_of(task: str) -> list[Metric]:
    """The metrics of a task. Raises ValueError for an unknown task."""
    return [METRICS[name] for name in tasks.METRICS[kind_of(task)]]


def score(task: str, y: npt.ArrayLike, p: npt.ArrayLike) -> dict[str, float]:
    """Every metric of the task that these rows define.

    y: labels, shape (n,); 0 and 1 (or booleans) for a binary task, 0 or more for a count, places of classes for multiclass.
    p: predictions, shape (n,); probabilities of class 1 for a binary task. For k classes (n, k), their probabilities.
    Returns values by name. A metric is absent where the rows leave it undefined: ranking metrics without both
    classes, r2 without two different labels, everything without rows, and what is too large for a double.
    Raises ValueError for an unknown task, unequal lengths, missing or infinite values, labels other than 0 and 1 or than
    places of classes, probabilities outside 0..1 or of classes that do not sum to 1, or counts below 0.

    >>> score("regression", [1, 2, 4], [1, 2, 3])["mae"]
    0.3333333333333333
    >>> sorted(score("binary", [1, 1], [0.9, 0.4]))
    ['brier', 'calibration_error', 'log_loss']
    """
    metrics, level = metrics_of(task), level_of(task)
    labels, predictions = checked(task, y, p)
    # An error of labels near the largest double is none that a double can tell.
    with np.errstate(over="ignore", invalid="ignore"):
        values = {m.name: m.fn(labels, predictions, *([] if level is None else [level])) for m in metrics}
    return {name: value for name, value in values.items() if np.isfinite(value)}


#: A prediction that looks at no feature: a number, or a probability for each class.
Guess = float | list[float]


def naive(task: str, y: Floats) -> Guess:
    """The prediction from labels alone: base rate, median, mean count, the quantile, or class shares. y: shape (n,)."""
    kind, level = kind_of(task), level_of(task)
    if classes := classes_of(task):
        counts: Floats = np.bincount(y.astype(np.intp), minlength=len(classes)) / len(y)
        return [float(share) for share in counts]
    if level is not None:
        return float(np.quantile(y, level))
    return float(np.median(y) if kind == "regression" else y.mean())


def guessed(guess: Guess, rows: int) -> Floats:
    """The same guess for each row: shape (rows,), or (rows, k) for k classes."""
    return np.full((rows, *np.shape(guess)), guess, dtype=np.float64)


def better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is strictly better than `b`; never where either is NaN."""
    return improvement(metric, a, b) > 0


def improvement(metric: str, a: float, b: float) -> float:
    """By how much `a` is better than `b`, in the metric's own unit; negative where it is worse."""
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(METRICS)}")
    if METRICS[metric].greater_is_better is None:
        raise ValueError(f"models cannot be compared by {metric}: neither more nor less of it is better")
    return a - b if METRICS[metric].greater_is_better else b - a


def card_precision(
    customer_ids: npt.ArrayLike, days: npt.ArrayLike, y: npt.ArrayLike, p: npt.ArrayLike, k: int = 100
) -> float:
    """Card Precision@k: of the k cards that investigators could look at each day, the share that was compromised.

    A card's score of a day is its highest prediction, and it is compromised if any of its transactions that day is a
    fraud. Compromised cards found in the top k of a day are blocked, so they are left out of later days. The result
    is the mean over days. As in the source, a day with fewer than k cards is still divided by k. Equal scores
    rank by card id, where the source leaves the order to the sort.

    customer_ids, days, y, p: shape (n,), one entry a transaction; days in any type that sorts by time.
    Raises ValueError without rows, for k < 1, or for missing values.
    Source: Le Borgne, Siblini, Lebichot & Bontempi, Reproducible Machine Learning for Credit Card Fraud Detection,
    2022, chapter 4, precision top-k metrics.
    """
    import pandas as pd

    labels, predictions = checked("binary", y, p)
    rows = pd.DataFrame({"card": customer_ids, "day": days, "compromised": labels, "score": predictions})
    if rows.empty or k < 1:
        raise ValueError(f"card precision needs rows and k >= 1; got {len(rows)} rows and k = {k}")
    if missing := int(rows[["card", "day"]].isna().any(axis=1).sum()):
        raise ValueError(f"card precision needs a card and a day in every row; {missing} of {len(rows)} lack one")
    cards = rows.groupby(["day", "card"], as_index=False).max()
    cards = cards.sort_values(["day", "score", "card"], ascending=[True, False, True])
    blocked: set[Any] = set()
    precision = []
    for _, day in cards.groupby("day"):
        alerts = day[~day["card"].isin(blocked)].head(k)
        found = alerts.loc[alerts["compromised"] == 1, "card"]
        blocked.update(found)
        precision.append(len(found) / k)
    return float(np.mean(precision))


def by_threshold(y: Floats, p: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """For each distinct prediction, highest first: rank of its last row, counted from 0, and positives up to there."""
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    threshold = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(p) - 1)
    return threshold, np.cumsum(y[order])[threshold]


def checked(task: str, y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Labels and predictions as floats of shape (n,), or a ValueError that says which of them is unusable."""
    kind_of(task)
    labels, predictions = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if classes := classes_of(task):
        return _checked_classes(classes, labels, predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be one column each, as long")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if unusable := int(np.sum(~np.isfinite(values))):
            raise ValueError(f"{unusable} of {len(values)} {name} are missing or infinite: leave those rows out first")
    if task == "binary":
        if not np.all((labels == 0) | (labels == 1)):
            found = np.unique(labels[(labels != 0) & (labels != 1)])[:5]
            raise ValueError(f"binary labels must be 0 or 1; found {found.tolist()}")
        if len(labels) and not 0 <= predictions.min() <= predictions.max() <= 1:
            span = f"{predictions.min():g} to {predictions.max():g}"
            raise ValueError(f"binary predictions must be probabilities in 0..1; found {span}")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if task == "count" and len(values) and values.min() < 0:
            raise ValueError(f"{name} of a count must be 0 or more; found {values.min():g}")
    return labels, predictions


def _checked_classes(classes: tuple[str, ...], y: Floats, p: Floats) -> tuple[Floats, Floats]:
    if y.ndim != 1 or p.shape != (len(y), len(classes)):
        raise ValueError(
            f"labels {y.shape} and predictions {p.shape} must be one row each, with {len(classes)} probabilities"
        )
    for name, values in (("labels", y), ("predictions", p)):
        if unusable := int(np.sum(~np.isfinite(values))):
            raise ValueError(f"{unusable} of {values.size} {name} are missing or infinite: leave those rows out first")
    strange = np.setdiff1d(y, range(len(classes)))
    if len(strange):
        raise ValueError(
            f"labels must be places of {len(classes)} classes, 0 to {len(classes) - 1}; found {strange[:5].tolist()}"
        )
    if len(p) and (p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > ROUNDING):
        row = int(np.argmax(np.maximum(-p.min(axis=1), np.abs(p.sum(axis=1) - 1))))
        raise ValueError(f"probabilities of classes must be 0 or more and sum to 1; found {p[row].tolist()}")
    return y, p


def _one_class(y: Floats) -> bool:
    positives = y.sum()
    return bool(positives == 0 or positives == len(y))
