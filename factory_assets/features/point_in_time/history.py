"""Which versions of events were there? Those that hold today, and those that a correction has superseded since."""

import datetime as dt
from collections.abc import Callable, Collection

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier

#: Load days of a stream's events, or of a view's snapshots, as a view of the given name.
Load = Callable[[str, str, dt.date, dt.date], None]


def create(
    con: duckdb.DuckDBPyConnection,
    into: str,
    declared: DeclaredStream,
    columns: Collection[str],
    first: dt.date,
    last: dt.date,
    load: Load,
) -> None:
    """Create a table of every version of the events of these days: the columns asked for, its times, and

    superseded_at: the time at which a correction was known, or null; original: whether the version was known first.
    An observation is what was seen when it happened, and that is the original.
    """
    stream = declared.stream
    load("current", f"{stream.name}/events", first, last)
    load("superseded", f"{stream.name}/superseded", first, last)
    (corrected,) = con.execute("SELECT count(*) FROM superseded").fetchall()[0]
    key = identifier(stream.id)
    names = {*columns, "ds", "event_time", "known_at", *([stream.id] if corrected else [])}
    chosen = ", ".join(identifier(column) for column in sorted(names))
    query = f"SELECT {chosen}, NULL::TIMESTAMP AS superseded_at, true AS original FROM current"
    if corrected:
        query = f"""SELECT * EXCLUDE (original),
                           row_number() OVER (PARTITION BY ds, {key} ORDER BY known_at) = 1 AS original
                    FROM ({query} UNION ALL BY NAME SELECT {chosen}, superseded_at FROM superseded)"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {query}").fetchall()
