"""Is a merge of two halves the sketch of the whole, and does a distance tell what changed from what is chance?"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.events.statistics import describe as statistics
from factory_assets.events.statistics import sketches

TYPES = {"x": "DOUBLE", "n": "BIGINT", "city": "VARCHAR", "event_time": "TIMESTAMP"}
EXACT = ("rows", "nulls", "nan", "infinite", "minimum", "maximum", "earliest", "latest", "bins", "counts", "values")
EXACT += ("value_counts", "other_values", "registers", *sketches.QUANTILES)


def table(rows: int = 20_000, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 10, rows) ** 3
    x[::50], x[1::50], x[2::50] = 0, np.nan, np.inf
    seconds = rng.integers(0, 86400, rows).astype("datetime64[s]").astype("datetime64[us]")
    return pa.table(
        {
            "x": pa.array(x, mask=rng.random(rows) < 0.1, from_pandas=False),
            "n": rng.integers(-(10**12), 10**12, rows),
            "city": pa.array([f"city {number}" for number in rng.geometric(0.02, rows)], mask=rng.random(rows) < 0.2),
            "event_time": seconds,
        }
    )


def sketched(rows: pa.Table, day: dt.date = dt.date(2024, 1, 1)) -> dict[str, dict[str, Any]]:
    with duckdb.connect(config={"threads": 2}) as con:
        con.register("rows", rows)
        con.execute(f"CREATE TABLE events AS SELECT *, DATE '{day}' AS ds FROM rows")
        types = {name: kind for name, kind in TYPES.items() if name in rows.column_names}
        return {row["column"]: row for row in statistics.describe(con, "events", types).to_pylist()}


def of(values: Any, name: str = "x") -> dict[str, Any]:
    kinds = {"x": pa.float64(), "n": pa.int64(), "city": pa.string()}
    return sketched(pa.table({name: pa.array(values, kinds[name], from_pandas=False)}))[name]


@pytest.mark.parametrize("cut", [10_000, 19_999, 7])
def test_a_merge_of_two_halves_is_the_sketch_of_the_whole(cut):
    rows = table()
    whole, left, right = sketched(rows), sketched(rows.slice(0, cut)), sketched(rows.slice(cut))
    for column in TYPES:
        merged = sketches.merge([right[column], left[column]])
        assert {name: merged[name] for name in EXACT} == {name: whole[column][name] for name in EXACT}
        assert merged.keys() == whole[column].keys()
        for name in ("mean", "deviation"):
            assert merged[name] == (
                None if whole[column][name] is None else pytest.approx(whole[column][name], rel=1e-7)
            )
    pairs = [
        sketches.correlations(each.values())
        for each in (whole, {c: sketches.merge([left[c], right[c]]) for c in TYPES})
    ]
    assert pairs[0] == pytest.approx(pairs[1], rel=1e-6, abs=1e-8) and pairs[0]


def test_the_order_of_a_merge_does_not_matter_and_a_merge_of_one_changes_nothing():
    parts = [sketched(table(2000, seed), dt.date(2024, 1, 1 + seed)) for seed in range(3)]
    for column in TYPES:
        one, two, three = (part[column] for part in parts)
        ways = [sketches.merge([one, two, three]), sketches.merge([three, sketches.merge([two, one])])]
        assert {name: ways[0][name] for name in EXACT} == {name: ways[1][name] for name in EXACT}
        assert ways[0]["ds"] == dt.date(2024, 1, 3)
        assert {name: sketches.merge([one])[name] for name in EXACT} == {name: one[name] for name in EXACT}


def test_a_day_of_nulls_merges_with_a_day_of_values():
    merged = sketches.merge([of([None, None]), of([1.0, 4.0])])
    assert (merged["rows"], merged["nulls"], merged["mean"], merged["maximum"]) == (4, 2, 2.5, 4)
    empty = sketches.merge([of([None]), of([math.nan])])
    assert (empty["rows"], empty["mean"], empty["median"], sketches.quantile(empty, 0.5)) == (2, None, None, None)


def test_columns_of_different_kinds_do_not_merge_and_have_no_distance():
    with pytest.raises(ValueError, match=r"x DOUBLE on 2024-01-01, city VARCHAR on 2024-01-01"):
        sketches.merge([of([1.0]), of(["a"], "city")])
    with pytest.raises(ValueError, match="got none"):
        sketches.merge([])
    with pytest.raises(ValueError, match="x is DOUBLE and city is VARCHAR"):
        sketches.distance(of([1.0]), of(["a"], "city"))


def test_a_quantile_is_off_by_at_most_one_percent_also_below_zero():
    values = np.sort(np.random.default_rng(1).normal(0, 1, 5001) ** 5)
    sketch = of(values)
    for q in np.linspace(0, 1, 101):
        assert sketches.quantile(sketch, q) == pytest.approx(
            values[math.floor(q * 5000)], rel=1.0001 * sketches.ACCURACY
        )


@pytest.mark.slow
def test_a_quantile_of_small_whole_numbers_is_one_of_them():
    values = list(range(-49, 50))
    assert [sketches.quantile(of(values, "n"), (i + 0.5) / 98) for i in range(98)] == values[:-1]


@pytest.mark.parametrize("distinct", [1, 2, 40, 900, 3000, 40_000, 300_000])
def test_cardinality_is_within_three_standard_errors_and_small_ones_are_exact(distinct):
    rng = np.random.default_rng(distinct)
    numbers = np.append(np.arange(distinct), rng.integers(0, distinct, 2000)) + 10
    for sketch in (of(numbers, "n"), of([f"v{number}" for number in numbers], "city")):
        found = sketches.cardinality(sketch)
        assert found == pytest.approx(distinct, rel=3 * 1.04 / math.sqrt(sketches.REGISTERS))
        if distinct <= 40:
            assert found == distinct
    assert sketches.cardinality(of([1.5])) is None


def test_cardinality_of_a_window_counts_a_value_of_two_days_once():
    days = [of(np.arange(start, start + 5000), "n") for start in (0, 2500)]
    assert sketches.cardinality(sketches.merge(days)) == pytest.approx(7500, rel=0.1)
    assert sketches.cardinality(of([None], "n")) == 0


def test_a_text_of_many_values_keeps_the_most_frequent_and_counts_the_rest():
    names = [f"v{number}" for number in range(3000)] + ["often"] * 50
    sketch = of(names, "city")
    assert (sketch["values"][0], sketch["value_counts"][0], len(sketch["values"])) == ("often", 50, sketches.LISTED)
    assert sketch["other_values"] + sum(sketch["value_counts"]) == len(names)
    merged = sketches.merge([sketch, sketch])
    assert (merged["value_counts"][0], len(merged["values"])) == (100, sketches.LISTED)
    assert merged["other_values"] + sum(merged["value_counts"]) == 2 * len(names)


def test_edges_of_a_histogram_are_round_and_days_of_like_range_share_them():
    rng = np.random.default_rng(0)
    (edges, counts), (other, _) = (sketches.histogram(of(rng.normal(50, 10, 20_000))) for _ in range(2))
    assert np.allclose(np.diff(edges), 2) and edges[0] % 2 == 0
    assert len({*edges} ^ {*other}) <= 2, "at most the outermost bin is another"
    assert 0.98 * 20_000 < sum(counts) <= 20_000
    values = rng.normal(50, 10, 20_000)
    expected, _ = np.histogram(values, edges)
    assert np.abs(np.array(sketches.histogram(of(values), edges)[1]) - expected).max() < 0.02 * 20_000


def test_a_histogram_of_whole_numbers_has_each_in_the_middle_of_a_bin():
    edges, counts = sketches.histogram(of([-1, 0, 0, 3, 7, 7, 7], "n"))
    found = {(low + high) / 2: count for low, high, count in zip(edges, edges[1:], counts, strict=False) if count}
    assert found == {-1: 1, 0: 2, 3: 1, 7: 3}


def test_a_histogram_of_a_time_has_its_hours_and_one_of_nothing_is_empty():
    edges, counts = sketches.histogram(sketched(table())["event_time"])
    assert (edges, sum(counts)) == (list(range(25)), 20_000)
    assert sketches.histogram(of([None])) == ([], [])
    assert sketches.histogram(of([None], "city")) == {}
    assert sum(sketches.histogram(of([2.5]))[1]) == 1


def test_the_distance_of_like_rows_is_small_and_of_unlike_ones_is_one():
    rng = np.random.default_rng(0)
    base = rng.lognormal(3, 1, 10_000)
    assert sketches.distance(of(base), of(base)) == 0
    assert sketches.distance(of(base), of(rng.lognormal(3, 1, 1000))) < 0.02
    assert sketches.distance(of(base), of(np.append(base[:1000], 1e12))) < 0.02, "an outlier squeezes nothing"
    assert sketches.distance(of(base), of(base * 100)) > 0.9
    assert sketches.distance(of(base), of(-base)) == 1
    assert sketches.distance(of(base), of(base * 1.3)) == sketches.distance(of(base * 1.3), of(base)) > 0.01


def test_the_distance_sees_a_category_that_is_coded_anew():
    days = np.random.default_rng(0).integers(1, 8, 5000)
    assert sketches.distance(of(days, "n"), of(days - 1, "n")) > 0.1
    names = [f"day {day}" for day in days]
    assert sketches.distance(of(names, "city"), of(names[:500], "city")) < 0.02
    assert sketches.distance(of(names, "city"), of([name.upper() for name in names], "city")) == 1
    assert 0 < sketches.distance(of(names, "city"), of([*names[:2500], *["new"] * 2500], "city")) < 1


def test_names_beyond_those_listed_are_compared_as_one():
    long_tail = [f"v{number}" for number in range(5000)] + ["often"] * 5000
    other_tail = [f"w{number}" for number in range(5000)] + ["often"] * 5000
    assert sketches.distance(of(long_tail, "city"), of(other_tail, "city")) == 0
    assert sketches.distance(of(long_tail, "city"), of([*other_tail, *["often"] * 50_000], "city")) > 0.1


def test_a_column_without_values_is_at_one_from_a_column_with_some_and_at_none_from_another():
    nothing, some = of([None, None]), of([1.0])
    assert (
        sketches.distance(nothing, some),
        sketches.distance(some, nothing),
        sketches.distance(nothing, nothing),
    ) == (1, 1, 0)
