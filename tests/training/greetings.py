"""A line over orders that say hi or not, trained by the real assets on any day, for tests of what a training does."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from factory_assets.governor.executor import execute
from factory_assets.governor.runs import training_tags
from tests.stations import Station, day, row

#: Declared without candidates, which a test adds. As of day n it learns from days n-11 to n-4, is judged on n-2 and n-1.
LINE = """
---
type: factory_assets.components.ModelLine
attributes:
  name: greeted
  owner: team:marketplace
  description: Does an order say hi?
  task: binary
  observe: {stream: orders}
  label: {expression: "note = 'hi'", delay: 1d}
  features: [amount, channel]
  segments: {levels: [city], min_rows: 50}
  train: {window: 8d, holdout: 2d}
  candidates:
"""
NODES = ("global", "Lyon", "Paris")


def delivered(folder: Path, candidates: str, days: int, scrambled_from: int = 1000, dearer_from: int = 1000) -> Station:
    """A station with labelled examples of the first days. From a day on, what is delivered is other and means nothing; or those that
    say hi are dearer.
    """
    folder.mkdir()
    station = Station(folder, more=LINE + candidates)
    rng, noise = random.Random(5), random.Random(6)
    for offset in range(days):
        rows = []
        for number in range(30):
            amount = round(rng.uniform(0, 100), 2)
            more = 12 if offset >= dearer_from else 0
            says = 20 + more < amount < 60 + more if rng.random() < 0.85 else rng.random() < 0.5
            if offset >= scrambled_from:
                amount, says = round(noise.uniform(0, 1000), 2), noise.random() < 0.5
            city = rng.choice(["Paris", "Lyon"])
            note = "hi" if says else "no"
            rows.append(row(30 * offset + number, day(offset), amount=amount, note=note, city=city))
        station.deliver(day(offset), rows)
    assert station.run(day(0), day(days - 1)).success
    assert station.run(day(0), day(days - 1), ["greeted/examples", "greeted/labels"]).success
    return station


def train(station: Station, as_of: dt.date, nodes: Sequence[str] = NODES) -> None:
    """Run the asset of the models, as of a day, for nodes that lie side by side."""
    deployment = station.deployment
    declared = deployment.catalogue.resolve(deployment.catalogue.lines["greeted"])
    tags = training_tags(declared.line.name, list(nodes), str(as_of), "test", "a test")
    deployment.failures += execute(deployment, [dg.AssetKey(["greeted", "model"])], tags)
    assert deployment.failures == []


def told(station: Station, node: str) -> dict[str, Any]:
    """Metadata of the newest model of a node."""
    event = station.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(["greeted", "model"]), asset_partitions=[node]), limit=1
    ).records[0]
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}
