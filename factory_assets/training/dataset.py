"""Which rows does a span of days give, with their labels? Examples joined to the labels known in time."""

import datetime as dt
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from factory_assets.training.timeline import Timeline
from factory_resources.lake import Lake


def labelled(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    line: str,
    first: dt.date,
    last: dt.date,
    known_before: dt.datetime,
    tables: Mapping[str, int] | None = None,
) -> tuple[pa.Table, dict[str, int]]:
    """Examples of the days as they were known at a moment (UTC), and the table versions they were read from.

    tables: the versions to read; the newest ones if absent.

    What came later, rows and corrections alike, is left out, so that the rows of a past moment stay the same: no label is
    known before the event that it is of.

    In order of observation, then id: row order is part of what a model is made from.
    """
    versions = {}
    for table in ("examples", "labels"):
        name = f"{line}/{table}"
        version = None if tables is None else tables[name]
        versions[name] = lake.view(con, table, name, first, last, version, empty_if_absent=True) or 0
    moment = known_before.strftime("%Y-%m-%d %H:%M:%S")
    rows = con.sql(
        f"""SELECT examples.*, label FROM examples JOIN labels USING (ds, example_id)
            WHERE labels.known_at <= TIMESTAMP '{moment}' AND coalesce(superseded_at > TIMESTAMP '{moment}', true)
            ORDER BY observed_at, example_id"""
    ).to_arrow_table()
    return rows, versions


def training_rows(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, span: Timeline, tables: Mapping[str, int] | None = None
) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """What a training stands on: labelled rows of its window, examples of the holdout, and the table versions read.

    tables: the versions to read; the newest ones if absent.
    """
    holdout_opens = close_of(span.holdout_from - dt.timedelta(days=1))
    train, versions = labelled(con, lake, line, span.train_from, span.train_to, holdout_opens, tables)
    name = f"{line}/examples"
    recent = lake.read(name, span.holdout_from, span.holdout_to, version=versions[name], empty_if_absent=True)
    # Read in the order of files, which a repeated write changes; the sample that is kept must not change with it.
    return train, recent.sort_by([("observed_at", "ascending"), ("example_id", "ascending")]), versions


def close_of(day: dt.date) -> dt.datetime:
    """The first moment after a day, in UTC."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
