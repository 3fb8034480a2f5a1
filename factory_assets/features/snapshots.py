"""What is known of every entity at the close of a day? The rows of `features/<view>`."""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.features.windows import active_entities, compute


def snapshot(con: duckdb.DuckDBPyConnection, view: View, events: str, days: Sequence[dt.date]) -> str:
    """A query for (entity, features, ds): entities with an event within the view's reach, at the close of each day.

    events: a table of the stream's events that reaches back by the view's reach from the first day.
    """
    active = active_entities(events, view.entity, days, view.reach)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE closes AS SELECT row_number() OVER () AS obs, ds, entity, t FROM ({active})"
    ).fetchall()
    compute(con, view, events, "(SELECT obs, entity, t FROM closes)", "snapshot", same_stream=False)
    columns = ", ".join(identifier(name) for name in view.names)
    return f"""SELECT entity AS {identifier(view.entity)}, {columns}, ds
               FROM closes JOIN snapshot USING (obs) ORDER BY ds, entity"""
