"""What does the champion say about each observation, and which champion was it? Rows of `<line>/predictions`.

And what would the champion above have said? Rows of `<line>/parents`.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.declarations.tasks import PROBABILITY, classes_of
from factory_assets.identity.nodes import answering, lineage
from factory_assets.measures.tables import PREDICTION, prediction_columns, prediction_fields, probability_columns
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.matrix import encode


def schema(example_id: pa.DataType, task: str) -> pa.Schema:
    """Columns of the predictions table; `node` is the node that answered, `version` its champion."""
    return pa.schema(
        [
            ("example_id", example_id),
            ("observed_at", pa.timestamp("us")),
            ("leaf", pa.string()),
            ("node", pa.string()),
            ("version", pa.string()),
            *prediction_fields(task),
            ("ds", pa.date32()),
        ]
    )


def meaning(task: str) -> dict[str, str]:
    """Column -> its meaning."""
    of_classes = {name: f"Probability of {name.removeprefix(PROBABILITY)}." for name in probability_columns(task)}
    return of_classes | {
        "example_id": "The observation, as in the examples.",
        "observed_at": "When it was made, in UTC.",
        "leaf": "Its leaf, a leaf of the tree.",
        "node": "The node that answered: the segment or one above it.",
        "version": "The version that answered, that node's champion before the day.",
        PREDICTION: "The most likely class." if of_classes else "What the version said.",
    }


def meaning_of_parents(task: str) -> dict[str, str]:
    """Column of the table of parents -> its meaning."""
    return meaning(task) | {
        "node": "The nearest node with a champion above the one that answered.",
        "version": "Its champion before the day.",
        PREDICTION: "The most likely class by that version." if classes_of(task) else "What that version says.",
    }


def above(leaf: str, champions: Collection[str]) -> str | None:
    """The nearest node with a champion above the one that answers; None where there is none.

    >>> above("FR/Lyon", {"FR/Lyon", "global"}), above("FR/Lyon", {"FR", "global"}), above("FR/Lyon", {"global"})
    ('global', 'global', None)
    """
    node = answering(leaf, champions)
    return next((each for each in lineage(node)[1:] if each in champions), None) if node else None


def parents(champions: Collection[str]) -> set[str]:
    """Of the nodes with a champion those above another."""
    return {each for node in champions for each in lineage(node)[1:] if each in champions}


def champion_periods(
    days: Sequence[dt.date], champions: Mapping[dt.date, Mapping[str, str]]
) -> Iterator[tuple[list[dt.date], Mapping[str, str]]]:
    """Days in order, grouped while the same champions answer: (days, node -> version)."""
    group: list[dt.date] = []
    for day in days:
        if group and champions[day] != champions[group[-1]]:
            yield group, champions[group[-1]]
            group = []
        group.append(day)
    if group:
        yield group, champions[group[-1]]


@dataclass(frozen=True)
class Answered:
    """Rows that a node answered, as its model saw them, and what it said: the features' matrix, and shape (n,), or (n, k)."""

    node: str
    model: ReleasedModel
    rows: pa.Table
    matrix: np.ndarray
    predictions: np.ndarray


def predict(
    examples: pa.Table,
    models: Mapping[str, ReleasedModel],
    task: str,
    see: Callable[[Answered], None] = lambda answered: None,
    who: Callable[[str], str | None] | None = None,
) -> pa.Table:
    """Predictions for examples by the model of each row's nearest node that has one.

    models: node -> champion. task: that of the line. Rows for which not even the root has a model are left out.
    see: is shown the rows of each node. who: leaf -> the node of `models` that is asked instead; rows of none are left out.
    """
    import pyarrow.compute as pc

    leaf = examples["leaf"]
    leaves = pc.unique(leaf).to_pylist()
    nodes = {leaf: who(leaf) if who else answering(leaf, models) for leaf in leaves}
    parts = []
    for node in sorted({node for node in nodes.values() if node is not None}):
        answered = [leaf for leaf, answer in nodes.items() if answer == node]
        rows = examples.filter(pc.is_in(leaf, pa.array(answered, leaf.type)))
        matrix = encode(rows, models[node].encoding)
        answered_by = Answered(node, models[node], rows, matrix, models[node].predict_encoded(matrix, task))
        see(answered_by)
        parts.append(_predicted(answered_by, task))
    wanted = schema(examples.schema.field("example_id").type, task)
    return (
        pa.concat_tables(parts).sort_by([("ds", "ascending"), ("observed_at", "ascending")])
        if parts
        else wanted.empty_table()
    )


def _predicted(answered: Answered, task: str) -> pa.Table:
    rows = answered.rows
    columns = {name: rows[name] for name in ("example_id", "observed_at", "leaf")}
    columns |= {
        "node": pa.array(np.full(rows.num_rows, answered.node, dtype=object), pa.string()),
        "version": pa.array(np.full(rows.num_rows, answered.model.version, dtype=object), pa.string()),
        **prediction_columns(task, answered.predictions),
        "ds": rows["ds"],
    }
    return pa.table(columns).cast(schema(rows.schema.field("example_id").type, task))
