"""Is each row scored by its nearest node with a champion, and by the champion of that day?"""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.models import estimators
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.matrix import learn_encoding
from factory_assets.scoring.predictions import above, champion_periods, parents, predict

DAY = dt.date(2026, 3, 1)


def a_model(version: str, value: float) -> ReleasedModel:
    """A model that always says `value`: which one answered can be read off its prediction."""
    x, y = np.zeros((3, 1)), np.full(3, value)
    fitted = estimators.fit("constant", x, y, task="regression", categorical=[], params={}, seed=1)
    encoding = learn_encoding(pa.table({"x": [0.0]}), ["x"])
    return ReleasedModel(
        version, {"encoding": encoding.to_dict(), "estimator": "constant", "naive": value}, fitted.parts()
    )


@pytest.fixture
def examples() -> pa.Table:
    segments = ["FR/Paris", "FR/Lyon", "DE/Berlin", "FR/Paris", "global"]
    return pa.table(
        {
            "example_id": list(range(5)),
            "leaf": segments,
            "observed_at": pa.array([dt.datetime(2026, 3, 1, 5 - i) for i in range(5)], pa.timestamp("us")),
            "x": [0.0] * 5,
            "ds": [DAY] * 5,
        }
    )


def test_the_nearest_node_with_a_champion_answers(examples: pa.Table) -> None:
    models = {"global": a_model("g", 1.0), "FR": a_model("f", 2.0), "FR/Paris": a_model("p", 3.0)}
    answered = {row["example_id"]: row for row in predict(examples, models, "regression").to_pylist()}
    assert [answered[i]["node"] for i in range(5)] == ["FR/Paris", "FR", "global", "FR/Paris", "global"]
    assert [answered[i]["version"] for i in range(5)] == ["p", "f", "g", "p", "g"]
    assert [answered[i]["prediction"] for i in range(5)] == [3.0, 2.0, 1.0, 3.0, 1.0]


def test_rows_that_nobody_can_answer_are_left_out(examples: pa.Table) -> None:
    assert set(predict(examples, {"FR": a_model("f", 2.0)}, "regression")["leaf"].to_pylist()) == {
        "FR/Paris",
        "FR/Lyon",
    }
    assert predict(examples, {}, "regression").num_rows == 0


def test_the_champion_above_the_one_that_answers_says_what_it_would_have_said(examples: pa.Table) -> None:
    models = {"global": a_model("g", 1.0), "FR": a_model("f", 2.0), "FR/Paris": a_model("p", 3.0)}
    asked = {node: models[node] for node in parents(models)}
    assert set(asked) == {"global", "FR"}
    told = predict(examples, asked, "regression", who=lambda leaf: above(leaf, models)).to_pylist()
    assert {row["example_id"]: (row["node"], row["version"], row["prediction"]) for row in told} == {
        0: ("FR", "f", 2.0), 1: ("global", "g", 1.0), 3: ("FR", "f", 2.0)
    }, "the uppermost has nobody above"  # fmt: skip
    assert parents({"global"}) == parents({"FR", "DE"}) == set()
    assert above("FR/Paris", {"FR/Paris"}) is None


def test_a_champion_of_other_classes_answers_for_those_that_it_knows(examples: pa.Table) -> None:
    before, now = "multiclass(no, maybe, yes)", "multiclass(yes, no, never)"
    y = np.array([0.0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
    fitted = estimators.fit("constant", np.zeros((10, 1)), y, task=before, categorical=[], params={}, seed=1)
    manifest = {"encoding": {"features": ["x"], "categories": {}}, "estimator": "constant", "task": before}
    model = ReleasedModel("v", manifest, fitted.parts())
    told = predict(examples, {"global": model}, now).to_pylist()[0]
    assert {name: told[name] for name in ("prediction", "p_yes", "p_no", "p_never")} == {
        "prediction": "no",
        "p_yes": pytest.approx(3 / 8),
        "p_no": pytest.approx(5 / 8),
        "p_never": 0,
    }
    assert model.predict_one({"x": 0.0}) == {"no": 0.5, "maybe": 0.2, "yes": 0.3}
    with pytest.raises(ValueError, match=r"of task regression cannot answer for multiclass\(yes, no, never\)"):
        predict(examples, {"global": replace(model, manifest=manifest | {"task": "regression"})}, now)


def test_predictions_stand_in_order_of_observation(examples: pa.Table) -> None:
    times = predict(examples, {"global": a_model("g", 1.0)}, "regression")["observed_at"].to_pylist()
    assert times == sorted(times)


def test_days_are_grouped_while_the_same_champions_answer() -> None:
    days = [DAY + dt.timedelta(days=i) for i in range(4)]
    old, new = {"global": "a"}, {"global": "b"}
    champions = dict(zip(days, [old, old, new, old], strict=True))
    assert [(len(group), held["global"]) for group, held in champion_periods(days, champions)] == [
        (2, "a"),
        (1, "b"),
        (1, "a"),
    ]
