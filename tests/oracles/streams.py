"""Random streams with what makes point in time hard: ties, gaps, late rows, empty values, events on the edges of windows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from tests.oracles.point_in_time import Event

MICROSECOND = dt.timedelta(microseconds=1)
#: Within how many days an id is one event, if the stream does not say otherwise.
REACH = 7
START = dt.datetime(2024, 2, 27)  # a leap day is near
COLUMNS = {
    "amount": pa.float64(),
    "items": pa.int64(),
    "country": pa.string(),
    "city": pa.string(),
    "flag": pa.bool_(),
    "shop": pa.int64(),
}
SCHEMA = pa.schema(
    [
        ("event_id", pa.int64()),
        ("who", pa.int64()),
        ("event_time", pa.timestamp("us")),
        ("known_at", pa.timestamp("us")),
        ("superseded_at", pa.timestamp("us")),
        *COLUMNS.items(),
        ("ds", pa.date32()),
    ]
)


def moments(rng: random.Random, n: int, span: dt.timedelta, offsets: Sequence[dt.timedelta]) -> list[dt.datetime]:
    """n times; many stand to an earlier one at exactly an offset, or a microsecond beside it."""
    times: list[dt.datetime] = []
    for _ in range(n):
        if times and rng.random() < 0.6:
            time = rng.choice(times) + rng.choice(offsets) + rng.choice([-1, 0, 0, 1]) * MICROSECOND
        else:
            time = START + rng.random() * span
            if rng.random() < 0.3:
                time = dt.datetime.combine(time.date(), dt.time())
        times.append(time if START <= time < START + 2 * span else START)
    return times


def lateness(rng: random.Random, delay: dt.timedelta) -> dt.timedelta | None:
    """From event time to known time; None: never."""
    spread = [
        dt.timedelta(0), delay, delay, delay + MICROSECOND, delay - MICROSECOND, -dt.timedelta(hours=1),
        dt.timedelta(seconds=rng.randint(1, 600)), delay + dt.timedelta(hours=rng.randint(1, 90)), None,
    ]  # fmt: skip
    return rng.choice(spread)


def random_events(
    rng: random.Random,
    n: int,
    offsets: Sequence[dt.timedelta],
    *,
    span: dt.timedelta = dt.timedelta(days=3),
    entities: int = 4,
    delay: dt.timedelta = dt.timedelta(0),
    late: float = 0.3,
    empty: float = 0.15,
    corrected: float = 0.1,
    moved: float = 0.0,
) -> list[Event]:
    """Events numbered in no order of time. late: share with a lateness of its own. empty: share of empty values.

    corrected: share of which another version was known later, and of those again; an entity is corrected like a value.
    moved: share of corrections by which the event happened at another time, within REACH days.
    """

    def sometimes(value: Any) -> Any:
        return None if rng.random() < empty else value

    def version(number: int, time: dt.datetime, known_at: dt.datetime | None) -> Event:
        values = {
            "amount": sometimes(round(rng.uniform(-50, 50), 2)),
            "items": sometimes(rng.randint(-3, 3)),
            "country": sometimes(rng.choice(["FR", "IT", ""])),
            "city": sometimes(rng.choice(["Lyon", "Paris", "Rome", "Århus"])),
            "flag": sometimes(rng.random() < 0.5),
            "shop": sometimes(rng.randrange(3)),
        }
        return Event(number, sometimes(rng.randrange(entities)), time, known_at, values)

    events: list[Event] = []
    for number, time in enumerate(moments(rng, n, span, offsets)):
        after = lateness(rng, delay) if rng.random() < late else dt.timedelta(0)
        events.append(version(number, time, None if after is None else time + after))
    for original in list(events):
        newest = original
        while newest.known_at is not None and rng.random() < corrected:
            known_at = newest.known_at + rng.choice([MICROSECOND, *(offset for offset in offsets if offset), span / 7])
            newest = dataclasses.replace(newest, superseded_at=known_at)
            events[newest.number] = newest
            time = original.event_time
            if moved and rng.random() < moved:
                time += rng.choice([-2, -1, 0, 1, 3]) * dt.timedelta(days=1) + rng.choice([-1, 0, 1]) * dt.timedelta(
                    hours=9
                )
            newest = dataclasses.replace(version(len(events), time, known_at), corrects=original.number)
            events.append(newest)
    return events


def table(events: Sequence[Event]) -> pa.Table:
    rows = [
        {
            "event_id": event.event_id,
            "who": event.entity,
            "event_time": event.event_time,
            "known_at": event.known_at,
            "superseded_at": event.superseded_at,
            **event.values,
            "ds": event.event_time.date(),
        }
        for event in events
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def create(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """A table of the connection with these rows, in this order: rowid is the row's number."""
    con.register("arrow_rows", rows)
    con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM arrow_rows").fetchall()
    con.unregister("arrow_rows")


def store(con: duckdb.DuckDBPyConnection, stream: str, events: Sequence[Event]) -> dict[str, str]:
    """Events of a stream as the lake holds them, those that were superseded apart: table of the lake -> relation."""
    create(
        con, f"lake_{stream}", table([event for event in events if event.superseded_at is None]).drop(["superseded_at"])
    )
    create(con, f"lake_{stream}_superseded", table([event for event in events if event.superseded_at is not None]))
    tables = {f"{stream}/events": f"lake_{stream}", f"{stream}/superseded": f"lake_{stream}_superseded"}
    if elsewhere := list(versions_elsewhere(events)):
        create(con, f"lake_{stream}_moved", pa.concat_tables(elsewhere).drop(["superseded_at"]))
        tables[f"{stream}/moved"] = f"lake_{stream}_moved"
    return tables


def versions_elsewhere(events: Sequence[Event]) -> Iterator[pa.Table]:
    """Versions of an event that lie on another day within REACH, each as a row of the day that has the other."""
    versions: dict[int, list[Event]] = {}
    for event in events:
        versions.setdefault(event.event_id, []).append(event)
    for same in versions.values():
        days = {event.event_time.date() for event in same}
        for on in sorted(days) if len(days) > 1 else ():
            other = [event for event in same if 0 < abs((event.event_time.date() - on).days) <= REACH]
            rows = table(other)
            yield rows.set_column(rows.schema.get_field_index("ds"), "ds", pa.array([on] * len(other), pa.date32()))


def loader(con: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> Callable[[str, str, dt.date, dt.date], None]:
    """Days of tables of the lake, by name, that are tables of the connection."""

    def load(name: str, table: str, first: dt.date, last: dt.date) -> None:
        con.execute(
            f"""CREATE OR REPLACE TEMP VIEW {name} AS
                SELECT * FROM {tables[table]} WHERE ds BETWEEN DATE '{first}' AND DATE '{last}'"""
        ).fetchall()

    return load
