"""Is a model continued only where that is as good as beginning anew, from rows it has not seen, and at less work?"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations import candidates
from factory_assets.declarations.line import Line
from factory_assets.declarations.warm_start import WarmStart
from factory_assets.models import estimators
from factory_assets.models.estimators import calibration
from factory_assets.models.matrix import encode
from factory_assets.training.fit.fitting import Fitted, fit_node
from factory_assets.training.fit.warm_fit import Parent, Window, work

FEATURES = ["x", "z", "city"]
START = dt.date(2026, 1, 1)
ROUNDS = 40
METRICS = {"regression": "mae", "binary": "log_loss", "multiclass(a, b, c)": "log_loss"}


def a_line(task: str = "regression", **boosted: Any) -> Line:
    fields = {
        "name": "a_line",
        "owner": "team:test",
        "description": "A line.",
        "task": task,
        "observe": {"stream": "events"},
        "label": {"expression": "y"},
        "features": FEATURES,
        "segments": {"min_rows": 100},
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {
            "constant": {"estimator": "constant"},
            "boosted": {
                "estimator": "lightgbm",
                "params": {"num_boost_round": ROUNDS},
                "warm_start": {},
                **boosted,
            },
        },
    }
    return Line.model_validate(fields)


def rows_of(first: int, turned: int = 1000, task: str = "regression") -> pa.Table:
    """28 days from a day on; from the day `turned` on the label is its opposite."""
    rng = np.random.default_rng(7)
    n, days_in_all = 3000, 60
    offset = np.sort(rng.integers(0, days_in_all, n))
    x, z = rng.normal(size=n), rng.normal(size=n)
    signal = np.where(offset < turned, 1, -1) * (3 * np.sign(x) + z) + rng.normal(size=n)
    labels = {"binary": (signal > 0).astype(float), "regression": signal}
    classes = np.array(["a", "b", "c"])[np.digitize(signal, (-2, 2))]
    days = [START + dt.timedelta(days=int(day)) for day in offset]
    city = rng.choice(["Paris", "Lyon"], n)
    table = pa.table({"ds": days, "x": x, "z": z, "city": city, "label": labels.get(task, classes)})
    return table.filter(pa.array((offset >= first) & (offset < first + 28)))


def fitted(rows: pa.Table, parent: Parent | str | None = None, task: str = "regression", **boosted: Any) -> Fitted:
    parents = {} if parent is None else {"boosted": parent}
    outcome = fit_node(a_line(task, **boosted), rows, FEATURES, "global", METRICS[task], parents)
    assert isinstance(outcome, Fitted) and outcome.candidate == "boosted"
    return outcome


def parent_of(rows: pa.Table, outcome: Fitted) -> Parent:
    return Parent("v1", outcome.encoding, outcome.model.parts(), max(rows["ds"].to_pylist()), 0)


def continued(task: str = "regression", tolerance: float = 0.5, **boosted: Any) -> tuple[Fitted, Parent, pa.Table]:
    """A model of days 14 to 41 that continues one of days 0 to 27."""
    boosted |= {"warm_start": {"tolerance": tolerance}}
    before, rows = rows_of(0, task=task), rows_of(14, task=task)
    parent = parent_of(before, fitted(before, None, task, **boosted))
    return fitted(rows, parent, task, **boosted), parent, rows


def trees(parts: Any) -> int:
    return int(lgb.Booster(model_str=parts["model.txt"].decode()).num_trees())


@pytest.fixture(scope="module")
def parent() -> Parent:
    rows = rows_of(0)
    return parent_of(rows, fitted(rows))


def test_a_model_continues_on_rows_that_its_parent_had_not_seen_at_less_work(parent: Parent) -> None:
    rows = rows_of(14)
    warm, cold = fitted(rows, parent), fitted(rows)
    assert warm.warm and warm.start == str(warm.warm) and (cold.warm, cold.start) == (None, "")
    assert (trees(warm.model.parts()), trees(cold.model.parts())) == (ROUNDS + ROUNDS // 10, ROUNDS)
    assert warm.warm.rows == sum(day > parent.train_to for day in rows["ds"].to_pylist())
    assert 0.25 < warm.warm.work < 0.7, (
        "a quarter of the rounds on three quarters of the rows, and what predicting takes"
    )
    again = fitted(rows, replace(parent, chain=3)).warm
    assert again and (warm.warm.chain, again.chain) == (1, 4) and again.work > warm.warm.work
    assert warm.warm.cold == warm.validation["boosted"]["mae"] == cold.validation["boosted"]["mae"]
    assert warm.warm.value <= 1.01 * warm.warm.cold
    assert fitted(rows, parent).model.parts() == warm.model.parts(), "byte for byte"
    loaded = estimators.load("lightgbm", warm.model.parts())
    np.testing.assert_array_equal(loaded.predict(encode(rows, warm.encoding)), warm.fit)


def test_rows_that_its_parent_has_seen_change_nothing_in_what_is_added(parent: Parent) -> None:
    rows = rows_of(14)
    known = np.array(rows["ds"].to_pylist()) <= parent.train_to
    label = np.where(known, rows["label"].to_numpy() + 0.5, rows["label"].to_numpy())
    other = rows.set_column(rows.column_names.index("label"), "label", pa.array(label))
    one, two = fitted(rows, parent), fitted(other, parent, warm_start={"tolerance": 0.9})
    assert one.warm and two.warm and one.model.parts() == two.model.parts()


def test_after_a_turn_the_continued_model_is_out_of_tolerance_and_the_fit_is_cold(parent: Parent) -> None:
    rows = rows_of(20, turned=24)
    outcome = fitted(rows, parent)
    assert outcome.warm is None and outcome.start.startswith("cold: mae") and "not within 0.01" in outcome.start
    assert outcome.model.parts() == fitted(rows).model.parts()


@pytest.mark.parametrize(
    ("first", "changes", "boosted", "told"),
    [
        (7, {}, {}, "v1 has seen days on which it would be compared, or all before them"),
        (3, {}, {}, "v1 has seen days on which it would be compared"),
        (14, {"city": ("Lyon", "Nantes", "Paris")}, {}, "other levels of city than v1 knows"),
        (30, {}, {"warm_start": {"rounds": 1.0}}, "beginning anew is cheaper than to continue v1"),
        (
            14,
            {},
            {"params": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}},
            "averages the trees of a random forest",
        ),
    ],
)
def test_what_speaks_against_continuing_is_said(
    parent: Parent, first: int, changes: dict[str, tuple[str, ...]], boosted: dict[str, Any], told: str
) -> None:
    encoding = replace(parent.encoding, categories=parent.encoding.categories | changes)
    outcome = fitted(rows_of(first), replace(parent, encoding=encoding), **boosted)
    assert outcome.warm is None and told in outcome.start


@pytest.mark.parametrize(
    ("rows", "features", "chain", "share", "cheaper"),
    [
        (20_000, 30, 0, 0.1, True),
        (20_000, 30, 20, 0.1, False),
        (200_000, 3, 0, 0.1, False),
        (200_000, 60, 0, 0.1, True),
        (1_000, 3, 0, 0.5, False),
    ],
)
def test_continuing_is_cheaper_where_trees_are_dear_to_grow_and_few_to_predict_with(
    parent: Parent, rows: int, features: int, chain: int, share: float, cheaper: bool
) -> None:
    place = np.arange(rows) / rows
    x, none = np.broadcast_to(0.0, (rows, features)), np.empty(0)
    window = Window("regression", parent.encoding, x, none, none, place >= 0.75)
    assert (work(replace(parent, chain=chain), WarmStart(rounds=share), place >= 0.5, window) < 1) is cheaper


def test_a_reason_found_before_is_kept_and_the_fit_is_cold() -> None:
    outcome = fitted(rows_of(0), "2 columns of FR drifted on 2026-01-05")
    assert outcome.start == "cold: 2 columns of FR drifted on 2026-01-05"
    assert trees(outcome.model.parts()) == ROUNDS


def test_rounds_are_counted_by_the_cold_fit_alone_and_a_share_of_those_is_added() -> None:
    stopping = {"params": {"num_boost_round": 500, "learning_rate": 0.3}, "early_stopping": 5}
    warm, parent, _ = continued(**stopping)
    found = warm.tried["boosted"].rounds
    assert warm.warm and warm.rounds is None and found and found < 100
    assert trees(warm.model.parts()) - trees(parent.parts) == round(found / 10)


def test_probabilities_are_corrected_by_the_same_days_as_ever() -> None:
    warm, parent, rows = continued("binary", calibrate="sigmoid")
    assert warm.warm
    days, x, y = np.array(rows["ds"].to_pylist()), encode(rows, warm.encoding), rows["label"].to_numpy()
    later = days >= np.unique(days)[-6]
    before = estimators.Start(parent.parts, (days > parent.train_to)[~later], 0.1)
    settings: dict[str, Any] = {"task": "binary", "categorical": [2], "params": {"num_boost_round": ROUNDS}, "seed": 7}
    earlier = estimators.train("lightgbm", x[~later], y[~later], start=before, **settings).model
    wanted = calibration.calibration("sigmoid", earlier.predict(x[later]), y[later])
    assert warm.model.parts()[calibration.PART] == wanted != parent.parts[calibration.PART]
    # Of the four days by which the model that is measured is corrected, this parent has seen two.
    late = replace(parent, train_to=max(days) - dt.timedelta(days=9))
    told = fitted(rows, late, "binary", calibrate="sigmoid", warm_start={"tolerance": 0.5})
    assert told.start == "cold: days by which its probabilities are to be corrected were seen before"


def test_what_is_added_keeps_directions_too() -> None:
    warm, _, rows = continued(monotone={"x": "increasing"})
    assert warm.warm
    amounts = np.linspace(-2, 2, 30)
    asked = np.repeat(encode(rows.slice(0, 20), warm.encoding), len(amounts), axis=0)
    asked[:, 0] = np.tile(amounts, 20)
    assert np.diff(warm.model.predict(asked).reshape(20, -1), axis=1).min() >= -1e-12


def test_a_model_of_classes_continues_one_of_the_same_classes_with_weights_of_the_whole_window() -> None:
    task = "multiclass(a, b, c)"
    warm, parent, rows = continued(task, class_weight="balanced")
    assert warm.warm and trees(warm.model.parts()) == 3 * (ROUNDS + ROUNDS // 10)
    # New rows without a class can be learnt from; a window without it asks for another model.
    new = np.array(rows["ds"].to_pylist()) > parent.train_to
    label = np.array(rows["label"].to_pylist())
    for gone, known in ((new & (label == "c"), True), (label == "c", False)):
        without = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.where(gone, "b", label)))
        outcome = fitted(without, parent, task, class_weight="balanced", warm_start={"tolerance": 0.9})
        assert (outcome.warm is not None) is known
        assert known or "other classes than those that were known before" in outcome.start


def test_who_cannot_continue_and_who_has_no_cold_fit_to_be_measured_by_is_refused() -> None:
    assert candidates.check(a_line()) == []
    ((path, told),) = candidates.check(a_line(estimator="ridge", params={}))
    assert path == ("candidates", "boosted", "warm_start")
    assert told == "'ridge' has no warm_start; estimators that have it: lightgbm"
    line = a_line()
    alone = line.model_copy(update={"candidates": {"boosted": line.candidates["boosted"]}})
    ((path, told),) = candidates.check(alone)
    assert path == ("candidates", "boosted", "warm_start") and "needs a second candidate" in told
    x, y = np.arange(4.0).reshape(-1, 1), np.arange(4.0)
    start = estimators.Start({}, y > 1, 0.5)
    with pytest.raises(ValueError, match="'ridge' has no warm_start; it has: none"):
        estimators.train("ridge", x, y, task="regression", categorical=[], params={}, seed=1, start=start)
