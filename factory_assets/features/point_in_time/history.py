"""Which versions did events have? The versions that are valid today, and those that a correction has superseded since."""

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.events.versions import MOVED, is_original, superseded_at

#: Load days of a stream's events, or of a view's snapshots, as a view of the given name. LookupError for a table that is not there.
Load = Callable[[str, str, dt.date, dt.date], None]


@dataclass(frozen=True)
class Versions:
    """Which versions of events are read: all of a stream's events on the days from first to last, with these columns.

    elsewhere: whether also those that a correction moved to another day, as rows of the day that has another version.
    """

    declared: DeclaredStream
    columns: Collection[str]
    first: dt.date
    last: dt.date
    elsewhere: bool = False


def create(con: duckdb.DuckDBPyConnection, into: str, versions: Versions, load: Load) -> None:
    """Create the table `into` of versions of events: the columns asked for, the times, and

    superseded_at: the time at which a correction was known, or null; _original: whether the version was known first of all;
    _elsewhere: whether it lies on another day. An observation is what was seen when it happened, and that is the original.
    """
    stream, days = versions.declared.stream, (versions.first, versions.last)
    load("current", f"{stream.name}/events", *days)
    load("superseded", f"{stream.name}/superseded", *days)
    corrected, moved = _holds_rows(con, "superseded"), _load_moved(con, versions, load)
    key, never = identifier(stream.id), "NULL::TIMESTAMP AS superseded_at"
    names = {*versions.columns, "ds", "event_time", "known_at", *([stream.id] if corrected or moved else [])}
    chosen = ", ".join(identifier(column) for column in sorted(names))
    query = f"SELECT {chosen}, {never}, false AS _elsewhere FROM current"
    if corrected or moved:
        query += f" UNION ALL BY NAME SELECT {chosen}, superseded_at, false AS _elsewhere FROM superseded"
        query += f" UNION ALL BY NAME SELECT {chosen}, {never}, true AS _elsewhere FROM moved" if moved else ""
        next_known, original = superseded_at("ds", key), is_original("ds", key)
        query = f"""SELECT * REPLACE (CASE WHEN _elsewhere THEN {next_known} ELSE superseded_at END AS superseded_at),
                           {original} AS _original
                    FROM ({query})"""
        query = query if versions.elsewhere else f"SELECT * FROM ({query}) WHERE NOT _elsewhere"
    else:
        query = f"SELECT *, true AS _original FROM ({query})"
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {query}").fetchall()


def _load_moved(con: duckdb.DuckDBPyConnection, versions: Versions, load: Load) -> bool:
    """Create the view `moved` of versions on other days; whether there are any."""
    stream = versions.declared.stream
    if not stream.reach:
        return False
    try:
        load("moved", f"{stream.name}/{MOVED}", versions.first, versions.last)
    except LookupError:
        # Nothing was ever moved.
        return False
    return _holds_rows(con, "moved")


def _holds_rows(con: duckdb.DuckDBPyConnection, relation: str) -> bool:
    return bool(con.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall())
