"""Metrics agree with scikit-learn, with brute force, and with a published result."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations import tasks
from factory_assets.declarations.tasks import KINDS
from factory_assets.measures.metrics import DEFAULT, METRICS, better, card_precision, improvement, naive, score

REPOSITORY = Path(__file__).parents[2]
CARDS = REPOSITORY.parent / "shared" / "data" / "card_transactions"


def binary_rows(rows: int, seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Labels and informative probabilities; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    y[:2] = [0, 1]
    return y, np.round(np.clip(0.3 * y + 0.7 * rng.random(rows), 0, 1), decimals)


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("rows", [2, 3, 17, 2000])
def test_binary_metrics_equal_scikit_learn_also_with_ties(rows: int, decimals: int) -> None:
    from sklearn import metrics

    for seed in range(5):
        y, p = binary_rows(rows, seed, decimals)
        values = score("binary", y, p)
        del values["calibration_error"]
        assert values == pytest.approx(
            {
                "average_precision": metrics.average_precision_score(y, p),
                "roc_auc": metrics.roc_auc_score(y, p),
                "log_loss": metrics.log_loss(y, p, labels=[0, 1]),
                "brier": metrics.brier_score_loss(y, p),
            },
            rel=1e-12,
        )


@pytest.mark.parametrize("rows", [2, 17, 2000])
def test_regression_metrics_equal_scikit_learn(rows: int) -> None:
    from sklearn import metrics

    rng = np.random.default_rng(rows)
    y = rng.gamma(2.0, 50.0, rows)
    p = y + rng.normal(0, 20, rows)
    assert score("regression", y, p) == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(y, p),
            "rmse": metrics.root_mean_squared_error(y, p),
            "r2": metrics.r2_score(y, p),
        },
        rel=1e-12,
    )


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    y, p = binary_rows(60, seed=7, decimals=1)
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
    assert score("binary", y, p)["roc_auc"] == pytest.approx(np.mean(pairs), rel=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_ranking_metrics_are_absent_when_only_one_class_was_seen(label: int) -> None:
    assert set(score("binary", np.full(5, label), np.linspace(0.1, 0.9, 5))) == {
        *("log_loss", "brier", "calibration_error")
    }


def test_r2_is_absent_for_one_row_and_for_constant_labels() -> None:
    assert set(score("regression", [3.0], [2.0])) == {"mae", "rmse"}
    assert set(score("regression", [3.0, 3.0], [2.0, 4.0])) == {"mae", "rmse"}


def test_count_and_quantile_metrics_equal_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    mean = rng.gamma(2.0, 2.0, 500)
    y, p = rng.poisson(mean), mean + 0.1
    found = score("count", y, p)
    assert found["poisson_deviance"] == pytest.approx(metrics.mean_poisson_deviance(y, p), rel=1e-12)
    assert set(found) == {"poisson_deviance", "mae", "rmse"}
    found = score("quantile(0.8)", y, p)
    assert found["pinball"] == pytest.approx(metrics.mean_pinball_loss(y, p, alpha=0.8), rel=1e-12)
    assert found["coverage"] == np.mean(y <= p)


def test_a_count_of_nothing_foreseen_costs_a_finite_deviance() -> None:
    assert 60 < score("count", [1, 0], [0.0, 0.0])["poisson_deviance"] / 0.5 < 80


def test_calibration_error_is_the_mean_gap_of_tenths_whatever_the_order_of_equal_predictions() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(10_000) * 0.05  # a rare class: bins of equal width would be one bin
    y = (rng.random(10_000) < p).astype(float)
    assert score("binary", y, p)["calibration_error"] < 0.005
    assert score("binary", y, 3 * p)["calibration_error"] == pytest.approx(2 * p.mean(), rel=0.1)
    same = np.full(10, 0.3)
    for order in ([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0, 1, 0, 0, 0]):
        assert score("binary", order, same)["calibration_error"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "expected"), [("binary", 0.4), ("regression", 0.0), ("count", 0.4), ("quantile(0.9)", 1.0)]
)
def test_the_naive_guess_is_the_best_that_labels_alone_allow(task: str, expected: float) -> None:
    assert naive(task, np.array([0.0, 0.0, 0.0, 1.0, 1.0])) == pytest.approx(expected)


def test_coverage_tells_how_often_a_label_stays_below_and_ranks_no_models() -> None:
    with pytest.raises(ValueError, match="models cannot be compared by coverage"):
        better("coverage", 0.9, 0.8)


@pytest.mark.parametrize("task", ["binary", "regression", "count", "quantile(0.5)"])
def test_without_rows_there_are_no_metrics(task: str) -> None:
    assert score(task, [], []) == {}


@pytest.mark.parametrize("large", [1e155, 1e200, 1.7e308])
def test_what_is_too_large_for_a_double_is_no_metric_and_the_others_stay(large: float) -> None:
    found = score("regression", [large, -large, 1.0], [-large, large, 2.0])
    assert all(np.isfinite(value) for value in found.values()) and "rmse" not in found
    assert ("mae" in found) == (large < 1e300)
    assert score("count", [large, 1.0], [1.0, 1.0]).keys() <= {"mae", "rmse", "poisson_deviance"}


def test_certain_and_wrong_costs_a_finite_log_loss() -> None:
    assert 30 < score("binary", [0, 1], [1.0, 0.0])["log_loss"] < 40


def test_arrow_columns_and_booleans_are_taken_as_they_are() -> None:
    y, p = binary_rows(50, seed=1)
    assert score("binary", pa.array(y.astype(bool)), pa.chunked_array([pa.array(p)])) == score("binary", y, p)


@pytest.mark.parametrize(
    ("task", "y", "p", "says"),
    [
        ("ranking", [0, 1], [0, 1], "'ranking' is not a task; allowed: 'binary'"),
        ("binary", [0, 1, 1], [0.2, 0.4], r"\(3,\).*\(2,\)"),
        ("binary", [0, 1, np.nan], [0.2, 0.4, 0.4], "1 of 3 labels are missing"),
        ("regression", [0, 1, 1], [0.2, np.nan, np.inf], "2 of 3 predictions are missing"),
        ("binary", [0, 1, 2], [0.2, 0.4, 0.4], r"0 or 1; found \[2.0\]"),
        ("binary", [0, 1, 1], [0.2, 0.4, 1.5], "found 0.2 to 1.5"),
        ("count", [0, 1, 1], [0.2, -0.4, 1.5], "predictions of a count must be 0 or more; found -0.4"),
    ],
)
def test_unusable_input_is_refused_with_what_was_found(task: str, y: list, p: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        score(task, y, p)


CLASSES = "multiclass(red, green, blue, black)"


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(3)
    for known in (4, 3):  # the last class may neither happen nor be predicted
        y, p = rng.integers(0, known, 500).astype(float), np.zeros((500, 4))
        p[:, :known] = rng.dirichlet(np.ones(known), 500)
        said = p.argmax(axis=1)
        assert score(CLASSES, y, p) == pytest.approx(
            {
                "log_loss": metrics.log_loss(y, p, labels=range(4)),
                "accuracy": metrics.accuracy_score(y, said),
                "macro_f1": metrics.f1_score(y, said, average="macro"),
                "balanced_accuracy": np.mean([np.mean(said[y == one] == one) for one in range(known)]),
            }
        )


def test_a_class_that_was_held_impossible_costs_a_finite_log_loss() -> None:
    assert 30 < score(CLASSES, [3], [[0.5, 0.5, 0, 0]])["log_loss"] < 40
    assert score(CLASSES, [], np.empty((0, 4))) == {}


@pytest.mark.parametrize(
    ("y", "p", "says"),
    [
        ([0, 4], [[0.25] * 4] * 2, r"places of 4 classes, 0 to 3; found \[4.0\]"),
        ([0, 1], [[0.25] * 4, [0.5, 0.5, 0.5, 0]], r"sum to 1; found \[0.5, 0.5, 0.5, 0.0\]"),
        ([0, 1], [[0.25] * 4, [1.5, -0.5, 0, 0]], r"0 or more and sum to 1; found \[1.5"),
        ([0, 1], [[0.25] * 3] * 2, "with 4 probabilities"),
        ([0, np.nan], [[0.25] * 4] * 2, "1 of 2 labels are missing"),
    ],
)
def test_unusable_probabilities_of_classes_are_refused_with_what_was_found(y: list, p: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        score(CLASSES, y, p)


def test_improvement_is_positive_in_the_direction_of_the_metric() -> None:
    assert improvement("roc_auc", 0.9, 0.8) == pytest.approx(0.1)
    assert improvement("mae", 80.0, 100.0) == pytest.approx(20.0)
    assert better("roc_auc", 0.9, 0.8) and better("mae", 80.0, 100.0)
    assert not better("roc_auc", 0.8, 0.9) and not better("mae", 100.0, 80.0)


def test_equal_and_missing_values_are_not_better() -> None:
    assert not better("mae", 1.0, 1.0)
    assert not better("mae", float("nan"), 1.0) and not better("mae", 1.0, float("nan"))


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'gini' is not one of average_precision, roc_auc"):
        better("gini", 1.0, 0.0)


def test_the_default_metric_of_a_task_belongs_to_it() -> None:
    assert set(DEFAULT) == set(KINDS)
    assert {name for names in tasks.METRICS.values() for name in names} | {tasks.COST} == set(METRICS)
    assert all(METRICS[name].greater_is_better is not None for name in DEFAULT.values())


def card_precision_by_hand(cards: list, days: list, y: list, p: list, k: int) -> float:
    blocked: set = set()
    shares = []
    for day in sorted(set(days)):
        best: dict = defaultdict(lambda: -1.0)
        fraud: dict = defaultdict(bool)
        for card, when, label, prediction in zip(cards, days, y, p, strict=True):
            if when == day and card not in blocked:
                best[card] = max(best[card], prediction)
                fraud[card] |= bool(label)
        top = sorted(best, key=lambda card: (-best[card], card))[:k]
        hits = {card for card in top if fraud[card]}
        blocked |= hits
        shares.append(len(hits) / k)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("k", [1, 5, 60])
def test_card_precision_equals_brute_force(k: int) -> None:
    rng = np.random.default_rng(k)
    cards, days = rng.integers(0, 40, 600), rng.integers(0, 6, 600)
    y = rng.random(600) < 0.1
    p = np.round(np.clip(0.4 * y + rng.random(600) * 0.6, 0, 1), 2)
    assert card_precision(cards, days, y, p, k) == pytest.approx(
        card_precision_by_hand(cards.tolist(), days.tolist(), y.tolist(), p.tolist(), k)
    )


def test_a_card_found_on_one_day_is_not_found_again_on_the_next() -> None:
    monday, tuesday = datetime.date(2018, 8, 6), datetime.date(2018, 8, 7)
    days = [monday, monday, tuesday, tuesday]
    found_twice = card_precision(["a", "b", "a", "b"], days, [1, 0, 1, 0], [1, 0, 1, 0], 1)
    assert found_twice == 0.5


def test_a_card_that_was_missed_can_still_be_found_later() -> None:
    assert card_precision(["a", "b", "a", "b"], [0, 0, 1, 1], [1, 0, 1, 0], [0.1, 0.9, 0.9, 0.1], 1) == 0.5


def test_card_precision_refuses_rows_that_cannot_be_attributed_to_a_card() -> None:
    with pytest.raises(ValueError, match="1 of 2 lack one"):
        card_precision(["a", None], [0, 0], [0, 1], [0.1, 0.9])
    with pytest.raises(ValueError, match="got 0 rows"):
        card_precision([], [], [], [])


def test_the_published_logistic_regression_scores_as_published() -> None:
    """The handbook's split, its features and its baseline: .871 / .606 / .291."""
    if not CARDS.exists():
        pytest.skip("the handbook's transactions are not beside the repository (../shared/data/card_transactions)")
    x_train, y_train, _ = handbook_rows("2018-07-25", "2018-07-31", known_frauds=False)
    x_test, y_test, about = handbook_rows("2018-08-08", "2018-08-14", known_frauds=True)
    assert (len(y_train), int(y_train.sum()), len(y_test), int(y_test.sum())) == (67240, 598, 58264, 385)

    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    p = make_pipeline(StandardScaler(), LogisticRegression()).fit(x_train, y_train).predict_proba(x_test)[:, 1]
    values = score("binary", y_test, p)
    assert values["roc_auc"] == pytest.approx(0.871, abs=0.0015)
    assert values["average_precision"] == pytest.approx(0.606, abs=0.0015)
    assert card_precision(about["CUSTOMER_ID"], about["day"], y_test, p, k=100) == pytest.approx(0.291, abs=0.0015)


def handbook_rows(first: str, last: str, known_frauds: bool) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Features, labels, and card and day of the published split; known defrauded cards removed for the test days."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"create view t as select *, TX_DATETIME::date d from read_parquet(['{CARDS}/raw/2018-07.parquet',"
        f"'{CARDS}/raw/2018-08.parquet'])"
    )
    # A test day knows the frauds of the training week, and of the days up to a week before itself.
    unknown = "and not exists (from t f where f.CUSTOMER_ID = t.CUSTOMER_ID and f.TX_FRAUD = 1 "
    unknown += "and f.d between date '2018-07-25' and t.d - 8)"
    rows = connection.execute(
        f"select t.TX_AMOUNT, t.TX_FRAUD, t.CUSTOMER_ID, t.d::varchar as day, f.* from t join "
        f"read_parquet('{CARDS}/published_features_*.parquet') f using (TRANSACTION_ID) "
        f"where t.d between date '{first}' and date '{last}' {unknown if known_frauds else ''} order by TRANSACTION_ID"
    ).df()
    features = [name for name in rows if "WINDOW" in name or "DURING" in name or name == "TX_AMOUNT"]
    assert len(features) == 15
    about = {name: rows[name].to_numpy() for name in ("CUSTOMER_ID", "day")}
    return rows[features].to_numpy(float), rows["TX_FRAUD"].to_numpy(), about


def test_importing_the_metrics_does_not_import_scikit_learn_or_pandas() -> None:
    code = "import sys, factory_assets.measures.metrics; sys.exit(bool({*sys.modules} & {'sklearn', 'pandas'}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
