"""Is everything counted that lies beyond what a version has seen, and nothing else; and are the rows named that are furthest out?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from dagster._core.event_api import PartitionKeyFilter

from factory_assets.governor.executor import execute
from factory_assets.measures.profiles import profiles
from factory_assets.models import estimators
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.matrix import encode, learn_encoding
from factory_assets.scoring.assets import _outside
from factory_assets.scoring.outliers import SHOWN, Bounds, Outliers
from factory_assets.scoring.predictions import Answered, predict
from tests.training.segmented import LINE, Segmented, day, declare

FEATURES = ("amount", "open", "city", "never")


def rows(amounts: list[float | None], cities: list[str | None] | None = None, **more: Any) -> pa.Table:
    n = len(amounts)
    columns: dict[str, Any] = {
        "example_id": pa.array(range(n), pa.int64()),
        "amount": pa.array(amounts, pa.float64()),
        "open": [True] * n,
        "city": pa.array(cities or ["Paris"] * n, pa.string()),
        "never": pa.nulls(n, pa.float64()),
    }
    return pa.table(columns | more)


def a_model(
    learnt: pa.Table, labels: tuple[float, float] | None = None, version: str = "v", value: float = 1.0
) -> ReleasedModel:
    """A model that always says `value`, with the archive's record of what it learnt from."""
    encoding = learn_encoding(learnt, FEATURES)
    x = encode(learnt, encoding)
    fitted = estimators.fit("constant", x, np.full(len(x), value), task="regression", categorical=[], params={}, seed=1)
    manifest = {"encoding": encoding.to_dict(), "estimator": "constant", "naive": value, "task": "regression"}
    manifest["profiles"] = {name: one.to_dict() for name, one in profiles(learnt, FEATURES).items()}
    manifest |= {"label_range": list(labels)} if labels else {}
    return ReleasedModel(version, manifest, fitted.parts())


def seen(model: ReleasedModel, now: pa.Table, said: np.ndarray | None = None, node: str = "FR") -> Outliers:
    found, matrix = Outliers({}), encode(now, model.encoding)
    found.see(Answered(node, model, now, matrix, model.predict(now) if said is None else said))
    return found


LEARNT = rows([1.0, 2.0, 3.0, None] * 10, ["Paris", "Lyon", None, "Lyon"] * 10)


def test_the_ends_of_what_was_seen_are_inside_and_the_next_numbers_are_not() -> None:
    inside = rows([1.0, 3.0, 2.2, None])
    assert seen(a_model(LEARNT), inside).rows == 0
    outside = rows([np.nextafter(1.0, 0), np.nextafter(3.0, 9), -np.inf, np.inf])
    assert seen(a_model(LEARNT), outside).rows == 4


def test_a_row_counts_once_whatever_is_beyond_in_it_and_new_levels_count_but_no_null() -> None:
    now = rows([9.0, 9.0, 2.0, 2.0], ["Rome", "Paris", "Rome", None], never=[1.0, None, None, None])
    found = seen(a_model(LEARNT), now)
    assert found.rows == 3
    told = {(each.example_id, each.column): (each.value, each.bounds) for each in found.worst}
    assert told == {
        (0, "amount"): (9.0, "1 .. 3"), (1, "amount"): (9.0, "1 .. 3"), (0, "city"): ("Rome", "levels of training"),
        (2, "city"): ("Rome", "levels of training"), (0, "never"): (1.0, "no value in training"),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_it_counts_as_the_bins_beyond_of_the_profiles_do(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some(n: int, spread: float, cities: list[str]) -> pa.Table:
        amounts = np.where(rng.random(n) < 0.2, np.nan, rng.normal(0, spread, n))
        places = [None if rng.random() < 0.1 else str(rng.choice(cities)) for _ in range(n)]
        return rows(amounts.tolist(), places, open=rng.random(n) < 0.5)

    learnt, now = some(500, 1.0, ["a", "b"]), some(2000, 2.0, ["a", "b", "c", "d"])
    model = a_model(learnt)
    beyond = np.zeros(now.num_rows, dtype=bool)
    for name in FEATURES:
        profile = model.profiles[name]
        place = profile.places(now[name])
        beyond |= place == len(profile.counts) - 1
        beyond |= (place == 0) & (profile.kind == "number")
    found = seen(model, now)
    assert found.rows == beyond.sum() > 100


def test_predictions_beyond_the_labels_of_training_are_counted_and_the_furthest_named_first() -> None:
    model = a_model(LEARNT, labels=(0.0, 10.0))
    said = np.array([0.0, 10.0, 10.5, -20.0, 11.0, 5.0, 40.0, -1.5, 10.01, 12.0])
    found = seen(model, rows([2.0] * 10), said)
    assert found.predictions == 7
    assert [each.value for each in found.worst] == [40.0, -20.0, 12.0, -1.5, 11.0]
    assert {(each.column, each.bounds) for each in found.worst} == {("prediction", "0 .. 10")}
    assert found.worst[0].far == 3.0 and len(found.worst) == SHOWN


def test_without_a_record_of_labels_nothing_is_said_of_predictions() -> None:
    found = seen(a_model(LEARNT), rows([2.0, 9.0]), np.array([1e9, 1e9]))
    assert found.predictions is None and found.rows == 1
    assert found.nodes[0].predictions is None


def test_a_node_s_labels_may_be_on_record_and_another_s_not() -> None:
    """As of a champion whose archive is older than its parent's."""
    now = rows(
        [9.0] * 2,
        leaf=["FR/Paris", "DE"],
        observed_at=pa.array([dt.datetime(2026, 3, 1)] * 2, pa.timestamp("us")),
        ds=[dt.date(2026, 3, 1)] * 2,
    )
    found = Outliers({})
    predict(
        now, {"global": a_model(LEARNT, version="g"), "FR": a_model(LEARNT, (0.0, 2.0), "f")}, "regression", found.see
    )
    shown = _outside(found)["outliers_by_node"]
    assert {record.data["node"]: record.data["predictions"] for record in shown.records} == {
        "FR": 0,
        "global": "",
    }


def test_each_row_is_held_against_the_version_that_answered_it_while_a_day_is_scored() -> None:
    now = rows(
        [2.0, 50.0, 50.0, 99.0],
        leaf=["FR/Paris", "FR/Paris", "DE", "DE"],
        observed_at=pa.array([dt.datetime(2026, 3, 1)] * 4, pa.timestamp("us")),
        ds=[dt.date(2026, 3, 1)] * 4,
    )
    models = {"global": a_model(rows([0.0, 60.0]), (0.0, 0.5), "g"), "FR": a_model(LEARNT, (0.0, 2.0), "f")}
    bounds: dict[str, Bounds] = {}
    found = Outliers(bounds)
    predict(now, models, "regression", found.see)
    assert {each.node: (each.rows, each.outliers, each.predictions) for each in found.nodes} == {
        "FR": (2, 1, 0),
        "global": (2, 1, 2),
    }
    assert [each.node for each in found.nodes] == ["global", "FR"]
    assert (found.rows, found.predictions, set(bounds)) == (2, 2, {"g", "f"})
    assert {(each.node, each.example_id) for each in found.worst if each.column == "amount"} == {
        ("FR", 1),
        ("global", 3),
    }


def test_a_constant_feature_is_measured_by_its_own_size() -> None:
    found = seen(a_model(rows([4.0] * 5)), rows([8.0, 4.0]))
    assert [(each.value, each.far) for each in found.worst] == [(8.0, 1.0)]


def test_widths_beyond_a_double_are_no_error() -> None:
    found = seen(a_model(rows([-1e308, 1e308])), rows([np.inf, 0.0]))
    assert found.rows == 0
    assert seen(a_model(rows([0.0, 1e-308])), rows([1e308])).rows == 1


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Segmented]:
    monkeypatch.setenv("FACTORY_DEFS", str(declare(tmp_path / "defs")))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Segmented(tmp_path, instance)


@pytest.mark.slow
def test_a_day_tells_how_many_rows_of_which_nodes_are_beyond(line: Segmented) -> None:
    days = [day(offset) for offset in range(45) for _ in range(40)]
    x = np.random.default_rng(1).uniform(-1, 1, (len(days), 2))
    line.give(["FR/Paris"] * len(days), days, x, x.sum(axis=1))
    assert line.train(day(44)) == []
    version = line.champions()["global"]
    (low, high) = line.archive.manifest(LINE, version)["label_range"]
    assert -2 < low < -1.5 and 1.5 < high < 2
    on = [day(45)] * 3 + [day(46)] * 2
    line.give(["FR/Paris"] * 5, on, np.array([[0, 0], [5.0, 0], [0.5, -9.0], [0.1, 0.1], [0.2, 0.1]]), np.zeros(5))
    tags = {"dagster/asset_partition_range_start": str(day(45)), "dagster/asset_partition_range_end": str(day(46))}
    assert execute(line.deployment, [dg.AssetKey([LINE, "predictions"])], tags) == []
    told: dict[str | None, dict[str, Any]] = {}
    for record in line.instance.fetch_materializations(dg.AssetKey([LINE, "predictions"]), limit=9).records:
        assert record.asset_materialization is not None
        told[record.partition_key] = {
            name: each.records if isinstance(each, dg.TableMetadataValue) else each.value
            for name, each in record.asset_materialization.metadata.items()
        }
    quiet, loud = told[str(day(46))], told[str(day(45))]
    assert (quiet["outliers"], quiet["predictions_out_of_bounds"]) == (0, 0) and "furthest_out" not in quiet
    assert (loud["outliers"], loud["predictions_out_of_bounds"]) == (2, 2)
    (of_node,) = [record.data for record in loud["outliers_by_node"]]
    assert (of_node["rows"], of_node["outliers"], of_node["predictions"]) == (3, 2, 2)
    named = [(record.data["example_id"], record.data["column"]) for record in loud["furthest_out"]]
    assert named == [("2", "prediction"), ("1", "prediction"), ("2", "x1"), ("1", "x0")]
    # What a line says beyond its labels is far beyond: these span 4 at most, and it says 5 and -8.5.
    checked = {}
    for on_day in (day(45), day(46)):
        (record,) = line.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey([LINE, "predictions"]), "in_bounds"),
            limit=1,
            partition_filter=PartitionKeyFilter(key=str(on_day)),
        )
        assert record.event is not None and record.event.dagster_event is not None
        checked[on_day] = record.event.dagster_event.asset_check_evaluation_data
    assert checked[day(46)].passed and checked[day(46)].description == "2 predictions"
    assert not checked[day(45)].passed and checked[day(45)].severity == dg.AssetCheckSeverity.WARN
    assert f"global: 1 of 3 predictions by version {version}, -8" in str(checked[day(45)].description)
    assert checked[day(45)].metadata["outside"].value == 2
