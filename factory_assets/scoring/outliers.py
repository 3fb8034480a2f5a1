"""Which rows of a day are beyond all that the model has seen: features outside of its training rows, predictions of its labels?

A tree answers such a row as it does the nearest that it knows, and a line goes on for ever; both may be wrong by any amount. It is
counted as the rows are scored.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.measures.profiles import LARGEST
from factory_assets.measures.tables import PREDICTION
from factory_assets.models.archived import ReleasedModel
from factory_assets.scoring.predictions import Answered

#: Rows that are named of a day, of predictions and of features each.
SHOWN = 5


@dataclass(frozen=True)
class Bounds:
    """What a version has seen.

    low, high: shape (p,), the smallest and largest value of each feature; of one that had none, inf and -inf.
    category: shape (p,), whether the feature is one, of which levels are known and no bounds.
    labels: the smallest and largest label of a task of numbers; None for other tasks and where the archive does not tell.
    """

    low: np.ndarray
    high: np.ndarray
    category: np.ndarray
    labels: tuple[float, float] | None


def bounds_of(model: ReleasedModel) -> Bounds:
    """By what the archive keeps: the ends of the profiles' edges are the smallest value and the next after the largest."""
    low, high = np.full(len(model.features), -np.inf), np.full(len(model.features), np.inf)
    for place, name in enumerate(model.features):
        profile = model.manifest["profiles"][name]
        if profile["kind"] == "number":
            low[place], high[place] = profile["edges"][0], np.nextafter(profile["edges"][-1], -np.inf)
        elif profile["kind"] == "empty":
            low[place], high[place] = np.inf, -np.inf
    category = np.array([name in model.encoding.categories for name in model.features], dtype=bool)
    labels = model.manifest.get("label_range")
    return Bounds(low, high, category, (float(labels[0]), float(labels[1])) if labels else None)


@dataclass(frozen=True)
class Outlier:
    """A value beyond what its version has seen. far: how far, in widths of what was seen; 0 for a new level."""

    node: str
    example_id: Any
    column: str
    value: Any
    bounds: str
    far: float


@dataclass(frozen=True)
class Node:
    """Rows that a node answered, those of them with a feature beyond, and predictions beyond; None where that is not known."""

    node: str
    rows: int
    outliers: int
    predictions: int | None


class Outliers:
    """Counts a day's rows, node by node. bounds: version -> what it has seen; those that are asked for are added."""

    def __init__(self, bounds: dict[str, Bounds]):
        self._bounds = bounds
        self._nodes: list[Node] = []
        self._features: list[Outlier] = []
        self._predictions: list[Outlier] = []

    def see(self, answered: Answered) -> None:
        """Count the rows of a node."""
        version = answered.model.version
        if version not in self._bounds:
            self._bounds[version] = bounds_of(answered.model)
        bounds = self._bounds[version]
        outliers = self._see_features(answered, bounds)
        predictions = None if bounds.labels is None else self._see_predictions(answered, *bounds.labels)
        self._nodes.append(Node(answered.node, answered.rows.num_rows, outliers, predictions))

    @property
    def rows(self) -> int:
        """Rows with a feature beyond."""
        return sum(each.outliers for each in self._nodes)

    @property
    def predictions(self) -> int | None:
        """Predictions beyond, of the nodes where that is known; None where it is of none."""
        known = [each.predictions for each in self._nodes if each.predictions is not None]
        return sum(known) if known else None

    @property
    def nodes(self) -> list[Node]:
        """Nodes with anything beyond, those with the largest share of their rows first."""
        found = [each for each in self._nodes if each.outliers or each.predictions]
        return sorted(found, key=lambda each: (-max(each.outliers, each.predictions or 0) / each.rows, each.node))

    @property
    def worst(self) -> list[Outlier]:
        """The predictions that are furthest out, then features, a few of each."""
        return [*_furthest(self._predictions), *_furthest(self._features)]

    def _see_features(self, answered: Answered, bounds: Bounds) -> int:
        matrix = np.clip(answered.matrix, -LARGEST, LARGEST)
        # Nulls are on neither side.
        beyond = (matrix < bounds.low) | (matrix > bounds.high)
        unknown = np.isnan(matrix) & bounds.category
        for place in np.flatnonzero(unknown.any(axis=0)).tolist():
            beyond[:, place] |= unknown[:, place] & _given(answered.rows[answered.model.features[place]])
        rows, places = np.nonzero(beyond)
        if not len(rows):
            return 0
        far = np.zeros(len(rows))
        numbers = ~bounds.category[places]
        at = places[numbers]
        far[numbers] = widths_beyond(matrix[rows[numbers], at], bounds.low[at], bounds.high[at])
        for entry in np.argsort(-far, kind="stable")[:SHOWN].tolist():
            row, place = int(rows[entry]), int(places[entry])
            name = answered.model.features[place]
            value = answered.rows[name][row].as_py()
            known = "levels of training" if bounds.category[place] else _told(bounds.low[place], bounds.high[place])
            self._features.append(
                Outlier(answered.node, answered.rows["example_id"][row].as_py(), name, value, known, float(far[entry]))
            )
        self._features = _furthest(self._features)
        return len(np.unique(rows))

    def _see_predictions(self, answered: Answered, low: float, high: float) -> int:
        said = answered.predictions
        rows = np.flatnonzero((said < low) | (said > high))
        far = widths_beyond(said[rows], np.full(len(rows), low), np.full(len(rows), high))
        for entry in np.argsort(-far, kind="stable")[:SHOWN].tolist():
            row = int(rows[entry])
            self._predictions.append(
                Outlier(
                    answered.node, answered.rows["example_id"][row].as_py(), PREDICTION, float(said[row]),
                    _told(low, high), float(far[entry]),
                )
            )  # fmt: skip
        self._predictions = _furthest(self._predictions)
        return len(rows)


def _given(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.is_valid().to_numpy())


def widths_beyond(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Shape (n,): how far each value is beyond, in widths of what was seen, negative within; of a single value, in its own size.

    Of a feature without any value in training nothing is near or far: 0.
    """
    seen = low <= high
    low, high = np.where(seen, low, values), np.where(seen, high, values)
    # In halves, as the width itself may be beyond a double.
    width = high / 2 - low / 2
    width = np.where(width > 0, width, np.maximum(np.abs(low) / 2, np.finfo(np.float64).tiny))
    beyond = np.maximum(low / 2 - values / 2, values / 2 - high / 2)
    with np.errstate(over="ignore"):
        return np.asarray(beyond / width)


def _told(low: float, high: float) -> str:
    return f"{low:.6g} .. {high:.6g}" if low <= high else "no value in training"


def _furthest(found: list[Outlier]) -> list[Outlier]:
    return sorted(found, key=lambda each: -each.far)[:SHOWN]
