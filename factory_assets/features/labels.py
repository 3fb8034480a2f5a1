"""Which observations' truth is known by now? Labels with the moment at which they became known."""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.features.examples import Load, load_events, population
from factory_assets.features.windows import interval


def lookaround(declared: DeclaredLine) -> dict[str, tuple[int, int]]:
    """Stream -> days of events before and after the observation's day that its label is made from."""
    line = declared.line
    needed = {line.observe.stream: (-whole_days(line.observe.active) if line.observe.entity else 0, 0)}
    if line.label.event:
        before, _ = needed.get(line.label.event, (0, 0))
        needed[line.label.event] = (before, line.horizon_days)
    return needed


def state(declared: DeclaredLine, days: Sequence[dt.date], through: dt.date) -> dict[dt.date, str]:
    """How much of each day's label horizon has passed by `through`: what a day's labels depend on beside its events."""
    return {day: str(max(0, min((through - day).days, declared.line.horizon_days))) for day in days}


def build(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], through: dt.date, load: Load
) -> str:
    """A query for labels known at the close of day `through`: example_id, label (number), known_at, ds."""
    for stream, (before, after) in lookaround(declared).items():
        first, last = days[0] + dt.timedelta(days=before), min(days[-1] + dt.timedelta(days=after), through)
        load_events(con, declared, stream, first, max(first, last), load)
    close = f"TIMESTAMP '{through + dt.timedelta(days=1)}'"
    query = _of_events(declared, days) if declared.line.label.expression else _of_entities(con, declared, days)
    return f"SELECT example_id, label, known_at, ds FROM ({query}) WHERE label IS NOT NULL AND known_at <= {close} ORDER BY ds, example_id"


def _of_events(declared: DeclaredLine, days: Sequence[dt.date]) -> str:
    line, stream = declared.line, declared.observed.stream
    assert line.label.expression is not None
    where = expressions.sql(line.observe.where) if line.observe.where else "true"
    return f"""SELECT {identifier(stream.id)} AS example_id, CAST({expressions.sql(line.label.expression)} AS DOUBLE) AS label,
                      greatest(known_at, event_time + {interval(line.label.delay)}) AS known_at, ds
               FROM events_{stream.name} WHERE ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}' AND {where}"""


def _of_entities(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date]) -> str:
    line = declared.line
    assert line.label.event is not None and line.label.within is not None and line.observe.entity is not None
    con.execute(f"CREATE OR REPLACE TEMP TABLE population AS {population(line, days)}").fetchall()
    where = expressions.sql(line.label.where) if line.label.where else "true"
    return f"""
        SELECT example_id, CAST(hit.obs IS NOT NULL AS DOUBLE) AS label, t + {interval(line.label.horizon)} AS known_at, ds
        FROM population LEFT JOIN (
            SELECT DISTINCT obs FROM population JOIN (
                SELECT {identifier(line.observe.entity)} AS entity, event_time FROM events_{line.label.event} WHERE {where}
            ) AS later USING (entity)
            WHERE later.event_time >= t AND later.event_time < t + {interval(line.label.within)}
        ) AS hit USING (obs)"""
