"""Are contributions those that the definition gives, and do they sum to what the model itself calls its score?"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from factory_assets.models.contributions import Contributions, Forest
from factory_assets.models.estimator_checks import AMOUNT, CODES, examples
from factory_assets.models.estimators import ESTIMATORS, Options, train
from factory_assets.models.estimators.base import Estimator, Examples
from factory_assets.models.estimators.gradient_boosting import LightGBM
from factory_assets.models.estimators.trees import HistGradientBoosting

CLASSES = "multiclass(red, green, blue)"


def a_forest(rng: np.random.Generator, depth: int, width: int, scores: int) -> Forest:
    """A tree that splits by any feature, also by the same again; some of its nodes were reached by no row."""
    feature, left, right, reached = [0], [0], [0], [1000]
    levels = [0]
    for level in range(depth):
        below = []
        for node in levels:
            if level and rng.random() < 0.2:
                feature[node] = -1
                continue
            feature[node], left[node], right[node] = int(rng.integers(width)), len(feature), len(feature) + 1
            ways = rng.integers(0, reached[node] + 1) if rng.random() < 0.8 else 0
            feature += [-1, -1]
            left, right, reached = [*left, 0, 0], [*right, 0, 0], [*reached, int(ways), int(reached[node] - ways)]
            below += [left[node], right[node]]
        levels = below
    value = np.where(np.array(feature)[:, None] < 0, rng.normal(size=(len(feature), scores)), 0.0)
    return Forest(*map(np.array, (feature, left, right)), value, np.array(reached))


def expected(forest: Forest, left: np.ndarray, known: Sequence[int], node: int = 0) -> np.ndarray:
    """The scores of a row of which some features are known, as the definition has them."""
    if forest.feature[node] < 0:
        return np.asarray(forest.value[node])
    ways = forest.left[node], forest.right[node]
    if forest.feature[node] in known:
        return expected(forest, left, known, ways[0] if left[node] else ways[1])
    total = forest.reached[node]
    shares = [forest.reached[way] / total if total else 0.5 for way in ways]
    return np.asarray(sum(share * expected(forest, left, known, way) for share, way in zip(shares, ways, strict=True)))


@pytest.mark.parametrize("seed", range(8))
def test_what_a_feature_adds_is_its_mean_over_all_orders_in_which_features_become_known(seed: int) -> None:
    rng, width = np.random.default_rng(seed), 5
    forest = a_forest(rng, depth=6, width=width, scores=1 + seed % 3)
    left = rng.random((3, len(forest.feature))) < 0.5
    base, told = forest.shapley(left, width)
    assert base == pytest.approx(expected(forest, left[0], ()), rel=1e-12)
    for row in range(len(left)):
        for feature in range(width):
            others = [other for other in range(width) if other != feature]
            wanted = np.zeros(forest.value.shape[1])
            for size in range(width):
                weight = math.factorial(size) * math.factorial(width - 1 - size) / math.factorial(width)
                for known in itertools.combinations(others, size):
                    gained = expected(forest, left[row], (*known, feature)) - expected(forest, left[row], known)
                    wanted += weight * gained
            assert told[row, :, feature] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_tree_that_is_one_leaf_adds_nothing_but_its_base() -> None:
    forest = Forest(np.array([-1]), np.array([0]), np.array([0]), np.array([[2.5]]), np.array([10]))
    base, told = forest.shapley(np.zeros((2, 1), dtype=bool), 3)
    assert base.tolist() == [2.5]
    assert told.shape == (2, 1, 3) and not told.any()


def raw(model: Any, x: np.ndarray) -> np.ndarray:
    """The score as the library or the walk through the trees has it; shape (n, k)."""
    if isinstance(model, LightGBM):
        return np.asarray(model._booster.predict(x, raw_score=True)).reshape(len(x), -1)
    found = model._sums(model._seen(model._categories.encode(x))) / model._divisor + model._base
    return np.asarray(found).reshape(len(x), -1)


def close(told: Contributions, wanted: np.ndarray) -> bool:
    return bool((np.abs(told.scores - wanted) <= 1e-9 * np.abs(wanted)).all())


@pytest.mark.parametrize("task", ["binary", "regression", "count", "quantile(0.9)", CLASSES])
@pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting", "random_forest"])
def test_contributions_of_trees_sum_to_the_raw_score(name: str, task: str) -> None:
    kind = ESTIMATORS[name]
    if task.partition("(")[0] not in kind.tasks:
        assert (name, task) == ("random_forest", "quantile(0.9)")
        return
    learnt = examples(task)
    model = kind(kind.train(learnt, {}, 7))
    told = model.contributions(learnt.x[:30], learnt.x[:500])
    assert told is not None
    assert close(told, raw(model, learnt.x[:30]))


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("regression", {"reg_sqrt": True}),
    ("regression", {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}),
    ("binary", {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}),
    (CLASSES, {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}),
    ("regression", {"boosting": "dart"}),
    ("binary", {"sigmoid": 2.0}),
    ("binary", {"objective": "cross_entropy"}),
    ("count", {"objective": "tweedie"}),
    ("regression", {"objective": "regression_l1"}),
]


@pytest.mark.parametrize(("task", "params"), OPTIONS, ids=str)
def test_what_lightgbm_makes_of_scores_is_what_it_predicts(task: str, params: dict[str, Any]) -> None:
    learnt = examples(task)
    model = LightGBM(LightGBM.train(learnt, {"num_boost_round": 20} | params, 7))
    told = model.contributions(learnt.x[:30], learnt.x)
    assert told is not None
    assert told.predictions() == pytest.approx(model.predict(learnt.x[:30]), rel=1e-9)


def test_trees_with_linear_leaves_tell_nothing() -> None:
    learnt = examples("regression")
    model = LightGBM(LightGBM.train(learnt, {"num_boost_round": 5, "linear_tree": True}, 7))
    assert model.contributions(learnt.x, learnt.x) is None


def test_an_estimator_without_the_method_tells_nothing() -> None:
    class Silent(HistGradientBoosting):
        contributions = Estimator.contributions

    learnt = examples("regression")
    assert Silent(Silent.train(learnt, {"max_iter": 3}, 7)).contributions(learnt.x, learnt.x) is None


@pytest.mark.parametrize("kind", ["isotonic", "sigmoid"])
def test_a_calibrated_model_tells_the_score_that_is_corrected(kind: str) -> None:
    learnt = examples("binary")
    options = Options(calibrate=kind)
    days = np.arange(len(learnt.y)) // 100
    given = {"task": "binary", "categorical": (CODES,), "params": {}, "seed": 7}
    plain = train("logistic_regression", learnt.x, learnt.y, **given).model
    model = train("logistic_regression", learnt.x, learnt.y, **given, options=options, days=days).model
    told, of_plain = (each.contributions(learnt.x[:10], learnt.x) for each in (model, plain))
    assert told is not None and of_plain is not None
    assert told.then == f"{kind} calibration"
    assert np.array_equal(told.of_features, of_plain.of_features)
    assert told.predictions() == pytest.approx(plain.predict(learnt.x[:10]), rel=1e-9)


@pytest.mark.parametrize(("seen", "of"), [((0, 1, 2), ("red", "green", "blue")), ((0, 2), ("blue",))])
def test_scores_are_named_by_the_classes_that_training_saw(seen: tuple[int, ...], of: tuple[str, ...]) -> None:
    learnt: Examples = examples(CLASSES)
    learnt = learnt.where(np.isin(learnt.y, seen))
    given = {"task": CLASSES, "categorical": (CODES,), "params": {"num_boost_round": 10}, "seed": 7}
    model = train("lightgbm", learnt.x, learnt.y, **given).model
    told = model.contributions(learnt.x[:20], learnt.x)
    assert told is not None and told.of == of
    predicted = model.predict(learnt.x[:20])
    wanted = predicted if len(of) > 1 else predicted[:, 2]
    assert told.predictions() == pytest.approx(wanted, rel=1e-9)


def test_a_linear_model_adds_coefficient_times_value() -> None:
    x = np.column_stack([np.arange(20.0), np.tile([0.0, 1.0], 10)])
    model = train(
        "ridge", x, 3 * x[:, 0] + 5 * x[:, 1], task="regression", categorical=(1,), params={"alpha": 1e-9}, seed=1
    ).model
    told = model.contributions(np.array([[12.0, 1.0], [np.nan, 7.0]]), x)
    assert told is not None
    assert told.of_features[0, 0] == pytest.approx([3 * (12 - 9.5), 2.5])
    # A missing number is the median, which is the mean here; a level that training did not see adds nothing.
    assert told.of_features[1, 0] == pytest.approx([0, 0], abs=1e-9)


def test_an_additive_model_adds_its_curves() -> None:
    learnt = examples("regression")
    model: Any = ESTIMATORS["additive"](ESTIMATORS["additive"].train(learnt, {}, 7))
    told = model.contributions(learnt.x[:5], learnt.x)
    at, adds = model.curves[AMOUNT]
    present = np.isfinite(learnt.x[:5, AMOUNT])
    inside = np.isfinite(at)
    wanted = np.interp(learnt.x[:5, AMOUNT][present], at[inside], adds[inside])
    assert told.of_features[:, 0, AMOUNT][present] == pytest.approx(wanted)
