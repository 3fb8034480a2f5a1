"""Each metric that scikit-learn has too has its value on a hundred random cases, and where ours has none on purpose, that is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from factory_assets.declarations import tasks
from factory_assets.measures.metrics import METRICS, naive, score

CASES = 100
#: Rows of a case: one, too few for some metrics, and enough for ties among thousands.
ROWS = (1, 2, 3, 7, 40, 400, 3000)
CLASSES = "multiclass(red, green, blue, black)"
LEVELS = {"quantile(0.5)": 0.5, "quantile(0.9)": 0.9, "quantile(0.01)": 0.01}
#: Metrics of which scikit-learn has none.
OUR_OWN = {"calibration_error", "cost", "coverage"}

Case = tuple[np.ndarray, np.ndarray]


def binary(rng: np.random.Generator) -> Case:
    """Few decimals make many ties, and probabilities of exactly 0 and 1; some cases have one class alone."""
    rows, rate = int(rng.choice(ROWS)), float(rng.choice([0, 0.01, 0.1, 0.5, 0.9, 1]))
    y = (rng.random(rows) < rate).astype(float)
    skill = rng.choice([-0.5, 0, 0.3, 1])
    return y, np.round(np.clip(skill * (y - 0.5) + rng.random(rows), 0, 1), int(rng.choice([0, 1, 2, 17])))


def numbers(rng: np.random.Generator) -> Case:
    """Of any size and offset, with heavy tails, equal labels, perfect predictions, and predictions that are one number."""
    rows, scale = int(rng.choice(ROWS)), float(rng.choice([1e-6, 1, 1e6]))
    y = scale * (rng.standard_t(2, rows) + rng.choice([0, 10, -1000]))
    if rng.random() < 0.3:
        y = np.round(y / scale) * scale
    if rng.random() < 0.15:
        y = np.full(rows, y[0])
    error = scale * rng.choice([0, 0.1, 5]) * rng.normal(size=rows)
    return y, (np.full(rows, np.median(y)) if rng.random() < 0.2 else y + error)


def counts(rng: np.random.Generator) -> Case:
    """Most of them none, and expectations above 0, of which scikit-learn takes no others."""
    rows = int(rng.choice(ROWS))
    mean = rng.gamma(2.0, float(rng.choice([0.05, 1, 500])), rows) + 1e-9
    return rng.poisson(mean).astype(float), np.round(mean, int(rng.choice([1, 17]))) + 1e-9


def classes(rng: np.random.Generator) -> Case:
    """Some never happen, some are never predicted, and equal probabilities are left to the first of them."""
    rows, known = int(rng.choice(ROWS)), int(rng.choice([1, 2, 3, 4]))
    y, p = rng.choice(4, known, replace=False)[rng.integers(0, known, rows)].astype(float), np.zeros((rows, 4))
    coarse = rng.random() < 0.4
    p[:] = rng.integers(1, 4, (rows, 4)) if coarse else rng.dirichlet(np.full(4, rng.choice([0.2, 2])), rows)
    p[np.arange(rows), y.astype(int)] *= rng.choice([1, 3])
    return y, p / p.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Peer:
    """A metric of scikit-learn. undefined: cases of which it says something, or nothing, and ours on purpose nothing, and why."""

    task: str
    case: Callable[[np.random.Generator], Case]
    value: Callable[[np.ndarray, np.ndarray], float]
    undefined: Callable[[np.ndarray], bool] = lambda y: False
    why: str = ""


def peers() -> dict[str, Peer]:
    from sklearn import metrics as theirs

    def one_class(y: np.ndarray) -> bool:
        return len(np.unique(y)) < 2

    nobody = "with one class there is nobody to rank above another: theirs is 0 or 1, or not a number"
    found = {
        "average_precision": Peer("binary", binary, theirs.average_precision_score, one_class, nobody),
        "roc_auc": Peer("binary", binary, theirs.roc_auc_score, one_class, nobody),
        "brier": Peer("binary", binary, lambda y, p: theirs.brier_score_loss(y, p, pos_label=1)),
        "log_loss": Peer("binary", binary, lambda y, p: theirs.log_loss(y, p, labels=[0, 1])),
        "log_loss of classes": Peer(CLASSES, classes, lambda y, p: theirs.log_loss(y, p, labels=range(4))),
        "accuracy": Peer(CLASSES, classes, lambda y, p: theirs.accuracy_score(y, p.argmax(axis=1))),
        "macro_f1": Peer(CLASSES, classes, lambda y, p: theirs.f1_score(y, p.argmax(axis=1), average="macro")),
        "balanced_accuracy": Peer(CLASSES, classes, lambda y, p: theirs.balanced_accuracy_score(y, p.argmax(axis=1))),
        "mae": Peer("regression", numbers, theirs.mean_absolute_error),
        "rmse": Peer("regression", numbers, theirs.root_mean_squared_error),
        "r2": Peer(
            "regression", numbers, theirs.r2_score, one_class,
            "labels that are all equal leave no variance to explain: theirs is 0 or 1, or what rounding makes of it",
        ),
        "mae of counts": Peer("count", counts, theirs.mean_absolute_error),
        "rmse of counts": Peer("count", counts, theirs.root_mean_squared_error),
        "poisson_deviance": Peer("count", counts, theirs.mean_poisson_deviance),
    }  # fmt: skip
    for task, level in LEVELS.items():
        found[f"pinball at {level}"] = Peer(
            task, numbers, lambda y, p, level=level: theirs.mean_pinball_loss(y, p, alpha=level)
        )
    return found


NAMES = (
    *("average_precision", "roc_auc", "brier", "log_loss", "log_loss of classes", "accuracy", "macro_f1"),
    *("balanced_accuracy", "mae", "rmse", "r2", "mae of counts", "rmse of counts", "poisson_deviance"),
    *(f"pinball at {level}" for level in LEVELS.values()),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_has_the_value_of_scikit_learn_on_a_hundred_random_cases(name: str) -> None:
    peer, metric = peers()[name], name.partition(" ")[0]
    equal = seed = 0
    while equal < CASES:
        y, p = peer.case(np.random.default_rng([seed, NAMES.index(name)]))
        seed += 1
        found = score(peer.task, y, p)
        if peer.undefined(y):
            assert metric not in found, peer.why
            continue
        with warnings.catch_warnings():
            # Classes that were predicted and never happened, and such: that is what these cases are for.
            warnings.simplefilter("ignore")
            expected = peer.value(y, p)
        # A share of variance near 0 is a difference of two numbers near 1.
        assert found[metric] == pytest.approx(expected, rel=1e-10, abs=1e-12 if metric == "r2" else 1e-15), (
            f"{seed - 1}"
        )
        equal += 1
    assert equal == CASES


def test_every_metric_is_compared_with_scikit_learn_or_is_our_own() -> None:
    assert {name.partition(" ")[0] for name in NAMES} | OUR_OWN == set(METRICS)
    assert set(peers()) == set(NAMES)
    assert {task.partition("(")[0] for task in (peer.task for peer in peers().values())} == set(tasks.KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_slice_has_no_value_where_scikit_learn_refuses_it(name: str) -> None:
    peer = peers()[name]
    empty = (np.empty(0), np.empty((0, 4)) if peer.task == CLASSES else np.empty(0))
    assert score(peer.task, *empty) == {}
    with pytest.raises((ValueError, IndexError)):
        peer.value(*empty)


def test_labels_too_close_to_differ_in_a_square_leave_no_variance_to_explain() -> None:
    """The squares of their distances are no doubles any more."""
    assert set(score("regression", [1e-200, 2e-200, 3e-200], [1.0, 1.0, 1.0])) == {"mae", "rmse"}


def test_a_count_that_was_held_impossible_costs_what_one_epsilon_does_where_scikit_learn_refuses_it() -> None:
    from sklearn.metrics import mean_poisson_deviance

    y, impossible = np.array([0.0, 2.0]), np.array([0.0, 0.0])
    with pytest.raises(ValueError, match="strictly positive"):
        mean_poisson_deviance(y, impossible)
    least = np.full(2, np.finfo(float).eps)
    assert score("count", y, impossible)["poisson_deviance"] == pytest.approx(
        mean_poisson_deviance(y, least), rel=1e-12
    )


@pytest.mark.parametrize("task", ["binary", "regression", "count", "quantile(0.9)", CLASSES])
def test_a_slice_of_one_row_has_what_one_row_says(task: str) -> None:
    """Every metric that needs no other row to compare with."""
    y = np.array([1.0])
    guess = np.atleast_1d(naive(task, y))[None, :] if task == CLASSES else np.array([naive(task, y)])
    assert set(score(task, y, guess)) == {*tasks.METRICS[task.partition("(")[0]]} - {
        "average_precision", "roc_auc", "r2"
    }  # fmt: skip
