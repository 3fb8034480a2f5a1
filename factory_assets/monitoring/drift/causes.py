"""Predictions have drifted: which features made them? Those whose contributions to the score have moved.

A prediction is the sum of what its features add to it, exactly (`models/contributions.py`). So the change of a node's mean score is
the sum of the changes of its features' mean contributions; and where the mean stays and predictions spread, the distributions of
contributions have moved all the same. A feature's part is how far: the mean distance of its contributions now from those of
the reference, quantile by quantile (Wasserstein's).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from factory_assets.models.contributions import Contributions

#: Rows a side, of which contributions are computed.
ROWS = 500
#: Features that a sentence names, and the least part of one that it does.
TOLD, LEAST = 3, 0.1


class Explained(Protocol):
    """What of a model is asked here; `archived.ReleasedModel` has it."""

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def sample(self) -> pa.Table: ...

    def contributions(self, rows: pa.Table) -> Contributions | None: ...


@dataclass(frozen=True)
class Cause:
    """A feature's part in how predictions have moved. share: 0..1 of the way of all features. change: of the mean score."""

    feature: str
    share: float
    change: float

    def __str__(self) -> str:
        return f"{self.feature} ({self.share:.0%}, {self.change:+.3g})"


def causes(model: Explained, now: pa.Table) -> list[Cause]:
    """Each feature's part, the largest first; none of a model that cannot tell, or whose contributions have not moved.

    now: rows of examples, one at least. Of several classes the changes are summed up without their sign.
    """
    sides = [model.contributions(_some(rows)) for rows in (model.sample, now)]
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
    return sorted(found, key=lambda cause: -cause.share)


def in_words(found: list[Cause]) -> str:
    """The largest parts in a sentence; empty if there are none."""
    named = [str(cause) for cause in found[:TOLD] if cause.share >= LEAST]
    return f"moved by {', '.join(named)}" if named else ""


def _some(rows: pa.Table) -> pa.Table:
    step = max(1, -(-rows.num_rows // ROWS))
    return rows.take(pa.array(range(0, rows.num_rows, step)))
