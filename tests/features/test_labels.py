"""Is the truth there when it is known, and never before? Labels of events and of entities against the naive oracle."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.features.examples import labels
from tests.features.lines import DAY, DAYS, OF_ENTITIES, OF_EVENTS, OF_LATER, declared_line, worlds
from tests.oracles import point_in_time as oracle
from tests.oracles.point_in_time import Event
from tests.oracles.streams import MICROSECOND, loader, store

Worlds = Mapping[str, Sequence[Event]]
Rows = dict[tuple[dt.date, Any, dt.datetime | None], tuple[Any, dt.datetime]]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def query(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Worlds, through: dt.date, days: Sequence[dt.date]
) -> str:
    tables: dict[str, str] = {}
    for name, rows in events.items():
        tables |= store(con, name, rows)
    return labels.build(con, declared, days, labels.Through(through, {}, frozenset()), loader(con, tables))


def built(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredLine,
    events: Worlds,
    through: dt.date,
    days: Sequence[dt.date] = DAYS,
) -> Rows:
    """(day, example, when it was superseded) -> label and when it was known."""
    found = con.sql(query(con, declared, events, through, days)).to_arrow_table()
    assert found.schema.field("label").type == (pa.string() if classes_of(declared.line.task) else pa.float64())
    result = {
        (row["ds"], row["example_id"], row["superseded_at"]): (row["label"], row["known_at"])
        for row in found.to_pylist()
    }
    assert len(result) == found.num_rows
    return result


def expected_of_events(declared: DeclaredLine, events: Worlds, through: dt.date) -> Rows:
    """`amount > 0` of the orders whose original had items >= -1, a day later or when that version was known."""
    found: Rows = {}
    originals = {event.number: event for event in events["orders"] if event.corrects is None}
    for event in events["orders"]:
        amount, items = event.values["amount"], originals[event.event_id].values["items"]
        if event.known_at is None or amount is None or items is None or items < -1:
            continue
        known_at = max(event.known_at, event.event_time + DAY)
        held = event.superseded_at is None or event.superseded_at > known_at
        on = originals[event.event_id].event_time.date()
        if on in DAYS and known_at <= oracle.close(through) and held:
            found[on, event.event_id, event.superseded_at] = (float(amount > 0), known_at)
    return found


def expected_of_entities(declared: DeclaredLine, events: Worlds, through: dt.date) -> Rows:
    """Whether an active customer visits within two days, known six hours after them."""
    found: Rows = {}
    active = oracle.active_entities(
        events["orders"], DAYS, 3 * DAY, lambda event: event.values["items"] is not None and event.values["items"] > -3
    )
    for day, entity in active:
        t = oracle.close(day)
        known_at = t + 2 * DAY + DAY / 4
        if known_at <= oracle.close(through):
            label = oracle.has_event(events["visits"], entity, t, 2 * DAY, DAY / 4, lambda event: event.values["flag"])
            found[day, f"{entity}@{day}", None] = (label, known_at)
    return found


def expected_of_later(declared: DeclaredLine, events: Worlds, through: dt.date) -> Rows:
    """Moment by moment: whether a visit of the same customer to the same shop is known six hours after it at the earliest.

    Nothing of it changes between the moments at which a version becomes known, its delay passes, or it is superseded.
    """
    found: Rows = {}
    label = declared.line.label
    for seen in events[declared.observed.stream.name]:
        items, keys = seen.values["items"], (seen.entity, seen.values["shop"])
        if seen.corrects is not None or seen.known_at is None or items is None or items < -1 or None in keys:
            continue
        t, due = seen.event_time, seen.event_time + 2.25 * DAY
        hits = [
            (max(event.known_at, event.event_time + DAY / 4), event.superseded_at or dt.datetime.max)
            for event in events[str(label.event)]
            if event.known_at is not None and event.values["flag"] and (event.entity, event.values["shop"]) == keys
            and t <= event.event_time < t + 2 * DAY
            and not (label.event == declared.observed.stream.name and event.event_id == seen.event_id)
        ]  # fmt: skip
        since: dt.datetime | None = None
        moments = sorted({moment for hit in hits for moment in hit if moment < due} | {due})
        rows: list[tuple[float, dt.datetime, dt.datetime | None]] = []
        for moment in moments:
            yes = any(first <= moment < until for first, until in hits)
            if yes and since is None:
                since = moment
            elif not yes and since is not None:
                rows.append((1.0, since, moment))
                since = None
        rows.append((0.0, due, None) if since is None else (1.0, since, None))
        for value, since, until in rows:
            known_at = max(since, seen.known_at)
            if until is not None and until <= known_at:
                continue
            if t.date() in DAYS and max(due, known_at) <= oracle.close(through):
                found[t.date(), seen.event_id, until] = (value, known_at)
    return found


KINDS = [
    pytest.param(OF_EVENTS, expected_of_events, id="events"),
    pytest.param(OF_ENTITIES, expected_of_entities, id="entities"),
    pytest.param(OF_LATER, expected_of_later, id="later events"),
    pytest.param(
        OF_LATER | {"label": OF_LATER["label"] | {"event": "orders"}},
        expected_of_later,
        id="later events of one stream",
    ),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_labels_are_those_that_are_known_at_the_close_of_the_day_asked(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any], expected: Any, seed: int
) -> None:
    events, declared = worlds(seed), declared_line(**kind)
    sizes = []
    for ahead in (-8, -2, 0, 1, 2, 3, 9):
        through = DAYS[-1] + ahead * DAY
        found = built(con, declared, events, through)
        assert found == expected(declared, events, through)
        assert all(known_at <= oracle.close(through) for _, known_at in found.values())
        sizes.append(len(found))
    assert sizes == sorted(sizes)
    assert 0 == sizes[0] < sizes[2] < sizes[-1]
    assert {label for label, _ in found.values()} == {0.0, 1.0}


@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_a_label_never_changes_once_it_is_known(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any], expected: Any
) -> None:
    events, declared = worlds(2), declared_line(**kind)
    earlier = built(con, declared, events, DAYS[-1])
    later = built(con, declared, events, DAYS[-1] + 30 * DAY)
    assert earlier
    assert earlier.items() <= later.items()


@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_what_becomes_known_after_the_close_changes_no_label(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any], expected: Any
) -> None:
    events, declared, through = worlds(1), declared_line(**kind), DAYS[-2]
    surprise = oracle.close(through) + MICROSECOND
    late = {
        name: [
            *rows,
            *(
                dataclasses.replace(event, number=1000 + event.number, known_at=surprise, corrects=None)
                for event in rows
            ),
        ]
        for name, rows in events.items()
    }
    assert built(con, declared, late, through) == built(con, declared, events, through)


@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_a_day_alone_has_the_labels_that_it_has_among_others(
    con: duckdb.DuckDBPyConnection, kind: dict[str, Any], expected: Any
) -> None:
    events, declared, through = worlds(1), declared_line(**kind), DAYS[-1] + DAY
    alone: Rows = {}
    for day in DAYS:
        alone |= built(con, declared, events, through, [day])
    assert alone == built(con, declared, events, through)


@pytest.mark.parametrize(
    ("event_time", "lateness", "label"),
    [
        (dt.timedelta(0), dt.timedelta(0), 1.0),
        (-MICROSECOND, dt.timedelta(0), 0.0),
        (2 * DAY - MICROSECOND, dt.timedelta(0), 1.0),
        (2 * DAY, dt.timedelta(0), 0.0),
        (DAY, 1.25 * DAY, 1.0),
        (DAY, 1.25 * DAY + MICROSECOND, 0.0),
        (DAY, None, 0.0),
    ],
)
def test_an_event_counts_from_the_observation_on_as_long_as_it_is_known_when_the_label_is_due(
    con: duckdb.DuckDBPyConnection, event_time: dt.timedelta, lateness: dt.timedelta | None, label: float
) -> None:
    day = DAYS[0]
    t, values = oracle.close(day), dict.fromkeys(("amount", "country", "city", "shop")) | {"items": 1, "flag": True}
    visit = Event(1, 7, t + event_time, None if lateness is None else t + event_time + lateness, values)
    events = {"orders": [Event(0, 7, t - DAY / 2, t - DAY / 2, values)], "visits": [visit]}
    found = built(con, declared_line(**OF_ENTITIES), events, day + 9 * DAY, [day])
    assert found == {(day, f"7@{day}", None): (label, t + 2.25 * DAY)}


def test_the_events_that_are_labelled_may_be_of_the_stream_that_is_observed(con: duckdb.DuckDBPyConnection) -> None:
    declared = declared_line(**OF_ENTITIES | {"label": {"event": "orders", "within": "1d"}})
    events = {"orders": worlds(0)["orders"], "visits": []}
    found = built(con, declared, events, DAYS[-1])
    assert labels.lookaround(declared) == {"orders": (-3, 1)}
    for (day, example, _), (label, known_at) in found.items():
        entity, t = int(example.partition("@")[0]), oracle.close(day)
        assert (label, known_at) == (oracle.has_event(events["orders"], entity, t, DAY, DAY * 0, None), t + DAY)
    assert {label for label, _ in found.values()} == {0.0, 1.0}


def test_labels_that_are_numbers_or_truths_become_numbers(con: duckdb.DuckDBPyConnection) -> None:
    events = worlds(0)
    for text, value in {
        "amount": lambda v: v["amount"],
        "flag": lambda v: v["flag"],
        "items + 1": lambda v: v["items"] + 1,
    }.items():
        declared = declared_line(**OF_EVENTS | {"label": {"expression": text}, "task": "regression"})
        found = built(con, declared, events, DAYS[-1])
        versions = {(event.event_id, event.superseded_at): event for event in events["orders"]}
        assert found
        assert all(
            label == float(value(versions[tuple(version)].values)) for (_, *version), (label, _) in found.items()
        )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "lower(case when items > 0 then 'MORE' when items = 0 then 'NONE' when items < 0 then 'LESS' end)",
            lambda items: ("none", "more", "less")[(items > 0) - (items < 0)],
        ),
        ("sign(items)", lambda items: str((items > 0) - (items < 0))),
    ],
)
def test_labels_of_classes_are_their_names_and_another_name_is_refused_with_its_rows(
    con: duckdb.DuckDBPyConnection, text: str, name: Callable[[int], str]
) -> None:
    classes = sorted({name(items) for items in (-1, 0, 1)})
    expected = {**OF_EVENTS, "label": {"expression": text}, "task": f"multiclass({', '.join(classes)})"}
    declared, events = declared_line(**expected), worlds(0)
    found = built(con, declared, events, DAYS[-1])
    versions = {(event.event_id, event.superseded_at): event for event in events["orders"]}
    assert {label for label, _ in found.values()} == set(classes)
    assert all(label == name(versions[tuple(version)].values["items"]) for (_, *version), (label, _) in found.items())

    con.execute(f"CREATE OR REPLACE TEMP TABLE given AS {query(con, declared, events, DAYS[-1], DAYS)}")
    assert labels.strange(con, declared, "given") == []
    fewer = declared_line(**expected | {"task": f"multiclass({', '.join(classes[:-1])}, else)"})
    rows = sum(label == classes[-1] for label, _ in found.values())
    told = rf"gives '{classes[-1]}' \({rows} rows, first on 20..-..-..\); classes of the task: {classes[0]}, {classes[1]}, else"
    ((path, message),) = labels.strange(con, fewer, "given")
    assert path == ("label", "expression") and re.search(told, message)


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("items", [1, 2, 2, None], "'items' gives 2 (2 rows, first on 2024-03-01), 1 (1 row, first on 2024-03-01)"),
        ("items - 1", [-1, 1], "'items - 1' gives -1 (1 row, first on 2024-03-01), 1 (1 row, first on 2024-03-01)"),
        ("amount", [0.5, 1, 0], "'amount' gives 0.5 (1 row, first on 2024-03-01), 0 (1 row, first on 2024-03-01), 1 ("),
        ("amount", list(range(100)), "'amount' gives 2 (1 row, first on 2024-03-01), 3 ("),
    ],
)
def test_a_binary_label_is_0_or_1_and_other_values_are_told_with_their_rows(
    con: duckdb.DuckDBPyConnection, text: str, given: list[float | None], told: str
) -> None:
    declared = declared_line(**{**OF_EVENTS, "label": {"expression": text}})
    listed = ", ".join(
        f"({'NULL' if value is None else value}, DATE '2024-03-01')" for value in given if value is not None
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE given AS SELECT label::DOUBLE AS label, ds FROM (VALUES {listed}) AS t(label, ds)"
    )
    ((path, message),) = labels.strange(con, declared, "given")
    assert path == ("label", "expression") and message.startswith(told)
    assert "allowed of a binary label: 0 and 1, or false and true" in message
    regression = declared_line(**{**OF_EVENTS, "label": {"expression": text}, "task": "regression"})
    assert labels.strange(con, regression, "given") == []
    con.execute("DELETE FROM given WHERE label NOT IN (0, 1)")
    assert labels.strange(con, declared, "given") == []


def test_the_state_of_a_day_stands_still_once_its_horizon_has_passed() -> None:
    declared = declared_line(**OF_ENTITIES)
    assert declared.line.horizon_days == 3
    day = DAYS[0]
    states = [
        labels.state(declared, [day], labels.Through(day + ahead * DAY, {}, frozenset()))[day]
        for ahead in (-5, 0, 1, 2, 3, 4, 50)
    ]
    assert states == ["0", "0", "1", "2", "3", "3", "3"]
