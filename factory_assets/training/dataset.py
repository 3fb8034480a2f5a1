"""Which rows does a span of days give, with their labels? Examples joined to the labels known in time."""

import datetime as dt

import duckdb
import pyarrow as pa

from factory_resources.lake import Lake


def labelled(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, first: dt.date, last: dt.date, known_before: dt.datetime
) -> tuple[pa.Table, dict[str, int]]:
    """Examples of the days as they were known at a moment (UTC), and the table versions they were read from.

    What came later, rows and corrections alike, is left out, so that the rows of a past moment stay the same: no label is
    known before the event that it is of.

    In order of observation, then id: row order is part of what a model is made from.
    """
    versions = {}
    for table in ("examples", "labels"):
        name = f"{line}/{table}"
        versions[name] = lake.view(con, table, name, first, last, empty_if_absent=True) or 0
    moment = known_before.strftime("%Y-%m-%d %H:%M:%S")
    rows = con.sql(
        f"""SELECT examples.*, label FROM examples JOIN labels USING (ds, example_id)
            WHERE labels.known_at <= TIMESTAMP '{moment}' AND coalesce(superseded_at > TIMESTAMP '{moment}', true)
            ORDER BY observed_at, example_id"""
    ).to_arrow_table()
    return rows, versions


def close_of(day: dt.date) -> dt.datetime:
    """The first moment after a day, in UTC."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
