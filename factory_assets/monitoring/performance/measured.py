"""How good were the predictions of a day, now that labels are in? Metrics of every node's rows beside a naive guess.

And what would they have been without the node's own model: had the champion above answered the rows that the node answered?
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.identity.nodes import tree
from factory_assets.measures.certainty import Groups
from factory_assets.measures.limits import limits_of_metric
from factory_assets.measures.metrics import metrics_of, score
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values

#: Before the names of columns of what a champion above predicts.
ABOVE = "above_"
#: Rows read at a time.
BATCH_ROWS = 100_000
#: Random parts of a node's rows by which the limits of its metric are told: of more parts they would be hardly narrower.
PARTS = 10


def schema(task: str, parents: bool = False) -> pa.Schema:
    """A row a day and node. predicted, labelled: rows; a metric, or limits, that these rows cannot give are null.

    parents: whether a champion may be above another.
    """
    sides = ("", "naive_", "parent_") if parents else ("", "naive_")
    metrics = [(f"{who}{metric.name}", pa.float64()) for metric in metrics_of(task) for who in sides]
    return pa.schema(
        [
            ("node", pa.string()),
            ("predicted", pa.int64()),
            ("labelled", pa.int64()),
            *metrics,
            ("low", pa.float64()),
            ("high", pa.float64()),
            ("ds", pa.date32()),
        ]
    )


def meaning(task: str, parents: bool = False) -> dict[str, str]:
    """Column -> its meaning."""
    metrics = {metric.name: f"{metric.name} of the labelled rows." for metric in metrics_of(task)}
    naive = {f"naive_{name}": f"{name} of a guess that knows the training labels alone." for name in metrics}
    above = "had the champion above answered the rows that the node answered itself; empty where it answered none, or none is above."
    of_parent = {f"parent_{name}": f"{name} {above}" for name in metrics if parents}
    counts = {"predicted": "Rows that were scored.", "labelled": "Those of them whose label is known."}
    limit = "Limit that holds the line's metric with 95 %, by how the rows of the day scatter: the"
    limits = {"low": f"{limit} lower one.", "high": f"{limit} upper one."}
    node = {"node": "Node of the tree; its rows are those of its subtree."}
    return metrics | naive | of_parent | counts | limits | node


def measure(
    con: duckdb.DuckDBPyConnection, task: str, metric: str, naive: Mapping[str, np.ndarray], parents: bool = False
) -> pa.Table:
    """Metrics by day and node from the views `predictions` and `labels`; each node counts all rows of its subtree.

    metric: the line's, whose limits are told.
    naive: version -> what its training labels alone would have predicted for a row, shape (1,), or (1, k) for k classes.
    parents: whether there is a view `parents` too, of what the champions above would have predicted.
    """
    import pyarrow.compute as pc

    names = [field.name for field in prediction_fields(task)]
    of_parents = "".join(f', parents."{name}" AS "{ABOVE}{name}"' for name in names) if parents else ""
    joined = con.sql(
        f"""SELECT predictions.ds AS ds, predictions.leaf AS leaf, predictions.version AS version, label,
                   {", ".join(f'predictions."{name}"' for name in names)}
                   {f", predictions.node AS node, parents.node AS above {of_parents}" if parents else ""}
            FROM predictions LEFT JOIN (SELECT * FROM labels WHERE superseded_at IS NULL) USING (ds, example_id)
                 {"LEFT JOIN parents USING (ds, example_id)" if parents else ""}
            ORDER BY ds, predictions.leaf, example_id"""
    ).to_arrow_reader(BATCH_ROWS)
    rows: list[dict[str, object]] = []
    for day, of_day in by_day(joined):
        columns, by_node = _columns(task, of_day, naive), SubtreeRows(of_day.select(["leaf"]))
        beside = _Above(task, of_day) if parents else None
        for node in tree(pc.unique(of_day["leaf"]).to_pylist()):
            places = by_node.places(node)
            row = _measured(task, metric, day, node, *(values[places] for values in columns))
            rows.append(row | beside.measured(node, places, *columns[:2]) if beside else row)
    return pa.Table.from_pylist(rows, schema=schema(task, parents))


class _Above:
    """What the champions above would have made of a day's rows. rows: with the columns of parents behind `ABOVE`."""

    def __init__(self, task: str, rows: pa.Table):
        answered = rows["node"].combine_chunks().dictionary_encode()
        self._task, self._answered = task, answered.indices.to_numpy()
        self._nodes = {node: at for at, node in enumerate(answered.dictionary.to_pylist())}
        self._there = rows["above"].is_valid().to_numpy()
        names = {field.name: rows[f"{ABOVE}{field.name}"] for field in prediction_fields(task)}
        self._predicted = prediction_values(task, pa.table(names))

    def measured(self, node: str, places: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> dict[str, object]:
        """Metrics of a node's rows, had the champion above answered those that the node answered itself.

        places: of the node's rows among the day's. prediction, label: of all rows of the day. Empty where nobody is above.
        """
        if node not in self._nodes:
            return {}
        places = places[~np.isnan(label[places])]
        own = self._answered[places] == self._nodes[node]
        if not own.any() or not self._there[places[own]].all():
            return {}
        predicted = prediction[places]
        predicted[own] = self._predicted[places[own]]
        metrics = score(self._task, label[places], predicted)
        return {f"parent_{name}": value for name, value in metrics.items()}


def by_day(rows: pa.RecordBatchReader) -> Iterator[tuple[dt.date, pa.Table]]:
    """Each day with its rows; one day is in memory at a time. rows: in order of their days."""
    day, batches = None, list[pa.RecordBatch]()
    for batch in rows:
        days = batch["ds"].to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.r_[len(days) > 0, days[1:] != days[:-1]])
        for start, end in pairwise([*starts, len(days)]):
            next_day = days[start].astype("datetime64[D]").item()
            if day is not None and next_day != day:
                yield day, pa.Table.from_batches(batches)
                batches = []
            day = next_day
            batches.append(batch.slice(start, end - start))
    if day is not None:
        yield day, pa.Table.from_batches(batches)


def _columns(task: str, rows: pa.Table, naive: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Predictions, labels and naive guesses of the rows; a label not yet known is NaN."""
    return [prediction_values(task, rows), label_values(task, rows[LABEL]), guess_values(rows, naive)]


def guess_values(rows: pa.Table, naive: Mapping[str, np.ndarray]) -> np.ndarray:
    """The naive guess for each row, that of the version which predicted it: shape (rows,), or (rows, k) for k classes."""
    import pyarrow.compute as pc

    places = pc.index_in(rows["version"], value_set=pa.array(naive, pa.string())).to_numpy()
    return np.concatenate(list(naive.values()))[places]


def _measured(
    task: str, metric: str, day: dt.date, node: str, prediction: np.ndarray, label: np.ndarray, guess: np.ndarray
) -> dict[str, object]:
    predicted, labelled = len(label), ~np.isnan(label)
    prediction, label, guess = prediction[labelled], label[labelled], guess[labelled]
    metrics = score(task, label, prediction) if len(label) else {}
    guessed = score(task, label, guess) if len(label) else {}
    # The same rows have the same parts, whatever is measured beside them.
    parts = Groups(np.random.default_rng(0).permutation(len(label)) % PARTS)
    low, high = limits_of_metric(task, metric, label, prediction, [parts]) or (None, None)
    return {
        "node": node,
        "predicted": predicted,
        "labelled": len(label),
        **metrics,
        **{f"naive_{name}": value for name, value in guessed.items()},
        "low": low,
        "high": high,
        "ds": day,
    }
