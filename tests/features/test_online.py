"""Is the vector of one request the row that `examples` has of the same event? To the last bit, whatever came late."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.declarations.declared import feature_types
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.features.examples import rows as examples
from factory_assets.features.online import Online
from factory_assets.features.point_in_time.snapshots import snapshot
from tests.features.lines import DAY, DAYS, OF_ENTITIES, OF_EVENTS, OWNED, declared_line, stream, view, worlds
from tests.features.test_examples import stored
from tests.oracles.point_in_time import Event
from tests.oracles.streams import START, loader, store

EVERY = {
    "n": "count()", "n_amount": "count(amount)", "total": "sum(amount)", "mean": "mean(amount)", "rate": "mean(flag)",
    "spread": "deviation(amount)", "low": "min(items)", "high": "max(amount)", "first": "first(city)", "newest": "last(amount)",
    "third": "nth_last(amount, 3)", "cities": "distinct(city)", "about": "approx_distinct(city)", "usual": "top(city)",
    "ago": "time_since_last()", "paid_ago": "time_since_last(amount) where flag", "double": "sum(amount * 2 + items)",
    "flagged": "count() where flag and amount > 0",
}  # fmt: skip
VIEWS = [
    view("habit", windows=["1h", "1d", "ever"], features=EVERY, include_current=True, flag="unseen",
         derive={"share": "total_1h / nullif(total_ever, 0)", "gap": "coalesce(high_1d, 0) - low_1d"}),
    view("risk", entity=["shop", "country"], windows=["2d"], delay="1d", default=0.5, where="items > 0", flag="new",
         features={"n": "count()", "rate": "mean(flag)", "spread": "deviation(items)", "newest": "last(items)"}),
    view("visits", stream="visits", windows=["3d"], features={"n": "count()", "usual": "top(city)", "most": "max(items)"}),
    view("closed", entity=["shop", "flag"], windows=["2d", "ever"], features={"n": "count()", "mean": "mean(items)"}, default=-1,
         flag="fresh", derive={"per": "mean_2d / n_ever"}),
]  # fmt: skip
ON_DEMAND = [
    OnDemandView(name="mixed", derive={
        "sum": "mixed.share + mixed.whole", "share": "habit.mean_1d / nullif(risk.spread_2d, 0)",
        "whole": "habit.n_ever // nullif(visits.n_3d, 0)", "unknown": "habit.unseen + risk.new * 2",
        "own": "habit.mean_1d - mixed.second", "second": "items + habit.n_ever * amount",
        "told": "case when city = habit.usual_ever then 1 end + habit.n_1h",
        "text": "length(habit.usual_ever) + case when habit.first_1h = visits.usual_3d then 1 else 0 end",
        "flag": "case when habit.paid_ago_1d < 9000 and not contains(habit.newest_1h::text, '5') then 1 else risk.n_2d end",
    }, **OWNED),
    OnDemandView(name="shut", derive={"one": "closed.mean_2d / closed.n_ever + closed.fresh"}, **OWNED),
]  # fmt: skip


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def line(**more: Any) -> DeclaredLine:
    declared = Line(
        **{
            "name": "question",
            "task": "binary",
            "train": {"window": "7d", "holdout": "2d"},
            "candidates": {"constant": {"estimator": "constant"}},
            "observe": {"stream": "orders", "where": "items >= -1"},
            "label": {"expression": "amount > 0", "delay": "1d"},
            "features": ["amount", "habit.*", "risk.*", "visits.*", "closed.*", "mixed.*", "shut.one"],
            "snapshot": ["closed"],
            **OWNED,
            **more,
        }
    )
    streams, derived = {name: stream(name) for name in ("orders", "visits")}, {one.name: one for one in ON_DEMAND}
    catalogue = Catalogue(streams, {one.name: one for one in VIEWS}, {}, derived)
    assert [found for one in VIEWS for found in catalogue.check_view(one)] + catalogue.check_line(declared) == []
    assert [found for one in ON_DEMAND for found in catalogue.check_on_demand(one)] == []
    return catalogue.resolve(declared)


def row(event: Event) -> dict[str, Any]:
    return {"event_time": event.event_time, "known_at": event.known_at, "who": event.entity, **event.values}


@pytest.mark.parametrize("seed", range(3))
def test_one_row_at_a_time_has_the_features_of_the_batch(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    events, declared = worlds(seed), line()
    tables = stored(con, declared, events)
    load = loader(con, tables)
    batch = con.sql(examples.build(con, declared, DAYS, load)).to_arrow_table().to_pylist()
    expected = {each["example_id"]: {name: each[name] for name in declared.features} for each in batch}
    assert len(expected) > 80
    # Where most events come late, little is known, and some features are empty throughout.
    assert seed or all(any(row[name] is not None for row in expected.values()) for name in declared.features)
    compared = 0
    for day in DAYS:
        online = Online(con, declared, day, load)
        for event in events["orders"]:
            if event.number in expected and event.event_time.date() == day and event.corrects is None:
                found = online.features(row(event))
                assert found == expected[event.number], {
                    name: (found[name], value) for name, value in expected[event.number].items() if found[name] != value
                }
                compared += 1
    assert compared == len(expected)


def test_types_are_those_that_the_declarations_tell(con: duckdb.DuckDBPyConnection) -> None:
    declared = line()
    load = loader(con, stored(con, declared, worlds(0)))
    rows = con.sql(examples.build(con, declared, DAYS, load))
    assert {name: str(kind) for name, kind in zip(rows.columns, rows.types, strict=True) if name in declared.types} == {
        name: declared.types[name] for name in rows.columns if "." in name
    }
    for one in declared.views.values():
        closes = con.sql(f"FROM lake_view_{one.name}")
        kinds = feature_types(one, declared.streams[one.stream])
        assert {name: str(closes.types[closes.columns.index(name)]) for name in one.names} == kinds


def test_a_history_that_learns_event_by_event_is_the_one_that_is_read(con: duckdb.DuckDBPyConnection) -> None:
    """Requests of a day, each before its own event is learnt: what a server does."""
    declared, day = line(), DAYS[2]
    punctual = {
        name: [event for event in rows if event.known_at == event.event_time and event.superseded_at == event.corrects == None]  # noqa: E711
        for name, rows in worlds(1).items()
    }  # fmt: skip
    load = loader(con, stored(con, declared, punctual))
    batch = con.sql(examples.build(con, declared, [day], load)).to_arrow_table().to_pylist()
    expected = {each["example_id"]: {name: each[name] for name in declared.features} for each in batch}
    tables: dict[str, str] = {}
    for name, rows in punctual.items():
        tables |= store(con, name, [event for event in rows if event.event_time.date() < day])
    for one in declared.views.values():
        con.execute(
            f"CREATE OR REPLACE TABLE lake_view_{one.name} AS "
            + snapshot(con, one, declared.streams[one.stream], [day - DAY], loader(con, tables))
        )
        tables[f"features/{one.name}"] = f"lake_view_{one.name}"
    online = Online(con, declared, day, loader(con, tables))
    today = sorted(
        (
            (event.event_time, name, event)
            for name, rows in punctual.items()
            for event in rows
            if event.event_time.date() == day
        ),
        key=lambda one: one[0],
    )
    compared = 0
    for _, name, event in today:
        if name == "orders" and event.number in expected:
            assert online.features(row(event)) == expected[event.number]
            compared += 1
        online.learn(name, row(event))
    assert compared == len(expected) > 3


def test_a_request_of_another_day_or_without_a_column_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    declared, events = line(), {"orders": [], "visits": []}
    online = Online(con, declared, DAYS[0], loader(con, stored(con, declared, events)))
    asked = row(
        Event(
            1,
            7,
            dt.datetime.combine(DAYS[0], dt.time(9)),
            None,
            dict.fromkeys(("amount", "items", "country", "city", "flag", "shop")),
        )
    )
    nobody = online.features(asked)
    assert (nobody["habit.unseen"], nobody["habit.n_1h"], nobody["risk.new"], nobody["risk.rate_2d"]) == (0, 1, 1, 0.5)
    assert (nobody["closed.fresh"], nobody["closed.mean_2d"], nobody["closed.per"]) == (1, -1.0, None)
    with pytest.raises(ValueError, match=r"an event of 2024-03-05, and the history is of 2024-03-02"):
        online.features(asked | {"event_time": START + 7 * DAY})
    with pytest.raises(KeyError, match="amount"):
        online.features({name: value for name, value in asked.items() if name != "amount"})
    with pytest.raises(ValueError, match="observes who at the close of a day"):
        Online(
            con, declared_line(**OF_ENTITIES), DAYS[0], loader(con, stored(con, declared_line(**OF_ENTITIES), events))
        )


def test_the_lines_of_the_other_tests_agree_too(con: duckdb.DuckDBPyConnection) -> None:
    events: Mapping[str, Sequence[Event]] = worlds(2)
    declared = declared_line(**OF_EVENTS)
    load = loader(con, stored(con, declared, events))
    batch = con.sql(examples.build(con, declared, DAYS, load)).to_arrow_table().to_pylist()
    originals = {event.number: event for event in events["orders"] if event.corrects is None}
    online = {day: Online(con, declared, day, load) for day in DAYS}
    for each in batch:
        found = online[each["ds"]].features(row(originals[each["example_id"]]))
        assert found == {name: each[name] for name in declared.features}


def test_events_may_be_learnt_in_any_order(con: duckdb.DuckDBPyConnection) -> None:
    values = {"amount": 1.0, "items": 1, "country": "FR", "city": "Lyon", "flag": True, "shop": 1}
    times = [dt.datetime.combine(DAYS[0], dt.time(*clock)) for clock in [(8,), (9,), (10,), (10, 30)]]
    orders = [Event(number, 7, time, time, values | {"amount": float(number)}) for number, time in enumerate(times)]
    told = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        declared = line()
        online = Online(con, declared, DAYS[0], loader(con, stored(con, declared, {"orders": [], "visits": []})))
        for at in order:
            online.learn("orders", row(orders[at]))
        told.append(online.features(row(orders[3])))
    assert told[0] == told[1] == told[2]
    assert (told[0]["habit.n_1h"], told[0]["habit.n_1d"], told[0]["habit.third_1d"]) == (2, 4, 1.0)


def test_a_double_that_comes_without_a_point_has_53_bits(con: duckdb.DuckDBPyConnection) -> None:
    """As the batch reads it from a column of doubles."""
    values = {"items": 1, "country": "FR", "city": "Lyon", "flag": True, "shop": 1}
    time, declared = dt.datetime.combine(DAYS[0], dt.time(8)), line()
    told = []
    for amount in (2**53 + 1, float(2**53)):
        online = Online(con, declared, DAYS[0], loader(con, stored(con, declared, {"orders": [], "visits": []})))
        online.learn("orders", row(Event(0, 7, time, time, values | {"amount": amount})))
        told.append(online.features(row(Event(1, 7, time + DAY / 48, time + DAY / 48, values | {"amount": 1.0}))))
    assert told[0] == told[1]
    assert told[0]["habit.total_1h"] == 2.0**53, "a half is rounded to the even one"
