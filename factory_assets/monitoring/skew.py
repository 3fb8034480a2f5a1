"""Are the features that predictions were made of those that training will see? The same rows, as they were used and as they are now.

A prediction is made of what was known of its moment then. Rows that are delivered later without a time at which they were known, a
day that is delivered again, or rows that leave quarantine change what the past looks like: a model is then trained on
values that it never gets when it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

#: Examples that are named of a feature.
SHOWN = 5


@dataclass(frozen=True)
class Skew:
    """A feature of which rows have other values now.

    compared: rows that there are both times. mismatches: those of them whose values are not equal; a number that is none is null, and
    equal to it. examples: a few of these as (example_id, used, now), those of the largest difference first.
    """

    feature: str
    compared: int
    mismatches: int
    examples: tuple[tuple[Any, Any, Any], ...]

    @property
    def rate(self) -> float:
        return self.mismatches / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class Skews:
    """Rows used beside rows recomputed. gone: ids that only the rows used have; new: those that only the others have."""

    features: tuple[Skew, ...]
    compared: int
    gone: int
    new: int

    @property
    def differing(self) -> list[Skew]:
        """Features with a mismatch, those with most first."""
        return sorted((skew for skew in self.features if skew.mismatches), key=lambda skew: -skew.mismatches)


def skews(used: pa.Table, now: pa.Table, features: Sequence[str]) -> Skews:
    """Compare each feature row by row.

    used, now: tables with `example_id`, once each, and columns of features; a feature that one of them lacks is null there.
    """
    import pyarrow.compute as pc

    ids = now["example_id"].cast(used.schema.field("example_id").type)
    place = pc.index_in(used["example_id"], value_set=ids.combine_chunks())
    both = pc.is_valid(place)
    one, other = used.filter(both), now.take(place.filter(both))
    compared = tuple(_compared(one, other, name) for name in features)
    return Skews(compared, one.num_rows, used.num_rows - one.num_rows, now.num_rows - one.num_rows)


def _compared(one: pa.Table, other: pa.Table, feature: str) -> Skew:
    import pyarrow.compute as pc

    then, now = _alike(_column(one, feature), _column(other, feature))
    unequal = pc.or_(pc.fill_null(pc.not_equal(then, now), False), pc.xor(pc.is_null(then), pc.is_null(now))).to_numpy(
        zero_copy_only=False
    )
    rows = np.flatnonzero(unequal)
    shown = rows[_largest_first(then.take(rows), now.take(rows))][:SHOWN]
    named = (one["example_id"].take(shown), then.take(shown), now.take(shown))
    examples = tuple(zip(*(each.to_pylist() for each in named), strict=True))
    return Skew(feature, one.num_rows, len(rows), examples)


def _column(rows: pa.Table, name: str) -> pa.Array:
    """The column as one array; a null stands for each number that is none, and for a column that is not there."""
    import pyarrow.compute as pc

    column = rows[name].combine_chunks() if name in rows.column_names else pa.nulls(rows.num_rows)
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    # Of a column without any value the type is not known, and two nulls cannot be compared.
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _alike(one: pa.Array, other: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Both as one type: a column may have become a number of another kind since."""
    if one.type == other.type:
        return one, other
    kind = pa.float64() if _is_number(one.type) and _is_number(other.type) else pa.string()
    return one.cast(kind, safe=False), other.cast(kind, safe=False)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _largest_first(then: pa.Array, now: pa.Array) -> np.ndarray:
    """Places of pairs of values, those of numbers that are furthest apart first; a value that came or went is furthest."""
    import pyarrow.compute as pc

    if not _is_number(then.type):
        return np.arange(len(then))
    apart = pc.abs(pc.subtract(then.cast(pa.float64(), safe=False), now.cast(pa.float64(), safe=False)))
    return np.argsort(-pc.fill_null(apart, np.inf).to_numpy(zero_copy_only=False), kind="stable")
