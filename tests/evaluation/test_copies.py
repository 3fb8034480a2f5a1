"""Is a feature that has the label under another name found before its model answers, and no honest one taken for such?"""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.copies import OF_CLASSES, OF_NUMBERS, copied, tells
from factory_assets.evaluation.gate import Look, Ruling, rule
from tests.evaluation.test_parts import line_of
from tests.public_data.deployed import DATA

RNG = np.random.default_rng(1)
ROWS = 3000
NUMBER = RNG.gamma(2.0, 10.0, ROWS)
YES = (RNG.random(ROWS) < 0.05).astype(float)
CLASS = RNG.choice(3, ROWS, p=[0.7, 0.2, 0.1]).astype(float)
ON = dt.date(2026, 3, 1)


def texts(values: np.ndarray) -> pa.Array:
    return pa.array([f"v{int(each)}" for each in values])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(NUMBER), pa.array(-NUMBER), pa.array(np.log(NUMBER)), pa.array(np.round(NUMBER).astype(int)),
        pa.array(NUMBER + 0.03 * NUMBER.std() * RNG.normal(size=ROWS)), pa.array([str(each) for each in NUMBER]),
        pa.array(np.where(RNG.random(ROWS) < 0.4, np.nan, NUMBER), from_pandas=True),
        pa.array((NUMBER * 1e6).astype("timedelta64[us]") + np.datetime64("2026-01-01")),
    ],
    ids=["copy", "falling", "logarithm", "rounded", "noise", "text", "nulls", "moment"],
)  # fmt: skip
def test_a_copy_of_a_number_is_found(column: pa.Array) -> None:
    for task in ("regression", "count", "quantile(0.9)"):
        assert tells(task, NUMBER, column) >= OF_NUMBERS


@pytest.mark.parametrize(
    "column",
    [
        pa.array(YES), pa.array(YES == 0), texts(YES), texts(YES).dictionary_encode(), pa.array(YES + 0.1 * RNG.normal(size=ROWS)),
        pa.array(np.where(RNG.random(ROWS) < 0.01, 0, YES)), pa.array(np.where(RNG.random(ROWS) < 0.4, np.nan, YES), from_pandas=True),
        texts(np.where(YES > 0, 7, RNG.integers(0, 5, ROWS))),
    ],
    ids=["copy", "no", "text", "dictionary", "noise", "lost", "nulls", "one of many names"],
)  # fmt: skip
def test_a_copy_of_a_yes_is_found(column: pa.Array) -> None:
    assert tells("binary", YES, column) >= OF_CLASSES


@pytest.mark.parametrize(
    "column",
    [pa.array(CLASS), texts(CLASS), texts(2 * CLASS + RNG.integers(0, 2, ROWS)), pa.array(CLASS + 0.05 * RNG.normal(size=ROWS))],
    ids=["place", "name", "two names each", "noise"],
)  # fmt: skip
def test_a_copy_of_a_class_is_found(column: pa.Array) -> None:
    assert tells("multiclass(a, b, c)", CLASS, column) >= OF_CLASSES


def test_what_is_no_copy_tells_less_and_what_cannot_say_tells_nothing() -> None:
    half = NUMBER + NUMBER.std() * RNG.normal(size=ROWS)
    assert 0.5 < tells("regression", NUMBER, pa.array(half)) < 0.9
    names = pa.array([f"name {place}" for place in range(ROWS)])
    for task, y in (("regression", NUMBER), ("binary", YES), ("multiclass(a, b, c)", CLASS)):
        assert tells(task, y, names) < 0.1, "names that come once tell nothing of others"
        assert tells(task, y, pa.nulls(ROWS, pa.float64())) == 0
        assert tells(task, y, pa.array(np.ones(ROWS))) == 0
        assert tells(task, y[:50], pa.array(y[:50])) == 0, "fifty rows"
    mostly_null = pa.array(np.where(RNG.random(ROWS) < 0.6, np.nan, NUMBER), from_pandas=True)
    assert tells("regression", NUMBER, mostly_null) == 0
    assert tells("binary", np.arange(ROWS) < 5.0, pa.array(np.arange(ROWS) < 5)) == 0, "five yes"
    assert tells("regression", np.ones(ROWS), pa.array(NUMBER)) == 0, "a constant label"


def ruled(feature: np.ndarray, before: int = 0, **gate: Any) -> Ruling:
    """On a good model of a feature. before: rows of the days before the holdout, in which nothing is looked at."""
    y = np.tile([0.0, 1.0, 1.0, 0.0, 0.0], 140)
    days = [ON + dt.timedelta(days=each // 100) for each in range(len(y))]
    table = pa.table(
        {
            "example_id": np.arange(len(y)), "observed_at": pa.array(days).cast(pa.timestamp("us")), "leaf": ["global"] * len(y),
            "ds": pa.array(days), "label": y, "hour": feature,
        }
    )  # fmt: skip
    model = SimpleNamespace(
        predict=lambda rows, task: np.clip(0.1 + 0.8 * rows["label"].to_numpy(), 0, 1),
        naive=lambda rows, task: np.full(rows, 0.4),
        unlearnt_from=ON,
        features=("hour",),
    )
    line = line_of("binary", calibration=9, **gate)
    declared: Any = SimpleNamespace(line=line)
    contestants = Contestants(
        {}, {"global": Challenger("new", Look(0.95))}, lambda version: model, lambda version: None,
        copied=lambda met, model, rows: copied(line, met, model, rows),
    )  # fmt: skip
    (met,) = walk(declared, "log_loss", ["global"], contestants, lambda node: table)
    return rule("log_loss", line.bar, met.contest, None)


def test_a_challenger_with_a_copy_is_not_promoted_and_the_feature_is_named_unless_it_may_tell() -> None:
    y = np.tile([0.0, 1.0, 1.0, 0.0, 0.0], 140)
    ruling = ruled(3 - y)
    assert ruling.verdict == "fallback"
    assert (
        "but not safe to serve: feature hour tells the label all by itself (1.0000 of 1): it seems to be a copy"
        in ruling.reason
    )
    assert "declare gate: {may_tell: [hour]}" in ruling.reason
    assert ruled(3 - y, may_tell=["hour"]).verdict == "promote"
    assert ruled(np.arange(700.0) % 7).verdict == "promote"


BIKES, FLIGHTS = DATA / "bike_sharing" / "hour.parquet", DATA / "nycflights" / "flights_2013_v01.parquet"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="public data are not beside the repository (../shared/data)")
@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize(
    ("query", "likely"),
    [
        (
            f"""SELECT hr, weekday, workingday, temp, hum, windspeed, lag(cnt, 1) OVER w AS before, lag(cnt, 168) OVER w AS week,
                dayofyear(dteday) + 365 * yr AS day, cnt::DOUBLE AS label
                FROM '{BIKES}' WINDOW w AS (ORDER BY instant)""",
            142,
        ),
        (
            f"""SELECT carrier, tailnum, origin, dest, distance, hour, dep_delay,
                dayofyear(make_date(2013, month::INT, day::INT)) AS day,
                arr_delay::DOUBLE AS label FROM '{FLIGHTS}' WHERE arr_delay IS NOT NULL AND hash(flight, day, tailnum) % 4 = 0""",
            15,
        ),
    ],
    ids=["bikes", "flights"],
)  # fmt: skip
def test_no_honest_feature_of_public_data_is_taken_for_a_copy(task: str, query: str, likely: float) -> None:
    """Not even how late a flight departed, for how late it arrives."""
    table = duckdb.sql(query).to_arrow_table()
    day, label = (table[name].to_numpy() for name in ("day", "label"))
    y = (label > likely).astype(float) if task == "binary" else label
    looks, limit = 0, OF_CLASSES if task == "binary" else OF_NUMBERS
    for first in range(int(day.min()), int(day.max()) - 13, 14):
        held = np.flatnonzero((day >= first) & (day < first + 14))
        for name in table.column_names[:-2]:
            looks += 1
            assert tells(task, y[held], table[name].combine_chunks().take(pa.array(held))) < limit, name
    assert looks > 150
