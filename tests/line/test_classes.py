"""Does a line of classes live as others do: labels, a model a segment, evaluation, predictions, monitors, and its archive?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from factory_assets.automation.summary import summarise
from factory_assets.declarations.tasks import METRICS as METRICS_OF
from factory_assets.governor.executor import Deployment, execute
from factory_assets.governor.runs import training_assets, training_tags
from factory_assets.measures.metrics import score
from factory_assets.measures.tables import label_values, prediction_values
from factory_assets.models.archived import load
from factory_assets.training.remake import remake
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from tests.public_data.deployed import run_days, standing, table

pytestmark = pytest.mark.slow

MARKETPLACE = Path(__file__).parents[2] / "factory_assets" / "defs" / "marketplace"
TASK = "multiclass(quick, usual, slow)"
DEFS = """
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:marketplace
  description: Orders of a food marketplace, one row each.
  source: {kind: simulation, seed: 7, orders_per_day: 300}
  id: order_id
  event_time: placed_at
  known_at: received_at
  start: 2026-01-05
  derive: {hour_of_day: hour(placed_at)}
---
type: factory_assets.components.FeatureView
attributes:
  name: pace
  stream: orders
  entity: restaurant_id
  owner: team:marketplace
  description: How long deliveries of a restaurant took.
  delay: 1d
  windows: [1d]
  features: {minutes: mean(delivery_minutes)}
---
type: factory_assets.components.ModelLine
attributes:
  name: speed
  owner: team:logistics
  description: How soon an order is at the door.
  task: multiclass(quick, usual, slow)
  observe: {stream: orders}
  label:
    expression: case when delivery_minutes < 20 then 'quick' when delivery_minutes < 40 then 'usual' else 'slow' end
    delay: 1d
  features: [distance_km, items, hour_of_day, channel, city, pace.*]
  segments: {levels: [country], min_rows: 400}
  train: {window: 5d, holdout: 1d}
  candidates:
    logistic: {estimator: logistic_regression, class_weight: balanced}
    boosted:
      estimator: lightgbm
      params: {learning_rate: 0.1, num_leaves: 7}
      early_stopping: 5
      search: {space: {min_data_in_leaf: {int: [5, 60]}}, trials: 2, folds: 1}
  gate: {certainty: 0.5}
  monitor: {window: 1d}
"""
FIRST, TRAINED, SCORED = dt.date(2026, 1, 5), dt.date(2026, 1, 14), dt.date(2026, 1, 15)


@pytest.fixture(scope="module")
def speed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Trained at the close of a day; the next day is scored and, a day later, measured."""
    folder = tmp_path_factory.mktemp("speed")
    texts = {"defs.yaml": DEFS, "contract.yaml": (MARKETPLACE / "contract.yaml").read_text()}
    with standing(folder, texts, {}) as deployment:
        last = SCORED + dt.timedelta(days=1)
        for asset in ("orders/raw", "orders/events", "features/pace", "speed/examples", "speed/labels"):
            assert run_days(deployment, [asset], FIRST, last) == []
        declared = deployment.catalogue.resolve(deployment.catalogue.lines["speed"])
        tags = training_tags(declared.line.name, ["global", "DE", "FR"], str(TRAINED), "test", "test")
        deployment.failures += execute(deployment, training_assets("speed"), tags)
        for asset in ("predictions", "parents", "performance", "estimates", "drift"):
            assert run_days(deployment, [f"speed/{asset}"], SCORED, SCORED) == []
        yield deployment


def told_of(deployment: Deployment, asset: str, partition: str) -> dict[str, object]:
    """Metadata of the newest materialisation of a partition."""
    found = deployment.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset.split("/")), asset_partitions=[partition]), limit=1
    )
    event = found.records[0].asset_materialization
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def test_a_label_is_the_class_that_the_expression_gives(speed: Deployment) -> None:
    minutes = {each["order_id"]: each["delivery_minutes"] for each in table(speed, "orders/events").to_pylist()}
    labels = {each["example_id"]: each["label"] for each in table(speed, "speed/labels").to_pylist()}
    assert len(labels) > 3000 and set(labels.values()) == {"quick", "usual", "slow"}
    for example, label in labels.items():
        assert label == ("quick" if minutes[example] < 20 else "usual" if minutes[example] < 40 else "slow")


def test_a_node_is_trained_searched_judged_and_decided_on_by_its_log_loss(speed: Deployment) -> None:
    versions = {each.node: each for each in speed.ledger.versions("speed")}
    assert set(versions) == {"global", "FR"}
    for version in versions.values():
        assert version.task == TASK and set(version.metrics) == set(METRICS_OF["multiclass"])
        assert set(version.validation) == {"logistic", "boosted"} and version.metrics["log_loss"] < 0.7
    reasons = {each.node: (each.verdict, each.reason) for each in speed.ledger.decisions("speed")}
    assert reasons["global"][0] == "promote" and "of the naive guess" in reasons["global"][1]
    assert reasons["DE"][0] == "fallback" and "400 needed" in reasons["DE"][1]
    assert str(told_of(speed, "speed/evaluation", "global")["plot"]).startswith(
        "![speed on the holdout](data:image/png"
    )
    assert "of 3 trials" in str(told_of(speed, "speed/model", "global")["search_boosted"])


def test_a_prediction_is_the_most_likely_class_and_what_each_has_the_same_in_a_batch_and_alone(
    speed: Deployment,
) -> None:
    batch = table(speed, "speed/predictions")
    assert batch.num_rows > 200 and batch.column_names[5:9] == ["prediction", "p_quick", "p_usual", "p_slow"]
    examples = {each["example_id"]: each for each in table(speed, "speed/examples").to_pylist()}
    root = speed.definitions.resources["archive"].root  # type: ignore[index,union-attr]
    models = {version: load(root, "speed", version) for version in set(batch["version"].to_pylist())}
    for row in batch.to_pylist():
        said = models[row["version"]].predict_one(examples[row["example_id"]])
        assert said == {name: row[f"p_{name}"] for name in ("quick", "usual", "slow")}
        assert row["prediction"] == max(said, key=lambda name: said[name]) and sum(said.values()) == pytest.approx(1)


def test_the_day_is_measured_on_what_was_predicted_and_happened(speed: Deployment) -> None:
    measured = {each["node"]: each for each in table(speed, "speed/performance").to_pylist()}
    labels = {each["example_id"]: each["label"] for each in table(speed, "speed/labels").to_pylist()}
    rows = table(speed, "speed/predictions")
    rows = rows.append_column("label", [[labels[each] for each in rows["example_id"].to_pylist()]])
    expected = score(TASK, label_values(TASK, rows["label"]), prediction_values(TASK, rows))
    assert {name: measured["global"][name] for name in expected} == pytest.approx(expected)
    assert measured["global"]["labelled"] == rows.num_rows and set(measured) == {"global", "DE", "ES", "FR", "IT"}
    assert measured["global"]["log_loss"] < 0.85 * measured["global"]["naive_log_loss"]
    ((title, _, summary, note),) = summarise(speed.catalogue, speed.lake, speed.ledger, speed.archive)
    assert (title, summary[0][0]) == ("speed", "global") and "metric: log_loss" in note
    assert float(summary[0][4]) == pytest.approx(expected["log_loss"], abs=1e-3) and float(summary[0][5]) > 0.7
    # One day was scored: its rows are all there are, and the guess on them is the one of `performance`.
    assert float(summary[0][5]) == pytest.approx(measured["global"]["naive_log_loss"], abs=1e-3)


def test_the_predicted_class_and_the_probability_of_each_are_watched_for_drift(speed: Deployment) -> None:
    rows = [each for each in table(speed, "speed/drift").to_pylist() if each["node"] == "global"]
    judged = {each["column"]: each for each in rows}
    assert {"prediction", "p_quick", "p_usual", "p_slow", "distance_km"} <= set(judged)
    assert all(np.isfinite(each["statistic"]) and each["rows"] > 200 for each in rows)
    assert judged["prediction"]["verdict"] == judged["p_slow"]["verdict"] == "stable"


def test_a_version_of_classes_is_made_again_to_the_same_bytes(speed: Deployment, tmp_path: Path) -> None:
    (known,) = speed.ledger.versions("speed", "FR")
    made = remake(known, speed.lake, Engine(threads=1, memory_limit="1GB"), ArchiveFolder(str(tmp_path)))
    assert made.version == known.version
