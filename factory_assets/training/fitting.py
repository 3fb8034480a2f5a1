"""How is one node's model made from its rows?

Every candidate is fitted on the older part of the training window and scored on the newer part; the best one is fitted
again on all of it. The holdout plays no part in the choice.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.declarations.line import Line
from factory_assets.features.segments import ROOT
from factory_assets.training import estimators
from factory_assets.training.matrix import Encoding, encode, learn_encoding

#: Share of the training days, the newest, on which candidates are compared.
VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Fitted:
    """A node's challenger."""

    node: str
    candidate: str
    estimator: str
    params: Mapping[str, Any]
    model: estimators.Model
    encoding: Encoding
    rows: int
    positives: int | None
    naive: float
    validation: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class NotTrained:
    """A node that has no model of its own, and why; an ancestor answers."""

    node: str
    rows: int
    reason: str


@dataclass(frozen=True)
class Failed:
    """A node whose training ended in an error, told in words; an ancestor answers, or the champion that it has."""

    node: str
    rows: int
    reason: str


Outcome = Fitted | NotTrained | Failed


def rows_within(table: pa.Table, node: str) -> pa.Table:
    """Rows of the node's subtree, in their order."""
    if node == ROOT:
        return table
    segment = table["segment"]
    return table.filter(pc.or_(pc.equal(segment, node), pc.starts_with(segment, f"{node}/")))


def fit_node(line: Line, rows: pa.Table, features: Sequence[str], node: str, metric: str) -> Fitted | NotTrained:
    """The best candidate for one node, or why there is none."""
    if rows.num_rows < line.segments.min_rows:
        return NotTrained(node, rows.num_rows, f"{rows.num_rows} training rows, {line.segments.min_rows} needed")
    y = rows["label"].to_numpy()
    positives, needed = int(y.sum()) if line.task == "binary" else None, line.segments.min_positives
    if positives is not None and positives < needed:
        return NotTrained(node, rows.num_rows, f"{positives} positives among {len(y)} rows, {needed} needed")
    if positives is not None and not 0 < positives < len(y):
        return NotTrained(node, rows.num_rows, f"{positives} positives among {len(y)} rows: nothing to tell apart")
    encoding = learn_encoding(rows, features)
    x = encode(rows, encoding)
    validation = _validate(line, encoding, x, y, rows["ds"].to_numpy(zero_copy_only=False))
    chosen = _best(line, validation, metric)
    candidate = line.candidates[chosen]
    return Fitted(
        node=node,
        candidate=chosen,
        estimator=candidate.estimator,
        params=candidate.params,
        model=_fit(line, chosen, encoding, x, y),
        encoding=encoding,
        rows=rows.num_rows,
        positives=positives,
        naive=float(y.mean() if line.task == "binary" else np.median(y)),
        validation=validation,
    )


def _fit(line: Line, name: str, encoding: Encoding, x: np.ndarray, y: np.ndarray) -> estimators.Model:
    candidate = line.candidates[name]
    return estimators.fit(
        candidate.estimator,
        x,
        y,
        task=line.task,
        categorical=encoding.categorical,
        params=candidate.params,
        seed=line.seed,
    )


def _validate(
    line: Line, encoding: Encoding, x: np.ndarray, y: np.ndarray, days: np.ndarray
) -> dict[str, dict[str, float]]:
    """Every candidate's metrics on the newest days of the training window."""
    from factory_assets.measures.metrics import score

    if len(line.candidates) == 1:
        return {}
    last = days.max() - np.timedelta64(dt.timedelta(days=round(line.train.window.days * VALIDATION_SHARE)))
    older, newer = days <= last, days > last
    if not older.any() or not newer.any() or (line.task == "binary" and len(np.unique(y[older])) < 2):
        return {}
    return {
        name: score(line.task, y[newer], _fit(line, name, encoding, x[older], y[older]).predict(x[newer]))
        for name in line.candidates
    }


def _best(line: Line, validation: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """The best by the gate's metric; the first declared where the metric cannot tell."""
    from factory_assets.measures.metrics import better

    best = next(iter(line.candidates))
    for name, metrics in validation.items():
        if metric in metrics and (
            metric not in validation[best] or better(metric, metrics[metric], validation[best][metric])
        ):
            best = name
    return best
