"""How does a day's snapshot cost the same however long the history? Days of events are summed up once, and kept.

A tile sums up events of an entity on a day: it has the part of each of the view's aggregates. All events of a tile begin and
cease to count together:

    due     the day at whose close their time plus the view's delay has come,
    known   the day at whose close they have happened and are known,
    void    the day at whose close they are no longer valid, null while they are.

At the close of day D, a window of w days is made of the tiles with  D - w < due <= D  and  known <= D < void: for closes of
days that is the rule of `windows`. For the window `ever` a total of all tiles is carried forward from day to day.

Tiles and totals are no assets: they are made when a snapshot needs them, and stay valid as long as the files of events from
which they were made.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa

from factory_assets.declarations.base import EVER, whole_days
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.days import DAY
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time import exact, history
from factory_assets.features.point_in_time.aggregates import (
    columns_read,
    filled,
    keys_of,
    named,
    results,
    value_columns,
)
from factory_assets.features.point_in_time.history import Versions
from factory_assets.features.point_in_time.parts import Plain
from factory_assets.features.point_in_time.windows import MICROSECOND, interval, placed
from factory_assets.identity.code import code_of
from factory_resources.lake import Lake

#: For more days at once, windows over the events cost less than merging each day's tiles.
FEW_DAYS = 7
#: Days whose totals are kept: the next day needs one, and a day that is computed again the one before it.
TOTALS_KEPT = 8


def fit(view: View, days: Sequence[dt.date]) -> bool:
    """Whether a snapshot of these days is to be made of tiles: every edge of a window must be the close of a day."""
    return len(days) <= FEW_DAYS and not any(length % DAY for length in (*view.windows, view.delay))


class Tiles:
    """A view's tiles and totals in the lake."""

    def __init__(self, con: duckdb.DuckDBPyConnection, lake: Lake, view: View, declared: DeclaredStream) -> None:
        self._con, self._lake, self._view, self._declared = con, lake, view, declared
        #: Names of the relations with the events, and with their tiles and totals.
        self._events, self._tiles, self._totals = "history", "tiles", "totals"
        self._parts: dict[Plain, str] = {}
        self._delay = whole_days(view.delay)
        self._window = max((whole_days(window) for window in view.windows if window != EVER), default=0)
        self._grids = self._any_grids()
        results(view, lambda feature: feature.column, "u", "u", self._part, self._grids.__getitem__)
        parts = ", ".join(f"{plain.part} AS {name}" for plain, name in self._parts.items())
        tick = interval(MICROSECOND)
        self._query = f"""
            SELECT CAST(event_time AS DATE) AS ds, entity, CAST(u - {tick} AS DATE) AS due,
                   greatest(CAST(event_time AS DATE), CAST(known_at - {tick} AS DATE)) AS known,
                   CASE WHEN superseded_at < TIMESTAMP 'infinity' THEN CAST(superseded_at - {tick} AS DATE) END AS void,
                   {parts}
            FROM ({placed(view, self._events)}) WHERE known_at < TIMESTAMP 'infinity' GROUP BY ALL"""
        self._files = self._days_files()
        self._events_read = 0

    def snapshot(self, days: Sequence[dt.date]) -> tuple[str, dict[str, int]]:
        """A query for (entity, features, ds), as `snapshots.snapshot` gives it; and how many rows were read, by what they are."""
        first = days[0] - (self._window + self._delay - 1) * DAY
        self._ensure(first, days[-1])
        read = {}
        if EVER in self._view.windows:
            for day in days:
                self._carry(day)
            self._load(self._totals, self._table("totals"), days[0], days[-1])
            read["totals"] = self._count(self._totals)
        self._see(self._tiles, first, days[-1])
        exact.register(self._con)
        # Python may be asked for a result: a query that is read while it runs had better not wait for the reader.
        values = "snapshot"
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE {values} AS {self._merged(days)}").fetchall()
        return f"SELECT * FROM {values}", {"events": self._events_read, "tiles": self._count(self._tiles), **read}

    def _part(self, plain: Plain, _: dt.timedelta) -> str:
        # The name has a hash of the definition and the types of the stream's columns: where these change, it is another column.
        types = [f"{column} {kind}" for column, kind in sorted(self._declared.types.items())]
        return self._parts.setdefault(plain, f"part_{_hash(plain.part, *value_columns(self._view), *types)}")

    def _any_grids(self) -> dict[str, exact.Grid]:
        """Column that is aggregated -> the grid for whatever numbers it will have."""
        columns = value_columns(self._view)
        given = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in self._declared.types.items())
        types = self._con.sql(f"SELECT {', '.join(columns)} FROM (SELECT {given})").types
        return {column: exact.any_of(str(type)) for column, type in zip(columns.values(), types, strict=True)}

    def _load(self, name: str, table: str, first: dt.date, last: dt.date) -> None:
        self._lake.view(self._con, name, table, first, last, empty_if_absent=True)

    def _table(self, what: str) -> str:
        return f"{what}/{self._view.name}"

    def _count(self, relation: str) -> int:
        return int(self._con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])

    def _days_files(self) -> dict[dt.date, str]:
        """Day -> a hash of the tiles' code and definition, and of the names of the files with the day's events."""
        stream = self._declared.stream.name
        tables = [self._lake.files(f"{stream}/{part}") for part in ("events", "superseded")]
        days = sorted({day for table in tables for day in table})
        return {
            day: _hash(code_of("features"), self._query, *(name for table in tables for name in table.get(day, ())))
            for day in days
        }

    def _see(self, name: str, first: dt.date, last: dt.date) -> None:
        """Make the tiles of these days a view of the given name; there may be none yet."""
        if self._lake.version(self._table("tiles")) is None:
            self._read(last, last)
            self._con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {self._query}")
        else:
            self._load(name, self._table("tiles"), first, last)

    def _read(self, first: dt.date, last: dt.date) -> None:
        versions = Versions(self._declared, columns_read(self._view), first, last)
        history.create(self._con, self._events, versions, self._load)

    def _ensure(self, first: dt.date, last: dt.date) -> None:
        """Make the tiles of the days that have none, or none from the files of now."""
        stored = self._sources("tiles", first, last)
        wanted = {day: source for day, source in self._files.items() if first <= day <= last}
        stale = sorted(day for day in {*stored, *wanted} if stored.get(day) != wanted.get(day))
        for days in _stretches(stale):
            self._read(days[0], days[-1])
            self._events_read += self._count(self._events)
            self._write("tiles", f"SELECT *, {_case(wanted)} AS source FROM ({self._query})", days)

    def _carry(self, day: dt.date) -> None:
        """Make the total of a day: from the total of the day before and the tiles due since; else from all tiles."""
        source = self._history_until(day)
        if self._sources("totals", day, day).get(day) == source:
            return
        before, since = day - DAY, day - (self._delay + 1) * DAY
        carried = self._sources("totals", before, before).get(before) == self._history_until(before)
        if not carried:
            since = min(self._files, default=day)
        self._ensure(since, day)
        self._see(self._tiles, since, day)
        joining = f"greatest(due, ds) {'=' if carried else '<='} DATE '{day}'"
        columns = f"entity, known, void, {', '.join(self._parts.values())}"
        rows = f"SELECT {columns} FROM {self._tiles} WHERE {joining}"
        if carried:
            self._load("before", self._table("totals"), before, before)
            rows += f" UNION ALL BY NAME SELECT {columns} FROM before"
        merged = ", ".join(f"{plain.merged(name, 'true')} AS {name}" for plain, name in self._parts.items())
        # Valid and known events are one row of an entity for good; the others wait until they are known, or void.
        query = f"""SELECT DATE '{day}' AS ds, entity, CASE WHEN known > DATE '{day}' OR void IS NOT NULL THEN known END AS known,
                           void, {merged}, '{source}' AS source
                    FROM ({rows}) WHERE void IS NULL OR void > DATE '{day}' GROUP BY ALL"""
        old = [one for one in self._lake.days(self._table("totals")) if one < day - TOTALS_KEPT * DAY]
        self._write("totals", query, [*old, day])

    def _history_until(self, day: dt.date) -> str:
        return _hash(*(source for one, source in self._files.items() if one <= day))

    def _sources(self, what: str, first: dt.date, last: dt.date) -> dict[dt.date, str]:
        """Day -> the hash of the events from which its rows were made."""
        if self._lake.version(self._table(what)) is None:
            return {}
        self._load("stored", self._table(what), first, last)
        return dict(self._con.execute("SELECT ds, min(source) FROM stored GROUP BY ds").fetchall())

    def _write(self, what: str, query: str, days: Sequence[dt.date]) -> None:
        rows: pa.RecordBatchReader = self._con.sql(f"{query} ORDER BY ds, entity, known, void").to_arrow_reader(100_000)
        self._lake.replace(self._table(what), rows, days)

    def _merged(self, days: Sequence[dt.date]) -> str:
        """Query for the snapshots: for each day and entity the parts that count, merged window by window."""
        asked: dict[tuple[Plain, dt.timedelta], str] = {}

        def ask(plain: Plain, window: dt.timedelta) -> str:
            return plain.result(asked.setdefault((plain, window), f"m{len(asked)}"))

        now = "CAST(ds + 1 AS TIMESTAMP)"
        made = results(self._view, lambda feature: feature.column, "u", now, ask, self._grids.__getitem__)
        merged = ", ".join(
            f"{plain.merged(self._parts[plain], _within(window))} AS {name}" for (plain, window), name in asked.items()
        )
        parts = ", ".join(self._parts.values())
        holds = "(known IS NULL OR known <= days.ds) AND (void IS NULL OR void > days.ds)"
        rows = f"""SELECT days.ds, entity, due, {parts} FROM {self._tiles}
                   JOIN days ON {holds} AND due > days.ds - {self._window}"""
        if EVER in self._view.windows:
            rows += (
                f" UNION ALL BY NAME SELECT ds, entity, {parts} FROM {self._totals} JOIN days USING (ds) WHERE {holds}"
            )
        listed = ", ".join(f"DATE '{day}'" for day in days)
        values = filled(self._view, made)
        return f"""WITH days AS (SELECT unnest([{listed}]) AS ds), counting AS ({rows}),
                        merged AS (SELECT ds, entity, {merged} FROM counting GROUP BY ds, entity)
                   SELECT {keys_of(self._view.entity)}, {named(values)}, ds FROM merged"""


def _within(window: dt.timedelta) -> str:
    """SQL of whether a row counts in a window at the close of `ds`: only totals are due at no day."""
    return "due IS NULL" if window == EVER else f"due <= ds AND due > ds - {whole_days(window)}"


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:24]


def _case(sources: Mapping[dt.date, str]) -> str:
    listed = " ".join(f"WHEN DATE '{day}' THEN '{source}'" for day, source in sources.items())
    return f"CASE ds {listed} END" if listed else "''"


def _stretches(days: Sequence[dt.date]) -> Iterator[list[dt.date]]:
    """Days in stretches without a gap."""
    stretch: list[dt.date] = []
    for day in days:
        if stretch and day != stretch[-1] + DAY:
            yield stretch
            stretch = []
        stretch.append(day)
    if stretch:
        yield stretch
