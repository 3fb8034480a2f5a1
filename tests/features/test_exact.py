"""Are sums, means and deviations those of exact arithmetic, whatever the numbers' size; and of one row those of the batch?"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.view import View
from factory_assets.features.online.vectors import Compiled, Recent
from factory_assets.features.point_in_time import exact
from factory_assets.features.point_in_time.windows import along, compute
from factory_resources.lake import Lake
from tests.features.lines import stream, view
from tests.features.test_tiles import deliver, of_events, of_tiles
from tests.oracles.point_in_time import Event, Observation, in_window
from tests.oracles.streams import START, create, table

DAY = dt.timedelta(days=1)
EMPTY = dict.fromkeys(("amount", "items", "country", "city", "flag", "shop"))
FEATURES = {"total": "sum(amount)", "mean": "mean(amount)", "spread": "deviation(amount)", "n": "count(amount)"}
#: The same of a column of integers.
OF_INTEGERS = {name: text.replace("amount", "items") for name, text in FEATURES.items()}
NUMBERS, WHOLES = (
    view("numbers", windows=["1h", "1d", "ever"], features=features) for features in (FEATURES, OF_INTEGERS)
)
#: Half a unit in the last place of 2**53, and what lies beside it.
TIES = [2.0**53, 2.0**54, 1.0, 2.0, 0.5, -0.5, 3.0, 2.0**-60, -(2.0**-60), -(2.0**53)]


def between(low: float, high: float) -> Callable[[random.Random], float]:
    """Numbers of these orders of magnitude, of either sign and of few digits or many."""

    def draw(rng: random.Random) -> float:
        number = rng.choice((-1, 1)) * 10 ** rng.uniform(low, high)
        return float(f"{number:.3g}") if rng.random() < 0.3 else number

    return draw


def around(centre: float, spread: float) -> Callable[[random.Random], float]:
    return lambda rng: centre + rng.choice((0.0, rng.gauss(0, spread)))


def rare(usual: Callable[[random.Random], float], other: Callable[[random.Random], float]) -> Any:
    return lambda rng: other(rng) if rng.random() < 0.02 else usual(rng)


#: Name -> how a number is drawn.
WORLDS: dict[str, Callable[[random.Random], float]] = {
    "cents": lambda rng: round(rng.uniform(-500, 500), 2),
    "whole": lambda rng: float(rng.randint(-(2**50), 2**50)),
    "microns": around(1.5e-6, 1e-7),
    "close": around(1e7, 0.1),
    "times": lambda rng: float(rng.randint(1_709_287_200_000_000, 1_709_373_600_000_000)),
    "from 1e-9 to 1e9": between(-9, 9),
    "from 1e-300 to 1e300": between(-300, 300),
    "from 1e-300 to 1e-280": between(-300, -280),
    "from 1e280 to 1e300": between(280, 300),
    "subnormal": lambda rng: rng.choice((-1, 1)) * rng.randint(0, 2**60) * 5e-324,
    "ties": lambda rng: rng.choice(TIES),
    "cents, few huge": rare(lambda rng: round(rng.uniform(-500, 500), 2), between(20, 300)),
    "cents, few tiny": rare(lambda rng: round(rng.uniform(-500, 500), 2), between(-300, -20)),
    "huge, few tiny": rare(between(250, 260), between(-300, -50)),
    "near the largest": lambda rng: rng.choice((1.7e308, -1.7e308, 1e308, 5.0, 1e292)),
}
#: Integers, of which a double holds 53 bits.
INTEGERS: dict[str, Callable[[random.Random], float]] = {
    "integers": lambda rng: rng.randint(-3, 3),
    "integers of 54 bits": lambda rng: 2**53 + rng.randint(0, 9),
    "integers of any size": lambda rng: rng.choice((-1, 1)) * rng.getrandbits(rng.choice((8, 53, 54, 62, 63))),
    "the least integer": lambda rng: rng.choice((-(2**63), 2**63 - 1, -1)),
}


def view_of(world: str) -> View:
    return WHOLES if world in INTEGERS else NUMBERS


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def events_of(world: str, n: int, rng: random.Random, *, late: float = 0.0) -> list[Event]:
    """late: share of the events that are known a day late."""
    events, column, draw = [], "items" if world in INTEGERS else "amount", (WORLDS | INTEGERS)[world]
    for number in range(n):
        at = START + rng.randrange(6 * 24 * 60) * dt.timedelta(minutes=1)
        value = None if rng.random() < 0.05 else draw(rng)
        known_at = at + (DAY if rng.random() < late else 0 * DAY)
        events.append(Event(number, rng.randrange(6), at, known_at, EMPTY | {column: value}))
    return events


def fits(values: Sequence[float], total: float | None, mean: float | None, spread: float | None) -> None:
    """The sum is rounded once; mean and deviation are within two units in the last place."""
    if not values:
        assert (total, mean, spread) == (None, None, None)
        return
    places = 1074
    wholes = [number * (2**places // power) for number, power in (value.as_integer_ratio() for value in values)]
    n, summed, squares = len(wholes), sum(wholes), sum(whole * whole for whole in wholes)
    try:
        assert total == summed / 2**places
    except OverflowError:
        assert total is None, "beyond the largest double"
    assert mean is not None and spread is not None
    assert abs(Fraction(mean) - Fraction(summed, n * 2**places)) <= 2 * Fraction(math.ulp(mean))
    variance, step = Fraction(n * squares - summed * summed, n * n * 4**places), 2 * Fraction(math.ulp(spread))
    assert max(Fraction(spread) - step, Fraction(0)) ** 2 <= variance <= (Fraction(spread) + step) ** 2


def batch(
    con: duckdb.DuckDBPyConnection, events: Sequence[Event], declared: View = NUMBERS
) -> dict[int, dict[str, Any]]:
    create(con, "events", table(events))
    asked = "(SELECT rowid AS obs, who AS entity, event_time AS t FROM events)"
    compute(con, declared, "events", asked, "result", same_stream=True)
    found = con.sql("SELECT * FROM result").to_arrow_table().to_pylist()
    return {row.pop("obs"): row for row in found}


@pytest.mark.parametrize("n", [150, pytest.param(1200, marks=pytest.mark.longest)])
@pytest.mark.parametrize("late", [0.0, 0.3], ids=["punctual", "late"])
@pytest.mark.parametrize("world", WORLDS | INTEGERS)
def test_every_window_is_that_of_exact_arithmetic_and_of_one_row(
    con: duckdb.DuckDBPyConnection, world: str, late: float, n: int
) -> None:
    """The larger are 38 worlds with 3,600 windows each: 136,800 windows."""
    declared, column = view_of(world), "items" if world in INTEGERS else "amount"
    events = events_of(world, n, random.Random(f"{world} {late}"), late=late)
    found = batch(con, events, declared)
    recent = Recent(con, Compiled(declared, stream("orders")), "events")
    of_entity = {who: [event for event in events if event.entity == who] for who in range(6)}
    for event in events:
        row = found[event.number]
        observation = Observation(event.number, event.entity, event.event_time, event)
        assert (
            recent.at(event.entity, (event.event_time - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1), None)
            == row
        )
        for name, window in zip(("1h", "1d", "ever"), declared.windows, strict=True):
            used = [one for one in of_entity[event.entity] if in_window(one, observation, declared, window)]
            values = [one.values[column] for one in used if one.values[column] is not None]
            fits(values, row[f"total_{name}"], row[f"mean_{name}"], row[f"spread_{name}"])
            assert row[f"n_{name}"] == len(values)


@pytest.mark.parametrize("world", WORLDS | INTEGERS)
def test_the_order_of_rows_and_the_number_of_threads_change_no_bit(con: duckdb.DuckDBPyConnection, world: str) -> None:
    events = events_of(world, 300, random.Random(world))
    con.execute("SET threads = 4")
    straight = batch(con, events, view_of(world))
    con.execute("SET threads = 1")
    assert {299 - obs: row for obs, row in batch(con, events[::-1], view_of(world)).items()} == straight
    con.execute("RESET threads")


#: Usual numbers, those of which sums are made exactly, and those that end beyond a double.
FEW = ("cents", "from 1e-300 to 1e300", "ties", "near the largest")


@pytest.mark.parametrize(
    "world", [pytest.param(world, marks=[] if world in FEW else pytest.mark.slow) for world in WORLDS | INTEGERS]
)
@pytest.mark.slow
def test_tiles_and_totals_give_what_the_events_give(con: duckdb.DuckDBPyConnection, tmp_path: Path, world: str) -> None:
    declared = view("numbers", windows=["1d", "3d", "ever"], features=view_of(world).features)
    events, lake = events_of(world, 150, random.Random(f"tiles {world}"), late=0.2), Lake(root=str(tmp_path))
    days = [START.date() + i * DAY for i in range(4)]
    deliver(lake, events, sorted({one.event_time.date() for one in events}))
    for day in days:
        found, _ = of_tiles(con, lake, declared, [day])
        assert found.equals(of_events(con, declared, events, [day])), f"{day}: not one bit may differ"


def test_usual_numbers_are_computed_without_asking_python(con: duckdb.DuckDBPyConnection) -> None:
    for world in ("cents", "whole", "microns", "close", "times", *INTEGERS):
        create(con, "events", table(events_of(world, 300, random.Random(1))))
        assert along(con, view_of(world), "events"), world
    create(con, "events", table(events_of("cents, few huge", 300, random.Random(1))))
    assert not along(con, NUMBERS, "events")


@pytest.mark.parametrize("other", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_takes_part_in_no_sum(con: duckdb.DuckDBPyConnection, other: float) -> None:
    events = [Event(at, 1, START + at * dt.timedelta(minutes=1), START, EMPTY | {"amount": amount})
              for at, amount in enumerate([1.0, other, 2.5, 1e-3, 0.0])]  # fmt: skip
    row = batch(con, events)[4]
    fits([1.0, 2.5, 1e-3], row["total_1h"], row["mean_1h"], row["spread_1h"])
    micros = (events[4].event_time - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    assert Recent(con, Compiled(NUMBERS, stream("orders")), "events").at(1, micros, None)["mean_1h"] == row["mean_1h"]


def test_an_expression_that_is_not_finite_is_no_value_of_any_aggregate(con: duckdb.DuckDBPyConnection) -> None:
    functions = {
        "sum": "",
        "mean": "",
        "min": "",
        "max": "",
        "first": "",
        "last": "",
        "nth_last": ", 1",
        "top": "",
        "count": "",
    }
    ratio = {name: f"{name}(amount / items{more})" for name, more in functions.items()}
    declared = view(
        "ratio", windows=["1h"], features=ratio | {"city": "last(city || '')", "kinds": "distinct(city || '')"}
    )
    given = [(1.0, 0), (0.0, 0), (3.0, 2), (-1.0, 0), (1.0, 1)]
    events = [Event(at, 1, START + at * dt.timedelta(minutes=1), START, EMPTY | {"amount": amount, "items": items, "city": "inf"})
              for at, (amount, items) in enumerate(given)]  # fmt: skip
    create(con, "events", table(events))
    compute(
        con,
        declared,
        "events",
        "(SELECT rowid AS obs, who AS entity, event_time AS t FROM events)",
        "result",
        same_stream=True,
    )
    (row,) = con.sql("SELECT * EXCLUDE (obs) FROM result WHERE obs = 4").to_arrow_table().to_pylist()
    texts = {"city_1h": "inf", "kinds_1h": 1}
    assert row == {f"{name}_1h": 1 if name == "count" else 1.5 for name in functions} | texts
    micros = (events[4].event_time - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    assert Recent(con, Compiled(declared, stream("orders")), "events").at(1, micros, None) == row


def random_grid(rng: random.Random) -> tuple[exact.Grid, list[float]]:
    """A grid, and numbers on it, close to each other or not, up to the largest that it holds."""
    bits = rng.choice((1, 5, 40, 47, 48, 53, 60, 72, 80, exact.BITS))
    grid = exact.Grid(rng.randint(-300, 300), bits, rng.choice((4, 21, 32)), finite=True, certain=rng.random() < 0.5)
    centre, spread = rng.getrandbits(bits), rng.choice((0, 1, 2**20, 2**bits))
    wholes = [min(max(centre + rng.randint(-spread, spread), 0), 2**bits - 1) for _ in range(rng.randint(1, 9))]
    doubles = [float((whole >> max(0, whole.bit_length() - 53)) << max(0, whole.bit_length() - 53)) for whole in wholes]
    return grid, [math.ldexp(rng.choice((1, 1, -1)) * number, -grid.places) for number in doubles]


def test_the_engine_rounds_as_python_does_on_any_grid(con: duckdb.DuckDBPyConnection) -> None:
    rng = random.Random(5)
    exact.register(con)
    for _ in range(200):
        grid, values = random_grid(rng)
        con.execute("CREATE OR REPLACE TABLE numbers AS SELECT unnest($1::DOUBLE[]) AS x", [values])
        number = grid.number("x")
        high = f"sum({grid.high(number)})" if grid.halved else "0"
        sums = f"count({number}) AS n, sum({grid.total(number)}) AS t, {high} AS h, sum({grid.low(number)}) AS l"
        asked = [
            grid.sum_of("t", "NULL"),
            grid.mean_of("n", "t", "NULL"),
            grid.deviation_of("n", "t", "h", "l", "NULL"),
        ]
        found = con.execute(f"SELECT {', '.join(asked)} FROM (SELECT {sums} FROM numbers)").fetchall()[0]
        fits(values, *found)
        if grid.packs:
            packed = f"(SELECT {grid.packed(number)} AS p FROM numbers)"
            both = con.execute(f"SELECT {grid.unpacked('p')}, {grid.counted('p')} FROM {packed}").fetchall()
            assert both == con.execute(f"SELECT t, n FROM (SELECT {sums} FROM numbers)").fetchall()
