"""Does each node get the model that its rows deserve, the same whatever runs beside it?"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Line
from factory_assets.training.fitting import Fitted, NotTrained, fit_node, rows_within

FEATURES = ["x", "z"]


def a_line(**changes: object) -> Line:
    fields = {
        "name": "a_line",
        "owner": "team:test",
        "description": "A line.",
        "task": "regression",
        "observe": {"stream": "events"},
        "label": {"expression": "y"},
        "features": FEATURES,
        "segments": {"levels": ["country", "city"], "min_rows": 200},
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {
            "linear": {"estimator": "ridge"},
            "boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 20}},
        },
    }
    return Line.model_validate(fields | changes)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(7)
    n = 2000
    x, z = rng.normal(size=n), rng.normal(size=n)
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=int(day)) for day in np.sort(rng.integers(0, 28, n))]
    cities = rng.choice(["FR/Paris", "FR/Lyon", "FR/Lyons", "DE/Berlin"], n, p=[0.6, 0.2, 0.15, 0.05])
    label = 3 * x + rng.normal(size=n)
    return pa.table({"ds": days, "segment": cities, "x": x, "z": z, "label": label})


def test_rows_of_a_node_are_those_of_its_subtree_and_of_no_namesake(rows: pa.Table) -> None:
    assert rows_within(rows, "global").num_rows == rows.num_rows
    assert set(rows_within(rows, "FR")["segment"].to_pylist()) == {"FR/Paris", "FR/Lyon", "FR/Lyons"}
    assert set(rows_within(rows, "FR/Lyon")["segment"].to_pylist()) == {"FR/Lyon"}


def test_a_node_with_too_few_rows_is_not_trained_and_says_how_many_it_lacks(rows: pa.Table) -> None:
    outcome = fit_node(a_line(), rows_within(rows, "DE/Berlin"), FEATURES, "DE/Berlin", "mae")
    assert isinstance(outcome, NotTrained) and "200 needed" in outcome.reason


def test_a_node_with_too_few_positives_is_not_trained(rows: pa.Table) -> None:
    label = pa.array([1.0] * 30 + [0.0] * (rows.num_rows - 30))
    few = rows.set_column(rows.column_names.index("label"), "label", label)
    fields = {"task": "binary", "candidates": {"logistic": {"estimator": "logistic_regression"}}}
    for needed, expected in ((30, Fitted), (31, NotTrained)):
        line = a_line(**fields, segments={"levels": ["country"], "min_rows": 200, "min_positives": needed})
        assert isinstance(fit_node(line, few, FEATURES, "global", "average_precision"), expected)


def test_of_the_candidates_the_better_one_on_the_newest_days_is_fitted(rows: pa.Table) -> None:
    outcome = fit_node(a_line(), rows, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted)
    assert outcome.candidate == "linear", "the data are linear"
    assert outcome.validation["linear"]["mae"] < outcome.validation["boosted"]["mae"]
    assert outcome.rows == rows.num_rows, "the winner learns from the whole window"


def test_one_class_alone_is_nothing_to_learn_from(rows: pa.Table) -> None:
    line = a_line(task="binary", candidates={"logistic": {"estimator": "logistic_regression"}})
    ones = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.ones(rows.num_rows)))
    outcome = fit_node(line, ones, FEATURES, "global", "average_precision")
    assert isinstance(outcome, NotTrained) and "nothing to tell apart" in outcome.reason
