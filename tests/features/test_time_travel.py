"""A training set of a past moment, built again after late rows and corrections arrived: not one byte may differ."""

import datetime as dt
import random
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from factory_assets.identity.nodes import ROOT
from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node
from tests.stations import CONTRACT, CSV_A_DAY, Station, day, row

DAYS = 10
LATE = CSV_A_DAY.replace("'}", "', late: 30d}")
MORE = """
  known_at: told_at
---
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: orders
  entity: city
  owner: team:marketplace
  description: What a city ordered.
  windows: [1d, 3d, ever]
  features: {n: count(), spent: sum(amount), spread: deviation(amount), newest: last(amount), usual: top(channel)}
  derive: {share: 'spent_1d / nullif(spent_ever, 0)'}
  units: {share: 1}
  flag: unseen
---
type: factory_assets.components.FeatureView
attributes:
  name: yesterday
  stream: orders
  entity: [city, channel]
  owner: team:marketplace
  description: What a city ordered by a channel, as of the close before.
  windows: [2d, ever]
  features: {n: count(), spent: sum(amount) where amount > 20}
---
type: factory_assets.components.ModelLine
attributes:
  name: greeted
  owner: team:marketplace
  description: Does an order say hi?
  task: binary
  observe: {stream: orders, where: amount > 1, carry: [amount]}
  label: {expression: "note = 'hi'", delay: 1d}
  features: [habit.*, yesterday.*]
  snapshot: [yesterday]
  train: {window: 7d, holdout: 2d}
  candidates: {constant: {estimator: constant}}
"""
ASSETS = ["raw", "events", "features/habit", "features/yesterday", "greeted/examples", "greeted/labels"]


def order(rng: random.Random, number: int, on: dt.date, told: dt.datetime | None = None) -> dict[str, Any]:
    """An order of a minute of the day; told: when it was known, if not at once."""
    at = dt.datetime.combine(on, dt.time()) + dt.timedelta(minutes=number * 7919 % 1440)
    values = {
        "city": rng.choice(["Paris", "Lyon"]),
        "amount": round(rng.uniform(0, 50), 2),
        "note": rng.choice(["hi", "ho"]),
        "channel": rng.choice(["app", "web"]),
    }
    return row(number, on, placed_at=at, told_at=told or at, **values)


def training_set(station: Station, as_of: dt.date) -> pa.Table:
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        days = DaysAsKnown(day(0), as_of, close_of(as_of))
        return labelled_by_node(con, station.lake, "greeted", days)[0].rows(ROOT)


@pytest.mark.slow
def test_a_training_set_of_the_past_does_not_change_with_what_arrives_later(tmp_path: Path) -> None:
    rng = random.Random(4)
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    station = Station(tmp_path, LATE, MORE, contract)
    numbers = {offset: range(100 * offset, 100 * offset + 40) for offset in range(DAYS)}
    for offset, own in numbers.items():
        station.deliver(day(offset), [order(rng, number, day(offset)) for number in own])
    for asset in ASSETS:
        assert station.run(day(0), day(DAYS - 1), [asset]).success, asset
    cuts = [day(4), day(DAYS - 1)]
    before = [training_set(station, cut) for cut in cuts]
    assert before[0].num_rows > 80 and before[1].num_rows > 250

    # Two days later a file comes with orders of days long closed: unheard of ones, and other values of known ones.
    newest = day(DAYS + 1)
    told = dt.datetime.combine(newest, dt.time(8))
    late = [order(rng, 5000 + 10 * offset + n, day(offset), told) for offset in range(DAYS) for n in range(5)]
    corrected = [order(rng, number, day(offset), told) for offset, own in numbers.items() for number in own[::4]]
    # Others happened on another day than was known.
    by = {
        number: rng.choice([-2, -1, 1, 3]) for offset, own in numbers.items() if 1 < offset < 7 for number in own[1::4]
    }
    moved = [order(rng, number, day(number // 100 + days), told) for number, days in by.items()]
    station.deliver(newest, [*late, *corrected, *moved, *(order(rng, 9000 + n, newest) for n in range(40))])
    for asset in ASSETS:
        assert station.run(day(0), newest, [asset]).success, asset
    superseded = station.lake.read("orders/superseded")
    assert superseded.num_rows == len(corrected) + len(moved) and len(moved) == 50
    assert set(superseded["superseded_at"].to_pylist()) == {told}
    came = sum(number // 100 + days == 3 for number, days in by.items())
    assert len(station.ids(day(3))) == 45 - 10 + came and came
    told = station.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(["greeted", "examples"]), asset_partitions=[str(day(0))]), limit=1
    ).records[0]
    assert told.asset_materialization is not None
    (shares,) = told.asset_materialization.metadata["cold_starts"].value.values()
    assert 0 < shares < 0.3, "the first orders of two cities"

    for cut, table in zip(cuts, before, strict=True):
        again = training_set(station, cut)
        assert again.schema == table.schema
        assert again.equals(table), "not one value may differ"
    # The present is another matter: it knows the late orders, and the labels as they were corrected.
    now = training_set(station, newest)
    ids = set(now["example_id"].to_pylist())
    assert {each["order_id"] for each in late if each["amount"] > 1} <= ids
    known = dict(zip(before[1]["example_id"].to_pylist(), before[1]["label"].to_pylist(), strict=True))
    present = dict(zip(now["example_id"].to_pylist(), now["label"].to_pylist(), strict=True))
    changed = {number for number in known if present[number] != known[number]}
    assert changed and changed <= {each["order_id"] for each in (*corrected, *moved)} and changed & set(by)
