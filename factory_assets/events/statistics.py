"""What do the values of a day look like? Presence, moments, quantiles and most frequent values, a row per column."""

import datetime as dt
import json
import math
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from factory_assets.declarations.expressions import identifier

NUMERIC = ("BIGINT", "INTEGER", "DOUBLE", "FLOAT", "SMALLINT", "TINYINT", "HUGEINT", "BOOLEAN")
SCHEMA = pa.schema(
    [
        ("column", pa.string()),
        ("rows", pa.int64()),
        ("nulls", pa.int64()),
        ("mean", pa.float64()),
        ("deviation", pa.float64()),
        ("minimum", pa.float64()),
        ("q25", pa.float64()),
        ("median", pa.float64()),
        ("q75", pa.float64()),
        ("maximum", pa.float64()),
        ("most_frequent", pa.string()),
        ("ds", pa.date32()),
    ]
)
#: Values listed of a text column.
TOP = 10


def describe(con: duckdb.DuckDBPyConnection, events: str, types: Mapping[str, str]) -> pa.Table:
    """Statistics of every column and day of a view `events` with a column `ds`: one scan for numbers, two a text column.

    types: column -> type in DuckDB. Quantiles are exact, and what is summed is rounded, so that the same rows give the
    same bytes whatever the threads. A number that is not finite counts as null.
    """
    numbers = [name for name, kind in types.items() if kind in NUMERIC or kind.startswith("DECIMAL")]
    texts = [name for name, kind in types.items() if kind == "VARCHAR"]
    others = [name for name in types if name not in numbers and name not in texts]
    rows: list[dict[str, object]] = []
    rows += _numbers(con, events, numbers)
    for name in texts:
        rows += _texts(con, events, name)
    for name in others:
        for day, count, nulls in con.execute(
            f"SELECT ds, count(*), count(*) - count({identifier(name)}) FROM {events} GROUP BY ds"
        ).fetchall():
            rows.append({"column": name, "rows": count, "nulls": nulls, "ds": day})
    order = list(types)
    rows.sort(key=lambda row: (row["ds"], order.index(str(row["column"]))))  # type: ignore[arg-type, return-value]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _numbers(con: duckdb.DuckDBPyConnection, events: str, names: list[str]) -> list[dict[str, object]]:
    if not names:
        return []
    chosen = [
        f"[count(*) - count({value}), favg({value}), stddev_pop({value}), min({value}), max({value})]"
        f", quantile_cont({value}, [0.25, 0.5, 0.75])"
        for value in map(_finite, names)
    ]
    found = con.execute(f"SELECT ds, count(*), {', '.join(chosen)} FROM {events} GROUP BY ds").fetchall()
    rows: list[dict[str, object]] = []
    for day, count, *values in found:
        for index, name in enumerate(names):
            nulls, mean, deviation, minimum, maximum = values[2 * index]
            q25, median, q75 = values[2 * index + 1] or (None, None, None)
            # In another order of addition the last digits differ, more of them in a variance than in a mean.
            mean, deviation = _rounded(mean, 9), _rounded(deviation, 6)
            rows.append(
                {"column": name, "rows": count, "nulls": int(nulls), "mean": mean, "deviation": deviation, "ds": day}
                | {"minimum": minimum, "q25": q25, "median": median, "q75": q75, "maximum": maximum}
            )
    return rows


def _finite(name: str) -> str:
    number = f"{identifier(name)}::DOUBLE"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _texts(con: duckdb.DuckDBPyConnection, events: str, name: str) -> list[dict[str, object]]:
    value = identifier(name)
    top: dict[dt.date, list[tuple[str, int]]] = {}
    for day, text, count in con.execute(
        f"""SELECT ds, {value}, count(*) AS n FROM {events} WHERE {value} IS NOT NULL GROUP BY 1, 2
            QUALIFY row_number() OVER (PARTITION BY ds ORDER BY n DESC, {value}) <= {TOP} ORDER BY ds, n DESC, {value}"""
    ).fetchall():
        top.setdefault(day, []).append((text, count))
    return [
        {"column": name, "rows": count, "nulls": nulls, "most_frequent": json.dumps(top.get(day, [])), "ds": day}
        for day, count, nulls in con.execute(
            f"SELECT ds, count(*), count(*) - count({value}) FROM {events} GROUP BY ds"
        ).fetchall()
    ]


def histograms(
    con: duckdb.DuckDBPyConnection, events: str, types: Mapping[str, str], day: dt.date, bins: int = 30
) -> dict[str, tuple[list[float], list[int]] | dict[str, int]]:
    """Distribution of each column on one day, for a picture: edges and counts of a number, counts of a text's top values."""
    found: dict[str, tuple[list[float], list[int]] | dict[str, int]] = {}
    for name, kind in types.items():
        value, number, that_day = identifier(name), _finite(name), f"FROM {events} WHERE ds = DATE '{day}'"
        if kind == "VARCHAR":
            top = con.execute(
                f"SELECT {value}, count(*) AS n {that_day} AND {value} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 12"
            )
            found[name] = dict(top.fetchall())
        elif kind in NUMERIC:
            low, high = con.execute(
                f"SELECT quantile_disc({number}, 0.005), quantile_disc({number}, 0.995) {that_day}"
            ).fetchall()[0]
            if low is None or low == high:
                continue
            width = (high - low) / bins
            counts = dict(
                con.execute(
                    f"""SELECT least({bins - 1}, floor(({number} - {low}) / {width}))::INT AS bin, count(*)
                        {that_day} AND {number} BETWEEN {low} AND {high} GROUP BY 1"""
                ).fetchall()
            )
            found[name] = ([low + width * i for i in range(bins + 1)], [counts.get(i, 0) for i in range(bins)])
    return found
