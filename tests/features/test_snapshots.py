"""Does a snapshot hold what was known of every entity at the close of the day, and of nobody else?"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.view import View
from factory_assets.features.point_in_time.snapshots import snapshot
from tests.features.lines import stream
from tests.oracles import point_in_time as oracle
from tests.oracles.point_in_time import Event, Observation, same
from tests.oracles.streams import START, loader, random_events, store

DAY = dt.timedelta(days=1)
#: Some after the last event, when entities cease to be active.
DAYS = [START.date() + i * DAY for i in range(22)]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def view(windows: Sequence[str], **more: Any) -> View:
    features = {"n": "count()", "mean": "mean(amount)", "last": "last(items)", "cities": "distinct(city)"}
    return View(
        name="habit",
        stream="orders",
        entity="who",
        owner="team:x",
        description="",
        windows=list(windows),
        features=features,
        **more,
    )


VIEWS = [
    view(["1h", "1d"]),
    view(["1d", "7d"], delay="2h", default=0),
    view(["7d"], delay="3d", where="flag"),
    view(["1h", "3d"], include_current=True, default=-1, flag="unseen"),
    view(["1d", "ever"], flag="unseen"),
]


def snapshots(
    con: duckdb.DuckDBPyConnection, declared: View, events: Sequence[Event], days: Sequence[dt.date]
) -> dict[Any, Any]:
    """(day, entity) -> values, as the asset computes them."""
    load = loader(con, store(con, "orders", events))
    rows = con.sql(snapshot(con, declared, stream("orders"), days, load)).to_arrow_table().to_pylist()
    found = {(row.pop("ds"), row.pop("who")): row for row in rows}
    assert len(found) == len(rows), "an entity has more than one row on a day"
    return found


def random_world(declared: View, seed: int) -> list[Event]:
    rng = random.Random(f"{declared} {seed}")
    offsets = [dt.timedelta(0), DAY, declared.delay, *declared.windows, declared.reach]
    return random_events(rng, 150, offsets, span=7 * DAY, entities=30, delay=declared.delay, late=(0, 0.3, 1)[seed])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("declared", VIEWS, ids=lambda one: f"{one.windows} {one.delay}")
def test_the_snapshot_of_a_day_is_what_the_rule_says_of_its_close(
    con: duckdb.DuckDBPyConnection, declared: View, seed: int
) -> None:
    events = random_world(declared, seed)
    where = (lambda event: event.values["flag"]) if declared.where else None
    found = snapshots(con, declared, events, DAYS)
    assert set(found) == oracle.active_entities(events, DAYS, declared.reach)
    for (day, entity), values in found.items():
        expected = oracle.view_values(declared, where, events, Observation(-1, entity, oracle.close(day)))
        assert list(values) == declared.names
        assert all(same(values[name], expected[name]) for name in expected), (day, entity, values, expected)


@pytest.mark.parametrize("declared", VIEWS, ids=lambda one: f"{one.windows} {one.delay}")
def test_an_entity_that_has_no_row_would_only_have_defaults(con: duckdb.DuckDBPyConnection, declared: View) -> None:
    events = random_world(declared, 1)
    where = (lambda event: event.values["flag"]) if declared.where else None
    found = snapshots(con, declared, events, DAYS)
    nothing = oracle.view_values(declared, where, [], Observation(-1, 1, START))
    absent = [(day, entity) for day in DAYS for entity in range(31) if (day, entity) not in found]
    assert absent
    for day, entity in absent:
        at_close = Observation(-1, entity, oracle.close(day))
        assert oracle.view_values(declared, where, events, at_close) == nothing


@pytest.mark.parametrize("declared", VIEWS, ids=lambda one: f"{one.windows} {one.delay}")
def test_days_together_have_the_snapshots_of_each_alone(con: duckdb.DuckDBPyConnection, declared: View) -> None:
    events = random_world(declared, 1)
    together = snapshots(con, declared, events, DAYS)
    alone: dict[Any, Any] = {}
    for day in DAYS:
        alone |= snapshots(con, declared, events, [day])
    assert alone == together, "not one bit may differ"
