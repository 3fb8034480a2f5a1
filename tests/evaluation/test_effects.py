"""Do effects say by how much features move the score of a version's rows, and come back from where they are kept as they were?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.evaluation.dependence import some
from factory_assets.evaluation.effects import DRAWN, ROWS, SCALES, Effects, as_json, effects_of, from_json
from tests.models.archives import model

TASKS = ("regression", "binary", "multiclass(red, green, blue)", "count", "quantile(0.9)")


def effects(estimator: str, task: str, **params: Any) -> tuple[Any, Effects]:
    made = model(estimator, task, params)
    return made, effects_of(made, {name: 1 / (1 + at) for at, name in enumerate(made.features)}, task)


@pytest.mark.parametrize("task", TASKS)
def test_a_feature_moves_the_score_by_its_mean_distance_and_every_feature_is_told(task: str) -> None:
    made, found = effects("lightgbm", task)
    exact = made.contributions(some(made.sample, ROWS))
    assert found.scale == SCALES[exact.link] and found.rows == min(made.sample.num_rows, ROWS)
    assert [*found.contributions] == [*made.features]
    for place, name in enumerate(made.features):
        assert found.contributions[name] == pytest.approx(np.mean(np.abs(exact.of_features[:, :, place])))
    assert 0 < len(found.dependences) <= DRAWN
    assert [each.feature for each in found.dependences] == [*made.features][: len(found.dependences)]


def test_rows_are_from_all_over_the_sample_and_the_same_each_time() -> None:
    rows = pa.table({"at": range(7)})
    assert some(rows, 3)["at"].to_pylist() == [0, 3, 6] and some(rows, 9) is rows


def test_an_estimator_that_cannot_tell_has_dependences_alone() -> None:
    _, found = effects("lightgbm", "regression", linear_tree=True)
    assert not found.contributions and not found.scale and found.dependences
    assert from_json(as_json(found)) is not None


@pytest.mark.parametrize("task", TASKS)
def test_what_is_kept_comes_back_as_it_was(task: str) -> None:
    _, found = effects("lightgbm", task)
    again = from_json(as_json(found))
    assert again is not None
    assert (again.rows, again.scale, again.contributions) == (found.rows, found.scale, found.contributions)
    for one, other in zip(again.dependences, found.dependences, strict=True):
        assert (one.feature, one.values, one.of) == (other.feature, other.values, other.of)
        assert one.means.keys() == other.means.keys()
        for version, means in other.means.items():
            assert np.array_equal(one.means[version], means, equal_nan=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 0}, {"rows": "many"}, {"contributions": [1]}, {"contributions": {"x": "far"}}, {"dependences": 7},
        {"dependences": [{"feature": "x", "values": [1, 2], "means": {"v": [1.0]}, "of": ""}]},
        {"dependences": [{"feature": "x", "values": [1], "means": {"v": ["far"]}, "of": ""}]},
        {"dependences": [{"feature": "x", "values": {"a": 1}, "means": {}, "of": ""}]},
    ],
)  # fmt: skip
def test_what_is_not_what_was_kept_is_computed_again(changed: dict[str, Any]) -> None:
    whole = json.loads(as_json(Effects(3, "log odds", {"x": 1.0})))
    assert from_json(json.dumps(whole)) == Effects(3, "log odds", {"x": 1.0}, [])
    assert from_json(json.dumps(whole | changed)) is None
    assert from_json("") is None and from_json("[]") is None and from_json("null") is None
