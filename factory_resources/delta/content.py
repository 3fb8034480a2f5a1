"""Do two tables hold the same rows? One number of 64 bits a row, from its values alone.

Not DuckDB's `hash`, which may be another one in its next release: all days would seem to have changed. The finaliser of
SplitMix64 (Steele, Lea and Flood 2014, variant 13 of Stafford) spreads a value over 64 bits; what a row's columns come to is
added up, and spread once more.

Equal are values that are equal to SQL: of integers the width does not count, of texts whether they lie in a dictionary, of
numbers the sign of zero or the bits of NaN, of instants the zone in which they are told. A column counts by its name and kind,
not by its place. A null adds nothing, so that a column without any value is like none: older days of a table read like that.
"""

import functools
import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

#: What stands for a null within a list, where its place counts; and for a number that is none.
NULL, NAN = np.uint64(0x9AE16A3B2F90404F), np.uint64(0x7FF8000000000000)
#: The odd number nearest to 2^64 over the golden ratio: multiples of it, as of SplitMix64, lie far apart.
STEP = np.uint64(0x9E3779B97F4A7C15)
#: Bytes of a text up to which it is read in words of eight, for all rows at once. That costs half of reading each by itself,
#: where there are many; longer ones are few, and one of them must not cost a step for each of its words.
SHORT = 1024
BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
#: How many bytes of a word count -> the bits of them, where the first byte is the lowest.
BITS = np.array([2 ** (8 * count) - 1 for count in range(9)], np.uint64)


def row_hashes(batch: pa.RecordBatch) -> np.ndarray:
    """uint64 of each row, shape (n,). Raises TypeError for a column of a type that no table can hold."""
    return _spread(_sum(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows))


def _sum(columns: dict[str, pa.Array], rows: int) -> np.ndarray:
    total = np.zeros(rows, np.uint64)
    for name, column in columns.items():
        if rows and not pa.types.is_null(column.type):
            total += _hashed(column, name, null=np.uint64(0))
    return total


def _hashed(column: Any, name: str, null: np.uint64) -> np.ndarray:
    """uint64 of each value as one of a column of this name, and what a null is to be."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return np.full(len(column), null)
    if pa.types.is_dictionary(column.type):
        hashed = _hashed(column.dictionary, name, null)[column.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    else:
        kind, values = _values(column)
        hashed = _spread(values ^ _seed(f"{kind} {name}"))
    if column.null_count:
        hashed[column.is_null().to_numpy(zero_copy_only=False)] = null
    return hashed


def _values(column: Any) -> tuple[str, np.ndarray]:
    """The kind of an array's values, and each as a uint64 of its own; of a null, anything."""
    kind, types = column.type, pa.types
    if types.is_integer(kind):
        return "integer", _fixed(column, kind.to_pandas_dtype()).astype(np.int64, copy=False).view(np.uint64)
    if types.is_floating(kind):
        return "number", _numbers(_fixed(column, kind.to_pandas_dtype()).astype(np.float64))
    if types.is_boolean(kind):
        return "truth", column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
    if types.is_date(kind):
        return "day", _fixed(column.cast(pa.date32()), np.int32).astype(np.int64).view(np.uint64)
    if types.is_timestamp(kind):
        stored = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return "instant" if kind.tz else "time", _fixed(stored, np.uint64)
    if types.is_decimal(kind):
        return "decimal", _texts(column.cast(pa.string()).cast(pa.large_string()))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text", _texts(column.cast(pa.large_string()))
    if any(test(kind) for test in BINARY):
        return "bytes", _texts(column.cast(pa.large_binary()))
    if types.is_struct(kind):
        parts = {field.name: part for field, part in zip(kind, column.flatten(), strict=True)}
        return "struct", _sum(parts, len(column))
    if types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.field(0)))
    if types.is_list(column.type) or types.is_large_list(kind):
        return "list", _lists(column)
    raise TypeError(f"no table can hold a column of type {kind}")


def _spread(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: one bit of a value changes each bit of the result with a chance of a half."""
    spread = values ^ (values >> np.uint64(30))
    spread *= np.uint64(0xBF58476D1CE4E5B9)
    spread ^= spread >> np.uint64(27)
    spread *= np.uint64(0x94D049BB133111EB)
    spread ^= spread >> np.uint64(31)
    return spread


@functools.lru_cache(10_000)
def _seed(text: str) -> np.uint64:
    return np.uint64(_digest(text.encode("utf-8", "surrogatepass")))


def _digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _fixed(column: Any, dtype: Any) -> np.ndarray:
    """The values as they lie in memory; under a null there may be anything."""
    return np.frombuffer(column.buffers()[1], dtype, len(column) + column.offset)[column.offset :]


def _numbers(values: np.ndarray) -> np.ndarray:
    values += 0.0  # which makes the zero below zero the other one
    bits = values.view(np.uint64)
    bits[np.isnan(values)] = NAN
    return bits


def _texts(column: Any) -> np.ndarray:
    """Of each text its length, spread, and then its words of eight bytes, one after the other."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64, len(column) + 1 + column.offset)[column.offset :]
    first, size = int(ends[0]), int(ends[-1] - ends[0])
    # A word is read at any byte: beyond the last text there have to be some.
    padded = np.zeros(size + 8, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8, size, first)
    words = np.ndarray((size + 1,), "<u8", padded, strides=(1,))
    starts, lengths = ends[:-1] - first, np.diff(ends)
    values = _spread(lengths.view(np.uint64) + STEP)
    for place in range(0, min(SHORT, int(lengths.max())), 8):
        reach = np.flatnonzero(lengths > place)
        all_of_them = len(reach) == len(lengths)
        left = (lengths if all_of_them else lengths[reach]) - place
        word = words[(starts if all_of_them else starts[reach]) + place] & BITS[np.minimum(left, 8)]
        if all_of_them:
            values = _spread(values ^ word)
        else:
            values[reach] = _spread(values[reach] ^ word)
    for row in np.flatnonzero(lengths > SHORT):
        values[row] = _digest(padded[starts[row] : starts[row] + lengths[row]].tobytes())
    return values


def _lists(column: Any) -> np.ndarray:
    """Of each list its length and its elements, each with its place."""
    ends = column.offsets.to_numpy().astype(np.int64)
    lengths, inner = np.diff(ends), column.values.slice(ends[0], ends[-1] - ends[0])
    values = _spread(lengths.view(np.uint64) + STEP)
    if not len(inner):
        return values
    elements = _hashed(inner, "", NULL)
    places = np.arange(len(inner)) - np.repeat(ends[:-1] - ends[0], lengths)
    elements = _spread(elements + places.astype(np.uint64) * STEP)
    # Sums up to each end; what they come to beyond 64 bits takes itself away again.
    until = np.concatenate([np.zeros(1, np.uint64), np.cumsum(elements, dtype=np.uint64)])
    return values + (until[ends[1:] - ends[0]] - until[ends[:-1] - ends[0]])
