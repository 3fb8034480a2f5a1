"""A line that was trained on several days, each of its versions released, from orders that a test delivers."""

import datetime as dt
import random
from pathlib import Path
from typing import Any

from factory_assets.governor.executor import execute
from factory_assets.governor.runs import training_assets, training_tags
from factory_resources.ledger import Decision
from tests.stations import CONTRACT, CSV_A_DAY, Station, day, row

LINE = "greeted"
NODES = ["global", "Lyon", "Paris"]
DAYS = 14
#: Days as of which the line is trained.
TRAINED = [day(offset) for offset in range(9, 13)]
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
  windows: [1d, 2d]
  features: {n: count(), spent: sum(amount), newest: last(amount), usual: top(channel)}
---
type: factory_assets.components.ModelLine
attributes:
  name: greeted
  owner: team:marketplace
  description: Does an order say hi?
  task: binary
  observe: {stream: orders, where: amount > 1}
  label: {expression: "note = 'hi'", delay: 1d}
  features: [amount, channel, ref_number, habit.*]
  segments: {levels: [city], min_rows: 40}
  train: {window: 4d, holdout: 1d}
  candidates:
    boosted: {estimator: lightgbm, params: {num_boost_round: 8, min_data_in_leaf: 5}}
    logistic: {estimator: logistic_regression}
  gate: {metric: average_precision, certainty: 0.5}
"""
TABLES = ["raw", "events", "features/habit", "greeted/examples", "greeted/labels"]


def order(rng: random.Random, number: int, on: dt.date, told: dt.datetime | None = None) -> dict[str, Any]:
    """An order of a minute of the day, more polite the dearer it is. told: when it was known, if not at once."""
    at = dt.datetime.combine(on, dt.time()) + dt.timedelta(minutes=number * 7919 % 1440)
    amount = round(rng.uniform(0, 50), 2)
    values = {
        "city": rng.choice(["Paris", "Lyon"]),
        "amount": amount,
        "note": "hi" if amount + rng.gauss(0, 15) > 25 else "ho",
        "channel": rng.choice(["app", "web"]),
        "ref": f"N{rng.randrange(9)}",
    }
    return row(number, on, placed_at=at, told_at=told or at, **values)


def compute(station: Station, last: dt.date) -> None:
    """Bring every table up to a day."""
    for asset in TABLES:
        run = station.run(day(0), last, [asset])
        assert run.success, (asset, run.message)


def train(station: Station, as_of: dt.date, nodes: list[str] = NODES) -> None:
    """Train, evaluate and decide as of a day."""
    declared = station.catalogue.resolve(station.catalogue.lines[LINE])
    failures = len(station.deployment.failures)
    station.deployment.failures += execute(
        station.deployment, training_assets(LINE), training_tags(declared.line.name, nodes, str(as_of), "test", "test")
    )
    assert len(station.deployment.failures) == failures, station.deployment.failures


def a_trained_line(folder: Path) -> Station:
    """Orders of 14 days, the line trained as of four of them, every version released by somebody."""
    rng = random.Random(4)
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    station = Station(folder, LATE, MORE, contract)
    for offset in range(DAYS):
        orders = [order(rng, number, day(offset)) for number in range(100 * offset, 100 * offset + 60)]
        station.deliver(day(offset), orders)
    compute(station, day(DAYS - 1))
    for as_of in TRAINED:
        train(station, as_of)
    ledger = station.deployment.ledger
    for version in ledger.versions(LINE):
        release = Decision(
            LINE, version.node, version.as_of, "promote", version.version, version.version, "by hand", "ana", {}
        )
        ledger.decide(release)
    return station
