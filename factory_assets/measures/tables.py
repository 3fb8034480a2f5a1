"""In which columns of a table do a task's labels and predictions stand, and which arrays are they?

A label is a number, or the name of its class. A prediction is a number, or for k classes the name of the most likely one and a
column of probability for each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from factory_assets.declarations.tasks import PROBABILITY, classes_of
from factory_assets.measures.metrics import Floats, most_likely

#: Names of columns of examples, labels and predictions; no feature has one.
LABEL, PREDICTION, LEAF = "label", "prediction", "leaf"
#: The level of a binary label of which a change is stated in times as many.
YES = "1"


def label_values(task: str, column: pa.ChunkedArray) -> Floats:
    """Labels as numbers, shape (n,): for classes their places in the task. A label that is not known yet is NaN.

    Raises ValueError for the name of a class that the task does not have.
    """
    import pyarrow.compute as pc

    classes = classes_of(task)
    if not classes:
        return np.asarray(column.to_numpy(), dtype=np.float64)
    texts = column.cast(pa.string())
    if strange := sorted(set(pc.unique(texts).drop_null().to_pylist()) - set(classes)):
        raise ValueError(
            f"labels {', '.join(map(repr, strange[:5]))} are no class of the task; classes: {', '.join(classes)}"
        )
    places = pc.index_in(texts, value_set=pa.array(classes, pa.string()))
    return np.asarray(pc.fill_null(places.cast(pa.float64()), np.nan).to_numpy())


def label_column(task: str, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Labels as their distribution is looked at: names of classes, of a binary task "0" and "1"; of the others numbers."""
    import pyarrow.compute as pc

    if classes_of(task):
        return labels.cast(pa.string())
    return labels.cast(pa.int8()).cast(pa.string()) if task == "binary" else pc.cast(labels, pa.float64())


def known_by(moment: str) -> str:
    """SQL that is true of labels that held at a moment, in the relation `labels`: known by then, and not superseded.

    moment: SQL of a timestamp.
    """
    return f"labels.known_at <= {moment} AND coalesce(labels.superseded_at > {moment}, true)"


def probability_columns(task: str) -> list[str]:
    """Names of the columns that hold each class's probability; none for a task without classes."""
    return [f"{PROBABILITY}{name}" for name in classes_of(task)]


def prediction_fields(task: str) -> list[pa.Field]:
    """The columns of a task's predictions."""
    if not classes_of(task):
        return [pa.field(PREDICTION, pa.float64())]
    return [pa.field(PREDICTION, pa.string()), *(pa.field(name, pa.float64()) for name in probability_columns(task))]


def prediction_columns(task: str, predictions: Floats) -> dict[str, pa.Array]:
    """Predictions as columns of a table. predictions: shape (n,), or (n, k) for k classes."""
    classes = classes_of(task)
    if not classes:
        return {PREDICTION: pa.array(predictions, pa.float64())}
    names = pa.array(classes, pa.string()).take(pa.array(most_likely(predictions)))
    of_classes = (pa.array(np.ascontiguousarray(predictions[:, place])) for place in range(len(classes)))
    return {PREDICTION: names} | dict(zip(probability_columns(task), of_classes, strict=True))


def prediction_values(task: str, rows: pa.Table) -> Floats:
    """The inverse: shape (n,), or (n, k). A class whose column is null was not declared yet when the row was predicted."""
    import pyarrow.compute as pc

    names = probability_columns(task)
    if not names:
        return np.asarray(rows[PREDICTION].to_numpy(), dtype=np.float64)
    columns = [pc.fill_null(rows[name].cast(pa.float64()), 0.0).to_numpy() for name in names]
    return np.column_stack(columns).astype(np.float64)


def aligned(made: str, predictions: Floats, wanted: str) -> Floats:
    """Probabilities of one task's classes, shape (..., j), as those of another's, (..., k), by the names of the classes.

    A class for which the model was not made has 0; classes that are no longer declared share out their probability. Predictions of
    a task without classes stay as they are. Raises ValueError between tasks with classes and without.
    """
    if made == wanted or not (classes_of(made) or classes_of(wanted)):
        return predictions
    before, now = classes_of(made), classes_of(wanted)
    if not before or not now:
        raise ValueError(f"a model of task {made} cannot answer for {wanted}: give the line another name")
    kept = np.zeros((*predictions.shape[:-1], len(now)))
    for place, name in enumerate(before):
        if name in now:
            kept[..., now.index(name)] = predictions[..., place]
    left = kept.sum(axis=-1, keepdims=True)
    return np.where(left > 0, kept / np.where(left > 0, left, 1), 1 / len(now))


def with_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """The rows with further columns."""
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows
