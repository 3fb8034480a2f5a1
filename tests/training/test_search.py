"""Do trials follow from declaration and rows alone, see nothing that they must not, and find something?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Line
from factory_assets.training.search import study as search
from factory_assets.training.search.study import TrialResult

FEATURES = ["x", "z"]
START = dt.date(2026, 1, 1)
SPACE = {
    "num_leaves": {"int": [2, 64], "log": True},
    "learning_rate": {"float": [0.001, 0.5], "log": True},
    "boosting": {"choice": ["gbdt", "dart"]},
}


def a_line(delay: str = "2d", params: Mapping[str, Any] | None = None, **declared: Any) -> Line:
    searching = {"space": SPACE, "trials": 12} | declared
    fields = {
        "name": "a_line",
        "owner": "team:test",
        "description": "A line.",
        "task": "regression",
        "observe": {"stream": "events"},
        "label": {"expression": "y", "delay": delay},
        "features": FEATURES,
        "segments": {"levels": ["country"], "min_rows": 100},
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {
            "linear": {"estimator": "ridge"},
            "boosted": {
                "estimator": "lightgbm",
                "params": {"num_boost_round": 20} if params is None else params,
                "search": searching,
            },
        },
    }
    return Line.model_validate(fields)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """28 days of a label with a step that a few deep trees find and shallow, slow ones do not."""
    rng = np.random.default_rng(7)
    n = 2000
    x, z = rng.normal(size=n), rng.normal(size=n)
    days = [START + dt.timedelta(days=int(day)) for day in np.sort(rng.integers(0, 28, n))]
    label = 3 * np.sign(x * z) + rng.normal(size=n)
    country = rng.choice(["FR", "DE"], n)
    return pa.table({"ds": days, "leaf": country, "x": x, "z": z, "label": label})


def tried(
    line: Line, rows: pa.Table, recorded: Mapping[int, TrialResult] | None = None
) -> tuple[list[TrialResult], list[TrialResult]]:
    """All trials, and those of them that were computed."""
    kept: list[TrialResult] = []
    declared = line.candidates["boosted"].search
    assert declared
    data = search.prepare(line, rows, FEATURES, declared, "mae")
    return search.run(search.Subject(line, "boosted", "global", "mae"), data, recorded or {}, kept.append), kept


def timeless(outcomes: list[TrialResult]) -> list[TrialResult]:
    return [replace(outcome, seconds=0.0) for outcome in outcomes]


@pytest.fixture(scope="module")
def twelve(rows: pa.Table) -> list[TrialResult]:
    return tried(a_line(), rows)[0]


def test_the_same_rows_give_the_same_trials_and_more_trials_begin_alike(
    rows: pa.Table, twelve: list[TrialResult]
) -> None:
    assert len(twelve) == 13, "number 0 is the candidate as declared"
    assert twelve[0].params == {"num_boost_round": 20}
    longer, _ = tried(a_line(trials=16), rows)
    assert timeless(longer[:13]) == timeless(twelve)
    assert timeless(tried(a_line(params={"num_boost_round": 21}), rows)[0]) != timeless(twelve)


def test_what_is_found_is_better_than_what_was_declared_and_the_sentence_says_so(twelve: list[TrialResult]) -> None:
    won = search.best(twelve, "mae")
    assert won.number and won.value and twelve[0].value and won.value < 0.9 * twelve[0].value
    assert won.value == min(outcome.value for outcome in twelve if outcome.value is not None)
    told = search.why(twelve, "mae")
    assert told.startswith(f"Trial {won.number}: mae {won.value:.5g}, {twelve[0].value:.5g} as declared")
    line = a_line()
    assert line.candidates["boosted"].search
    shares = search.importances(twelve, line.candidates["boosted"].search, "mae")
    assert set(shares) <= set(SPACE)


def test_a_trial_that_lags_after_a_fold_is_given_up_and_costs_no_further_folds(twelve: list[TrialResult]) -> None:
    pruned = [outcome for outcome in twelve if outcome.state == "pruned"]
    assert pruned and all(outcome.value is None and 0 < len(outcome.folds) < 3 for outcome in pruned)
    first = {outcome.number: outcome.folds[0]["metrics"]["mae"] for outcome in twelve if outcome.number}
    assert max(first, key=first.__getitem__) in [outcome.number for outcome in pruned]


def test_neither_the_days_that_compare_candidates_nor_the_gap_are_learned_from_or_judged_on(
    rows: pa.Table, twelve: list[TrialResult]
) -> None:
    days = np.array(rows["ds"].to_pylist())
    unseen = days > START + dt.timedelta(days=20)
    judged = np.zeros(len(days), dtype=bool)
    for fold in twelve[0].folds:
        learn_to, first, last = (
            dt.date.fromisoformat(fold[name]) for name in ("train_to", "validate_from", "validate_to")
        )
        assert (first - learn_to).days == 3, "labels are known after two days"
        assert fold["rows"] == np.sum(days <= learn_to)
        judged |= (days >= first) & (days <= last)
    assert not (judged & unseen).any()
    label = np.where(unseen, 1000.0, rows["label"].to_numpy())
    scrambled = rows.set_column(rows.column_names.index("label"), "label", pa.array(label))
    assert timeless(tried(a_line(), scrambled)[0]) == timeless(twelve)


def test_a_search_that_was_killed_goes_on_where_it_stopped(rows: pa.Table, twelve: list[TrialResult]) -> None:
    for done in (1, 8):
        again, computed = tried(a_line(), rows, {outcome.number: outcome for outcome in twelve[:done]})
        assert timeless(again) == timeless(twelve)
        assert [outcome.number for outcome in computed] == list(range(done, 13))


def test_a_recorded_trial_of_other_parameters_is_tried_again(rows: pa.Table, twelve: list[TrialResult]) -> None:
    recorded = {outcome.number: outcome for outcome in twelve}
    recorded[3] = replace(recorded[3], params={**recorded[3].params, "num_leaves": 99}, value=-1.0)
    again, computed = tried(a_line(), rows, recorded)
    assert [outcome.number for outcome in computed] == [3]
    assert timeless(again) == timeless(twelve)


def test_a_search_ends_after_its_time_by_the_seconds_of_its_trials(rows: pa.Table, twelve: list[TrialResult]) -> None:
    slow = {outcome.number: replace(outcome, seconds=25.0) for outcome in twelve}
    again, computed = tried(a_line(time="2m"), rows, slow)
    assert [outcome.number for outcome in again] == [0, 1, 2, 3, 4] and not computed


def test_a_trial_that_cannot_be_trained_is_recorded_and_the_search_goes_on(rows: pa.Table) -> None:
    # Fewer leaves than two are refused by LightGBM; the other end is sound.
    line = a_line(space={"num_leaves": {"int": [1, 2]}}, trials=8)
    outcomes, _ = tried(line, rows)
    failed = [outcome for outcome in outcomes if outcome.params.get("num_leaves") == 1]
    assert failed and all(outcome.state == "failed" and "num_leaves" in outcome.message for outcome in failed)
    assert search.best(outcomes, "mae").params.get("num_leaves") != 1


def test_rows_of_one_class_allow_no_search(rows: pa.Table) -> None:
    line = a_line().model_copy(update={"task": "binary"})
    ones = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.ones(rows.num_rows)))
    declared = line.candidates["boosted"].search
    assert declared
    with pytest.raises(search.NothingToSearch, match="can be measured on none of 3 folds"):
        search.prepare(line, ones, FEATURES, declared, "average_precision")
