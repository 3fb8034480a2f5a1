"""Does every example hold what was known when it was observed? Whole lines, end to end, against the naive oracle."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.view import View
from factory_assets.features.examples import rows as examples
from factory_assets.features.point_in_time.snapshots import snapshot
from factory_assets.identity.nodes import tree
from tests.features.lines import DAY, DAYS, OF_ENTITIES, OF_EVENTS, VIEWS, declared_line, view, worlds
from tests.oracles import point_in_time as oracle
from tests.oracles.point_in_time import Event, Observation, same
from tests.oracles.streams import MICROSECOND, loader, store

Worlds = Mapping[str, Sequence[Event]]
WHERE_OF_VIEWS = {"events": lambda event: event.values["items"] is not None and event.values["items"] > 0}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def stored(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Worlds) -> dict[str, str]:
    """Put streams and snapshots of views on the connection, as the lake holds them: table name -> relation."""
    tables: dict[str, str] = {}
    for name, rows in events.items():
        tables |= store(con, name, rows)
    first = DAYS[0] - 5 * DAY
    for one in declared.views.values():
        days, load = [first + i * DAY for i in range(12)], loader(con, tables)
        query = snapshot(con, one, declared.streams[one.stream], days, load)
        con.execute(f"CREATE OR REPLACE TABLE lake_view_{one.name} AS {query}").fetchall()
        tables[f"features/{one.name}"] = f"lake_view_{one.name}"
    return tables


def built(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Worlds, days: Sequence[dt.date] = DAYS
) -> pa.Table:
    load = loader(con, stored(con, declared, events))
    return con.sql(
        f"FROM ({examples.build(con, declared, days, load)}) ORDER BY ds, observed_at, example_id"
    ).to_arrow_table()


def of_view(one: View, events: Worlds, entity: Any, t: dt.datetime, current: Event | None) -> dict[str, Any]:
    """The oracle's values of a view by canonical name; its entity may be another column than `who`."""
    described = {event.number: dataclasses.replace(event, entity=entity_of(one, event)) for event in events[one.stream]}
    own = described[current.number] if current is not None and one.stream == "orders" else None
    observation = Observation(-1, entity, t, own)
    values = oracle.view_values(one, WHERE_OF_VIEWS.get(one.name), list(described.values()), observation)
    return {f"{one.name}.{name}": value for name, value in values.items()}


def divided(one: Any, other: Any) -> Any:
    return one / other if one is not None and other else None


def on_demand(values: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """What `ratio` and `calm` make of the values of the views and of the observed event."""
    amount, items = event.values["amount"], event.values["items"]
    spent, most = divided(values["habit.spent_3d"], values["risk.rate_2d"]), values["events.most_1d"]
    return {
        "ratio.spent": spent,
        "ratio.most": None if spent is None else (-1 if most is None else most) * spent,
        "ratio.again": None if amount is None or most is None else abs(amount - most) + items,
        "ratio.away": values["habit.n_3d"] - values["risk.n_2d"] if values["habit.city_1h"] == "Lyon" else None,
        "calm.load": values["pace.mean_2d"] * values["pace.n_2d"],
    }


def entity_of(one: View, event: Event) -> Any:
    found = tuple(event.entity if key == "who" else event.values[key] for key in one.entity)
    if len(found) == 1:
        return found[0]
    return None if None in found else found


def leaf(*levels: Any) -> str:
    path: list[str] = []
    for value in levels:
        if value is None or value == "":
            break
        path.append(str(value))
    return "/".join(path) or "global"


def differences(row: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (row[name], value) for name, value in expected.items() if not same(row[name], value)}


@pytest.mark.parametrize("seed", range(3))
def test_an_observed_event_has_what_was_known_when_it_happened(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    events, declared = worlds(seed), declared_line(**OF_EVENTS)
    found = built(con, declared, events).to_pylist()
    observed = [
        event
        for event in events["orders"]
        if event.event_time.date() in DAYS
        and event.values["items"] is not None
        and event.values["items"] >= -1
        and event.corrects is None
    ]
    assert len(observed) > 80
    assert [row["example_id"] for row in found] == [
        event.number for event in sorted(observed, key=lambda event: (event.event_time, event.number))
    ]
    rows = {row["example_id"]: row for row in found}
    for event in observed:
        t, day = event.event_time, event.event_time.date()
        expected = {"observed_at": t, "ds": day, "who": event.entity, "known_at": event.known_at} | {
            name: event.values[name] for name in ("amount", "items", "flag", "shop", "country", "city")
        }
        expected["leaf"] = leaf(event.values["country"], event.values["city"])
        values: dict[str, Any] = {}
        for one in VIEWS:
            # `pace` is read at the close of the day before, the others at the observation.
            moment = (oracle.close(day - DAY), None) if one.name == "pace" else (t, event)
            values |= of_view(one, events, entity_of(one, event), *moment)
        values |= on_demand(values, event)
        expected |= {name: value for name, value in values.items() if name in declared.features}
        assert set(rows[event.number]) == {"example_id", *expected}
        assert differences(rows[event.number], expected) == {}, event


@pytest.mark.parametrize("seed", range(3))
def test_an_observed_entity_has_what_was_known_at_the_close_of_the_day(
    con: duckdb.DuckDBPyConnection, seed: int
) -> None:
    events, declared = worlds(seed), declared_line(**OF_ENTITIES)
    orders = events["orders"]
    counts = lambda event: event.values["items"] is not None and event.values["items"] > -3  # noqa: E731
    active = declared.line.observe.active
    rows = {row["example_id"]: row for row in built(con, declared, events).to_pylist()}
    population = oracle.active_entities(orders, DAYS, active, counts)
    assert len(population) > 15
    assert set(rows) == {f"{entity}@{day}" for day, entity in population}
    for day, entity in population:
        t = oracle.close(day)
        expected = {"observed_at": t, "ds": day, "who": entity} | {
            name: oracle.latest_value(orders, entity, name, t, active, counts)
            for name in ("amount", "flag", "country", "shop")
        }
        expected["leaf"] = leaf(expected["country"], entity)
        values = of_view(VIEWS[2], events, entity, t, None)
        expected |= values | {"recent.share": divided(values["events.n_1d"], values["events.n_2d"])}
        expected |= of_view(VIEWS[1], events, expected["shop"], t, None)
        row = rows[f"{entity}@{day}"]
        assert set(row) == {"example_id", *expected}
        assert differences(row, expected) == {}


def test_columns_come_in_the_order_of_the_declaration(con: duckdb.DuckDBPyConnection) -> None:
    declared = declared_line(**OF_EVENTS)
    names = built(con, declared, worlds(0)).column_names
    assert names[:3] == ["example_id", "leaf", "observed_at"]
    assert names[-1] == "ds"
    assert [name for name in names if "." in name] == [name for name in declared.features if "." in name]


def test_an_entity_that_a_view_does_not_know_has_no_events_and_the_default(con: duckdb.DuckDBPyConnection) -> None:
    """An unknown shop, nobody, and an entity with no visits: all are rows, none is dropped by a join."""
    declared = declared_line(**OF_EVENTS)
    only = [
        Event(number, who, dt.datetime.combine(DAYS[1], dt.time(12)), dt.datetime.combine(DAYS[1], dt.time(12)), values)
        for number, (who, values) in enumerate(
            [(number % 2 or None, {"amount": 1.0, "items": 1, "country": "FR", "city": None, "flag": True, "shop": shop})
             for number, shop in enumerate([None, 77])]
        )
    ]  # fmt: skip
    found = built(con, declared, {"orders": only, "visits": []}).to_pylist()
    assert len(found) == 2
    for row in found:
        assert (row["risk.n_1d"], row["risk.rate_1d"]) == (0, 0.5)
        assert (row["pace.n_1h"], row["pace.mean_2d"]) == (0, -1)
        assert (row["events.n_1d"], row["events.n_1d_2d"], row["events.most_1d"]) == (0, 0, None)
        assert row["leaf"] == "FR"
    assert [row["habit.n_1h"] for row in found] == [0, 1], "nobody has no habit; of a customer the event itself counts"


@pytest.mark.parametrize("kind", [OF_EVENTS, OF_ENTITIES], ids=["events", "entities"])
def test_a_day_alone_has_the_examples_that_it_has_among_others(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any]
) -> None:
    events, declared = worlds(1), declared_line(**kind)
    together = {(row["ds"], row["example_id"]): row for row in built(con, declared, events).to_pylist()}
    alone = {
        (row["ds"], row["example_id"]): row for day in DAYS for row in built(con, declared, events, [day]).to_pylist()
    }
    assert alone == together, "not one bit may differ"


@pytest.mark.parametrize("kind", [OF_EVENTS, OF_ENTITIES], ids=["events", "entities"])
def test_what_happens_or_becomes_known_after_a_day_changes_none_of_its_examples(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any]
) -> None:
    events, declared = worlds(1), declared_line(**kind)
    days = DAYS[:3]
    close = oracle.close(days[-1])
    later = {
        name: [
            *rows,
            *(
                dataclasses.replace(
                    event,
                    number=1000 + event.number,
                    event_time=time,
                    known_at=close + lateness,
                    superseded_at=None,
                    corrects=None,
                )
                for event in rows
                for time, lateness in [
                    (event.event_time, MICROSECOND) if event.event_time < close - 3 * DAY else (close + DAY, DAY)
                ]
            ),
        ]
        for name, rows in events.items()
    }
    before = built(con, declared, events, days)
    after = built(con, declared, later, days).to_pylist()
    # The events added are observed themselves where events are; all others are as they were.
    kept = [row for row in after if isinstance(row["example_id"], str) or row["example_id"] < 1000]
    assert [row["example_id"] for row in kept] == before["example_id"].to_pylist()
    assert all(differences(row, old) == {} for row, old in zip(kept, before.to_pylist(), strict=True))


def test_events_whose_ids_count_within_a_day_keep_their_own_values(con: duckdb.DuckDBPyConnection) -> None:
    declared = declared_line(**OF_EVENTS)
    orders = declared.streams["orders"]
    within = dataclasses.replace(orders, stream=orders.stream.model_copy(update={"moves": dt.timedelta(0)}))
    declared = dataclasses.replace(declared, streams={**declared.streams, "orders": within})
    values = {"amount": 1.0, "items": 1, "country": "FR", "city": "Lyon", "flag": True, "shop": 1}
    twice = [
        Event(5, who, time, time, values)
        for who, time in [(1, dt.datetime.combine(DAYS[1], dt.time(9))), (2, dt.datetime.combine(DAYS[2], dt.time(8)))]
    ]
    found = built(con, declared, {"orders": twice, "visits": []}).to_pylist()
    assert [(row["ds"], row["who"], row["habit.n_3d"], row["risk.n_2d"]) for row in found] == [
        (DAYS[1], 1, 1, 0),
        (DAYS[2], 2, 1, 0),
    ]


@pytest.mark.parametrize("kind", [OF_EVENTS, OF_ENTITIES], ids=["events", "entities"])
def test_days_without_events_have_no_examples(con: duckdb.DuckDBPyConnection, kind: dict[str, Any]) -> None:
    found = built(con, declared_line(**kind), {"orders": [], "visits": []})
    assert found.num_rows == 0
    assert "events.n_1d" in found.column_names
    con.register("examples", found)
    assert list(examples.nodes_seen(con, "examples")) == ["global"]


def test_the_nodes_seen_are_those_of_the_segments_with_their_parents(con: duckdb.DuckDBPyConnection) -> None:
    found = built(con, declared_line(**OF_EVENTS), worlds(0))
    con.register("examples", found)
    assert list(examples.nodes_seen(con, "examples")) == tree(set(found["leaf"].to_pylist()))


def test_a_line_says_how_far_back_it_reads(con: duckdb.DuckDBPyConnection) -> None:
    assert examples.lookback(declared_line(**OF_EVENTS)) == {"orders": 3, "visits": 2}
    # An entity reads the day's own snapshot, and needs events only to know who is active.
    assert examples.lookback(declared_line(**OF_ENTITIES)) == {"orders": 3}
    assert examples.snapshot_offset(declared_line(**OF_EVENTS)) == -1
    assert examples.snapshot_offset(declared_line(**OF_ENTITIES)) == 0
    assert [one.name for one in examples.fresh_views(declared_line(**OF_EVENTS))] == ["habit", "risk", "events"]
    assert view("habit", windows=["1h"], features={"n": "count()"}).names == ["n_1h"]
