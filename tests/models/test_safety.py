"""Is every model of ours safe to serve, and does what is strange about a request come back as an answer or as a clear error?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from factory_assets.declarations.tasks import kind_of
from factory_assets.measures.tables import prediction_columns, with_columns
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.estimators import ESTIMATORS
from factory_assets.models.safety import Limits, unsafe
from factory_assets.training.archiving import _sample
from tests.models.archives import TASKS, model

OURS = [(name, task) for name, kind in ESTIMATORS.items() for task in TASKS if kind_of(task) in kind.tasks]
USUAL = {"amount": 0.5, "share": 1e-3, "items": 3, "night": True, "city": "Lyon", "channel": "app"}
NONE = Limits()


def tried(one: ReleasedModel, limits: Limits = NONE) -> str | None:
    return unsafe(one, limits, lambda doing: None)


@pytest.mark.parametrize(("estimator", "task"), OURS)
def test_every_model_of_ours_is_safe_to_serve(estimator: str, task: str) -> None:
    assert tried(model(estimator, task)) is None


@pytest.mark.parametrize(
    ("estimator", "task"), [each for each in OURS if each[0] in ("linear", "additive", "lightgbm")]
)
@pytest.mark.parametrize(
    ("feature", "value"),
    [("amount", 1e308), ("share", -1e308), ("night", 1e308), ("items", 2**63), ("items", -(2**70)), ("items", 10**400)],
)
def test_a_number_that_is_too_large_gets_a_finite_answer(estimator: str, task: str, feature: str, value: Any) -> None:
    answer = model(estimator, task).predict_one(USUAL | {feature: value})
    assert all(map(math.isfinite, answer.values() if isinstance(answer, dict) else [answer]))


def test_a_number_too_large_to_be_multiplied_is_missing_as_an_infinite_one_is() -> None:
    linear = model("linear", "regression")
    missing = linear.predict_one(USUAL | {"share": None})
    assert [linear.predict_one(USUAL | {"share": value}) for value in (1e101, math.inf, 10**400)] == [missing] * 3
    assert linear.predict_one(USUAL | {"share": 1e9}) != missing


@pytest.mark.parametrize(
    ("feature", "value", "says"),
    [
        ("amount", "7", "was a number in training and is of type string"),
        ("amount", [1.0], "was a number in training and is of type list"),
        ("amount", object(), r"is '?<object.*no value of a column"),
        ("amount", Decimal("NaN"), r"is Decimal\('NaN'\), which is no value of a column"),
        ("city", 7, "was a category in training and is of type int64"),
        ("city", 10**30, "was a category in training and is of type double"),
        ("city", "\ud800", r"is '\\ud800', which is no value of a column"),
        ("city", ["Lyon", 1], "no value of a column"),
    ],
)
def test_what_no_training_row_could_have_held_is_refused_by_the_feature_s_name(
    feature: str, value: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=f"feature '{feature}' {says}" if "no value" not in says else says) as refused:
        model("constant", "binary").predict_one(USUAL | {feature: value})
    assert repr(feature) in str(refused.value)


def test_golden_rows_are_compared_to_the_last_bit_where_libraries_are_the_same() -> None:
    one = model("lightgbm", "regression")
    answers = one.predict(one.sample)
    answers[[3, 7]] = np.nextafter(answers[[3, 7]], np.inf)
    golden = with_columns(one.sample.select(one.features), prediction_columns(one.task, answers))
    forged = replace(one, parts=one.parts | {"reference.parquet": _sample(golden)})
    found = tried(forged)
    assert found is not None and found.startswith(
        "2 of 400 golden rows are answered otherwise than in training, by up to"
    )
    elsewhere = {"provenance.json": one.attachments["provenance.json"].replace(b'"numpy": "', b'"numpy": "9')}
    assert tried(replace(forged, attachments=elsewhere)) is None


#: What a model may do wrong, as its predict, and what is told of it.
FAULTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "no number": (lambda x: np.where(np.isinf(x).any(axis=1), np.nan, 0.5), "inf for each of 4 features is answered by nan"),
    "one feature": (lambda x: np.where(np.isinf(x).sum(axis=1) == 1, np.nan, 0.5), "inf for amount is answered by nan"),
    "out of range": (lambda x: np.where(np.isnan(x).all(axis=1), 1.5, 0.5), "null for each of 6 features is answered by 1.5"),
    "a request is not a batch": (
        lambda x: np.full(len(x), 0.5 + (len(x) == 1) / 4), "asked one at a time, 10 of 10 golden rows are answered otherwise"
    ),
}  # fmt: skip


class Faulty:
    """A model that predicts by a function."""

    def __init__(self, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self.predict = predict


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_an_answer_is_told_with_the_row_that_got_it(fault: str) -> None:
    predict, says = FAULTS[fault]
    one = model("constant", "binary")
    golden = with_columns(one.sample.select(one.features), prediction_columns(one.task, np.full(400, 0.5)))
    faulty = replace(one, parts=one.parts | {"reference.parquet": _sample(golden)})
    # In the place of what the parts are read as.
    vars(faulty)["_model"] = Faulty(predict)
    found = tried(faulty)
    assert found is not None and says in found


def test_an_error_is_told_with_the_row_that_raises_it() -> None:
    def predict(x: np.ndarray) -> np.ndarray:
        if np.isneginf(x).any():
            raise ValueError("too small")
        return np.full(len(x), 0.5)

    one = model("constant", "binary")
    golden = with_columns(one.sample.select(one.features), prediction_columns(one.task, np.full(400, 0.5)))
    faulty = replace(one, parts=one.parts | {"reference.parquet": _sample(golden)})
    vars(faulty)["_model"] = Faulty(predict)
    assert tried(faulty) == "-inf for each of 4 features raises ValueError: too small"


def test_a_prediction_that_takes_longer_than_is_declared_is_told() -> None:
    one = model("constant", "binary")
    assert tried(one, Limits(latency=60.0)) is None
    found = tried(one, Limits(latency=1e-9))
    assert found is not None and found.endswith("1e-06 ms at most are declared")
