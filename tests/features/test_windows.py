"""Do windows hold exactly what was known? Every value against the naive oracle, on streams made to be hard."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.declarations.base import parse_duration
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time.windows import active_entities, compute
from tests.oracles import point_in_time as oracle
from tests.oracles.point_in_time import Event, Observation, Where, same
from tests.oracles.streams import COLUMNS, MICROSECOND, START, create, moments, random_events, table

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
FEATURES = {
    "n": "count()",
    "n_amount": "count(amount)",
    "total": "sum(amount)",
    "items": "sum(items)",
    "mean": "mean(amount)",
    "rate": "mean(flag)",
    "lowest": "min(items)",
    "highest": "max(amount)",
    "last_city": "last(city)",
    "last_amount": "last(amount)",
    "cities": "distinct(city)",
    "kinds": "distinct(items)",
    "spread": "deviation(amount)",
    "variety": "deviation(flag)",
    "first_city": "first(city)",
    "first_items": "first(items)",
    "third": "nth_last(amount, 3)",
    "second_city": "nth_last(city, 2)",
    "about": "approx_distinct(city)",
    "usual": "top(city)",
    "usual_items": "top(items)",
    "ago": "time_since_last()",
    "amount_ago": "time_since_last(amount)",
    "flagged": "count() where flag",
    "of_flagged": "sum(amount) where flag",
    "last_flagged": "last(city) where flag",
    "flagged_ago": "time_since_last() where flag",
}
#: A view with a default, which is a number, has numbers only.
NUMBERS = {name: text for name, text in FEATURES.items() if "(city" not in text or "distinct" in text}
EMPTY = dict.fromkeys(COLUMNS)
#: A row expression, and the same in Python.
WHERES: list[tuple[str | None, Where | None]] = [
    (None, None),
    ("flag", lambda event: event.values["flag"]),
    (
        "amount > 0 and city <> 'Rome'",
        lambda event: (
            None not in (event.values["amount"], event.values["city"])
            and event.values["amount"] > 0
            and event.values["city"] != "Rome"
        ),
    ),
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def view(windows: Sequence[str] = ("1h", "1d", "28d"), **more: Any) -> View:
    declared = {"features": FEATURES, "flag": "nothing", **more}
    return View(
        name="habit", stream="orders", entity="who", owner="team:x", description="", windows=list(windows), **declared
    )


def computed(
    con: duckdb.DuckDBPyConnection,
    declared: View,
    events: pa.Table,
    observations: Sequence[Observation],
    *,
    same_stream: bool,
) -> dict[int, dict[str, Any]]:
    """Observation number -> feature values."""
    create(con, "events", events)
    asked = {"obs": pa.int64(), "entity": pa.int64(), "t": pa.timestamp("us")}
    rows = [{"obs": one.number, "entity": one.entity, "t": one.t} for one in observations]
    create(con, "asked", pa.Table.from_pylist(rows, schema=pa.schema(list(asked.items()))))
    compute(con, declared, "events", "(SELECT * FROM asked)", "result", same_stream=same_stream)
    found = con.sql("SELECT result.* FROM result JOIN asked USING (obs)").to_arrow_table().to_pylist()
    assert len({row["obs"] for row in found}) == len(found), "an observation has more than one row"
    return {row.pop("obs"): row for row in found}


def assert_as_the_oracle(
    con: duckdb.DuckDBPyConnection,
    declared: View,
    where: Where | None,
    events: Sequence[Event],
    observations: Sequence[Observation],
    *,
    same_stream: bool,
) -> None:
    found = computed(con, declared, table(events), observations, same_stream=same_stream)
    assert set(found) == {one.number for one in observations if one.entity is not None}
    for one in observations:
        if one.entity is None:
            continue
        expected = oracle.view_values(declared, where, events, one)
        wrong = {name: (found[one.number][name], value) for name, value in expected.items()
                 if not same(found[one.number][name], value)}  # fmt: skip
        assert not wrong, f"{one} (found, expected): {wrong}"


def every_event(events: Sequence[Event]) -> list[Observation]:
    return [Observation(event.number, event.entity, event.event_time, event) for event in events]


def edges(declared: View) -> list[dt.timedelta]:
    """Distances at which an event enters or leaves a window, and none at all: ties."""
    return [
        dt.timedelta(0),
        declared.delay,
        *declared.windows,
        *(window + declared.delay for window in declared.windows),
    ]


WORLDS = [
    # delay, include_current, default, share of late rows, number of entities, span of the stream in days
    ("0s", False, None, 0.0, 4, 3),
    ("0s", False, 0, 0.3, 4, 3),
    ("0s", False, None, 1.0, 1, 0.2),
    ("0s", True, None, 0.0, 4, 3),
    ("0s", True, -1.5, 0.3, 4, 40),
    ("0s", True, None, 1.0, 1, 1),
    ("2h", False, None, 0.0, 4, 3),
    ("2h", False, 0, 0.3, 4, 1),
    ("7d", False, None, 0.5, 2, 60),
    ("7d", False, 0.25, 1.0, 1, 20),
]
#: Each world with one of the conditions; with the other two where minutes count.
WORLDS_AND_SEEDS = [
    pytest.param(*world, seed, marks=[] if seed == place % len(WHERES) else pytest.mark.slow)
    for place, world in enumerate(WORLDS)
    for seed in range(len(WHERES))
]


@pytest.mark.parametrize(("delay", "current", "default", "late", "entities", "days", "seed"), WORLDS_AND_SEEDS)
def test_every_event_sees_what_the_rule_lets_it_see(
    con: duckdb.DuckDBPyConnection,
    delay: str,
    current: bool,
    default: float | None,
    late: float,
    entities: int,
    days: float,
    seed: int,
) -> None:
    rng = random.Random(f"{seed} {delay} {current} {late} {days}")
    where, predicate = WHERES[seed]
    features = FEATURES if default is None else NUMBERS
    windows = ("1h", "1d", "ever" if seed else "28d")
    declared = view(windows, delay=delay, include_current=current, default=default, where=where, features=features)
    events = random_events(
        rng, 130, edges(declared), span=days * DAY, entities=entities, delay=declared.delay, late=late
    )
    assert_as_the_oracle(con, declared, predicate, events, every_event(events), same_stream=True)


@pytest.mark.parametrize(("delay", "current", "default", "late", "entities", "days", "seed"), WORLDS_AND_SEEDS)
def test_any_moment_sees_what_the_rule_lets_it_see(
    con: duckdb.DuckDBPyConnection,
    delay: str,
    current: bool,
    default: float | None,
    late: float,
    entities: int,
    days: float,
    seed: int,
) -> None:
    # At a moment of its own no event is observed, so that there is none to include either.
    rng = random.Random(f"moments {seed} {delay} {current} {late} {days}")
    where, predicate = WHERES[seed]
    features = FEATURES if default is None else NUMBERS
    windows = ("1h", "1d", "ever" if seed else "28d")
    declared = view(windows, delay=delay, include_current=current, default=default, where=where, features=features)
    events = random_events(
        rng, 130, edges(declared), span=days * DAY, entities=entities, delay=declared.delay, late=late
    )
    times = [event.event_time + rng.choice(edges(declared)) + rng.choice([-1, 0, 1]) * MICROSECOND for event in events]
    times += [event.known_at + rng.choice([-1, 0, 1]) * MICROSECOND for event in events if event.known_at]
    times += moments(rng, 40, 2 * days * DAY, edges(declared))
    asked = [Observation(i, rng.choice([None, *range(entities + 1)]), t) for i, t in enumerate(times)]
    assert_as_the_oracle(con, declared, predicate, events, asked, same_stream=False)


# A small grid, so that ties, edges of windows and late rows meet in every combination; a failure shrinks to few events.
GRID = st.builds(
    lambda minutes, ticks: dt.timedelta(minutes=minutes) + ticks * MICROSECOND,
    st.integers(0, 4).map(lambda i: 30 * i),
    st.integers(-1, 1),
)
FEW = st.lists(
    st.tuples(
        GRID,
        st.one_of(st.none(), GRID),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, 1.0, 2.0]),
        st.sampled_from([None, "a", "b"]),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(few=FEW, delay=st.sampled_from(["0s", "30m", "1h"]), current=st.booleans(), same_stream=st.booleans())
@pytest.mark.slow
def test_no_combination_of_few_events_is_seen_otherwise(
    con: duckdb.DuckDBPyConnection, few: list[Any], delay: str, current: bool, same_stream: bool
) -> None:
    features = {"n": "count()", "total": "sum(amount)", "city": "last(city)", "kinds": "distinct(city)"}
    declared = view(["30m", "90m"], features=features, delay=delay, include_current=current and delay == "0s")
    events = [
        Event(
            number,
            who,
            START + at,
            None if after is None else START + at + after,
            EMPTY | {"amount": amount, "city": city},
        )
        for number, (at, after, who, amount, city) in enumerate(few)
    ]
    asked = every_event(events)
    if not same_stream:
        times = sorted({START + dt.timedelta(minutes=30 * i) + tick * MICROSECOND for i in range(8) for tick in (0, 1)})
        asked = [Observation(i, 1, t) for i, t in enumerate(times)]
    assert_as_the_oracle(con, declared, None, events, asked, same_stream=same_stream)


def count_of(con: duckdb.DuckDBPyConnection, event: Event, t: dt.datetime, **more: Any) -> int:
    declared = view(["1h"], features={"n": "count()"}, **more)
    found = computed(con, declared, table([event]), [Observation(0, event.entity, t)], same_stream=False)
    return int(found[0]["n_1h"])


def event_at(time: dt.datetime, known_at: dt.datetime | None = None) -> Event:
    return Event(0, 7, time, known_at or time, EMPTY | {"amount": 1.0, "items": 1, "city": "Lyon", "flag": True})


def test_an_event_at_the_observation_is_not_before_it(con: duckdb.DuckDBPyConnection) -> None:
    assert count_of(con, event_at(START), START) == 0
    assert count_of(con, event_at(START), START + MICROSECOND) == 1


def test_an_event_as_old_as_the_window_has_left_it(con: duckdb.DuckDBPyConnection) -> None:
    assert count_of(con, event_at(START), START + HOUR - MICROSECOND) == 1
    assert count_of(con, event_at(START), START + HOUR) == 0


def test_a_delayed_event_enters_when_the_delay_has_passed_and_stays_as_long_as_the_window(
    con: duckdb.DuckDBPyConnection,
) -> None:
    for t, expected in [(2 * HOUR - MICROSECOND, 0), (2 * HOUR, 1), (3 * HOUR - MICROSECOND, 1), (3 * HOUR, 0)]:
        assert count_of(con, event_at(START), START + t, delay="2h") == expected


def test_an_event_known_after_the_observation_never_enters_it(con: duckdb.DuckDBPyConnection) -> None:
    late = event_at(START, START + HOUR / 2)
    assert count_of(con, late, START + HOUR / 2 - MICROSECOND) == 0
    assert count_of(con, late, START + HOUR / 2) == 1
    assert count_of(con, late, START + HOUR) == 0, "known late, but no longer for that"


def test_an_event_without_a_known_time_is_never_known(con: duckdb.DuckDBPyConnection) -> None:
    never = dataclasses.replace(event_at(START), known_at=None)
    assert count_of(con, never, START + HOUR / 2) == 0


def test_the_current_event_is_included_without_its_ties(con: duckdb.DuckDBPyConnection) -> None:
    tied = [event_at(START), event_at(START), event_at(START + HOUR / 2)]
    events = [dataclasses.replace(one, number=i) for i, one in enumerate(tied)]
    declared = view(["1h"], features={"n": "count()"}, include_current=True)
    found = computed(con, declared, table(events), every_event(events), same_stream=True)
    assert [found[i]["n_1h"] for i in range(3)] == [1, 1, 3]


def test_no_events_make_counts_of_0_and_the_default(con: duckdb.DuckDBPyConnection) -> None:
    asked = [Observation(5, 1, START)]
    features = {"n": "count()", "kinds": "distinct(city)", "mean": "mean(amount)", "last": "last(city)"}
    assert computed(con, view(["1h"], features=features, flag=None), table([]), asked, same_stream=False)[5] == {
        "n_1h": 0, "kinds_1h": 0, "mean_1h": None, "last_1h": None,
    }  # fmt: skip
    numbers = {"n": "count()", "kinds": "distinct(city)", "mean": "mean(amount)", "last": "last(items)"}
    filled = view(["1h"], features=numbers, default=2.5, flag=None)
    assert computed(con, filled, table([]), asked, same_stream=False)[5] == {
        "n_1h": 0, "kinds_1h": 0, "mean_1h": 2.5, "last_1h": 2.5,
    }  # fmt: skip
    assert computed(con, filled, table([]), [], same_stream=False) == {}


@pytest.mark.parametrize("late", [False, True])
def test_a_default_changes_no_type_from_what_tables_can_hold(con: duckdb.DuckDBPyConnection, late: bool) -> None:
    known_at = START + HOUR / 2 if late else START
    features = {"sum": "sum(items)", "min": "min(items)", "last": "last(items)", "flag": "max(flag)", "n": "count()"}
    for default in (None, 0):
        declared = view(["1h"], features=features, default=default, flag=None)
        computed(
            con, declared, table([event_at(START, known_at)]), [Observation(0, 7, START + HOUR / 4)], same_stream=False
        )
        types = {row[0]: row[1] for row in con.execute("DESCRIBE result").fetchall()}
        last = "BIGINT" if default is None else "DOUBLE"
        expected = {"sum_1h": "DOUBLE", "min_1h": "DOUBLE", "last_1h": last, "flag_1h": "DOUBLE", "n_1h": "BIGINT"}
        assert types == {"obs": "BIGINT", **expected}


@pytest.mark.parametrize("same_stream", [True, False])
def test_columns_may_have_the_names_that_the_code_uses_for_its_own(
    con: duckdb.DuckDBPyConnection, same_stream: bool
) -> None:
    names = ["number", "entity", "u", "moment", "t", "obs", "late", "too_much", "stretch", "a0", "w0"]
    columns = ", ".join(f"{place + 10} AS {name}" for place, name in enumerate(names))
    con.execute(
        f"""CREATE OR REPLACE TABLE events AS SELECT TIMESTAMP '{START}' + to_minutes(i) AS event_time,
            TIMESTAMP '{START}' + to_minutes(i + 2 * (i % 2)) AS known_at,
            NULL::TIMESTAMP AS superseded_at, {columns} FROM range(4) r(i)"""
    ).fetchall()
    features = {f"of_{name}": f"sum({name})" for name in names}
    declared = View(
        name="habit", stream="orders", entity="entity", owner="team:x", description="", windows=[HOUR], features=features,
        where="u = 12 and t = 14 and number = 10",
    )  # fmt: skip
    asked = "(SELECT rowid AS obs, entity, event_time AS t FROM events)"
    compute(con, declared, "events", asked, "result", same_stream=same_stream)
    found = con.execute("SELECT * EXCLUDE (obs) FROM result WHERE obs = 3").fetchall()
    assert found == [tuple(3.0 * (place + 10) for place in range(len(names)))]


@pytest.mark.parametrize("same_stream", [True, False])
@pytest.mark.parametrize("delay", ["0s", "2h"])
def test_what_happens_or_becomes_known_later_changes_nothing_before(
    con: duckdb.DuckDBPyConnection, delay: str, same_stream: bool
) -> None:
    rng = random.Random(f"{delay} {same_stream}")
    declared = view(delay=delay)
    events = random_events(rng, 120, edges(declared), delay=declared.delay, late=0.4)
    asked = every_event(events) if same_stream else [Observation(i, i % 4, e.event_time) for i, e in enumerate(events)]
    before = computed(con, declared, table(events), asked, same_stream=same_stream)
    cut = sorted(event.event_time for event in events)[60]
    later = [
        dataclasses.replace(event, number=len(events) + i, event_time=time, known_at=known_at, superseded_at=None)
        for i, event in enumerate(events)
        for time, known_at in [
            (cut + rng.random() * DAY, cut + DAY) if i % 2 else (cut - rng.random() * DAY, cut + MICROSECOND)
        ]
    ]
    after = computed(con, declared, table([*events, *later]), asked, same_stream=same_stream)
    unchanged = [one.number for one in asked if one.entity is not None and one.t <= cut]
    assert len(unchanged) > 30
    for number in unchanged:
        assert all(same(after[number][name], value) for name, value in before[number].items())
    assert any(after[n] != before[n] for n in before), "what came later is seen by nobody"


@pytest.fixture(scope="module")
def many(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Enough rows for DuckDB to work in parallel, with coarse times, late rows and empty values."""
    return con.sql(
        f"""SELECT i AS event_id, CASE WHEN hash(i) % 50 > 0 THEN (hash(i + 1) % 900)::BIGINT END AS who,
                   TIMESTAMP '{START}' + to_minutes((hash(i + 2) % 40000)::BIGINT) AS event_time,
                   event_time + to_seconds(CASE WHEN hash(i + 3) % 50 = 0 THEN (hash(i + 4) % 30000)::BIGINT ELSE 0 END) AS known_at,
                   CASE WHEN hash(i + 8) % 50 = 0 THEN known_at + to_seconds((hash(i + 9) % 90000)::BIGINT) END AS superseded_at,
                   (hash(i + 5) % 100000) / 97.0 AS amount, (hash(i + 6) % 7)::BIGINT AS items,
                   chr((65 + hash(i + 7) % 5)::INTEGER) AS city, event_time::DATE AS ds
            FROM range(130000) t(i)"""
    ).to_arrow_table()


@pytest.mark.parametrize(("delay", "current"), [("0s", True), ("2h", False)])
@pytest.mark.slow
def test_neither_threads_nor_the_order_of_rows_change_what_is_seen(many: pa.Table, delay: str, current: bool) -> None:
    names = ("n", "total", "mean", "lowest", "last_city", "cities", "spread", "third", "about", "usual", "ago")
    features = {name: FEATURES[name] for name in names}
    declared = view(["1d"], features=features, delay=delay, include_current=current)
    shuffled = many.take(random.Random(1).sample(range(many.num_rows), many.num_rows))
    results = []
    for threads, rows in [(1, many), (2, many), (2, shuffled)]:
        with duckdb.connect(":memory:", config={"threads": threads}) as own:
            create(own, "events", rows)
            asked = "(SELECT rowid AS obs, who AS entity, event_time AS t FROM events)"
            compute(own, declared, "events", asked, "result", same_stream=True)
            results.append(
                own.sql(
                    "SELECT event_id, result.* EXCLUDE (obs) FROM result JOIN events ON events.rowid = obs ORDER BY event_id"
                ).to_arrow_table()
            )
    first = results[0]
    assert first.num_rows == many.num_rows - many["who"].null_count
    assert all(other.equals(first) for other in results[1:]), "not one bit may differ, of sums neither"


@pytest.mark.parametrize("entities", [1, 5])
@pytest.mark.parametrize("active", ["1h", "1d", "36h", "7d", "28d"])
def test_an_entity_is_active_if_it_had_a_known_event_in_time(
    con: duckdb.DuckDBPyConnection, active: str, entities: int
) -> None:
    span = parse_duration(active)
    for seed, (where, predicate) in enumerate(WHERES):
        rng = random.Random(f"{active} {entities} {seed}")
        events = random_events(rng, 60, [dt.timedelta(0), DAY, span], span=12 * DAY, entities=entities, late=0.5)
        create(con, "events", table(events))
        days = [START.date() + i * DAY for i in range(-2, 45)]
        for asked in (days, days[:1], days[8:12], days[20:21]):
            query = active_entities("events", ["who"], asked, span, where)
            found = con.execute(f"SELECT ds, entity, t FROM ({query})").fetchall()
            assert {(ds, entity) for ds, entity, _ in found} == oracle.active_entities(events, asked, span, predicate)
            assert len({(ds, entity) for ds, entity, _ in found}) == len(found), "an entity twice on a day"
            assert all(t == oracle.close(ds) for ds, _, t in found)


@pytest.mark.parametrize(
    ("event_time", "known_at", "days"),
    [
        (START, START, [0]),
        (START + MICROSECOND, START + MICROSECOND, [0, 1]),
        (START + DAY - MICROSECOND, START + DAY, [0, 1]),
        (START + DAY - MICROSECOND, START + DAY + MICROSECOND, [1]),
        (START + DAY, START + DAY, [1]),
        (START + HOUR, START + 2 * DAY, [1]),
        (START + HOUR, START + 2 * DAY + MICROSECOND, []),
    ],
)  # fmt: skip
def test_an_entity_is_active_from_the_close_at_which_it_is_known_until_its_event_is_too_old(
    con: duckdb.DuckDBPyConnection, event_time: dt.datetime, known_at: dt.datetime, days: list[int]
) -> None:
    create(con, "events", table([event_at(event_time, known_at)]))
    asked = [START.date() + i * DAY for i in range(5)]
    found = con.execute(active_entities("events", ["who"], asked, 2 * DAY)).fetchall()
    assert sorted(ds for ds, _, _ in found) == [START.date() + i * DAY for i in days]


def test_nobody_is_active_where_nothing_happened(con: duckdb.DuckDBPyConnection) -> None:
    create(con, "events", table([]))
    assert con.execute(active_entities("events", ["who"], [START.date()], DAY)).fetchall() == []
