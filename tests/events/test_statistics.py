"""Are the statistics of a day what pandas says of its rows, and the same bytes whatever the threads?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factory_assets.events import statistics

TYPES = {
    "amount": "DOUBLE",
    "items": "BIGINT",
    "paid": "BOOLEAN",
    "city": "VARCHAR",
    "at": "TIMESTAMP",
    "empty": "DOUBLE",
}


def frame(rows: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    hole = rng.random((rows, 3)) < 0.1
    cities = np.array([f"city {number}" for number in range(30)] + ["", 'a "quoted" one'], dtype=object)
    return pd.DataFrame(
        {
            "amount": np.where(hole[:, 0], np.nan, rng.lognormal(3, 2, rows) * 1e-6),
            "items": pd.Series(rng.integers(-5, 50, rows)).astype("Int64").mask(hole[:, 1]),
            "paid": rng.random(rows) < 0.3,
            "city": pd.Series(cities[np.minimum(rng.geometric(0.1, rows), 31)], dtype=object).mask(hole[:, 2]),
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 86400, rows), unit="s"),
            "empty": np.nan,
            "ds": pd.to_datetime(rng.choice(["2024-01-01", "2024-01-02", "2024-01-03"], rows)).date,
        }
    )


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as con:
        con.register("events", pa.Table.from_pandas(frame(), preserve_index=False))
        yield con


def test_every_statistic_of_every_column_and_day_equals_pandas(con):
    found = statistics.describe(con, "events", TYPES).to_pandas()
    expected = frame()
    assert list(zip(found["ds"], found["column"], strict=True)) == [
        (day, column) for day in sorted(expected["ds"].unique()) for column in TYPES
    ]
    for row in found.itertuples():
        values = expected.loc[expected["ds"] == row.ds, row.column]
        assert (row.rows, row.nulls) == (len(values), values.isna().sum())
        given = values.dropna()
        if row.column in ("amount", "items", "paid", "empty"):
            numbers = given.astype(float)
            assert row.mean == pytest.approx(numbers.mean(), rel=1e-8, nan_ok=True)
            assert row.deviation == pytest.approx(numbers.std(ddof=0), rel=1e-5, nan_ok=True)
            wanted = [numbers.min(), *numbers.quantile([0.25, 0.5, 0.75]), numbers.max()]
            assert [row.minimum, row.q25, row.median, row.q75, row.maximum] == pytest.approx(wanted, nan_ok=True)
        if row.column == "city":
            top = sorted(Counter(given).items(), key=lambda entry: (-entry[1], entry[0]))[: statistics.TOP]
            assert json.loads(row.most_frequent) == [list(entry) for entry in top]


def test_the_order_of_rows_and_the_number_of_threads_change_no_byte():
    tables = []
    for threads, order in ((1, "amount"), (2, "hash(amount)"), (2, "items DESC, city")):
        with duckdb.connect(config={"threads": threads}) as con:
            con.register("frame", pa.Table.from_pandas(frame(), preserve_index=False))
            con.execute(f"CREATE TABLE events AS SELECT * FROM frame ORDER BY {order}")
            tables.append(statistics.describe(con, "events", TYPES))
    assert tables[0] == tables[1] == tables[2]


def test_numbers_that_are_not_finite_count_as_null_and_spoil_no_mean():
    with duckdb.connect() as con:
        numbers = "SELECT unnest(['1', '3', 'nan', 'inf', '-inf', NULL])::DOUBLE AS x"
        con.execute(f"CREATE TABLE events AS SELECT x, DATE '2024-01-01' AS ds FROM ({numbers})")
        (row,) = statistics.describe(con, "events", {"x": "DOUBLE"}).to_pylist()
        pictured = statistics.histograms(con, "events", {"x": "DOUBLE"}, row["ds"])
    assert (row["rows"], row["nulls"], row["mean"], row["deviation"], row["maximum"]) == (6, 4, 2.0, 1.0, 3.0)
    assert sum(pictured["x"][1]) == 2


def test_a_picture_shows_the_bulk_of_a_column_and_counts_what_it_shows(con):
    day = frame()["ds"].iloc[0]
    values = frame().loc[lambda f: f["ds"] == day, "amount"].dropna()
    edges, counts = statistics.histograms(con, "events", TYPES, day)["amount"]
    assert 0.985 <= sum(counts) / len(values) <= 1
    expected, _ = np.histogram(values, bins=edges)
    assert np.abs(np.array(counts) - expected).max() <= 1, "rounding may move a value that lies on an edge"
