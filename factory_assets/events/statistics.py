"""What do the values of a day look like? Presence, moments, quantiles and most frequent values, a row per column."""

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

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
    """Statistics of every column and day of a view `events` with a column `ds`: one scan, and one more a text column.

    types: column -> type in DuckDB. Quantiles are exact, and what is summed is rounded, so that the same rows give the
    same bytes whatever the threads. A number that is not finite counts as null.
    """
    chosen = ", ".join(_measured(name, kind) for name, kind in types.items())
    frequent = {name: _most_frequent(con, events, name) for name, kind in types.items() if kind == "VARCHAR"}
    rows: list[dict[str, object]] = []
    for day, count, *measured in con.execute(
        f"SELECT ds, count(*), {chosen} FROM {events} GROUP BY ds ORDER BY ds"
    ).fetchall():
        for (name, kind), values in zip(types.items(), measured, strict=True):
            row = {"column": name, "rows": count, "nulls": count - values["given"], "ds": day}
            if _is_number(kind):
                row |= _moments(values)
            if kind == "VARCHAR":
                row["most_frequent"] = json.dumps(frequent[name].get(day, []))
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _is_number(kind: str) -> bool:
    return kind in NUMERIC or kind.startswith("DECIMAL")


def _measured(name: str, kind: str) -> str:
    """SQL of what one scan says of a column, as one value."""
    if not _is_number(kind):
        return f"{{'given': count({identifier(name)})}}"
    value = _number(name, kind)
    return (
        f"{{'given': count({value}), 'mean': favg({value}), 'deviation': stddev_pop({value}), 'minimum': min({value}), "
        f"'maximum': max({value}), 'quartiles': quantile_cont({value}, [0.25, 0.5, 0.75])}}"
    )


def _number(name: str, kind: str) -> str:
    number = f"{identifier(name)}::DOUBLE"
    return f"CASE WHEN isfinite({number}) THEN {number} END" if kind in ("DOUBLE", "FLOAT") else number


def _moments(values: Mapping[str, Any]) -> dict[str, float | None]:
    q25, median, q75 = values["quartiles"] or (None, None, None)
    # In another order of addition the last digits differ, more of them in a variance than in a mean.
    mean, deviation = _rounded(values["mean"], 9), _rounded(values["deviation"], 6)
    extremes = {name: values[name] for name in ("minimum", "maximum")}
    return {"mean": mean, "deviation": deviation, "q25": q25, "median": median, "q75": q75, **extremes}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _most_frequent(con: duckdb.DuckDBPyConnection, events: str, name: str) -> dict[dt.date, list[tuple[str, int]]]:
    value = identifier(name)
    top: dict[dt.date, list[tuple[str, int]]] = {}
    for day, text, count in con.execute(
        f"""SELECT ds, {value}, count(*) AS n FROM {events} WHERE {value} IS NOT NULL GROUP BY 1, 2
            QUALIFY row_number() OVER (PARTITION BY ds ORDER BY n DESC, {value}) <= {TOP} ORDER BY ds, n DESC, {value}"""
    ).fetchall():
        top.setdefault(day, []).append((text, count))
    return top


def histograms(
    con: duckdb.DuckDBPyConnection, events: str, types: Mapping[str, str], day: dt.date, bins: int = 30
) -> dict[str, tuple[list[float], list[int]] | dict[str, int]]:
    """Distribution of each column on one day, for a picture: edges and counts of a number, counts of a text's top values."""
    found: dict[str, tuple[list[float], list[int]] | dict[str, int]] = {}
    for name, kind in types.items():
        value, number, that_day = identifier(name), _number(name, kind), f"FROM {events} WHERE ds = DATE '{day}'"
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
