"""What is known of every entity at the close of a day? The rows of `features/<view>`."""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time import history
from factory_assets.features.point_in_time.aggregates import columns_read, keys_of
from factory_assets.features.point_in_time.history import Load, Versions
from factory_assets.features.point_in_time.stretches import VALUE_BYTES, Read, cut
from factory_assets.features.point_in_time.windows import active_entities, compute
from factory_resources.engine import memory_of
from factory_resources.lake import Lake


def in_stretches(
    con: duckdb.DuckDBPyConnection, lake: Lake, view: View, declared: DeclaredStream, days: Sequence[dt.date]
) -> list[list[dt.date]]:
    """The days in order, as many together as the connection computes in memory."""
    events = Read(lake.rows(f"{declared.stream.name}/events"), whole_days(view.reach))
    columns = len(columns_read(view)) + len(view.names)
    return list(cut(days, [events], memory_of(con) // (VALUE_BYTES * columns)))


def snapshot(
    con: duckdb.DuckDBPyConnection, view: View, declared: DeclaredStream, days: Sequence[dt.date], load: Load
) -> str:
    """A query for (entity, features, ds): entities with an event within the view's reach, at the close of each day."""
    events, closes, values = "history", "closes", "snapshot"
    first = days[0] - dt.timedelta(days=whole_days(view.reach))
    history.create(con, events, Versions(declared, columns_read(view), first, days[-1]), load)
    active = active_entities(events, view.entity, days, view.reach)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {closes} AS SELECT row_number() OVER () AS obs, ds, entity, t FROM ({active})"
    ).fetchall()
    compute(con, view, events, f"(SELECT obs, entity, t FROM {closes})", values, same_stream=False)
    columns = ", ".join(identifier(name) for name in view.names)
    return f"""SELECT {keys_of(view.entity)}, {columns}, ds
               FROM {closes} JOIN {values} USING (obs)"""
