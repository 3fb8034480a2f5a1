"""Do a sum and a count that share one pass over a window come to what each comes to by itself?"""

import random

import duckdb
import pytest

from factory_assets.features.point_in_time import packed

VALUE = "TRY_CAST(v AS DECIMAL(38, 12))"
RANDOM = random.Random(3)
AMOUNTS = [round(RANDOM.uniform(-500, 500), 2) for _ in range(999)]
#: Of as many digits as a double has, from where the decimal ends to a million million.
DIGITS = [RANDOM.uniform(-1, 1) * 10 ** RANDOM.uniform(-13, 12) for _ in range(999)]


def held(values: list[float | None]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("CREATE TABLE rows AS SELECT unnest($1::DOUBLE[]) AS v, unnest(range(len($1))) AS place", [values])
    return con


def both(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Sum, its type and count of each window of three rows: by themselves, and packed."""
    over = "OVER (ORDER BY place ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)"
    plain = con.execute(f"SELECT sum({VALUE}) {over} AS s, typeof(s), count({VALUE}) {over} FROM rows ORDER BY place")
    wanted = plain.fetchall()
    query = f"SELECT place, {packed.packed(VALUE)} {over} AS p FROM rows"
    taken = f"SELECT {packed.total('p')} AS s, typeof(s), {packed.number('p')} FROM ({query}) ORDER BY place"
    return wanted, con.execute(taken).fetchall()


@pytest.mark.parametrize(
    "values",
    [
        AMOUNTS,
        DIGITS,
        [None, 3.0, None, None, None, -3.0, 2.5, None],
        [None, None],
        [0.1, 0.2, -0.3, 1e-12, -1e-12, 4e-13],
        [2.0**50, -(2.0**50), 1e15, -1e15],
        [float("nan"), 1.0, float("inf"), float("-inf"), 2.0],
    ],
)
def test_what_fits_is_summed_and_counted_exactly(values: list[float | None]) -> None:
    con = held(values)
    assert con.execute(f"SELECT {packed.fits(VALUE)} FROM rows").fetchall() == [(True,)]
    wanted, found = both(con)
    assert found == wanted


@pytest.mark.parametrize("values", [[1e16], [-9e15, 9e15], [1e25, 1.0], [1e15] * 11])
def test_what_would_reach_into_the_count_does_not_fit(values: list[float | None]) -> None:
    assert held(values).execute(f"SELECT {packed.fits(VALUE)} FROM rows").fetchall() == [(False,)]
