"""Do the sketches of a day say what a plain count of its rows says, in the same bytes whatever their order?"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factory_assets.events.statistics import describe as statistics
from factory_assets.events.statistics import pictures, sketches

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "nycflights"
DAYS = [dt.date(2024, 1, number) for number in (1, 2, 3)]
TYPES = {
    "amount": "DOUBLE",
    "items": "BIGINT",
    "paid": "BOOLEAN",
    "city": "VARCHAR",
    "code": "VARCHAR",
    "parts": "VARCHAR[]",
    "event_time": "TIMESTAMP",
    "due": "DATE",
    "empty": "DOUBLE",
}


def frame(rows: int = 6000) -> pd.DataFrame:
    """Rows of three days, with gaps in every column that may have some."""
    rng = np.random.default_rng(3)
    hole = rng.random((rows, 4)) < 0.1
    cities = np.array([f"city {number}" for number in range(30)] + ["", 'it\'s "quoted" ü'], dtype=object)
    amount = rng.normal(0, 1, rows) * 10.0 ** rng.integers(-6, 7, rows)
    amount[::97] = 0.0
    return pd.DataFrame(
        {
            "amount": pd.Series(amount).where(~hole[:, 0], None),
            "items": pd.Series(rng.integers(-5, 50, rows)).astype("Int64").mask(hole[:, 1]),
            "paid": rng.random(rows) < 0.3,
            "city": pd.Series(cities[np.minimum(rng.geometric(0.1, rows), 31)], dtype=object).where(~hole[:, 2], None),
            "code": [f"code {number}" for number in rng.integers(0, 4000, rows)],
            "parts": [None if hole[i, 3] else ["x"] * int(n) for i, n in enumerate(rng.integers(0, 5, rows))],
            "event_time": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 86400, rows), unit="s"),
            "due": [dt.date(2024, 2, int(number)) for number in rng.integers(1, 20, rows)],
            "empty": pd.Series([None] * rows, dtype=object),
            "ds": [DAYS[number] for number in rng.integers(0, 3, rows)],
        }
    )


def arrow(rows: pd.DataFrame) -> pa.Table:
    kinds = {"amount": pa.float64(), "empty": pa.float64(), "parts": pa.list_(pa.string()), "city": pa.string()}
    return pa.table(
        {
            name: pa.array(rows[name].tolist(), kinds.get(name), from_pandas=False)
            if name in kinds
            else pa.Array.from_pandas(rows[name])
            for name in rows
        }
    )


def described(
    table: pa.Table, types: Mapping[str, str], slices: Sequence[str] = (), threads: int = 2, order: str = "1"
) -> pa.Table:
    with duckdb.connect(config={"threads": threads}) as con:
        con.register("given", table)
        con.execute(f"CREATE TABLE events AS SELECT * FROM given ORDER BY {order}")
        return statistics.describe(con, "events", types, slices)


def brute_force(rows: pd.DataFrame, column: str, type_: str) -> dict[str, Any]:
    """What a sketch of a column has to say, one row at a time."""
    given = [value for value in rows[column].tolist() if value is not None and value is not pd.NA]
    found: dict[str, Any] = {"rows": len(rows), "nulls": len(rows) - len(given)}
    if sketches.kind(type_) == "time":
        found |= {"earliest": pd.Timestamp(min(given)), "latest": pd.Timestamp(max(given))}
        if column == "event_time":
            found["bins"] = dict(sorted(Counter(value.hour for value in given).items()))
        return found
    if sketches.kind(type_) == "text":
        ranked = sorted(Counter(given).items(), key=lambda item: (-item[1], item[0].encode()))
        return found | {
            "values": dict(ranked[: sketches.LISTED]),
            "other_values": sum(n for _, n in ranked[sketches.LISTED :]),
        }
    numbers = np.array([len(value) if isinstance(value, list) else float(value) for value in given])
    finite = numbers[np.isfinite(numbers)]
    found |= {"nan": int(np.isnan(numbers).sum()), "infinite": int(np.isinf(numbers).sum())}
    bins = Counter(
        int(math.copysign(math.ceil(math.log(abs(x)) / math.log(1.01 / 0.99)) + 40_000, x)) if x else 0 for x in finite
    )
    found["bins"] = dict(sorted(bins.items()))
    if len(finite):
        found |= {"mean": finite.mean(), "deviation": finite.std(), "minimum": finite.min(), "maximum": finite.max()}
        for name, q in sketches.QUANTILES.items():
            found[name] = np.sort(finite)[math.floor(q * (len(finite) - 1))]
    return found


def agree(sketch: dict[str, Any], expected: dict[str, Any], of_day: pd.DataFrame | None = None) -> None:
    """Fails where a sketch and the plain count differ: not at all in counts, by 1 % in quantiles, by rounding in moments.

    of_day: all rows of the day, where the sketch is one of a slice: moments are to 2^-30 of the day's range.
    """
    where = f"{sketch['column']} on {sketch['ds']} {sketch['slice']}"
    seen = dict(sketch)
    for keys, counts in (("bins", "counts"), ("values", "value_counts")):
        if sketch[keys] is not None:
            seen[keys] = dict(zip(sketch[keys], sketch[counts], strict=True))
            assert list(seen[keys].items()) == list(expected[keys].items()), where
    day = expected if of_day is None else brute_force(of_day, sketch["column"], sketch["type"])
    spread = 2**-30 * (day["maximum"] - day["minimum"]) if "maximum" in expected else 0
    for name, value in expected.items():
        if name in sketches.QUANTILES:
            assert seen[name] == pytest.approx(value, rel=1.0001 * sketches.ACCURACY), f"{name} of {where}"
        elif name in ("mean", "deviation"):
            assert seen[name] == pytest.approx(value, rel=1e-7, abs=spread), f"{name} of {where}"
        else:
            assert seen[name] == value, f"{name} of {where}"
    if expected.get("bins") == {}:
        assert all(seen[name] is None for name in ("mean", "deviation", "minimum", "median", "maximum")), where


def test_every_statistic_of_every_day_and_column_equals_a_plain_count_of_the_rows():
    rows = frame()
    found = described(arrow(rows), TYPES).to_pylist()
    assert [(row["ds"], row["column"]) for row in found] == [(day, column) for day in DAYS for column in TYPES]
    for row in found:
        agree(row, brute_force(rows[rows["ds"] == row["ds"]], row["column"], row["type"]))


def test_a_slice_holds_the_statistics_of_its_rows_and_the_slices_of_a_column_are_the_whole_day():
    rows = frame()
    found = described(arrow(rows), TYPES, ["city", "paid"]).to_pylist()
    for row in found:
        name, _, value = row["slice"].partition(" = ")
        if value and row["ds"] == DAYS[1]:
            own = rows[
                (rows["ds"] == row["ds"])
                & (rows[name].astype(str) == {"true": "True", "false": "False"}.get(value, value))
            ]
            agree(row, brute_force(own, row["column"], row["type"]), rows[rows["ds"] == row["ds"]])
    whole = {(row["ds"], row["column"]): row for row in found if not row["slice"]}
    for name in ("city", "paid"):
        parts: dict[Any, list[Any]] = {}
        for row in found:
            if row["slice"].startswith(name):
                parts.setdefault((row["ds"], row["column"]), []).append(row)
        assert {row["slice"] for row in found} >= {"city is null", "city = ", "paid = true"}
        for key, sliced in parts.items():
            for field in ("rows", "nulls", "bins", "counts", "registers", "minimum", "latest"):
                assert sketches.merge(sliced)[field] == whole[key][field], (key, field)


def test_a_column_of_many_values_is_sliced_by_the_fifty_most_frequent_and_the_others_together():
    rows = frame().loc[lambda f: f["ds"] == DAYS[0]]
    found = described(arrow(rows), {"amount": "DOUBLE"}, ["code"]).to_pylist()
    top = sorted(Counter(rows["code"]).items(), key=lambda item: (-item[1], item[0]))[: statistics.SLICES]
    assert [(row["slice"], row["rows"]) for row in found[1:51]] == [(f"code = {name}", n) for name, n in top]
    assert (found[51]["slice"], found[51]["rows"]) == ("code: other values", len(rows) - sum(n for _, n in top))
    assert len(found) == 52


def test_a_sliced_stream_may_have_columns_named_like_ours():
    for name in ("part", "value", "held"):
        rows = pa.table({name: ["a", "b", "a"], "ds": [DAYS[0]] * 3})
        found = described(rows, {name: "VARCHAR"}, [name]).to_pylist()
        assert [(row["slice"], row["rows"]) for row in found] == [("", 3), (f"{name} = a", 2), (f"{name} = b", 1)]


def test_days_before_a_column_became_a_number_are_left_out_of_the_picture():
    text = described(pa.table({"x": ["1", "2"], "ds": [DAYS[0]] * 2}), {"x": "VARCHAR"})
    number = described(pa.table({"x": [1, 2], "ds": [DAYS[1]] * 2}), {"x": "BIGINT"})
    shown = pictures.over_days([*text.to_pylist(), *number.to_pylist()], DAYS[:2])
    assert shown["x"].absent == [None, 0] and shown["x"].shares == {"1": [None, 0.5], "2": [None, 0.5]}


def test_the_same_rows_give_the_same_bytes_whatever_their_order_and_the_threads(monkeypatch):
    monkeypatch.setattr(statistics, "BATCH_ROWS", 10**9)
    rows = arrow(pd.concat([frame()] * 25, ignore_index=True))
    whole = described(rows, TYPES, ["paid"])
    assert described(rows, TYPES, ["paid"], threads=1, order="hash(amount, code)").equals(whole)
    assert described(rows, TYPES, ["paid"], threads=7, order="hash(code, items)").equals(whole)
    monkeypatch.setattr(statistics, "BATCH_ROWS", 1)
    assert described(rows, TYPES, ["paid"]).equals(whole), "a day at a time"


def test_numbers_that_are_not_finite_are_counted_apart_and_spoil_no_mean():
    numbers = pa.array([1.0, 3.0, math.nan, math.inf, -math.inf, None])
    rows = pa.table({"x": numbers, "ds": [DAYS[0]] * 6})
    (row,) = described(rows, {"x": "DOUBLE"}).to_pylist()
    assert [row[name] for name in ("rows", "nulls", "nan", "infinite", "mean", "deviation", "maximum")] == [
        6,
        1,
        1,
        2,
        2,
        1,
        3,
    ]
    assert (row["counts"], sketches.present(row)) == ([1, 1], 2)


@pytest.mark.parametrize(
    "values",
    [
        [5e-324, 1.7976931348623157e308],
        [-1.7976931348623157e308, 1.7976931348623157e308, 0.0],
        [1e16, 1e16 + 2, 1e16 + 4],
        [-7.25],
        [5e-324, 1e-323],
    ],
    ids=["smallest and largest", "the whole range", "close together, far out", "one value", "below the normal"],
)
def test_extreme_numbers_have_bins_and_moments(values):
    rows = pa.table({"x": pa.array(values), "ds": [DAYS[0]] * len(values)})
    (row,) = described(rows, {"x": "DOUBLE"}).to_pylist()
    assert sum(row["counts"]) == len(values)
    assert row["mean"] == pytest.approx(
        sum(value / len(values) for value in values), rel=1e-7, abs=1e300 if max(values) > 1e300 else 0
    )
    assert (row["minimum"], row["maximum"]) == (min(values), max(values))
    assert math.isfinite(row["deviation"]) and all(math.isfinite(row[name]) for name in sketches.QUANTILES)


def test_a_day_without_rows_has_no_statistics():
    rows = pa.table({"x": pa.array([], pa.float64()), "ds": pa.array([], pa.date32())})
    assert described(rows, {"x": "DOUBLE"}).equals(statistics.SCHEMA.empty_table())


def test_an_outlier_moves_neither_the_bins_nor_the_mean_of_the_others():
    values = np.random.default_rng(0).lognormal(3, 1, 10_000)
    both = [
        described(pa.table({"x": x, "ds": [DAYS[0]] * len(x)}), {"x": "DOUBLE"}).to_pylist()[0]
        for x in (values, np.append(values, 429_490.0))
    ]
    assert both[1]["bins"][:-1] == both[0]["bins"] and both[1]["counts"][:-1] == both[0]["counts"]
    assert both[1]["mean"] == pytest.approx(np.append(values, 429_490.0).mean(), rel=1e-8)


def test_correlations_are_those_of_pandas_over_rows_that_have_both():
    rows = frame()
    rows["twice"] = rows["items"] * -2
    types = {"items": "BIGINT", "twice": "BIGINT", "amount": "DOUBLE", "paid": "BOOLEAN"}
    table = pa.table(
        {**{name: pa.array(rows[name].tolist(), from_pandas=True) for name in types}, "ds": rows["ds"].tolist()}
    )
    found = sketches.correlations(row for row in described(table, types).to_pylist() if row["ds"] == DAYS[0])
    expected = rows.loc[rows["ds"] == DAYS[0], list(types)].astype(float).corr()
    assert found == {(a, b): pytest.approx(expected.loc[a, b], abs=1e-7) for a, b in found}
    assert len(found) == 6 and found["items", "twice"] == pytest.approx(-1)


@pytest.fixture(scope="module")
def flights() -> Iterator[pd.DataFrame]:
    if not DATA.exists():
        pytest.skip("the flights of 2013 are not here")
    with duckdb.connect() as con:
        yield con.execute(
            f"""SELECT *, make_date("year", "month", "day") AS ds FROM '{DATA / "flights_2013_v01.parquet"}'
                WHERE "month" = 2 AND "day" <= 8 ORDER BY ds"""
        ).df()


def test_flights_a_day_and_a_week_equal_a_plain_count_of_their_rows(flights):
    types = {
        "dep_delay": "DOUBLE",
        "arr_delay": "DOUBLE",
        "distance": "DOUBLE",
        "flight": "INTEGER",
        "carrier": "VARCHAR",
    }
    types |= {"tailnum": "VARCHAR", "dest": "VARCHAR"}
    table = pa.Table.from_pandas(flights, preserve_index=False)
    found = described(table, types, ["origin"]).to_pylist()
    plain = flights.astype(object).where(flights.notna(), None).assign(ds=pd.to_datetime(flights["ds"]).dt.date)
    for row in found:
        if row["slice"] in ("", "origin = JFK"):
            own = plain[(plain["ds"] == row["ds"]) & ((plain["origin"] == "JFK") | (not row["slice"]))]
            agree(row, brute_force(own, row["column"], row["type"]), plain[plain["ds"] == row["ds"]])
    for (part, column), merged in sketches.merge_columns(found).items():
        if not part:
            expected = brute_force(plain, column, types[column])
            if not merged["other_values"]:
                agree(merged, expected)
            assert sketches.cardinality(merged) in (None, pytest.approx(plain[column].nunique(), rel=0.1))
    week = sketches.correlations(sketches.merge_columns(found)["", column] for column in types)
    expected = flights[["dep_delay", "arr_delay", "distance"]].corr()
    assert week["dep_delay", "arr_delay"] == pytest.approx(expected.loc["dep_delay", "arr_delay"], abs=1e-7)
    assert week["arr_delay", "distance"] == pytest.approx(expected.loc["arr_delay", "distance"], abs=1e-7)
