"""What do the values of a day look like? A sketch of every column, of the whole day and of its slices, in few scans.

DuckDB does all of the counting. It adds up whole numbers only, so the same rows give the same bytes whatever their order and
the threads. `factory_assets.events.statistics.sketches` answers questions from a sketch.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.expressions import identifier
from factory_assets.events.statistics import sketches, tallies
from factory_assets.events.statistics.sketches import LISTED, QUANTILES

SCHEMA = pa.schema(
    [
        ("ds", pa.date32()),
        ("slice", pa.string()),
        ("column", pa.string()),
        ("type", pa.string()),
        *((name, pa.int64()) for name in ("rows", "nulls", "nan", "infinite")),
        *((name, pa.float64()) for name in ("mean", "deviation", "minimum", *QUANTILES, "maximum")),
        ("earliest", pa.timestamp("us")),
        ("latest", pa.timestamp("us")),
        ("bins", pa.list_(pa.int32())),
        ("counts", pa.list_(pa.int64())),
        ("values", pa.list_(pa.string())),
        ("value_counts", pa.list_(pa.int64())),
        ("other_values", pa.int64()),
        ("registers", pa.list_(pa.int16())),
        ("partners", pa.list_(pa.string())),
        ("comoments", pa.list_(pa.float64())),
    ]
)
MEANING = {
    "column": "Which column it is about.",
    "rows": "Rows of the slice.",
    "nan": "Rows whose number is NaN.",
    "infinite": "Rows whose number is infinite.",
    "minimum": "The least value.",
    "maximum": "The greatest value.",
    "earliest": "The first moment of a time or date.",
    "latest": "The last moment of a time or date.",
    **{
        name: f"The value below which {100 * share:.0f} % of the rows are, off by at most 1 %."
        for name, share in QUANTILES.items()
    },
    "slice": "Empty for the whole day, else 'column = value', 'column is null' or 'column: other values'.",
    "type": "Type in DuckDB. The numbers of a list column are how many values each row has.",
    "nulls": "Rows without a value. NaN and infinite ones are counted apart; none of them enters anything else.",
    "mean": "From values in steps of 2^-52 of the day's range.",
    "deviation": "Standard deviation of these rows, from values in steps of 2^-30 of the day's range.",
    "bins": "Of a number x: sign(x) (ceil(ln |x| / ln(1.01 / 0.99)) + 40000), 0 for 0. Of the event time: the hour.",
    "counts": "Rows of each bin.",
    "values": f"The {LISTED} most frequent values of a text, most frequent first.",
    "value_counts": "Rows of each of these values.",
    "other_values": "Rows with a text that is not listed.",
    "registers": "HyperLogLog of texts and whole numbers: 32 times the register plus its rank, of those that are filled.",
    "partners": "Numeric columns after this one with which its correlation is kept; of the whole day alone.",
    "comoments": f"For each partner, over the rows that have both: {', '.join(sketches.COMOMENTS)}.",
}
#: Values of a column that are slices of their own, a day; the rest is one slice.
SLICES = 50
#: Rows in memory at a time, in whole days.
BATCH_ROWS = 2_000_000


def describe(
    con: duckdb.DuckDBPyConnection,
    events: str,
    types: Mapping[str, str],
    slices: Sequence[str] = (),
    correlations: bool = True,
) -> pa.Table:
    """A sketch of each day, slice and column of a view `events` with a column `ds`, in that order; see SCHEMA.

    types: column -> type in DuckDB. slices: columns by whose values a day is divided, each for itself; the 50 most
        frequent values of the day are slices, the others together one more. correlations: of each pair of the first 12
        numeric columns, for whole days.
    A day without rows has no sketch. Rows are read once, and about two million are in memory at a time.
    """
    columns = [tallies.Column(at, name, type_) for at, (name, type_) in enumerate(types.items())]
    # Nothing here depends on the order of rows, and to hold them in theirs takes half as long again.
    con.execute("SET preserve_insertion_order = false").fetchall()
    sketched = [_described(con, events, columns, slices, correlations, days) for days in _batches(con, events)]
    return pa.concat_tables([SCHEMA.empty_table(), *sketched])


def whole_days(table: pa.Table) -> list[dict[str, Any]]:
    """The sketches of whole days, without slices; of rows that older code wrote, none."""
    import pyarrow.compute as pc

    rows: list[dict[str, Any]] = table.filter(pc.equal(table["slice"], "")).to_pylist()
    return rows


def _batches(con: duckdb.DuckDBPyConnection, events: str) -> Iterator[list[dt.date]]:
    days: list[dt.date] = []
    in_batch = 0
    for day, rows in con.execute(f"SELECT ds, count(*) FROM {events} GROUP BY ds ORDER BY ds").fetchall():
        if days and in_batch + rows > BATCH_ROWS:
            yield days
            days, in_batch = [], 0
        days.append(day)
        in_batch += rows
    if days:
        yield days


def _described(
    con: duckdb.DuckDBPyConnection,
    events: str,
    columns: Sequence[tallies.Column],
    slices: Sequence[str],
    correlations: bool,
    days: Sequence[dt.date],
) -> pa.Table:
    of_days = f"(SELECT * FROM {events} WHERE ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}')"
    rows, parts = _divided(con, of_days, columns, slices)
    sums, bins, words = (make(con, rows, columns) for make in (tallies.sums, tallies.bins, tallies.words))
    texts, registers = tallies.texts(con, words), tallies.registers(con, rows, words, columns)
    comoments = tallies.comoments(con, rows, columns if correlations else ())
    described = con.sql(
        f"""SELECT ds, {parts}.name AS slice, "column", "type", "rows", nulls, nan, infinite, mean, deviation, minimum,
                {", ".join(f"NULL::DOUBLE AS {name}" for name in QUANTILES)}, maximum, earliest, latest,
                CASE WHEN has_bins THEN coalesce(bins, []) END AS bins,
                CASE WHEN has_bins THEN coalesce(counts, []) END AS counts,
                CASE WHEN has_values THEN coalesce("values", []) END AS "values",
                CASE WHEN has_values THEN coalesce(value_counts, []) END AS value_counts,
                coalesce(other_values, 0)::BIGINT AS other_values,
                CASE WHEN has_registers THEN coalesce(registers, []) END AS registers, partners, comoments
            FROM {sums} JOIN {parts} USING (ds, part) LEFT JOIN {bins} USING (ds, part, c) LEFT JOIN {texts} USING (ds, part, c)
            LEFT JOIN {registers} USING (ds, part, c) LEFT JOIN {comoments} USING (ds, part, c) ORDER BY ds, part, c"""
    ).to_arrow_table()
    return _with_quantiles(described.cast(SCHEMA))


def _divided(
    con: duckdb.DuckDBPyConnection, events: str, columns: Sequence[tallies.Column], slices: Sequence[str]
) -> tuple[tallies.Rows, str]:
    """The events as rows to sum up, with the number of their slices; and the table that names the slices, by ds and part.

    The whole day is part 0; the slices of the first sliced column begin at 100, of the second at 200, the most frequent first.
    """
    values, chosen, joined = "divided", ["e.ds"], ""
    named = [f"SELECT DISTINCT ds, 0 AS part, '' AS name FROM {values}"]
    for number, name in enumerate(slices, start=1):
        column, table, first = identifier(name), f"slices{number}", 100 * number
        others, absent = first + SLICES, first + SLICES + 1
        tallies.create(
            con,
            table,
            f"""SELECT ds, {column} AS value, ({first - 1} + row_number() OVER ranked)::INTEGER AS part
                FROM {events} WHERE {column} IS NOT NULL GROUP BY ds, {column}
                WINDOW ranked AS (PARTITION BY ds ORDER BY count(*) DESC, {column})
                QUALIFY row_number() OVER ranked <= {SLICES}""",
        )
        joined += f" LEFT JOIN {table} ON {table}.ds = e.ds AND {table}.value = e.{column}"
        chosen.append(
            f"CASE WHEN e.{column} IS NULL THEN {absent} ELSE coalesce({table}.part, {others}) END::INTEGER AS s{number}"
        )
        named.append(f"SELECT ds, part, '{name} = ' || value::VARCHAR FROM {table}")
        named.append(f"SELECT DISTINCT ds, {others}, '{name}: other values' FROM {values}")
        named.append(f"SELECT DISTINCT ds, {absent}, '{name} is null' FROM {values}")
    chosen += [f"e.{identifier(column.name)} AS c{column.at}" for column in columns]
    tallies.create(con, values, f"SELECT {', '.join(chosen)} FROM {events} AS e{joined}")
    parts = tallies.create(con, "parts", " UNION ALL ".join(named))
    return tallies.scaled(con, values, [f"s{number}" for number in range(1, len(slices) + 1)], columns), parts


def _with_quantiles(table: pa.Table) -> pa.Table:
    """The table with the quantiles of all of its sketches, from their bins."""
    import pyarrow.compute as pc

    numeric = np.array([sketches.kind(type_) == "number" for type_ in table["type"].to_pylist()], dtype=bool)
    lists = table["bins"].combine_chunks()
    sizes = np.nan_to_num(pc.list_value_length(lists).to_numpy(zero_copy_only=False)).astype(int)
    starts = np.append(0, np.cumsum(sizes))
    bins = lists.flatten().to_numpy(zero_copy_only=False)
    counts = table["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    quantiles = np.full((table.num_rows, len(QUANTILES)), np.nan)
    whole = np.array([sketches.is_whole(type_) for type_ in table["type"].to_pylist()], dtype=bool)
    for wholes in (False, True):
        at = np.flatnonzero(numeric & (sizes > 0) & (whole == wholes))
        if len(at):
            quantiles[at] = sketches.quantiles(
                bins, counts, starts[at], starts[at + 1], list(QUANTILES.values()), wholes
            )
    low, high = (table[name].to_numpy()[:, None] for name in ("minimum", "maximum"))
    quantiles = np.clip(quantiles, low, high)
    for position, name in enumerate(QUANTILES):
        values = pa.array(quantiles[:, position], mask=np.isnan(quantiles[:, position]))
        table = table.set_column(SCHEMA.get_field_index(name), name, values)
    return table
