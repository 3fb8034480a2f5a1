"""Which predictions lie so far beyond all labels of their model's training that nobody should act on them?

A model of numbers may say a little less than the smallest label, or more than the largest: a line does so every day. One that says
more than the largest label by more than all labels span has left what it knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.measures.tables import PREDICTION
from factory_assets.scoring.outliers import widths_beyond

#: Spans of the training labels beyond which a prediction is out of bounds.
SPANS = 1.0
#: Version -> the smallest and largest label that it was trained on; None where its archive does not tell.
Ranges = Mapping[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Beyond:
    """Predictions of a version at a node. rows: all. outside: beyond all labels. far: by more than `SPANS` of these.

    furthest: the prediction that is furthest out, of any that is. low, high: of the labels.
    """

    node: str
    version: str
    rows: int
    outside: int
    far: int
    furthest: float | None
    low: float
    high: float


def beyond(rows: pa.Table, ranges: Ranges) -> list[Beyond]:
    """Of each version that says a number at a node, in the order of nodes. Of versions whose range is not known: nothing.

    rows: node, version and prediction, shape (n, 3).
    """
    found = list[Beyond]()
    for (node, version), said in _by_version(rows):
        if (known := ranges[version]) is None:
            continue
        low, high = known
        outside = (said < low) | (said > high)
        spans = widths_beyond(said, np.full(len(said), low), np.full(len(said), high))
        furthest = float(said[np.argmax(spans)]) if outside.any() else None
        far = int((outside & (spans > SPANS)).sum())
        found.append(Beyond(node, version, len(said), int(outside.sum()), far, furthest, low, high))
    return found


def _by_version(rows: pa.Table) -> Sequence[tuple[tuple[str, str], np.ndarray]]:
    if not rows.num_rows:
        return []
    nodes, versions = (rows[name].combine_chunks().dictionary_encode() for name in ("node", "version"))
    said = np.asarray(rows[PREDICTION].to_numpy(), dtype=np.float64)
    codes = nodes.indices.to_numpy() * len(versions.dictionary) + versions.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    names, ids = nodes.dictionary.to_pylist(), versions.dictionary.to_pylist()
    keys = [(names[code // len(ids)], ids[code % len(ids)]) for code in present.tolist()]
    return sorted(zip(keys, np.split(said[order], starts[1:]), strict=True), key=lambda each: each[0])
