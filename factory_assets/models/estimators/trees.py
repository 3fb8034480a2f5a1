"""How are scikit-learn's trees kept as arrays, and walked without scikit-learn?

skops can read a scikit-learn tree, but only unchecked: a crafted one makes compiled code read beyond its memory
(skops, UNTRUSTED_TYPE_REASONS). So here a tree is arrays of numbers, checked when they are read and walked by numpy; a
version of scikit-learn that stores its trees in another way still scores with them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from factory_assets.declarations.tasks import KINDS
from factory_assets.models import arrays
from factory_assets.models.contributions import Contributions, Forest
from factory_assets.models.estimators.base import Estimator, Examples, best_round, refuse_unknown, shares, softmax
from factory_assets.models.estimators.categories import Categories, learn_categories

#: The link from the sum of the trees to the prediction: the sum itself, a probability, a positive number; for classes, probabilities.
IDENTITY, LOGISTIC, EXPONENTIAL, SOFTMAX = 0, 1, 2, 3
LINK_NAMES = ("identity", "logistic", "exponential", "softmax")
#: Rows times trees that are walked at once: 16 MB for each of a few arrays.
BLOCK = 2**21
#: Not for params: the factory sets these, or a field of the candidate does.
NOT_PARAMS = {
    *("random_state", "n_jobs", "verbose", "warm_start", "class_weight", "monotonic_cst", "interaction_cst"),
    *(
        "categorical_features",
        "early_stopping",
        "validation_fraction",
        "n_iter_no_change",
        "scoring",
        "tol",
        "quantile",
    ),
}
NODES = {"feature": "<i4", "threshold": "<f8", "left": "<i4", "right": "<i4", "missing_left": "|u1", "value": "<f8"}
KEPT = NODES | {
    "roots": "<i4",
    "category_feature": "<i4",
    "category_unseen": "<f8",
    "level_feature": "<i4",
    "level_code": "<f8",
    "level_value": "<f8",
    "importances": "<f8",
    "base_divisor": "<f8",
    "link": "<i4",
}


class Trees(Estimator):
    """A sum, or a mean, over trees.

    A task of k classes has k sums: a leaf holds a number for each of them, or every k trees stand side by side, one a class.
    `base_divisor` holds the base of each sum, then the divisor.
    """

    files = ("trees.npz",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        kept = arrays.load(self._parts["trees.npz"], KEPT, "trees.npz")
        try:
            _check(kept)
        except ValueError as error:
            raise ValueError(f"trees.npz is refused: {error}") from error
        self._nodes, self._roots = {name: kept[name] for name in NODES}, kept["roots"]
        self._importances, self.width = kept["importances"], len(kept["importances"])
        self._base, self._divisor, self._link = (
            kept["base_divisor"][:-1],
            kept["base_divisor"][-1],
            int(kept["link"][0]),
        )
        rows_of = {column: kept["level_feature"] == column for column in kept["category_feature"].tolist()}
        levels = {column: (kept["level_code"][rows], kept["level_value"][rows]) for column, rows in rows_of.items()}
        self._categories = Categories(levels, dict(zip(rows_of, kept["category_unseen"].tolist(), strict=True)))

    def importances(self) -> np.ndarray:
        """Share of each feature in the improvement by the splits of all trees."""
        return self._importances.copy()

    def _predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        x = self._seen(self._categories.encode(x))
        step = max(1, BLOCK // len(self._roots))
        sums = np.concatenate([self._sums(x[start : start + step]) for start in range(0, len(x), step)])
        total = sums / self._divisor + self._base
        if self._link == SOFTMAX:
            return softmax(total)
        return expit(total) if self._link == LOGISTIC else np.exp(total) if self._link == EXPONENTIAL else total

    def _seen(self, x: np.ndarray) -> np.ndarray:
        """The matrix as the trees saw it when they were grown."""
        return x

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions:
        """Shapley values: by a feature that is not known, as many rows go either way as of those that are known."""
        nodes, reached = self._nodes, np.zeros(len(self._nodes["feature"]))
        for _, at in self._walk(self._seen(self._categories.encode(known))):
            reached += np.bincount(at, minlength=len(reached))
        asked = np.maximum(nodes["feature"], 0)
        values = (row[asked] for row in self._seen(self._categories.encode(x)))
        left = ((value <= nodes["threshold"]) | (np.isnan(value) & (nodes["missing_left"] != 0)) for value in values)
        forest = Forest(nodes["feature"], nodes["left"], nodes["right"], self._of_scores(), reached)
        base, of_features = forest.shapley(left, self.width)
        base, of_features = base / self._divisor + self._base, of_features / self._divisor
        return Contributions(base, of_features, LINK_NAMES[self._link])

    def _of_scores(self) -> np.ndarray:
        """Shape (nodes, k): what each leaf adds to each sum."""
        values, sums = self._nodes["value"].reshape(len(self._nodes["feature"]), -1), len(self._base)
        if values.shape[1] == sums:
            return values
        tree = np.searchsorted(self._roots, np.arange(len(values)), side="right") - 1
        return np.where(np.arange(sums) == (tree % sums)[:, None], values, 0.0)

    def _walk(self, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Step by step, of rows times trees those that move, and the nodes that they come to; the first step is to the roots."""
        nodes, width = self._nodes, x.shape[1]
        at = np.tile(self._roots, len(x))
        yield np.arange(len(at)), at
        row = np.repeat(np.arange(len(x)) * width, len(self._roots))
        values = np.ascontiguousarray(x).ravel()
        walking = np.flatnonzero(nodes["feature"][at] >= 0)
        here = at[walking]
        while len(walking):
            value = values[row[walking] + nodes["feature"][here]]
            # The comparison with a missing value is false, and the node says where the value goes.
            left = (value <= nodes["threshold"][here]) | (np.isnan(value) & (nodes["missing_left"][here] != 0))
            after = np.where(left, nodes["left"][here], nodes["right"][here])
            yield walking, after
            inside = nodes["feature"][after] >= 0
            walking, here = walking[inside], after[inside]

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Sum over trees of the leaf that each row falls into; shape (n,), or (n, k) for k classes."""
        nodes, at = self._nodes, np.empty(len(x) * len(self._roots), dtype=np.int64)
        for walking, after in self._walk(x):
            at[walking] = after
        classes = len(self._base)
        if classes == 1:
            return nodes["value"][at].reshape(len(x), -1).sum(axis=1)
        of_leaves = nodes["value"].reshape(len(nodes["feature"]), -1)[at].reshape(len(x), -1, classes)
        # The trees side by side in memory: so each row is added up for itself, in the same order alone as in a batch.
        return np.ascontiguousarray(np.moveaxis(of_leaves, 1, 2)).sum(axis=2)

    @classmethod
    @abstractmethod
    def _grown(cls, examples: Examples, x: np.ndarray, params: Mapping[str, Any], seed: int) -> Any:
        """The fitted model of scikit-learn's."""

    @staticmethod
    def _part(
        trees: Sequence[dict[str, np.ndarray]],
        categories: Categories,
        importances: np.ndarray,
        base: Sequence[float],
        divisor: float,
        link: int,
    ) -> dict[str, bytes]:
        sizes = [len(tree["feature"]) for tree in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        joined = {name: np.concatenate([tree[name] for tree in trees]) for name in NODES}
        for side in ("left", "right"):
            joined[side] = np.where(joined["feature"] < 0, 0, joined[side] + np.repeat(roots, sizes))
        levels = categories.levels.items()
        joined["value"] = joined["value"].ravel()
        kept = joined | {
            "roots": roots,
            "category_feature": np.array(list(categories.levels)),
            "category_unseen": np.array(list(categories.unseen.values())),
            "level_feature": np.concatenate([[], *(np.full(len(codes), column) for column, (codes, _) in levels)]),
            "level_code": np.concatenate([[], *(codes for _, (codes, _) in levels)]),
            "level_value": np.concatenate([[], *(values for _, (_, values) in levels)]),
            "importances": importances,
            "base_divisor": np.array([*base, divisor]),
            "link": np.array([link]),
        }
        return {"trees.npz": arrays.dump({name: kept[name].astype(kind) for name, kind in KEPT.items()})}


class RandomForest(Trees):
    """Trees on samples of the rows, averaged; scikit-learn's, 100 of them with leaves of 20 rows or more."""

    tasks = ("binary", "regression", "count", "multiclass")
    options = ("class_weight", "monotone")

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        categories, x = learn_categories(examples, seed)
        forest = cls._grown(examples, x, params, seed)
        trees = []
        for grown in forest.estimators_:
            state = grown.tree_.__getstate__()
            nodes, value = state["nodes"], state["values"][:, 0, :]
            value = value if examples.classes else value[:, -1:]
            leaf = nodes["left_child"] < 0
            sides = {"left": nodes["left_child"], "right": nodes["right_child"]}
            tree = {"feature": np.where(leaf, -1, nodes["feature"]), "threshold": np.where(leaf, 0, nodes["threshold"])}
            trees.append(tree | sides | {"missing_left": nodes["missing_go_to_left"], "value": value * leaf[:, None]})
        importances = shares(forest.feature_importances_)
        return cls._part(trees, categories, importances, [0.0] * max(1, examples.classes), len(trees), IDENTITY)

    @classmethod
    def _grown(cls, examples: Examples, x: np.ndarray, params: Mapping[str, Any], seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        classes = examples.kind in ("binary", "multiclass")
        kind = RandomForestClassifier if classes else RandomForestRegressor
        refuse_unknown("random_forest", params, set(kind().get_params()) - NOT_PARAMS)
        settings: dict[str, Any] = {"n_estimators": 100, "min_samples_leaf": 20}
        settings |= {"criterion": "poisson"} if examples.kind == "count" else {}
        settings |= dict(params) | {"random_state": seed, "n_jobs": 1}
        settings["monotonic_cst"] = examples.directions if examples.monotone else None
        y = examples.y.astype(np.int64) if classes else examples.y
        return kind(**settings).fit(_single(x), y, sample_weight=examples.weights)

    def _seen(self, x: np.ndarray) -> np.ndarray:
        return _single(x).astype(np.float64)


class HistGradientBoosting(Trees):
    """scikit-learn's boosted trees on binned values."""

    tasks = KINDS
    options = ("class_weight", "monotone", "early_stopping")

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        categories, x = learn_categories(examples, seed)
        boosted = cls._grown(examples, x, params, seed)
        trees, gains = [], np.zeros(x.shape[1])
        for predictor in (each for together in boosted._predictors for each in together):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"] != 0
            np.add.at(gains, nodes["feature_idx"][~leaf], nodes["gain"][~leaf])
            tree = {"feature": np.where(leaf, -1, nodes["feature_idx"]), "threshold": nodes["num_threshold"]}
            tree |= {"left": nodes["left"], "right": nodes["right"], "missing_left": nodes["missing_go_to_left"]}
            trees.append(tree | {"value": nodes["value"] * leaf})
        link = {"log_loss": LOGISTIC, "poisson": EXPONENTIAL, "gamma": EXPONENTIAL}.get(boosted.loss, IDENTITY)
        link = SOFTMAX if examples.classes else link
        base = np.ravel(boosted._baseline_prediction).tolist()
        return cls._part(trees, categories, shares(np.maximum(gains, 0)), base, 1.0, link)

    @classmethod
    def stopped(
        cls, examples: Examples, later: Examples, params: Mapping[str, Any], seed: int, patience: int
    ) -> tuple[dict[str, Any], int]:
        categories, x = learn_categories(examples, seed)
        boosted = cls._grown(examples, x, params, seed)
        staged = boosted.staged_predict_proba if boosted.loss == "log_loss" else boosted.staged_predict
        weights = np.ones(len(later.y)) if later.weights is None else later.weights
        losses = [
            np.average(_loss(boosted.loss, later, predicted), weights=weights)
            for predicted in staged(categories.encode(later.x))
        ]
        rounds = best_round(np.array(losses), patience)
        return cls.with_rounds(params, rounds), rounds

    @classmethod
    def with_rounds(cls, params: Mapping[str, Any], rounds: int) -> dict[str, Any]:
        return dict(params) | {"max_iter": rounds}

    @classmethod
    def _grown(cls, examples: Examples, x: np.ndarray, params: Mapping[str, Any], seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        classes = examples.kind in ("binary", "multiclass")
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        refuse_unknown("hist_gradient_boosting", params, set(kind().get_params()) - NOT_PARAMS)
        allowed = LOSSES[examples.kind]
        settings = {"loss": allowed[0]} | dict(params) | {"random_state": seed, "early_stopping": False}
        if settings["loss"] not in allowed:
            raise ValueError(
                f"hist_gradient_boosting loss {settings['loss']!r} cannot do {examples.task!r}; allowed: {allowed}"
            )
        if examples.monotone and settings["loss"] in ("absolute_error", "quantile"):
            loss = settings["loss"]
            raise ValueError(
                f"hist_gradient_boosting loss {loss!r} cannot be monotone: it sets a tree's leaves after growing it"
            )
        settings |= {"quantile": examples.level} if examples.kind == "quantile" else {}
        settings["monotonic_cst"] = examples.directions if examples.monotone else None
        settings["categorical_features"] = None
        y = examples.y.astype(np.int64) if classes else examples.y
        # OpenMP's limit is each thread's own, so models side by side do not disturb each other.
        with threadpool_limits(limits=1, user_api="openmp"):
            return kind(**settings).fit(x, y, sample_weight=examples.weights)


LOSSES = {
    "binary": ("log_loss",),
    "regression": ("squared_error", "absolute_error", "gamma", "poisson"),
    "count": ("poisson",),
    "quantile": ("quantile",),
    "multiclass": ("log_loss",),
}


def _loss(loss: str, later: Examples, predicted: np.ndarray) -> np.ndarray:
    """The loss that boosting minimises, row by row, up to a constant; shape (n,)."""
    y = later.y
    if loss == "log_loss":
        return -np.log(np.maximum(predicted[np.arange(len(y)), y.astype(np.int64)], np.finfo(np.float64).eps))
    if loss == "quantile":
        return np.maximum(later.level * (y - predicted), (later.level - 1) * (y - predicted))
    if loss == "absolute_error":
        return np.abs(y - predicted)
    if loss == "squared_error":
        return (y - predicted) ** 2
    return predicted - y * np.log(predicted) if loss == "poisson" else np.log(predicted) + y / predicted


def _single(x: np.ndarray) -> np.ndarray:
    """The numbers as a forest keeps them, in 32 bits; a number that is too large becomes the largest."""
    largest = np.finfo(np.float32).max
    return np.clip(x, -largest, largest).astype(np.float32)


def _check(kept: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless every walk stays within the arrays and comes to an end."""
    count, width, inner = len(kept["feature"]), len(kept["importances"]), kept["feature"] >= 0
    sums = len(kept["base_divisor"]) - 1
    if sums < 1 or len(kept["link"]) != 1 or not len(kept["roots"]):
        raise ValueError("it lacks its base, its divisor, its link or its trees")
    side_by_side = len(kept["value"]) == count and len(kept["roots"]) % sums == 0
    if any(len(kept[name]) != count for name in NODES if name != "value") or not (
        side_by_side or len(kept["value"]) == count * sums
    ):
        raise ValueError("its nodes' arrays differ in length")
    if sums == 1 and int(kept["link"][0]) == SOFTMAX:
        raise ValueError("it has one sum, and takes probabilities of several")
    if kept["roots"].min() < 0 or kept["roots"].max() >= count or kept["feature"].max() >= width:
        raise ValueError(f"it points beyond its {count} nodes or {width} features")
    place = np.arange(count)
    for side in ("left", "right"):
        # Children stand after their parent, so that no walk goes in a circle.
        if np.any(inner & ((kept[side] <= place) | (kept[side] >= count))):
            raise ValueError(f"a {side} child does not stand between its parent and the end")
    categorical = kept["category_feature"]
    if len(categorical) != len(kept["category_unseen"]) or np.any((categorical < 0) | (categorical >= width)):
        raise ValueError("its categories are of no feature")
    if any(len(kept[name]) != len(kept["level_feature"]) for name in ("level_code", "level_value")):
        raise ValueError("its levels' arrays differ in length")
    if np.setxor1d(kept["level_feature"], categorical).size:
        raise ValueError("its levels are not those of its categories")
    if not np.isfinite(kept["base_divisor"]).all() or kept["base_divisor"][-1] <= 0:
        raise ValueError("its base or divisor is no number")
