"""Are snapshots made of tiles those made of the events, to the last bit; and does a day's cost not grow with the history?"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pytest

from factory_assets.declarations.view import View
from factory_assets.features.point_in_time.snapshots import snapshot
from factory_assets.features.point_in_time.tiles import Tiles, fit
from factory_resources.lake import Lake
from tests.features.lines import stream
from tests.oracles.point_in_time import Event
from tests.oracles.streams import START, loader, random_events, store, table

DAY = dt.timedelta(days=1)
DAYS = [START.date() + i * DAY for i in range(10)]
FEATURES = {
    "n": "count()", "items": "count(items)", "total": "sum(amount)", "mean": "mean(amount)", "spread": "deviation(amount)",
    "low": "min(amount)", "high": "max(amount)", "first": "first(items)", "last": "last(city)", "third": "nth_last(amount, 3)",
    "cities": "distinct(city)", "about": "approx_distinct(items)", "top": "top(city)", "ago": "time_since_last()",
    "paid": "sum(amount) where flag",
}  # fmt: skip


def view(windows: Sequence[str], **more: Any) -> View:
    named = {"name": "habit", "stream": "orders", "entity": "who", "owner": "team:x", "description": ""}
    return View(windows=list(windows), **{**named, "features": FEATURES, **more})


VIEWS = [
    view(["1d", "3d"]),
    view(["2d", "5d"], delay="3d", where="flag"),
    view(["2d"], default=-1, features={"mean": "mean(amount)", "cities": "distinct(city)"}),
    view(["1d", "ever"], flag="unseen", derive={"share": "n_1d / nullif(n_ever, 0)"}),
    view(["ever"], delay="2d", entity=["who", "shop"]),
]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def world(declared: View) -> list[Event]:
    rng = random.Random(str(declared))
    offsets = [dt.timedelta(0), DAY, declared.delay, *declared.windows[:1]]
    return random_events(rng, 150, offsets, span=7 * DAY, entities=8, delay=declared.delay, late=0.4)


def deliver(lake: Lake, events: Sequence[Event], days: Sequence[dt.date]) -> None:
    """The events of these days as the stream's tables hold them."""
    of_days = [event for event in events if event.event_time.date() in days]
    current, void = ([one for one in of_days if (one.superseded_at is None) is holds] for holds in (True, False))
    lake.replace("orders/events", table(current).drop(["superseded_at"]), days)
    lake.replace("orders/superseded", table(void), days)


def of_tiles(con: duckdb.DuckDBPyConnection, lake: Lake, declared: View, days: Sequence[dt.date]) -> tuple[Any, Any]:
    query, read = Tiles(con, lake, declared, stream("orders")).snapshot(days)
    return con.sql(f"SELECT * FROM ({query}) ORDER BY ALL").to_arrow_table(), read


def of_events(con: duckdb.DuckDBPyConnection, declared: View, events: Sequence[Event], days: Sequence[dt.date]) -> Any:
    query = snapshot(con, declared, stream("orders"), days, loader(con, store(con, "orders", events)))
    return con.sql(f"SELECT * FROM ({query}) ORDER BY ALL").to_arrow_table()


def some(*places: int) -> pytest.MarkDecorator:
    """The views at these places; the others where minutes count."""
    marked = [pytest.param(one, marks=[] if at in places else pytest.mark.slow) for at, one in enumerate(VIEWS)]
    return pytest.mark.parametrize("declared", marked, ids=lambda one: f"{one.windows} {one.delay}")


@some(1, 3, 4)
@pytest.mark.slow
def test_day_by_day_the_tiles_give_what_the_events_give(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, declared: View
) -> None:
    lake, events = Lake(root=str(tmp_path)), world(declared)
    expected = of_events(con, declared, events, DAYS)
    assert len(set(expected["ds"].to_pylist())) > len(DAYS) // 2
    for day in DAYS:
        deliver(lake, events, [day])
        found, _ = of_tiles(con, lake, declared, [day])
        assert found.equals(expected.filter(pc.equal(expected["ds"], day))), f"{day}: not one bit may differ"


@some(1, 3)
@pytest.mark.slow
def test_events_that_change_later_change_the_tiles_of_their_day(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, declared: View
) -> None:
    lake, events = Lake(root=str(tmp_path)), world(declared)
    deliver(lake, events[::2], DAYS)
    for day in DAYS:
        of_tiles(con, lake, declared, [day])
    deliver(lake, events, DAYS[:6])
    mixed = [event for at, event in enumerate(events) if not at % 2 or event.event_time.date() in DAYS[:6]]
    for days in (DAYS[5:9], DAYS[3:4], DAYS[-1:]):
        found, _ = of_tiles(con, lake, declared, days)
        assert found.equals(of_events(con, declared, mixed, days)), days


def test_another_definition_makes_other_tiles(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lake, declared, events = Lake(root=str(tmp_path)), VIEWS[2], world(VIEWS[2])
    deliver(lake, events, DAYS)
    of_tiles(con, lake, declared, DAYS[7:8])
    for other in (
        view(["1d", "ever"], where="flag"),
        view(["1d", "ever"], features={"n": "max(items)", "l": "last(city)"}),
    ):
        found, _ = of_tiles(con, lake, other, DAYS[7:9])
        assert found.equals(of_events(con, other, events, DAYS[7:9]))


def test_a_day_costs_the_same_however_long_the_history(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    declared, lake = (
        view(["1d", "7d", "30d", "ever"], features={"n": "count()", "mean": "mean(amount)"}),
        Lake(root=str(tmp_path)),
    )
    values = {"amount": 1.5, "items": 1, "country": "FR", "city": "Lyon", "flag": True, "shop": 1}
    days = [START.date() + i * DAY for i in range(180)]
    events = []
    for number in range(180 * 20):
        at = dt.datetime.combine(days[number // 20], dt.time(1 + number % 20))
        events.append(Event(number, number % 10, at, at, values))
    deliver(lake, events, days)
    read = {}
    for number in (29, 30, 179, 180):
        found, read[number] = of_tiles(con, lake, declared, [days[number - 1]])
    assert found["n_ever"].to_pylist() == [360] * 10
    assert read[30] == read[180] == {"events": 20, "tiles": 300, "totals": 10}


def test_windows_that_end_within_a_day_are_made_of_events() -> None:
    assert fit(view(["1d", "ever"]), DAYS[:1])
    assert not fit(view(["1h", "1d"]), DAYS[:1])
    assert not fit(view(["1d"], delay="2h"), DAYS[:1])
    assert not fit(view(["1d"]), DAYS), "many days at once"
