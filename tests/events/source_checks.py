"""What every kind of source must do, whatever it reads: one suite, which a new kind joins with a feed of its own.

A feed holds rows as an outside system would. `test_sources.py` has one for each kind.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing, sources
from factory_assets.events.sources import ABSENT, SourceError

Row = dict[str, Any]

FIRST = dt.date(2024, 3, 8)
DAYS = [FIRST + dt.timedelta(days=offset) for offset in range(4)]
TODAY = dt.date(2024, 12, 31)
CONTRACT = {
    "id": {"type": "integer"},
    "at": {"type": "timestamp"},
    "city": {"type": "string", "nullable": True},
    "amount": {"type": "double", "nullable": True},
    "returned": {"type": "boolean", "nullable": True},
    "due": {"type": "date", "nullable": True},
}
CITIES = ["Zürich", "東京", "Saint-Étienne, Loire", 'the "Hague"', "🚲 it's", None]


def row(number: int, on: dt.date) -> Row:
    """A row of a day; times state offsets, one of which makes another date of the day's first hour."""
    offset = dt.timezone(dt.timedelta(hours=(-5, 0, 2)[number % 3]))
    at = dt.datetime.combine(on, dt.time(number % 24, 30), dt.UTC).astimezone(offset)
    empty = number % 5 == 4
    return {
        "id": number,
        "at": at,
        "city": CITIES[number % len(CITIES)],
        "amount": None if empty else number / 4,
        "returned": None if empty else number % 2 == 0,
        "due": None if empty else on + dt.timedelta(days=number),
    }


def day_of_rows(on: dt.date, count: int = 30) -> list[Row]:
    return [row(number, on) for number in range(count)]


class Feed(ABC):
    """Rows as an outside system holds them. `source` is how a declaration names it."""

    source: dict[str, Any]
    columns: dict[str, Any] = CONTRACT
    id, event_time = "id", "at"
    days = DAYS
    tells_days_apart = True

    def rows(self, on: dt.date) -> list[Row]:
        """What the feed holds of a day from the beginning, by id: typed as the contract says, times in UTC."""
        held = [] if on == DAYS[2] else day_of_rows(on)
        return [each | {"at": each["at"].astimezone(dt.UTC).replace(tzinfo=None)} for each in held]


class WritableFeed(Feed):
    """One that can be changed from here."""

    @abstractmethod
    def deliver(self, on: dt.date, rows: list[Row]) -> None:
        """Let the day hold these rows and no others."""

    @abstractmethod
    def redeliver(self) -> None:
        """Write the same rows once more, as another transfer of them would."""

    @abstractmethod
    def remove(self) -> str:
        """Take everything away; returns what a message about it must name."""


def declare(feed: Feed, **more: Any) -> DeclaredStream:
    stream = {
        "name": "orders", "owner": "team:x", "description": "Orders.", "source": feed.source,
        "id": feed.id, "event_time": feed.event_time, "start": feed.days[0], "end": max(TODAY, feed.days[-1]),
    }  # fmt: skip
    contract = Contract.model_validate({"columns": feed.columns})
    return DeclaredStream(Stream.model_validate(stream | more), contract)


def landed(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: list[dt.date]) -> list[Row]:
    """Rows of `raw`, with their day, in the order of their ids."""
    landing.land(con, declared, sources.deliveries(con, declared.stream, days), days, TODAY)
    return con.sql(f"SELECT * FROM landed ORDER BY ds, {declared.stream.id}").to_arrow_table().to_pylist()


class ReadingChecks:
    """What can be asked of every feed."""

    def test_rows_in_are_rows_out_each_on_its_day(self, con, feed):
        found = landed(con, declare(feed), feed.days)
        wanted = [each | {"ds": on} for on in feed.days for each in feed.rows(on)]
        assert [{name: each[name] for name in (*feed.columns, "ds")} for each in found] == wanted
        assert {each["_unparsed"] for each in found} == {None}

    def test_every_row_says_where_it_came_from_and_that_it_is_a_row(self, con, feed):
        declared = declare(feed)
        found = landed(con, declared, feed.days)
        known = {name for delivery in sources.deliveries(con, declared.stream, feed.days) for name in delivery.sources}
        assert {each["_source"] for each in found} <= known
        assert {each["_line"] for each in found} == {None}
        assert con.execute("SELECT sum(rows)::INT FROM deliveries").fetchall() == [(len(found),)]

    def test_only_days_that_are_asked_for_are_landed(self, con, feed):
        for asked in ([feed.days[1]], feed.days[:2], feed.days[3:]):
            assert {each["ds"] for each in landed(con, declare(feed), asked)} == set(asked)

    def test_the_columns_of_a_delivery_are_those_that_came(self, con, feed):
        for delivery in sources.deliveries(con, declare(feed).stream, feed.days[:1]):
            assert list(delivery.columns) == list(feed.columns)
            named = con.execute(f"SELECT * FROM ({delivery.query}) LIMIT 0").description
            assert {name for name, *_ in named} == {*feed.columns, "_source", "_line"}

    def test_a_fingerprint_is_of_the_day_whichever_days_are_asked_for(self, feed):
        stream = declare(feed).stream
        whole = sources.fingerprint(stream, feed.days)
        assert set(whole) == set(feed.days)
        assert sources.fingerprint(stream, feed.days[1:2]) == {feed.days[1]: whole[feed.days[1]]}


class SourceChecks(ReadingChecks):
    """And of every one that can be written to: at first thirty rows on each of DAYS but the third, which is empty."""

    def test_an_empty_day_has_no_rows(self, con, feed):
        assert landed(con, declare(feed), [DAYS[2]]) == []

    def test_a_fingerprint_stays_while_the_content_does(self, feed):
        stream = declare(feed).stream
        before = sources.fingerprint(stream, DAYS)
        feed.redeliver()
        assert sources.fingerprint(stream, DAYS) == before

    def test_a_fingerprint_tells_the_day_that_changed(self, feed):
        stream = declare(feed).stream
        before = sources.fingerprint(stream, DAYS)
        changed = [*day_of_rows(DAYS[1], 29), row(29, DAYS[1]) | {"amount": 99.0}]
        for rows in (day_of_rows(DAYS[1], 29), day_of_rows(DAYS[1], 31), changed):
            feed.deliver(DAYS[1], rows)
            after = sources.fingerprint(stream, DAYS)
            assert after[DAYS[1]] != before[DAYS[1]]
            if feed.tells_days_apart:
                assert {day for day in DAYS if after[day] != before[day]} == {DAYS[1]}
        feed.deliver(DAYS[1], day_of_rows(DAYS[1]))
        assert sources.fingerprint(stream, DAYS) == before, "content that comes back is what it was"

    def test_the_start_of_the_stream_changes_neither_rows_nor_fingerprints(self, con, feed):
        earlier, later = declare(feed, start=FIRST - dt.timedelta(days=300)), declare(feed, start=DAYS[1])
        rest = DAYS[1:]
        assert landed(con, earlier, rest) == landed(con, later, rest) == landed(con, declare(feed), rest)
        assert sources.fingerprint(earlier.stream, rest) == sources.fingerprint(later.stream, rest)

    def test_what_is_not_there_is_named_or_a_day_without_a_delivery(self, con, feed):
        named, stream = feed.remove(), declare(feed).stream
        if sources.expects_a_file(stream):
            assert sources.deliveries(con, stream, DAYS) == []
            assert sources.fingerprint(stream, DAYS) == dict.fromkeys(DAYS, ABSENT)
        else:
            with pytest.raises(SourceError, match=named):
                sources.deliveries(con, stream, DAYS)
