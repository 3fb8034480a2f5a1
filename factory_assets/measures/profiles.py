"""How was a column distributed in the reference, so that later rows can be compared without reading it again?

A profile is taken once, from the rows that a champion was trained on. Bins follow the reference's quantiles, so no
outlier can squeeze the rest into one bin. What the reference does not contain has bins of its own: nulls, values
beyond its range, levels it has not seen. Rows are compared by the population stability index (PSI).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]

LEVELS = 30  # levels judged one by one; of a column with more, the light ones are judged in alphabetical ranges
KNOWN_LEVELS = 1000  # levels remembered to tell new ones; a column with more is closer to an id than to a category
EXPECTED_ROWS = 5  # a level expected less often is not judged alone: Cochran's rule for chi-square (1954)
LARGEST = 1e308  # stands in for infinity, so that every edge is a finite float and plain JSON
MANY = 2000  # from so many values on it is faster to compare all with each edge than to search the edges for each value
AT_ONCE = 2**14  # values that are compared with all edges while the processor's cache holds them


@dataclass(frozen=True)
class Profile:
    """How one column was distributed in the reference.

    kind: "number" (booleans too), "text", or "empty" where the reference holds nothing but nulls.
    edges: of a number, ascending: its minimum, the cuts between bins, and the first float above its maximum. Bin i
        is [edges[i], edges[i + 1]); a value that fills a bin by itself is the bin [value, next float).
    levels: of a text, the levels with a bin of their own, most frequent first.
    others: of a text, the remaining levels in alphabetical order; empty when there are too many to remember.
    starts: of a text, the position in `others` at which each range of levels that shares a bin begins.
    counts: rows a bin. Number: below the minimum (0), one for each pair of edges, above the maximum (0). Text: one
        for each level, each range, the levels not remembered, and new levels. Empty: one bin for any value.
    nulls: rows without a value; NaN is none.
    """

    column: str
    kind: str
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    nulls: int = 0

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.nulls

    @property
    def comparable(self) -> bool:
        """Whether other rows can differ from these by more than their nulls."""
        return self.kind != "text" or bool(self.levels or self.others)

    def count(self, column: pa.Array | pa.ChunkedArray) -> Numbers:
        """Rows of another column in each bin, in the order of `counts`, then its nulls.

        Raises TypeError where the column is text and the profile one of numbers, or the reverse.
        """
        return np.bincount(self.places(column), minlength=len(self.counts) + 1)

    def places(self, column: pa.Array | pa.ChunkedArray) -> Numbers:
        """Shape (n,): the bin of each row of another column, as `count` counts them, and raises."""
        import pyarrow.compute as pc

        kind, values = _values(column, self.column)
        absent = np.isnan(values) if kind == "number" else pc.is_null(values).to_numpy(zero_copy_only=False)
        if absent.all():
            return np.full(len(values), len(self.counts))
        if self.kind not in ("empty", kind):
            raise TypeError(f"column {self.column!r} was {self.kind} in the reference and is {kind} now")
        return np.where(absent, len(self.counts), self._places(values))

    def bins(self) -> list[str]:
        """A name for each bin, in the order in which `count` returns them."""
        if self.kind == "empty":
            return ["any value", "no value"]
        if self.kind == "text":
            ends = [*self.starts, len(self.others)][1:]
            ranges = [(self.others[a], self.others[b - 1]) for a, b in zip(self.starts, ends, strict=True)]
            shared = [f"levels {first!r} to {last!r}" for first, last in ranges]
            return [*map(repr, self.levels), *shared, "rare levels", "new levels", "no value"]
        pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
        inner = [f"{a:.6g}" if b == np.nextafter(a, np.inf) else f"{a:.6g} to {b:.6g}" for a, b in pairs]
        maximum = np.nextafter(self.edges[-1], -np.inf)
        return [f"below {self.edges[0]:.6g}", *inner, f"above {maximum:.6g}", "no value"]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers: safe for JSON, which keeps every digit of a float."""
        # Not asdict: it copies every number by itself, and a release has a profile for each feature.
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Profile:
        """As `to_dict` gave it, this release's or an earlier one's, which kept more."""
        own = {each.name for each in fields(cls)}
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k in own}
        return cls(**plain)

    def _places(self, values: Any) -> Numbers | int:
        """Bins of values, as `_values` gives them; those of nulls do not matter."""
        import pyarrow.compute as pc

        if self.kind == "empty":
            return 0
        if self.kind == "number":
            return _between(np.array(self.edges), values)
        own, others = len(self.levels), len(self.others)
        ranges = np.searchsorted(np.array(self.starts, dtype=np.int64), np.arange(others), side="right") - 1
        unknown = own + len(self.starts) + (not self.counts[-2])
        index = pc.index_in(values, value_set=pa.array([*self.levels, *self.others], values.type))
        return np.array([*range(own), *(own + ranges), unknown])[pc.fill_null(index, own + others).to_numpy()]


def _between(edges: Numbers, values: Numbers) -> Numbers:
    """As np.searchsorted(edges, values, side="right"), but for NaN: how many edges each value has reached.

    A search guesses at each step which half of the edges to go on with, and every other guess stalls the processor.

    >>> _between(np.array([1.0, 2.0]), np.array([0.5, 1.0, 3.0])).tolist()
    [0, 1, 2]
    """
    if len(values) < MANY or len(edges) > np.iinfo(np.uint8).max:
        return np.searchsorted(edges, values, side="right")
    found = np.zeros(len(values), np.uint8)
    for first in range(0, len(values), AT_ONCE):
        some, own = values[first : first + AT_ONCE], found[first : first + AT_ONCE]
        for edge in edges:
            np.add(own, (some >= edge).view(np.uint8), out=own)
    return found.astype(np.intp)


def profile(column: pa.Array | pa.ChunkedArray, bins: int = 10, name: str = "") -> Profile:
    """The reference distribution of one column.

    column: numbers, booleans, decimals or text (dictionary-encoded or not). Infinite values count as the largest
        finite ones.
    bins: how many bins of equal share a number is cut into; a value with more than that share has a bin of its own.
    Raises TypeError for other types: a timestamp always moves on, so it has no distribution to stay in.

    >>> profile(pa.array(["car", "bike", "car", None]), name="vehicle").nulls
    1
    """
    if bins < 2:
        raise ValueError(f"a profile needs at least 2 bins; got {bins}")
    kind, every = _values(column, name)
    values = every[~np.isnan(every)] if kind == "number" else every.drop_null()
    nulls = len(column) - len(values)
    if len(values) == 0:
        return Profile(name, "empty", counts=(0,), nulls=nulls)
    if kind == "text":
        return _text_profile(name, values, nulls)
    values = np.sort(values)
    edges = _edges(values, bins)
    # Sorted as they are, the rows of a bin lie between the places of two edges; none is outside.
    counts = np.diff(np.searchsorted(values, edges))
    return Profile(name, kind, edges=tuple(edges.tolist()), counts=(0, *counts.tolist(), 0), nulls=nulls)


def profiles(table: pa.Table, columns: Iterable[str]) -> dict[str, Profile]:
    """A profile of each named column; KeyError for one that the table lacks."""
    return {column: profile(table.column(column), name=column) for column in columns}


def _values(column: pa.Array | pa.ChunkedArray, name: str) -> tuple[str, Any]:
    """The kind of a column and its values: an array of floats with NaN for a null, or an Arrow array of strings."""
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return "empty", column
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return "text", column
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise TypeError(f"column {name!r} is {column.type}; a profile takes numbers, booleans and text")
    numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return "number", np.clip(numbers, -LARGEST, LARGEST)


def _edges(values: Numbers, bins: int) -> Numbers:
    """Edges of bins of about equal share; a value with more than a bin's share is a bin, and parts its neighbours.

    values: ascending, shape (n,), n >= 1.
    """
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    rows = np.diff(np.append(first, len(values)))
    heavy = values[first[rows * bins > len(values)]]
    light = values[~np.isin(values, heavy)] if len(heavy) else values
    edges = [values[:1], np.nextafter(values[-1:], np.inf), heavy, np.nextafter(heavy, np.inf)]
    for stretch in np.split(light, np.searchsorted(light, heavy)):
        parts = max(1, round(bins * len(stretch) / len(values)))
        edges.append(stretch[np.arange(1, parts) * len(stretch) // parts])
    return np.unique(np.concatenate(edges))


def _text_profile(name: str, values: pa.Array, nulls: int) -> Profile:
    """Heavy levels each have a bin; light ones share bins of about 1 / LEVELS of the rows, in alphabetical order.

    Not "the most frequent and the rest": among many levels of like frequency the most frequent are so by chance, and
    would fall back in any later sample. Alphabetical ranges do not depend on the counts.

    A level seen once stands for what the reference has not seen. Of the rows that a later sample brings, about
    (levels seen once) / (rows) are of a new level although nothing changed (Good, The population frequencies of
    species, 1953), so those rows are the reference's count of new levels: a column with a long tail of rare levels
    is not alarmed for having one.
    """
    import pyarrow.compute as pc

    found = pc.value_counts(values)
    rows = dict(sorted(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    remembered = len(rows) <= min(KNOWN_LEVELS, len(values) / EXPECTED_ROWS)
    fair = len(values) / LEVELS
    least = 0.0 if remembered and len(rows) <= LEVELS else fair + 3 * fair**0.5  # 3 sigma: heavier not by chance
    own = sorted((level for level, n in rows.items() if n > least), key=lambda level: (-rows[level], level))
    once = sum(n == 1 for n in rows.values())
    known = {level: n if n > 1 else 0 for level, n in rows.items()}
    heavy = [known[level] for level in own]
    if not remembered:
        return Profile(name, "text", levels=tuple(own), counts=(*heavy, len(values) - sum(heavy), 0), nulls=nulls)
    others = [level for level in rows if rows[level] <= least]
    light = np.cumsum([0, *(known[level] for level in others)])
    # The last range takes the remaining values, so that none is so small that levels seen once are all it has.
    part = np.minimum(light[1:] // fair, max(light[-1] // fair - 1, 0))
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    ranges = np.diff(light[[*starts, -1]])
    counts = (*heavy, *ranges.tolist(), 0, once)
    return Profile(name, "text", (), tuple(own), tuple(others), tuple(starts.tolist()), counts, nulls)


def without_rare_levels(before: Numbers, now: Numbers) -> tuple[Numbers, Numbers]:
    """The same counts, shape (..., bins), with the rows of levels too rare for these samples judged together.

    Both samples say which: levels that only the reference called frequent would be so by chance, and fall back.
    """
    together = before.shape[-1] - 3
    m, n = before.sum(axis=-1, keepdims=True), now.sum(axis=-1, keepdims=True)
    rare = (before + now)[..., :together] * (np.minimum(m, n) / np.maximum(m + n, 1)) < EXPECTED_ROWS
    before, now = before.copy(), now.copy()
    for counts in (before, now):
        counts[..., together] += np.where(rare, counts[..., :together], 0).sum(axis=-1)
        counts[..., :together][rare] = 0
    return before, now


def psi(before: Numbers, now: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """PSI of each bin, degrees of freedom, and the weight that makes their sum chi-square: n m / (n + m).

    Counts of shape (..., bins) give shapes (..., bins), (...) and (...); samples without rows no degree of freedom.

    Half a row of the effective sample is added to both shares inside the logarithm. It is the same share on both
    sides, so a bin that is empty on one side is finite and a bin that is rare on both adds nothing.
    """
    m, n = before.sum(axis=-1, dtype=float), now.sum(axis=-1, dtype=float)
    some = np.minimum(m, n) > 0
    weight = n * m / np.maximum(n + m, 1)
    p, q = before / np.maximum(m, 1)[..., None], now / np.maximum(n, 1)[..., None]
    half_a_row = (0.5 / np.where(some, weight, 1))[..., None]
    shift = np.where(some[..., None], (q - p) * np.log((q + half_a_row) / (p + half_a_row)), 0)
    return shift, np.where(some, np.count_nonzero(before + now, axis=-1) - 1, 0), weight
