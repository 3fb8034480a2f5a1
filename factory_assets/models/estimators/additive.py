"""What does each feature add to a prediction? A model that is a curve a feature, and can be drawn as one.

A generalised additive model (Hastie and Tibshirani, 1986): prediction = link(intercept + f1(x1) + f2(x2) + ...), where the
curve of a number is straight between knots at its quantiles, and that of a category is a value a level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factory_assets.models import arrays
from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import Estimator, Examples, finite, refuse_unknown, shares
from factory_assets.models.one_thread import ONE_BLAS_THREAD

IDENTITY, LOGISTIC, EXPONENTIAL = 0, 1, 2
LINK_NAMES = ("identity", "logistic", "exponential")
LINKS = {"binary": LOGISTIC, "count": EXPONENTIAL}
#: knots: points of a number's curve. penalty: weight of the curves' roughness, their summed squared second differences.
DEFAULTS = {"knots": 20, "penalty": 1.0}
#: The cost of the size of a curve, so that one of two curves that can replace each other is chosen.
SHRINKAGE = 1e-3
#: Levels with a value of their own, the most frequent ones; the solver's work grows with the square of their number.
MOST_LEVELS = 200
#: Rows whose curves' points are laid out at once: for 300 points, 20 MB.
BLOCK = 8192
#: Newton's method takes five to ten steps; a quantile, whose loss has a kink, takes some dozens.
MOST_STEPS = 100
#: Share of the loss under which a step is the last.
TOLERANCE = 1e-6
KEPT = {
    "feature": "<i4",  # of each point of a curve
    "at": "<f8",  # the number or the code it stands for; NaN for a missing one
    "adds": "<f8",
    "categorical": "<i4",
    "importances": "<f8",
    "intercept": "<f8",
    "link": "<i4",
}


class Additive(Estimator):
    """One curve a feature, kept as its points: the prediction is the sum of the curves, and nothing else.

    A missing number adds a value of its own where training had one, else nothing; beyond the outermost knots the curve is flat.
    A level that training did not see adds nothing.
    """

    tasks = ("binary", "regression", "count", "quantile")
    options = ("class_weight",)
    interpretable = True
    files = ("curves.npz",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        kept = arrays.load(self._parts["curves.npz"], KEPT, "curves.npz")
        self._importances, self.width = kept["importances"], len(kept["importances"])
        feature, lengths = kept["feature"], {len(kept[name]) for name in ("feature", "at", "adds")}
        if len(lengths) != 1 or len(kept["intercept"]) != 1 or len(kept["link"]) != 1:
            raise ValueError("curves.npz is refused: its arrays do not belong together")
        if np.any((feature < 0) | (feature >= self.width)) or not np.isfinite(kept["adds"]).all():
            raise ValueError("curves.npz is refused: a curve is of no feature, or adds what is no number")
        self._intercept, self._link = float(kept["intercept"][0]), int(kept["link"][0])
        self._categorical = set(kept["categorical"].tolist())
        self.curves = {
            column: (kept["at"][feature == column], kept["adds"][feature == column])
            for column in np.unique(feature).tolist()
        }

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        refuse_unknown("additive", params, DEFAULTS)
        settings, x = DEFAULTS | dict(params), finite(examples.x)
        points = {
            column: _points(x[:, column], column in examples.categorical, int(settings["knots"]))
            for column in range(x.shape[1])
        }
        basis = Basis({column: at for column, at in points.items() if len(at)}, set(examples.categorical))
        with ONE_BLAS_THREAD:
            intercept, adds = _fitted(examples, x, basis, float(settings["penalty"]))
        # Each training row has one point of a feature or a mix of two, so a curve's level can move to the intercept.
        spread = np.zeros(x.shape[1])
        for column, place in basis.places.items():
            added = _added(x[:, column], basis.points[column], adds[place], column in basis.categorical)
            adds[place] -= added.mean()
            intercept, spread[column] = intercept + added.mean(), added.std()
        kept = {
            "feature": np.repeat(list(basis.points), [len(at) for at in basis.points.values()]),
            "at": np.concatenate([[], *basis.points.values()]),
            "adds": adds,
            "categorical": np.array(examples.categorical),
            "importances": shares(spread),
            "intercept": np.array([intercept]),
            "link": np.array([LINKS.get(examples.kind, IDENTITY)]),
        }
        return {"curves.npz": arrays.dump({name: kept[name].astype(kind) for name, kind in KEPT.items()})}

    def importances(self) -> np.ndarray:
        """Share of each feature in the sum of the curves' standard deviations over the training rows."""
        return self._importances.copy()

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions:
        """The value of each curve."""
        x, added = finite(x), np.zeros((len(x), 1, self.width))
        for column, (at, adds) in self.curves.items():
            added[:, 0, column] = _added(x[:, column], at, adds, column in self._categorical)
        return Contributions(np.array([self._intercept]), added, LINK_NAMES[self._link])

    def _predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        x, total = finite(x), np.full(len(x), self._intercept)
        for column, (at, adds) in self.curves.items():
            total += _added(x[:, column], at, adds, column in self._categorical)
        return expit(total) if self._link == LOGISTIC else np.exp(total) if self._link == EXPONENTIAL else total


class Basis:
    """The matrix that a sum of curves is linear in, laid out block by block. points: column of x -> points of its curve."""

    def __init__(self, points: Mapping[int, np.ndarray], categorical: set[int]) -> None:
        ends = np.cumsum([0, *(len(at) for at in points.values())])
        self.points, self.categorical, self.width = points, categorical, int(ends[-1])
        self.places = {column: slice(*ends[place : place + 2]) for place, column in enumerate(points)}

    def block(self, x: np.ndarray, column: int) -> np.ndarray:
        """Shape (n, points of the column): how much of each point a row takes; a row's shares sum to 1, or are 0."""
        at, values = self.points[column], x[:, column]
        taken, missing = np.zeros((len(values), len(at))), np.isnan(values)
        if np.isnan(at[-1]):
            taken[missing, -1] = 1
            at = at[:-1]
        rows, values = np.flatnonzero(~missing), values[~missing]
        if column in self.categorical:
            place = np.minimum(np.searchsorted(at, values), max(0, len(at) - 1))
            known = at[place] == values if len(at) else np.zeros(len(values), bool)
            taken[rows[known], place[known]] = 1
        elif len(at) == 1:
            taken[rows, 0] = 1
        elif len(at):
            place = np.clip(np.searchsorted(at, values, side="right") - 1, 0, len(at) - 2)
            share = np.clip((values - at[place]) / (at[place + 1] - at[place]), 0, 1)
            taken[rows, place], taken[rows, place + 1] = 1 - share, share
        return taken

    def scores(self, x: np.ndarray, adds: np.ndarray) -> np.ndarray:
        """Shape (n,): the sum of intercept and curves; the same as laid_out(x) @ adds. adds: by the intercept and each point."""
        total = np.full(len(x), adds[0])
        for column, place in self.places.items():
            total += _added(x[:, column], self.points[column], adds[1:][place], column in self.categorical)
        return total

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        """Shape (n, 1 + width): ones for the intercept, then the columns' blocks."""
        return np.column_stack([np.ones(len(x)), *(self.block(x, column) for column in self.points)])

    def penalty(self, weight: float) -> np.ndarray:
        """Shape (1 + width, 1 + width): what slopes, their changes and the sizes of levels cost; the intercept is free."""
        cost = np.diag(np.append(0.0, np.full(self.width, weight)))
        for column, points in self.places.items():
            if column in self.categorical:
                continue
            at = self.points[column]
            knots = at[np.isfinite(at)]
            place = slice(1 + points.start, 1 + points.start + len(knots))
            cost[place, place] = SHRINKAGE * np.eye(len(knots))
            if len(knots) > 1:
                # Per spread of the knots, so that the unit of a feature has no say.
                slopes = np.diff(np.eye(len(knots)), axis=0) * (knots.std() / np.diff(knots))[:, None]
                bends = np.diff(slopes, axis=0)
                cost[place, place] += weight * (slopes.T @ slopes + bends.T @ bends) / len(slopes)
        return cost


def _points(values: np.ndarray, categorical: bool, knots: int) -> np.ndarray:
    """The points of a curve: quantiles of the numbers, or the most frequent levels, ascending; NaN last, where a value is missing."""
    present = values[np.isfinite(values)]
    if categorical:
        levels, counts = np.unique(present, return_counts=True)
        places = np.sort(np.argsort(-counts, kind="stable")[:MOST_LEVELS])
        at = levels[places]
    elif len(present):
        shares_of_rows = np.linspace(0, 1, max(2, knots // 2))
        # Half of the knots follow the rows, half the distinct values, or the rare large ones would share one.
        at = np.unique(np.quantile(present, shares_of_rows))
        at = np.unique(np.concatenate([at, np.quantile(np.unique(present), shares_of_rows)]))
    else:
        at = present
    missing = len(present) < len(values)
    if len(at) + missing < 2:  # the same in every row
        return np.empty(0)
    return np.append(at, np.nan) if missing else at


def _added(values: np.ndarray, at: np.ndarray, adds: np.ndarray, categorical: bool) -> np.ndarray:
    """The value that a curve adds for each number or code, shape (n,)."""
    missing = np.isnan(values)
    of_missing = adds[-1] if np.isnan(at[-1]) else 0.0
    if np.isnan(at[-1]):
        at, adds = at[:-1], adds[:-1]
    if not len(at):
        added = np.zeros(len(values))
    elif categorical:
        place = np.minimum(np.searchsorted(at, values), len(at) - 1)
        added = np.where(at[place] == values, adds[place], 0.0)
    else:
        added = np.interp(values, at, adds)
    return np.where(missing, of_missing, added)


def _fitted(examples: Examples, x: np.ndarray, basis: Basis, penalty: float) -> tuple[float, np.ndarray]:
    """Intercept and what each point adds: the least penalised loss, by Newton's method with halved steps."""
    centre, scale = _centre(examples)
    y = (examples.y - centre) / scale
    weights = np.ones(len(y)) if examples.weights is None else examples.weights
    cost, adds = basis.penalty(penalty), np.zeros(1 + basis.width)
    adds[0] = _start(examples, weights)
    scores = np.full(len(y), adds[0])
    value = float(weights @ _loss(examples, y, scores))
    for _ in range(MOST_STEPS):
        slope, bend = _slopes(examples, y, scores)
        gradient, curvature = cost @ adds, cost.copy()
        for start in range(0, len(y), BLOCK):
            rows = slice(start, start + BLOCK)
            laid_out = basis.laid_out(x[rows])
            gradient += laid_out.T @ (weights[rows] * slope[rows])
            curvature += laid_out.T @ (laid_out * (weights[rows] * bend[rows])[:, None])
        step = np.linalg.solve(curvature, gradient)
        for _ in range(30):
            ahead = adds - step
            scores_ahead = basis.scores(x, ahead)
            after = float(weights @ _loss(examples, y, scores_ahead) + ahead @ cost @ ahead / 2)
            if after <= value:
                break
            step = step / 2
        else:
            break  # no step is better: this is the bottom, to the last digits
        gained, adds, scores, value = value - after, ahead, scores_ahead, after
        if gained <= TOLERANCE * (1 + abs(value)):
            break
    return float(adds[0] * scale + centre), adds[1:] * scale


def _centre(examples: Examples) -> tuple[float, float]:
    """Labels of a regression or quantile are fitted in units of their own spread, so that the penalty means the same."""
    if examples.kind in LINKS:
        return 0.0, 1.0
    return float(np.median(examples.y)), float(examples.y.std()) or 1.0


def _start(examples: Examples, weights: np.ndarray) -> float:
    mean = float(np.average(examples.y, weights=weights))
    if examples.kind == "binary":
        return float(np.log(mean / (1 - mean)))
    return float(np.log(mean)) if examples.kind == "count" else 0.0


#: A residual, in the labels' spread, below which the pinball loss counts as smooth (Hunter and Lange, 2000).
KINK = 1e-3


def _loss(examples: Examples, y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Shape (n,), up to a constant. scores: shape (n,), before the link."""
    if examples.kind == "binary":
        return np.logaddexp(0, scores) - y * scores
    if examples.kind == "count":
        return np.exp(np.minimum(scores, 500)) - y * scores
    left = y - scores
    if examples.kind == "quantile":
        size = np.abs(left)
        return (size - KINK * np.log(KINK + size)) / 2 + (examples.level - 0.5) * left
    return left**2 / 2


def _slopes(examples: Examples, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First derivative of the loss by `scores`, and the second; for a quantile that of a parabola which lies above the loss."""
    from scipy.special import expit

    if examples.kind == "binary":
        chance = expit(scores)
        return chance - y, np.maximum(chance * (1 - chance), 1e-10)
    if examples.kind == "count":
        mean = np.exp(scores)
        return mean - y, mean
    left = y - scores
    if examples.kind == "quantile":
        weight = 1 / (2 * (KINK + np.abs(left)))
        return -left * weight - (examples.level - 0.5), weight
    return -left, np.ones(len(y))
