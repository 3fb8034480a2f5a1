"""Predictions have drifted: which features made them, of which segment, and since when? Those whose contributions have moved.

A prediction is the sum of what its features add to it, exactly (`models/contributions.py`). So the change of a node's mean score is
the sum of the changes of its features' mean contributions; and where the mean stays and predictions spread, the distributions of
contributions have moved all the same. A feature's part is how far: the mean distance of its contributions now from those of
the reference, quantile by quantile (Wasserstein's).

Where it began is told of the feature with the largest part. Each row is as far off as its contribution is from the middle of the
reference, beyond what is usual there. A segment that has most of that in less than half of the rows is named; of the days, the one
is the first from which on rows are off, if those before it are not half as much.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from factory_assets.identity.nodes import lineage
from factory_assets.measures.tables import LEAF
from factory_assets.models.contributions import Contributions

#: Rows a side, of which contributions are computed.
ROWS = 500
#: Features that a sentence names, and the least part of one that it does.
TOLD, LEAST = 3, 0.1
#: A segment is named that has more than this share of what rows are off, and less of the rows. A day is, if the days before it are off
#: by less than this share of what it and later ones are.
MOST = 0.5


class Explained(Protocol):
    """What of a model is asked here; `archived.ReleasedModel` has it."""

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def sample(self) -> pa.Table: ...

    def contributions(self, rows: pa.Table) -> Contributions | None: ...


@dataclass(frozen=True)
class Cause:
    """A feature's part in how predictions have moved. share: 0..1 of the way of all features. change: of the mean score.

    began: of the first cause, where and when.
    """

    feature: str
    share: float
    change: float
    began: Began | None = None

    def words(self, stream: str) -> str:
        """The cause in words. stream: whose events the feature is made of."""
        began = self.began.words(stream) if self.began else ""
        return f"{self.feature} ({self.share:.0%}, {self.change:+.3g}{began})"


@dataclass(frozen=True)
class Began:
    """Where a feature began to move predictions. node: the segment that has most of it; "" where it is all over the rows.

    day: the first from which on rows are off. is_first: whether that is the first of the days at all, so that it may be older.
    """

    node: str
    day: dt.date
    is_first: bool

    def words(self, stream: str) -> str:
        where = f"most of it in {self.node}, " if self.node else ""
        return f"; {where}since {stream} of {self.day}{' or before' if self.is_first else ''}"


def causes(model: Explained, now: pa.Table, node: str) -> list[Cause]:
    """Each feature's part, the largest first; none of a model that cannot tell, or whose contributions have not moved.

    now: rows of a node's examples, one at least, with their day and leaf. Of several classes the changes are summed up without
    their sign.
    """
    rows = _some(now)
    sides = [model.contributions(_some(model.sample)), model.contributions(rows)]
    if sides[0] is None or sides[1] is None:
        return []
    before, after = (side.of_features for side in sides if side is not None)
    steps = (np.arange(ROWS) + 0.5) / ROWS
    apart = np.abs(np.quantile(after, steps, axis=0) - np.quantile(before, steps, axis=0)).mean(axis=0).sum(axis=0)
    change = after.mean(axis=0) - before.mean(axis=0)
    change = change[0] if len(change) == 1 else np.abs(change).sum(axis=0)
    if not apart.sum():
        return []
    found = [
        Cause(feature, float(part), float(moved))
        for feature, part, moved in zip(model.features, apart / apart.sum(), change, strict=True)
    ]
    first, *others = sorted(found, key=lambda cause: -cause.share)
    place = model.features.index(first.feature)
    off = _off(before[:, :, place], after[:, :, place])
    return [replace(first, began=began(off, rows["ds"].to_pylist(), rows[LEAF].to_pylist(), node)), *others]


def in_words(found: list[Cause], stream_of: Callable[[str], str]) -> str:
    """The largest parts in a sentence; empty if there are none. stream_of: feature -> the stream that it is made of."""
    named = [cause.words(stream_of(cause.feature)) for cause in found[:TOLD] if cause.share >= LEAST]
    return f"moved by {', '.join(named)}" if named else ""


def began(off: np.ndarray, days: Sequence[dt.date], leaves: Sequence[str], node: str) -> Began | None:
    """Where and when rows began to be off; None where they are not.

    off: by how much each row is, beyond the usual, shape (n,). node: whose rows they are.
    """
    whole, leaf_of = off.sum(), np.asarray(leaves)
    if whole <= 0:
        return None
    below = sorted({each for leaf in set(leaves) for each in lineage(leaf)} - set(lineage(node)))
    inside = {each: (leaf_of == each) | np.char.startswith(leaf_of, f"{each}/") for each in below}
    most = [each for each in below if inside[each].mean() < MOST < off[inside[each]].sum() / whole]
    where = min(most, key=lambda each: inside[each].sum(), default="")
    if where:
        off, days = off[inside[where]], [day for day, is_in in zip(days, inside[where], strict=True) if is_in]
    first, on = min(days), np.asarray(days)
    since, apart = first, 0.0
    for day in sorted(set(days) - {first}):
        early, late = off[on < day], off[on >= day]
        gap = (late.mean() - early.mean()) * (len(early) * len(late)) ** 0.5
        if gap > apart and early.mean() < MOST * late.mean():
            since, apart = day, gap
    return Began(where, since, since == first)


def _off(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """By how much more than usual each row's contribution lies apart from the middle of the reference, shape (n,)."""
    middle = np.median(before, axis=0)
    usual, now = (np.abs(side - middle).sum(axis=1) for side in (before, after))
    return np.asarray(now - usual.mean())


def _some(rows: pa.Table) -> pa.Table:
    step = max(1, -(-rows.num_rows // ROWS))
    return rows.take(pa.array(range(0, rows.num_rows, step)))
