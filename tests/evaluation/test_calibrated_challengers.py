"""Is a challenger whose predictions do not mean what they say kept out, and an honest one not for the luck of its rows?"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.limits import MISCALIBRATED
from factory_assets.declarations.line import Gate, Line
from factory_assets.evaluation.calibration import calibration
from factory_assets.evaluation.gate import Contest, Look, rule
from factory_assets.evaluation.limits import BEYOND, OF_RIVAL, OFF, SURE
from factory_assets.measures.certainty import Groups, grouped, stretches
from tests.evaluation.test_parts import line_of, met, rows_of
from tests.public_data.deployed import DATA

DAYS = np.repeat(np.arange(7), 300)
CARDS = DATA / "card_transactions"
BIKES = DATA / "bike_sharing" / "hour.parquet"


def yes(rng: np.random.Generator, base: float, harder: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and what a model thinks of them. harder: by how much the log odds are higher than it could know."""
    odds = rng.normal(np.log(base / (1 - base)), 1.5, len(DAYS))
    return (rng.random(len(DAYS)) < 1 / (1 + np.exp(-odds - harder))).astype(float), 1 / (1 + np.exp(-odds))


def found(
    task: str, y: np.ndarray, p: np.ndarray, theirs: np.ndarray, limit: float = MISCALIBRATED
) -> dict[str, float]:
    return calibration(task, y, p, theirs, [stretches(DAYS)], limit)


@pytest.mark.parametrize("base", [0.5, 0.1, 0.02])
def test_squared_probabilities_are_found_and_honest_ones_are_not_for_the_luck_of_few_yes(base: float) -> None:
    squared, honest = 0, 0
    for seed in range(40):
        y, p = yes(np.random.default_rng(seed), base)
        naive = np.full(len(y), p.mean())
        squared += found("binary", y, p**2, naive)[BEYOND] >= SURE
        of_honest = found("binary", y, p, naive)
        honest += of_honest[BEYOND] >= SURE
    assert squared >= 38 and honest == 0
    tenths = [np.abs(np.mean(y[each]) - np.mean(p[each])) for each in np.array_split(np.argsort(p), 10)]
    assert base > 0.02 or np.mean(tenths) / y.mean() > 2 * of_honest[OFF], "what luck alone adds to a sum of distances"


def test_what_is_as_wrong_of_whoever_would_answer_is_no_fault_of_the_challenger() -> None:
    """A season with twice the yes: who was trained before cannot know, and whoever answers now is as wrong."""
    y, p = yes(np.random.default_rng(1), 0.1, harder=1.5)
    naive = np.full(len(y), p.mean())
    alone = found("binary", y, p, y * 0 + y.mean())
    assert alone[OFF] > 0.5 and alone[BEYOND] > SURE and alone[OF_RIVAL] == 0
    beside = found("binary", y, p, naive)
    assert beside[OF_RIVAL] > 0.4 and beside[BEYOND] < 0.05


@pytest.mark.parametrize(
    ("task", "scale"),
    [
        ("regression", "regression"),
        ("count", "count"),
        ("quantile(0.9)", "quantile"),
        ("multiclass(a, b, c)", "classes"),
    ],
)
def test_of_each_task_a_good_model_passes_and_one_that_is_off_does_not(task: str, scale: str) -> None:
    rng = np.random.default_rng(3)
    mean = np.exp(rng.normal(1, 0.7, len(DAYS)))
    worlds: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {
        # The median of skewed labels, and their mean, are both what a number may mean.
        "regression": (y := mean * rng.gamma(1.0, size=len(DAYS)), mean * np.log(2), 3 * mean, np.full(len(y), np.median(y))),
        "count": (y := rng.poisson(mean).astype(float), mean, 1.6 * mean, np.full(len(y), y.mean())),
        "quantile": (y := mean * rng.gamma(1.0, size=len(DAYS)), mean * np.log(10), 0.4 * mean, np.full(len(y), np.quantile(y, 0.9))),
        "classes": _classes(rng),
    }  # fmt: skip
    y, good, bad, naive = worlds[scale]
    assert found(task, y, good, naive)[BEYOND] < 0.05
    assert found(task, y, bad, naive)[BEYOND] > SURE
    if scale == "regression":
        assert found(task, y, mean, naive)[BEYOND] < 0.05
        biased = mean * np.log(2)
        assert abs((biased - y).mean()) / np.abs(biased - y).mean() > 0.2, "as a mean it is off: it is none"


def _classes(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    p = rng.dirichlet([1, 0.5, 0.3], len(DAYS))
    y = np.array([rng.choice(3, p=each) for each in p], float)
    sharp = p**4 / (p**4).sum(axis=1, keepdims=True)
    return y, p, sharp, np.tile(p.mean(axis=0), (len(y), 1))


def test_labels_that_equal_a_quantile_are_on_the_side_that_lacks_some() -> None:
    y = np.where(np.arange(len(DAYS)) % 10 < 8, 0.0, 5.0)
    assert found("quantile(0.5)", y, np.zeros(len(y)), np.zeros(len(y)))[OFF] == 0
    assert found("quantile(0.5)", y, np.full(len(y), 6.0), np.zeros(len(y))) == {
        OFF: pytest.approx(1.0), OF_RIVAL: 0.0, BEYOND: 1.0,
    }  # fmt: skip


def test_the_least_sure_of_days_and_clusters_counts_and_rows_that_cannot_say_say_nothing() -> None:
    rng = np.random.default_rng(5)
    whose = np.arange(len(DAYS)) % 8
    y, p = yes(rng, 0.3)
    p = np.where(whose == 0, 1.0, p)
    naive, days = np.full(len(y), y.mean()), stretches(DAYS)
    by_days = calibration("binary", y, p, naive, [days], 0.02)[BEYOND]
    clusters = grouped(pa.chunked_array([whose]))
    assert by_days > SURE > calibration("binary", y, p, naive, [days, clusters], 0.02)[BEYOND], (
        "one customer is at fault"
    )
    assert calibration("binary", y, p, naive, [Groups(np.zeros(len(y), np.intp))], 0.1) == {}
    assert calibration("binary", np.zeros(len(y)), p, naive, [days], 0.1) == {}, (
        "there is no yes of which it is a share"
    )
    assert calibration("binary", y[:0], p[:0], naive[:0], [Groups(np.zeros(0, np.intp))], 0.1) == {}


def ruled(gate: dict[str, Any], off: float = 2.0) -> tuple[Any, Any]:
    """A challenger that ranks better than the champion, with odds of its probabilities raised to a power."""
    rng = np.random.default_rng(7)
    y = (rng.random(4000) < 0.1).astype(float)
    odds = rng.normal(4 * y - 4, 1.2, 4000)
    p = 1 / (1 + np.exp(-odds))
    models = {
        "challenger": p**off,
        "champion": np.full(4000, 0.1) + 0.001 * rng.random(4000),
        "naive": np.full(4000, 0.1),
    }
    return met(line_of("binary", **gate), "average_precision", rows_of(rng, 4000, y), **models)


def test_the_gate_keeps_out_who_ranks_better_and_means_nothing_by_its_numbers_and_says_by_how_much() -> None:
    honest, ruling = ruled({}, off=1.0)
    assert ruling.verdict == "promote" and honest.certainty[BEYOND] < SURE
    squared, ruling = ruled({})
    assert ruling.verdict == "keep" and squared.certainty["challenger"] > 0.95
    assert f"but badly calibrated: off by {squared.certainty[OFF]:.2g}, " in ruling.reason
    assert "of the champion, at most 0.2 more allowed" in ruling.reason
    assert ruled({"calibration": 3.0})[1].verdict == "promote"
    asked_nothing, ruling = ruled({"certainty": 0.5})
    assert ruling.verdict == "promote" and BEYOND not in asked_nothing.certainty
    assert ruled({"certainty": 0.5, "calibration": 0.2})[1].verdict == "keep"


def test_where_nobody_answers_the_naive_guess_is_who_is_named_and_nobody_waits_for_one_that_is_off() -> None:
    sure = {"naive": 0.99, OFF: 0.8, OF_RIVAL: 0.1, BEYOND: 0.99}
    contest = Contest({"roc_auc": 0.5}, None, None, {"roc_auc": 0.9}, sure)
    ruling = rule("roc_auc", Gate(), contest, None, Look(0.95, 7, 14))
    assert ruling.verdict == "fallback" and "off by 0.8, 0.1 of the naive guess, at most" in ruling.reason


def test_candidates_that_weigh_classes_are_asked_for_no_calibration_unless_it_is_declared() -> None:
    def asked(candidate: dict[str, Any], **gate: Any) -> float | None:
        line = line_of("binary", **gate)
        return Line(**line.model_dump() | {"candidates": {"one": {"estimator": "lightgbm"} | candidate}}).calibration

    assert asked({}) == MISCALIBRATED
    assert asked({"class_weight": "balanced"}) is None
    assert asked({"class_weight": "balanced", "calibrate": "isotonic"}) == MISCALIBRATED
    assert asked({"class_weight": "balanced"}, calibration=0.5) == 0.5


@pytest.mark.slow
@pytest.mark.skipif(not CARDS.exists(), reason="the card transactions are not beside the repository (../shared/data)")
def test_of_real_cards_squared_probabilities_are_refused_and_honest_ones_never() -> None:
    import lightgbm

    table = duckdb.sql(
        f"""SELECT f.* EXCLUDE (TRANSACTION_ID), TX_AMOUNT, dayofyear(TX_DATETIME) AS day, TX_FRAUD
            FROM '{CARDS}/published_features_2018-0*.parquet' f JOIN '{CARDS}/raw/2018-0[78].parquet' USING (TRANSACTION_ID)
            WHERE hash(TRANSACTION_ID) % 2 = 0"""
    ).fetchnumpy()
    y, day = table.pop("TX_FRAUD").astype(float), table.pop("day")
    x = np.column_stack([np.asarray(column, float) for column in table.values()])
    honest = squared = 0
    for first in range(day.min(), day.max() - 26, 4):
        learnt, asked = (day >= first) & (day < first + 21), (day >= first + 21) & (day < first + 28)
        model = lightgbm.train(
            {"objective": "binary", "num_leaves": 15, "learning_rate": 0.05, "verbose": -1, "num_threads": 1},
            lightgbm.Dataset(x[learnt], y[learnt]), 80,
        )  # fmt: skip
        p, naive = np.asarray(model.predict(x[asked])), np.full(asked.sum(), y[learnt].mean())
        groups = [stretches(day[asked])]
        honest += calibration("binary", y[asked], p, naive, groups, MISCALIBRATED)[BEYOND] >= SURE
        squared += calibration("binary", y[asked], p**2, naive, groups, MISCALIBRATED)[BEYOND] >= SURE
    assert honest == 0 and squared == 9
