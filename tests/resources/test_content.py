"""Have equal rows the same number, however they lie in memory, and other rows another one, today and in ten years?"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_resources.delta.content import SHORT, row_hashes
from factory_resources.lake import Lake

# The same once more, slowly: a value at a time, in numbers without a limit.

WORD = 2**64


def spread(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB % WORD
    return x ^ x >> 31


def digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


STEP = 0x9E3779B97F4A7C15
EPOCH = dt.datetime(1970, 1, 1)


def of_bytes(text: bytes) -> int:
    if len(text) > SHORT:
        return digest(text)
    value = spread((len(text) + STEP) % WORD)
    for place in range(0, len(text), 8):
        value = spread(value ^ int.from_bytes(text[place : place + 8], "little"))
    return value


def of_row(values: Mapping[str, Any]) -> int:
    return sum(of_value(name, value) for name, value in values.items() if value is not None) % WORD


def of_value(name: str, value: Any) -> int:
    kind, number = told(value)
    return spread(number ^ digest(f"{kind} {name}".encode()))


def told(value: Any) -> tuple[str, int]:
    if isinstance(value, bool):
        return "truth", int(value)
    if isinstance(value, int):
        return "integer", value % WORD
    if isinstance(value, float):
        canonical = 0.0 if value == 0 else value
        return "number", struct.unpack("<Q", struct.pack("<d", canonical))[0] if value == value else 0x7FF8 << 48
    if isinstance(value, str):
        return "text", of_bytes(value.encode())
    if isinstance(value, bytes):
        return "bytes", of_bytes(value)
    if isinstance(value, decimal.Decimal):
        return "decimal", of_bytes(f"{value:.2f}".encode())
    if isinstance(value, dt.datetime):
        naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return "instant" if value.tzinfo else "time", (naive - EPOCH) // dt.timedelta(microseconds=1) % WORD
    if isinstance(value, dt.date):
        return "day", (value - EPOCH.date()).days % WORD
    if isinstance(value, dict):
        return "struct", of_row(value)
    elements = (0x9AE16A3B2F90404F if each is None else of_value("", each) for each in value)
    places = (spread((element + place * STEP) % WORD) for place, element in enumerate(elements))
    return "list", (spread((len(value) + STEP) % WORD) + sum(places)) % WORD


WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, float("nan"), -float("nan"), float("inf"), 5e-324]))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["", "\0", "\0\0", "a" * 8, "é" * 600])
)
ALL = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): WHOLE,
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.bool_(): st.booleans(),
    pa.float32(): st.floats(width=32),
    pa.float64(): NUMBERS,
    pa.string(): TEXTS,
    pa.binary(): st.binary(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "Europe/Paris"): st.datetimes(
        dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(ZoneInfo("UTC"))
    ),
    pa.decimal128(9, 2): st.decimals(-999999, 999999, places=2),
}
PLAIN = st.sampled_from(list(ALL.items())).map(lambda each: (each[0], st.none() | each[1]))
LISTS = PLAIN.map(lambda each: (pa.list_(each[0]), st.none() | st.lists(each[1], max_size=4)))
STRUCTS = st.tuples(PLAIN, LISTS).map(
    lambda both: (
        pa.struct([("a", both[0][0]), ("b", both[1][0])]),
        st.none() | st.fixed_dictionaries({"a": both[0][1], "b": both[1][1]}),
    )
)
DEEPER = STRUCTS.map(lambda each: (pa.list_(each[0]), st.none() | st.lists(each[1], max_size=3)))


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[dict[str, Any]]]:
    kinds = draw(st.lists(st.one_of(PLAIN, LISTS, STRUCTS, DEEPER), min_size=1, max_size=4))
    count = draw(st.integers(1, 8))
    columns = {
        f"c{place}": (kind, draw(st.lists(values, min_size=count, max_size=count)))
        for place, (kind, values) in enumerate(kinds)
    }
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    return table, [{name: values[row] for name, (_, values) in columns.items()} for row in range(count)]


def hashes(table: pa.Table) -> list[int]:
    return [int(one) for batch in table.to_batches() for one in row_hashes(batch)]


@settings(max_examples=400, deadline=None)
@given(tables())
@pytest.mark.slow
def test_every_row_has_the_number_that_it_has_a_value_at_a_time(made: tuple[pa.Table, list[dict[str, Any]]]) -> None:
    table, rows = made
    assert hashes(table) == [spread(of_row(row)) for row in rows]


@settings(max_examples=200, deadline=None)
@given(tables(), st.randoms(use_true_random=False), st.integers(1, 8))
def test_neither_order_nor_batches_nor_slices_count(
    made: tuple[pa.Table, list[dict[str, Any]]], chance: Any, size: int
) -> None:
    table, _ = made
    told = hashes(table)
    assert [one for batch in table.to_batches(max_chunksize=size) for one in map(int, row_hashes(batch))] == told
    assert hashes(table.slice(1)) == told[1:] and hashes(pa.concat_tables([table, table]).combine_chunks()) == 2 * told
    names = chance.sample(table.column_names, table.num_columns)
    assert hashes(table.select(names)) == told


def column(values: list, kind: pa.DataType) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


TEXT = ["a", None, "", "bonjour, tout le monde", "a", "x" * 2000]


@pytest.mark.parametrize(
    "same",
    [
        [column([1, None, -1], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())],
        [column([0.5, None, 1e10], kind) for kind in (pa.float64(), pa.float32())],
        [column([0.0, float("nan")], pa.float64()), column([-0.0, -float("nan")], pa.float64())],
        [
            *(column(TEXT, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
            *(column(TEXT, pa.dictionary(index, pa.string())) for index in (pa.uint8(), pa.int32())),
        ],
        [column([b"ab", None], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2))],
        [column([dt.date(2024, 2, 29), None], kind) for kind in (pa.date32(), pa.date64())],
        [column([dt.datetime(2024, 2, 29, 1), None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")],
        [column([dt.datetime(2024, 2, 29, 1)], pa.timestamp("us", zone)) for zone in ("UTC", "Asia/Tokyo")],
        [column([[1, None], [], None], kind) for kind in (pa.list_(pa.int8()), pa.large_list(pa.int64()))],
        [column([["a"], ["b"]], kind) for kind in (pa.list_(pa.string()), pa.list_(pa.string(), 1))],
        [column([1, 2], pa.int64()), column([1, 2], pa.int64()).append_column("y", pa.nulls(2, pa.string()))],
        [column([1, 2], pa.int64()), column([1, 2], pa.int64()).append_column("y", pa.nulls(2))],
    ],
    ids=lambda same: str(same[0]["x"].type),
)  # fmt: skip
def test_equal_values_have_the_same_number_however_they_are_stored(same: list[pa.Table]) -> None:
    assert len({tuple(hashes(table)) for table in same}) == 1


def test_a_null_in_a_dictionary_is_a_null() -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), pa.array([None, "a"]))
    assert hashes(pa.table({"x": values})) == hashes(column(["a", None, None], pa.string()))


def test_what_lies_under_a_null_does_not_count() -> None:
    hidden = pa.array([1, 2]).buffers()[1]
    mask = pa.array([True, False]).buffers()[1]
    under = pa.Array.from_buffers(pa.int64(), 2, [mask, hidden])
    assert under.to_pylist() == [1, None]
    assert hashes(pa.table({"x": under})) == hashes(column([1, None], pa.int64()))


def test_different_values_have_different_numbers() -> None:
    """Those that are easily mixed up, in one column, and of one row with two."""
    plain = [
        column([0, 1, None, 2**63 - 1, -1], pa.int64()),
        column([False, True], pa.bool_()),
        column([0.0, 1.0, float("nan"), float("inf"), 5e-324], pa.float64()),
        column(["", "\0", "\0\0", "0", "1", "a", "aaaaaaaa", "aaaaaaa\0", "null", "é" * 600, "é" * 601], pa.string()),
        column([b"", b"\0", b"a"], pa.binary()),
        column([dt.date(1970, 1, 1), dt.date(1970, 1, 2)], pa.date32()),
        column([EPOCH, EPOCH + dt.timedelta(microseconds=1)], pa.timestamp("us")),
        column([EPOCH], pa.timestamp("us", "UTC")),
        column([decimal.Decimal("0.00"), decimal.Decimal("1.00")], pa.decimal128(9, 2)),
        column([[], [None], [0], [0, None], [None, 0], [0, 0], [1, 2], [2, 1]], pa.list_(pa.int64())),
        column([[""], ["", ""], ["a", ""], ["", "a"]], pa.list_(pa.string())),
        column([{"a": None, "b": None}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": None}, {"a": None, "b": 1}],
               pa.struct([("a", pa.int64()), ("b", pa.int64())])),
    ]  # fmt: skip
    found = [one for table in plain for one in hashes(table)]
    pairs = pa.table({"x": ["a", "b", "ab", "", None, "a"], "y": ["b", "a", "", "ab", "ab", None]})
    found += hashes(pairs) + hashes(pairs.rename_columns(["x", "z"]))
    # Of the last, the row that has no y is the same under either name, and the same as one of `x` alone.
    assert len(set(found)) == len(found) - 2


def test_rows_are_not_mixed_up_with_each_other() -> None:
    """The numbers of a table's rows are added up: swapped between two rows, values must come to something else."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 50, 2000), rng.integers(0, 50, 2000)
    one = np.array(hashes(pa.table({"x": x, "y": y})), np.uint64).sum()
    assert one != np.array(hashes(pa.table({"x": x, "y": np.sort(y)})), np.uint64).sum()
    many = np.array(hashes(pa.table({"x": np.arange(200_000), "s": [f"id-{i}" for i in range(200_000)]})), np.uint64)
    assert len(np.unique(many)) == len(many)
    # Each of the 64 bits is set in half of the rows; four deviations of a fair coin.
    shares = np.unpackbits(many.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 4 * 0.5 / np.sqrt(len(many))


def test_a_type_that_no_table_can_hold_is_told() -> None:
    with pytest.raises(TypeError, match=r"no table can hold a column of type time64\[us\]"):
        hashes(column([dt.time(1)], pa.time64("us")))


GOLDEN = pa.table(
    {
        "whole": pa.array([1, None], pa.int32()),
        "number": [-0.25, float("nan")],
        "truth": [True, False],
        "text": ["Straße 1, 75001 Paris", ""],
        "long": ["é" * 1000, None],
        "day": [dt.date(2024, 2, 29), dt.date(1969, 12, 31)],
        "at": pa.array([dt.datetime(2024, 2, 29, 12, 34, 56, 789), None], pa.timestamp("us")),
        "instant": pa.array([None, dt.datetime(2024, 2, 29, 12)], pa.timestamp("us", "Europe/Paris")),
        "bytes": [b"\0\xff", b""],
        "exact": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
        "list": [[1, None], []],
        "nested": [{"a": 1, "b": ["x", None]}, {"a": None, "b": None}],
        "deep": [[{"c": 0.5}], None],
        "ds": [dt.date(2024, 2, 29)] * 2,
    }
)


def test_the_numbers_are_those_that_deployments_hold(tmp_path: Path) -> None:
    """Who changes them makes every day of every table count as changed, once, in every deployment."""
    assert [f"{one:016x}" for one in hashes(GOLDEN)] == ["05709222d711490d", "18dcdd2acf3a0a75"]
    written = Lake(root=str(tmp_path)).replace("t", GOLDEN, [dt.date(2024, 2, 29)])
    assert written.days[dt.date(2024, 2, 29)].hash == "2-1e4d6f4da64b5382"
