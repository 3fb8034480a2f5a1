"""Which rows does a span of days give, with their labels, and which of them are a node's? Examples joined to labels known in time."""

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.features.segments import ROOT, path_of, preorder
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


class Subtrees:
    """A table's rows by node, found without looking through the table once for each of thousands of nodes.

    table: has the column `segment`. A node's rows are those of its subtree, in the table's order.
    """

    def __init__(self, table: pa.Table):
        self._table = table.combine_chunks()
        segment = pc.dictionary_encode(self._table["segment"]).combine_chunks()
        keys = segment.dictionary.to_pylist()
        #: The nodes that rows belong to themselves, every node before its subtree.
        self.leaves = preorder(keys)
        place = {key: rank for rank, key in enumerate(self.leaves)}
        ranks = np.array([place[key] for key in keys], dtype=np.int64)[segment.indices.to_numpy()]
        self._order = np.argsort(ranks, kind="stable")
        self._starts = np.searchsorted(ranks[self._order], np.arange(len(keys) + 1))
        self._paths = [path_of(key) for key in self.leaves]

    def rows(self, node: str) -> pa.Table:
        """The rows of a node's subtree; none for a node that has none."""
        if node == ROOT:
            return self._table
        path = path_of(node)
        first = bisect_left(self._paths, path)
        last = bisect_right(self._paths, path, key=lambda found: found[: len(path)])
        return self._table.take(np.sort(self._order[self._starts[first] : self._starts[last]]))
