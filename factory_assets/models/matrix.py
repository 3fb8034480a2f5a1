"""How does a table of examples become a matrix of numbers, the same way in training and in serving?

What has to be remembered from training is the order of the features and the levels of the categorical ones; that is an
`Encoding`. It is stored with the model, and `encode` is the one road from a table to a matrix, for a training set of
millions of rows as for one row to be scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

#: Spelled out for the error message, in the words of a declaration rather than of Arrow.
ALLOWED_TYPES = "integer, floating point, decimal, boolean, string, dictionary of strings"


@dataclass(frozen=True)
class Encoding:
    """The columns of a matrix: which feature each one is, and the number that stands for each category.

    features: canonical names in the order of the columns, such as "TX_AMOUNT" or "terminal_risk.risk_7d".
    categories: for each categorical feature the levels seen in training, sorted; a level's number is its place.
    """

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]

    @property
    def categorical(self) -> list[int]:
        """Column numbers of the categorical features."""
        return [column for column, name in enumerate(self.features) if name in self.categories]

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts and strings only, as JSON has them."""
        return {
            "features": list(self.features),
            "categories": {name: list(levels) for name, levels in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_dict`."""
        return cls(
            features=tuple(data["features"]),
            categories={name: tuple(levels) for name, levels in data["categories"].items()},
        )


def learn_encoding(table: pa.Table, features: Sequence[str]) -> Encoding:
    """The encoding that a training set asks for: strings are categorical, numbers and booleans are taken as they are.

    table: the training examples; only the columns named by `features` are looked at.
    Raises KeyError for features that are no column, ValueError for a feature named twice and for a column of a type
    that has no place in a matrix (a timestamp means nothing to a model until a view has made a number of it).
    """
    import pyarrow.compute as pc

    twice = sorted({name for name in features if list(features).count(name) > 1})
    if twice:
        raise ValueError(f"features named more than once: {', '.join(twice)}")
    _refuse_missing(table, features)
    categories = {}
    for name in features:
        column = table.column(name)
        if _is_text(column.type):
            categories[name] = tuple(sorted(pc.unique(_as_text(column)).drop_null().to_pylist()))
        elif not _is_number(column.type):
            raise ValueError(f"feature {name!r} is of type {column.type}; a feature can be: {ALLOWED_TYPES}")
    return Encoding(features=tuple(features), categories=categories)


def encode(table: pa.Table, encoding: Encoding) -> np.ndarray:
    """The matrix of a table: float64 of shape (rows, features), rows in the table's order, further columns ignored.

    A category becomes its place among the levels of training; one that training did not see becomes NaN, as a null
    does. Booleans become 0 and 1, null numbers NaN.
    Raises KeyError for features that are no column, ValueError for a column whose type is not the one of training.
    """
    _refuse_missing(table, encoding.features)
    matrix = np.empty((table.num_rows, len(encoding.features)), dtype=np.float64)
    for place, name in enumerate(encoding.features):
        matrix[:, place] = _numbers(name, table.column(name), encoding.categories.get(name))
    return matrix


def _numbers(name: str, column: pa.ChunkedArray, levels: tuple[str, ...] | None) -> np.ndarray:
    """One column of the matrix, shape (rows,)."""
    import pyarrow.compute as pc

    if pa.types.is_null(column.type):
        # A batch in which a feature is null throughout may have lost its type; its values are known all the same.
        return np.full(len(column), np.nan)
    if levels is None:
        if not _is_number(column.type):
            raise ValueError(f"feature {name!r} was a number in training and is of type {column.type} here")
        values = column
    else:
        if not _is_text(column.type):
            raise ValueError(f"feature {name!r} was a category in training and is of type {column.type} here")
        values = pc.index_in(_as_text(column), value_set=pa.array(levels, type=pa.large_string()))
    # Unsafe only in that an integer beyond 2**53 is rounded to the nearest float64.
    return pc.fill_null(values.cast(pa.float64(), safe=False), np.nan).to_numpy()


def _refuse_missing(table: pa.Table, features: Sequence[str]) -> None:
    absent = [name for name in features if name not in table.column_names]
    if absent:
        raise KeyError(f"no column for {', '.join(absent)}; the table has: {', '.join(table.column_names)}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return any(
        test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # One type for all of them: index_in wants the column and its value set to agree.
    return column.cast(pa.large_string())
