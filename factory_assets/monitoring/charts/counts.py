"""How many rows does a day have, of each node, and how many of them are of a kind that is watched? Rows of `<line>/counts`.

They are what the control charts are drawn from: each row of a day is read once, for these sums, and a chart of 57 days reads
57 days of sums. Counts of 0 are not kept, but of rows, and of rows that are answered by another node: those say of how many.

A row that becomes known after its day has closed is not counted among `rows`, when its day is counted again either: else the newest
day would always have fewer rows than days before it, whose late ones have come. Nor does it make the day fresher.
"""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.expressions import identifier
from factory_assets.identity.nodes import ROOT, lineage

SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("monitor", pa.string()),
        ("column", pa.string()),
        ("count", pa.int64()),
        ("of", pa.int64()),
        ("ds", pa.date32()),
    ]
)
MEANING = {
    "node": "Segment node whose rows are counted, with those of its subtree; global for a stream.",
    "monitor": "rows: known when the day closed; quarantined: held back; freshness: minutes by which the newest of the rows known "
    "then was older than the close; fallback: answered by another node than the leaf; cold: of an entity without an event; nulls: "
    "without a value.",
    "column": "The stream, or examples; the flag of a view, or the feature.",
    "count": "How many rows are; of freshness minutes.",
    "of": "Among how many rows of the day, whenever they were known; of freshness among those known when it closed, of fallback among "
    "those that were answered.",
}
#: What the column of the line's own rows is called.
EXAMPLES = "examples"
ROWS, QUARANTINED, FALLBACK, COLD, NULLS = "rows", "quarantined", "fallback", "cold", "nulls"
FRESHNESS = "freshness"
#: A table's name in the lake -> the name of a view of it on the connection; None where the table does not exist yet.
View = Callable[[str], str | None]


@dataclass(frozen=True)
class _Kind:
    """A kind of examples that is counted. sql: true of one, over examples `e` and predictions `p`."""

    monitor: str
    column: str
    sql: str


def flags_of(declared: DeclaredLine) -> list[str]:
    """The line's features that say of an entity that it had no event, which are 1 then."""
    flags = [f"{view.name}.{view.flag}" for view in declared.views.values() if view.flag]
    return [name for name in flags if name in declared.features]


def counts(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, view: View) -> pa.Table:
    """The counts of all days that the views show, by SCHEMA."""
    of_streams = [_of_stream(con, stream, view) for stream in declared.stands_on]
    return pa.concat_tables([*of_streams, *_of_nodes(con, declared, view)])


def _of_stream(con: duckdb.DuckDBPyConnection, stream: str, view: View) -> pa.Table:
    import pyarrow.compute as pc

    events, quarantine = view(f"{stream}/events"), view(f"{stream}/quarantine")
    found = con.sql(
        f"""SELECT ds, coalesce(known, 0) AS known, coalesce(held, 0) AS held, coalesce(rows, 0) + coalesce(held, 0) AS of,
                date_diff('second', newest, ds + INTERVAL 1 DAY) // 60 AS age
            FROM (SELECT ds, count(*) AS rows, count(*) FILTER (in_time) AS known, max(event_time) FILTER (in_time) AS newest
                  FROM (SELECT ds, event_time, known_at < ds + INTERVAL 1 DAY AS in_time FROM {events}) GROUP BY ds)
            FULL JOIN (SELECT ds, count(*) AS held FROM {quarantine} GROUP BY ds) USING (ds)"""
    ).to_arrow_table()
    nodes, aged = pa.array([ROOT] * found.num_rows, pa.string()), found.filter(pc.is_valid(found["age"]))
    return pa.concat_tables(
        [
            _rows(nodes, found, ROWS, stream, "known"),
            _rows(nodes, found, QUARANTINED, stream, "held"),
            _rows(nodes[: aged.num_rows], aged, FRESHNESS, stream, "age", "known"),
        ]
    )


def _of_nodes(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, view: View) -> list[pa.Table]:
    import pyarrow.compute as pc

    examples, predictions = view(f"{declared.line.name}/examples"), view(f"{declared.line.name}/predictions")
    # Days before the first champion are a past, too.
    predictions = predictions or f"(SELECT ds, example_id, leaf AS node FROM {examples} WHERE false)"
    kinds = [_Kind(COLD, name, f"e.{identifier(name)} = 1") for name in flags_of(declared)]
    kinds += [_Kind(NULLS, name, f"e.{identifier(name)} IS NULL") for name in declared.features]
    known, joined = "TRUE", ""
    if declared.line.observe.entity is None:
        observed = declared.observed.stream
        known = "k.example_id IS NOT NULL"
        joined = f"""LEFT JOIN (SELECT DISTINCT ds, {identifier(observed.id)} AS example_id FROM {view(f"{observed.name}/events")}
                                WHERE known_at < ds + INTERVAL 1 DAY) AS k ON k.ds = e.ds AND k.example_id = e.example_id"""
    sums = ", ".join(f"count(*) FILTER ({kind.sql}) AS c{at}" for at, kind in enumerate(kinds))
    by_leaf = con.sql(
        f"""SELECT e.ds AS ds, e.leaf AS leaf, count(*) AS of, count(*) FILTER ({known}) AS known, count(p.node) AS answered,
                count(*) FILTER (p.node <> e.leaf) AS above, {sums}
            FROM {examples} AS e LEFT JOIN {predictions} AS p ON p.ds = e.ds AND p.example_id = e.example_id {joined}
            GROUP BY e.ds, e.leaf"""
    ).to_arrow_table()
    leaves = by_leaf["leaf"].unique().to_pylist()
    above = [(leaf, node) for leaf in leaves for node in lineage(leaf)]
    of_tree = pa.table({"leaf": [leaf for leaf, _ in above], "node": [node for _, node in above]}, _TREE)
    con.register("of_leaves", by_leaf).register("of_tree", of_tree)
    names = ["of", "known", "answered", "above", *(f"c{at}" for at in range(len(kinds)))]
    summed = ", ".join(f'sum("{name}")::BIGINT AS "{name}"' for name in names)
    found = con.sql(
        f"SELECT ds, node, {summed} FROM of_leaves JOIN of_tree USING (leaf) GROUP BY ds, node"
    ).to_arrow_table()
    own = [_rows(found["node"], found, kind.monitor, kind.column, f"c{at}") for at, kind in enumerate(kinds)]
    rows = _rows(found["node"], found, ROWS, EXAMPLES, "known")
    answered = found.filter(pc.greater(found["answered"], 0))
    return [rows, _rows(answered["node"], answered, FALLBACK, EXAMPLES, "above", "answered"), *own]


_TREE = pa.schema([("leaf", pa.string()), ("node", pa.string())])


def _rows(
    nodes: pa.Array | pa.ChunkedArray, found: pa.Table, monitor: str, column: str, count: str, of: str = "of"
) -> pa.Table:
    """Rows of the table of one kind. count, of: columns of what was found."""
    import pyarrow.compute as pc

    names = [pa.array(np.full(found.num_rows, text, dtype=object), pa.string()) for text in (monitor, column)]
    table = pa.table([nodes, *names, found[count], found[of], found["ds"]], names=SCHEMA.names).cast(SCHEMA)
    return table if monitor in (ROWS, FALLBACK, FRESHNESS) else table.filter(pc.greater(table["count"], 0))


@dataclass(frozen=True)
class Series:
    """Counts by series and day.

    keys: (node, monitor, column) of each series, sorted. first: the first day. counts, of: shape (series, days); NaN on days of
    which nothing is known. quiet: column -> days on which no row is expected, and none is judged.
    """

    keys: Sequence[tuple[str, str, str]]
    first: dt.date
    counts: np.ndarray
    of: np.ndarray
    quiet: Mapping[str, Collection[dt.date]]

    def until(self, day: dt.date, days: int) -> "Series":
        """The series that have any count in so many days up to a day, on these days; none of a node before its first row."""
        last = (day - self.first).days + 1
        counts, of = self.counts[:, last - days : last], self.of[:, last - days : last]
        has = np.flatnonzero((of > 0).any(axis=1))
        counts, of, keys = counts[has], of[has], [self.keys[at] for at in has.tolist()]
        # On the day itself, which has been counted, what is not there is none.
        counts[:, -1], of[:, -1] = np.nan_to_num(counts[:, -1]), np.nan_to_num(of[:, -1])
        counts[~np.maximum.accumulate(of > 0, axis=1)] = np.nan
        first = day - (days - 1) * DAY
        for row, (_, monitor, column) in enumerate(keys):
            if monitor in (ROWS, FRESHNESS) and (off := self.quiet.get(column)):
                counts[row, [at for at in range(days) if first + at * DAY in off]] = np.nan
        return Series(keys, first, counts, of, self.quiet)


def series(table: pa.Table, first: dt.date, last: dt.date, quiet: Mapping[str, Collection[dt.date]]) -> Series:
    """The series of the days from the first to the last, from rows of the table of counts. quiet: of streams, and of examples."""
    import pyarrow.compute as pc

    days = (last - first).days + 1
    joined = pc.binary_join_element_wise(table["node"], table["monitor"], table["column"], "\0")
    key = joined.combine_chunks().dictionary_encode()
    texts = key.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=lambda at: texts[at])
    rank = np.empty(len(texts), dtype=np.int64)
    rank[order] = np.arange(len(texts))
    of_row = rank[key.indices.to_numpy(zero_copy_only=False)]
    of_day = (table["ds"].to_numpy().astype("datetime64[D]") - np.datetime64(first)).astype(np.int64)
    unknown = np.full(days, np.nan)
    unknown[of_day] = 0
    counts, of = np.tile(unknown, (len(texts), 1)), np.tile(unknown, (len(texts), 1))
    counts[of_row, of_day], of[of_row, of_day] = table["count"].to_numpy(), table["of"].to_numpy()
    keys = [(node, monitor, column) for node, monitor, column in (texts[at].split("\0") for at in order)]
    return Series(keys, first, counts, of, quiet)
