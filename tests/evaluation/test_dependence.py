"""Is the dependence of models on a feature the mean of what they predict when every row has that value?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.evaluation.dependence import POINTS, Dependence, dependences
from factory_assets.models.archived import ReleasedModel
from tests.models.archives import model

TASK = "regression"
CLASSES = "multiclass(red, green, blue)"


def named(made: ReleasedModel, version: str, **manifest: Any) -> ReleasedModel:
    return replace(made, version=version, manifest=made.manifest | manifest)


@pytest.fixture(scope="module")
def both() -> list[ReleasedModel]:
    kept = {"num_boost_round": 20}
    return [named(model("lightgbm", TASK, kept), "a"), named(model("lightgbm", TASK, {"num_boost_round": 3}), "b")]


def by_rows(made: ReleasedModel, feature: str, value: Any, task: str = TASK) -> Any:
    """The mean prediction for the archive's rows, each with this value in place of its own."""
    rows = made.sample
    place = rows.schema.get_field_index(feature)
    column = pa.array([value] * rows.num_rows).cast(rows.schema.field(feature).type)
    return made.predict(rows.set_column(place, feature, column), task).mean(axis=0)


def test_it_is_the_mean_prediction_for_the_sample_with_the_value_in_every_row(both: list[ReleasedModel]) -> None:
    found = {each.feature: each for each in dependences(both, ["amount", "city", "night"], TASK)}
    for feature, each in found.items():
        for made in both:
            means = [by_rows(made, feature, value) for value in each.values]
            assert each.means[made.version] == pytest.approx(means)
    assert set(found["city"].values) == {"Lyon", "Paris"} and found["city"].is_of_levels
    assert found["night"].values == (0.0, 1.0)


def test_a_number_takes_few_values_that_there_are_and_a_whole_number_each_of_its_own(both: list[ReleasedModel]) -> None:
    amount, items = dependences(both, ["amount", "items"], TASK)
    there = both[0].sample["amount"].to_pylist()
    assert len(amount.values) == POINTS and set(amount.values) <= set(there)
    assert list(amount.values) == sorted(amount.values) and amount.values[0] > min(there)
    assert items.values == tuple(map(float, range(9)))


def test_the_same_archive_gives_the_same_numbers(both: list[ReleasedModel]) -> None:
    def plain(found: list[Dependence]) -> list[Any]:
        return [(each.values, {name: of.tolist() for name, of in each.means.items()}) for each in found]

    assert plain(dependences(both, ["amount"], TASK)) == plain(dependences(both, ["amount"], TASK))


def test_of_classes_it_is_the_probability_of_the_one_that_the_feature_moves_most() -> None:
    made = named(model("lightgbm", CLASSES), "a")
    (found,) = dependences([made], ["amount"], CLASSES)
    means = np.array([by_rows(made, "amount", value, CLASSES) for value in found.values])
    moved = np.ptp(means, axis=0)
    place = ["red", "green", "blue"].index(found.of)
    assert moved[place] == moved.max() and found.means["a"] == pytest.approx(means[:, place])


def test_a_level_that_a_model_does_not_know_has_no_mean_there(both: list[ReleasedModel]) -> None:
    a, b = both
    encoding = b.manifest["encoding"]
    other = named(b, "b", encoding=encoding | {"categories": encoding["categories"] | {"city": ["Lyon", "Rome"]}})
    (found,) = dependences([a, other], ["city"], TASK)
    known = dict(zip(found.values, found.means["b"], strict=True))
    assert np.isnan(known["Paris"]) and np.isfinite(known["Lyon"])
    assert np.isfinite(found.means["a"]).all()


def test_a_feature_that_one_of_them_does_not_have_is_of_the_other_alone(both: list[ReleasedModel]) -> None:
    assert dependences(both, ["nobody_has_it"], TASK) == []
