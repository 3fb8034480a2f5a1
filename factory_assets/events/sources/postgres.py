"""A table of a PostgreSQL database, or a query, as a source: the rows of a day, and a hash of them made by the server.

Both are read in one transaction that sees one state of the database and cannot write. The server sends rows in
batches through a cursor of its own, so memory stays flat; it sends them as text, which DuckDB reads back faster than
Python makes values of it. What has been read stands in DuckDB before the first row is landed: a server that dies in
the middle leaves nothing half read.
"""

import datetime as dt
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from factory_assets.declarations import queries
from factory_assets.declarations.base import masked
from factory_assets.declarations.days import DAY, EPOCH, ranges
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import PostgresSource
from factory_assets.events.sources.base import ABSENT, Delivery, Source, SourceError, of_feed, problem_of, quoted
from factory_resources.postgres import connected

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: Rows that the server sends at a time.
BATCH = 5_000
#: What a row looks like as text must not depend on the settings of a server or a role.
SESSION = """SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601';
             SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'"""
#: PostgreSQL's number of a type (pg_type.oid, the same everywhere) -> DuckDB's type. All others come as text.
TYPES = {
    16: "BOOLEAN", 20: "BIGINT", 21: "BIGINT", 23: "BIGINT", 700: "DOUBLE", 701: "DOUBLE",
    1082: "DATE", 1114: "TIMESTAMP", 1184: "TIMESTAMPTZ",
}  # fmt: skip
NUMERIC = 1700
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMPTZ")
#: The column of a row's day beside those of the table.
OUR_DAY = "_day"

_log = logging.getLogger("factory")
#: Sources of this process that are read by a superuser.
_warned: set[str] = set()


@dataclass(frozen=True)
class Sent:
    """A column: its name, DuckDB's type for it, and the SQL by which the server sends it as text."""

    name: str
    kind: str
    text: str


class Postgres(Source[PostgresSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        """One delivery a day, also of a day without rows: its columns are known."""
        table = _name(f"postgres_{self.stream.name}")
        with self._session() as server:
            columns = self._columns(server)
            declared = ", ".join(f"{_name(column.name)} {column.kind}" for column in columns)
            con.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({declared}, _day DATE)").fetchall()
            texts = ", ".join([*(column.text for column in columns), f"({self._day(columns)})::text"])
            cursor = server.cursor("delivered")
            cursor.execute(f"SELECT {texts} FROM {self._relation()} AS _delivered WHERE {self._within(columns, days)}")
            while rows := cursor.fetchmany(BATCH):
                _append(con, table, [*(column.kind for column in columns), "DATE"], rows)
        kinds = {column.name: _described(column.kind) for column in columns}
        chosen = ", ".join(f"{_name(column.name)} AS {of_feed(column.name)}" for column in columns)
        return [
            Delivery(
                f"SELECT {chosen}, {quoted(name)} AS _source, NULL::VARCHAR AS _line FROM {table} "
                f"WHERE _day = DATE '{day}'",
                kinds,
                (name,),
                Period(day, day),
            )
            for day, name in ((day, f"{self._label}/{day}") for day in days)
        ]

    def fingerprint(self, days: Sequence[dt.date]) -> dict[dt.date, str]:
        """Number of rows and sum of their hashes, day by day, in one query: about a second for a million rows."""
        if not days:
            return {}
        with self._session() as server, server.cursor() as cursor:
            columns = self._columns(server)
            shape = [(column.name, column.kind) for column in columns]
            cursor.execute(
                f"""SELECT {self._day(columns)}, count(*), sum(hashtextextended(_delivered::text, 0))::text
                    FROM {self._relation()} AS _delivered WHERE {self._within(columns, days)} GROUP BY 1"""
            )
            fingerprints = {
                day: hashlib.sha256(f"{shape}|{count}|{total}".encode()).hexdigest()[:16]
                for day, count, total in cursor.fetchall()
            }
        return {day: fingerprints.get(day, ABSENT) for day in days}

    def written_since(self, day: dt.date) -> set[dt.date]:
        if self._watermark == self.stream.event_time:
            return set()
        with self._session() as server, server.cursor() as cursor:
            columns = self._columns(server)
            cursor.execute(
                f"SELECT DISTINCT {self._day(columns)} FROM {self._relation()} AS _delivered "
                f"WHERE {_name(self._watermark)} >= {self._edge(self._time(columns, self._watermark), day)}"
            )
            return {found for (found,) in cursor.fetchall()}

    @property
    def _watermark(self) -> str:
        return self.declared.watermark or self.stream.event_time

    @property
    def _label(self) -> str:
        return self.declared.table or "query"

    def _relation(self) -> str:
        if self.declared.table is None:
            return f"({queries.select(self.declared.query or '')})"
        return ".".join(map(_name, self.declared.table.split(".")))

    @contextmanager
    def _session(self) -> Iterator["Connection"]:
        """A transaction that reads one state of the database. Whatever goes wrong in it is a SourceError."""
        import psycopg2
        from sqlalchemy.engine import make_url

        url = make_url(self.declared.url)
        where = f"{masked(url.render_as_string(hide_password=True))} {self._label}"
        try:
            with connected(self.declared.url) as server:
                _warn_of_superuser(server, where)
                server.set_session(isolation_level="REPEATABLE READ", readonly=True)
                with server.cursor() as cursor:
                    cursor.execute(SESSION)
                yield server
        except (psycopg2.Error, UnicodeDecodeError, duckdb.Error) as error:
            # The error's context holds the driver's message, and that may have a password in it.
            raise SourceError(f"{where} {masked(problem_of(error))}") from None
        except SourceError as error:
            raise SourceError(f"{where} {error}") from None

    def _columns(self, server: "Connection") -> list[Sent]:
        with server.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {self._relation()} AS _delivered LIMIT 0")
            described = cursor.description or ()
        names = [column.name for column in described]
        if len({name.lower() for name in [*names, OUR_DAY]}) != len(names) + 1:
            found = ", ".join(map(repr, names))
            raise SourceError(
                f"must have every column name once, in whatever case, and none called {OUR_DAY}; found {found}"
            )
        return [_sent(column.name, column.type_code, column.precision, column.scale) for column in described]

    def _time(self, columns: Sequence[Sent], name: str) -> Sent:
        for column in columns:
            if column.name == name and column.kind in TIMES:
                return column
        found = ", ".join(f"{column.name} {column.kind}" for column in columns)
        raise SourceError(f"needs a column {name!r} of type date, timestamp or timestamptz; found {found}")

    def _moment(self, column: Sent) -> str:
        """SQL for a time as a timestamp in UTC."""
        name, zone = _name(column.name), self.stream.timezone
        if column.kind == "TIMESTAMPTZ":
            return f"({name} AT TIME ZONE 'UTC')"
        return (
            f"{name}::timestamp" if zone == "UTC" else f"({name}::timestamp AT TIME ZONE '{zone}' AT TIME ZONE 'UTC')"
        )

    def _edge(self, column: Sent, day: dt.date, margin: int = 0) -> str:
        """SQL for the beginning of a UTC day as a constant of the column's type, so that an index on it serves.

        margin: days by which a wall clock, which is not that of UTC, is given room; the row's day is then computed.
        """
        if column.kind == "TIMESTAMPTZ":
            return f"TIMESTAMPTZ '{day} 00:00:00+00'"
        return f"{column.kind} '{day + margin * DAY}'"

    def _unusable(self, columns: Sequence[Sent]) -> str:
        """SQL that is true of a row whose event time cannot say its day."""
        event = self._time(columns, self.stream.event_time)
        name, first = _name(event.name), min(self.stream.start, EPOCH + DAY)
        unusable = f"{name} IS NULL OR {name} < {self._edge(event, first)} OR {name} = 'infinity'"
        if self._watermark != self.stream.event_time:
            written = self._moment(self._time(columns, self._watermark))
            unusable += f" OR coalesce({self._moment(event)} > {written} + interval '1 day', false)"
        return f"({unusable})"

    def _day(self, columns: Sequence[Sent]) -> str:
        """SQL for the UTC day that a row belongs to."""
        event = self._moment(self._time(columns, self.stream.event_time))
        otherwise = f"DATE '{self.stream.start}'"
        if self._watermark != self.stream.event_time:
            written = self._time(columns, self._watermark)
            otherwise = (
                f"CASE WHEN isfinite({_name(written.name)}) THEN {self._moment(written)}::date ELSE {otherwise} END"
            )
        return f"CASE WHEN {self._unusable(columns)} THEN {otherwise} ELSE {event}::date END"

    def _within(self, columns: Sequence[Sent], days: Sequence[dt.date]) -> str:
        """SQL that is true of the rows of these days; an index can answer its first condition, on the plain times."""
        event, unusable = self._time(columns, self.stream.event_time), self._unusable(columns)
        written = self._time(columns, self._watermark)
        near, exact = [], []
        for stretch in ranges(days):
            first, after = stretch[0], stretch[-1] + DAY
            for column in {event, written}:
                spans = f"{_name(column.name)} >= {self._edge(column, first, -1)} AND {_name(column.name)} < "
                near.append(f"({spans}{self._edge(column, after, 1)})")
            exact.append(f"{self._day(columns)} BETWEEN DATE '{first}' AND DATE '{stretch[-1]}'")
        if self.stream.start in days:
            near.append(unusable)
        return f"({' OR '.join(sorted(near))}) AND ({' OR '.join(exact)})"


def _warn_of_superuser(server: "Connection", where: str) -> None:
    """Say once of a source that its role could do more than read."""
    if server.get_parameter_status("is_superuser") == "on" and where not in _warned:
        _warned.add(where)
        _log.warning(
            f"{where} is read by a superuser, whose queries may read the server's files: read it by a role that may only SELECT"
        )


def _sent(name: str, oid: int, precision: int | None, scale: int | None) -> Sent:
    column = _name(name)
    if oid == NUMERIC:
        # In a column of numbers, feeds write NaN for a value that is absent.
        number = f"nullif({column}, 'NaN')"
        if precision is not None and scale is not None and 0 <= scale <= precision <= 38:
            return Sent(name, f"DECIMAL({precision},{scale})", f"{number}::text")
        return Sent(name, "VARCHAR", f"trim_scale({number})::text")
    kind = TYPES.get(oid, "VARCHAR")
    if kind in TIMES:
        # What lies outside of the years that the engine can read is as far away as can be: it is no time, and no empty value.
        far = f"WHEN {column} < '0001-01-01' THEN '-infinity' WHEN {column} >= '10000-01-01' THEN 'infinity'"
        return Sent(name, kind, f"CASE {far} ELSE {column}::text END")
    return Sent(name, kind, f"{column}::text")


def _append(con: duckdb.DuckDBPyConnection, table: str, kinds: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    text = {f"c{number}": pa.array(values, pa.string()) for number, values in enumerate(zip(*rows, strict=True))}
    con.register("sent", pa.table(text))
    typed = ", ".join(f"CAST(c{number} AS {kind})" for number, kind in enumerate(kinds))
    con.execute(f"INSERT INTO {table} SELECT {typed} FROM sent").fetchall()
    con.unregister("sent")


def _described(kind: str) -> str:
    return "TIMESTAMP WITH TIME ZONE" if kind == "TIMESTAMPTZ" else kind


def _name(name: str) -> str:
    """A name quoted for SQL; a table of others may have any."""
    return '"' + name.replace('"', '""') + '"'
