"""Is one example, computed from the events of its own entities, the row that a whole day gave? And are its events those that count?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples import rows as examples
from factory_assets.features.examples.single import Single
from tests.features.lines import DAY, DAYS, OF_ENTITIES, OF_EVENTS, OF_LATER, VIEWS, declared_line, worlds
from tests.features.test_examples import WHERE_OF_VIEWS, Worlds, entity_of, stored
from tests.oracles.point_in_time import Observation, close, in_window
from tests.oracles.streams import loader

LINES = {"events": OF_EVENTS, "later": OF_LATER, "entities": OF_ENTITIES}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def built(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Worlds) -> tuple[Any, list[dict[str, Any]]]:
    """How the lake is read, and the examples of all days."""
    load = loader(con, stored(con, declared, events))
    query = examples.build(con, declared, DAYS, load)
    con.execute(f"CREATE OR REPLACE TABLE every AS {query}").fetchall()
    return load, con.sql("FROM every").to_arrow_table().to_pylist()


def single(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, load: Any, row: dict[str, Any]) -> Single:
    con.execute(
        "CREATE OR REPLACE TEMP TABLE asked AS SELECT * FROM every WHERE example_id = ? AND ds = ?",
        [row["example_id"], row["ds"]],
    ).fetchall()
    return Single(con, declared, "asked", load)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("of", LINES)
def test_its_features_are_those_of_the_whole_day(con: duckdb.DuckDBPyConnection, of: str, seed: int) -> None:
    declared = declared_line(**LINES[of])
    load, every = built(con, declared, worlds(seed))
    for row in every[:: max(1, len(every) // 4)]:
        again = single(con, declared, load, row).again()
        assert again == {name: row[name] for name in declared.features}, row


def test_an_observation_that_the_events_no_longer_have_is_none(con: duckdb.DuckDBPyConnection) -> None:
    declared, events = declared_line(**OF_EVENTS), worlds(0)
    load, every = built(con, declared, events)
    con.execute("DELETE FROM lake_orders WHERE event_id = ?", [every[0]["example_id"]]).fetchall()
    con.execute("DELETE FROM lake_orders_superseded WHERE event_id = ?", [every[0]["example_id"]]).fetchall()
    assert single(con, declared, load, every[0]).again() is None
    assert single(con, declared, load, every[1]).again() is not None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("of", ["events", "entities"])
def test_the_events_behind_a_view_are_those_that_the_rule_admits(
    con: duckdb.DuckDBPyConnection, of: str, seed: int
) -> None:
    declared, events = declared_line(**LINES[of]), worlds(seed)
    load, every = built(con, declared, events)
    by_name, counted = {view.name: view for view in VIEWS}, 0
    for row in every[:: max(1, len(every) // 4)]:
        for behind in single(con, declared, load, row).behind(3):
            view = by_name[behind.view]
            moment = row["observed_at"]
            if of == "events" and view.name == "pace":
                moment = close(row["ds"] - DAY)
            key = tuple(row[name] for name in view.entity)
            asked = Observation(-1, None if None in key else key[0], moment)
            admitted = [
                event
                for event in (
                    dataclasses.replace(event, entity=entity_of(view, event)) for event in events[view.stream]
                )
                if in_window(event, asked, view, max(view.windows))
                and WHERE_OF_VIEWS.get(view.name, lambda _: True)(event)
            ]
            admitted.sort(key=lambda event: (event.event_time, event.event_id), reverse=True)
            assert behind.at == moment
            assert behind.events == len(admitted), (behind, row)
            assert [each["event_id"] for each in behind.newest] == [event.event_id for event in admitted[:3]]
            assert behind.itself == (of == "events" and view.name == "habit")
            counted += len(admitted)
    assert counted > 5 or seed == 2
