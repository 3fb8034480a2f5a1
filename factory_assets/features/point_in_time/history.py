"""Which versions did events have? The versions that are valid today, and those that a correction has superseded since."""

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier

#: Load days of a stream's events, or of a view's snapshots, as a view of the given name.
Load = Callable[[str, str, dt.date, dt.date], None]


@dataclass(frozen=True)
class Versions:
    """Which versions of events are read: all of a stream's events on the days from first to last, with these columns."""

    declared: DeclaredStream
    columns: Collection[str]
    first: dt.date
    last: dt.date


def create(con: duckdb.DuckDBPyConnection, into: str, versions: Versions, load: Load) -> None:
    """Create the table `into` of versions of events: the columns asked for, the times, and

    superseded_at: the time at which a correction was known, or null; original: whether the version was known first.
    An observation is what was seen when it happened, and that is the original.
    """
    stream, days = versions.declared.stream, (versions.first, versions.last)
    load("current", f"{stream.name}/events", *days)
    load("superseded", f"{stream.name}/superseded", *days)
    (corrected,) = con.execute("SELECT count(*) FROM superseded").fetchall()[0]
    key = identifier(stream.id)
    names = {*versions.columns, "ds", "event_time", "known_at", *([stream.id] if corrected else [])}
    chosen = ", ".join(identifier(column) for column in sorted(names))
    query = f"SELECT {chosen}, NULL::TIMESTAMP AS superseded_at, true AS original FROM current"
    if corrected:
        query = f"""SELECT * EXCLUDE (original),
                           row_number() OVER (PARTITION BY ds, {key} ORDER BY known_at) = 1 AS original
                    FROM ({query} UNION ALL BY NAME SELECT {chosen}, superseded_at FROM superseded)"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {query}").fetchall()
