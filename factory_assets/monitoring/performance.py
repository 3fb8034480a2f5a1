"""How good were the predictions of a day, now that labels are in? Metrics of every node's rows beside a naive guess."""

import datetime as dt
from collections.abc import Iterator, Mapping

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.features.segments import lineage, tree
from factory_assets.measures.metrics import metrics_of, score
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values


def schema(task: str) -> pa.Schema:
    """A row a day and node. predicted, labelled: rows; a metric that these rows cannot give is null."""
    metrics = [(f"{who}{metric.name}", pa.float64()) for metric in metrics_of(task) for who in ("", "naive_")]
    return pa.schema(
        [("segment", pa.string()), ("predicted", pa.int64()), ("labelled", pa.int64()), *metrics, ("ds", pa.date32())]
    )


def meaning(task: str) -> dict[str, str]:
    """Column -> what it says."""
    metrics = {metric.name: f"{metric.name} of the labelled rows." for metric in metrics_of(task)}
    naive = {f"naive_{name}": f"{name} of a guess that knows the training labels alone." for name in metrics}
    counts = {"predicted": "Rows that were scored.", "labelled": "Those of them whose label is known."}
    return metrics | naive | counts | {"segment": "Segment node; its rows are those of its subtree."}


def measure(con: duckdb.DuckDBPyConnection, task: str, naive: Mapping[str, np.ndarray]) -> pa.Table:
    """Metrics by day and node from the views `predictions` and `labels`; each node counts all rows of its subtree.

    naive: version -> what its training labels alone would have predicted for a row, shape (1,), or (1, k) for k classes.
    """
    said = ", ".join(f'"{field.name}"' for field in prediction_fields(task))
    joined = con.sql(
        f"""SELECT predictions.ds AS ds, segment, version, {said}, label
            FROM predictions LEFT JOIN (SELECT * FROM labels WHERE superseded_at IS NULL) USING (ds, example_id)
            ORDER BY ds, segment, example_id"""
    ).to_arrow_table()
    rows: list[dict[str, object]] = []
    for day, segments, told in _by_day(task, joined, naive):
        places: dict[str, list[int]] = {}
        for place, leaf in enumerate(segments):
            for node in lineage(leaf):
                places.setdefault(node, []).append(place)
        rows += [_measured(task, day, node, *(values[places[node]] for values in told)) for node in tree(set(segments))]
    return pa.Table.from_pylist(rows, schema=schema(task))


def _by_day(
    task: str, joined: pa.Table, naive: Mapping[str, np.ndarray]
) -> Iterator[tuple[dt.date, list[str], list[np.ndarray]]]:
    """Day, segments, and predictions, labels and naive guesses of its rows; a label not yet known is NaN."""
    predictions, labels = prediction_values(task, joined), label_values(task, joined[LABEL])
    places = pc.index_in(joined["version"], value_set=pa.array(naive, pa.string())).to_numpy()
    columns = [predictions, labels, np.concatenate([predictions[:0], *naive.values()])[places]]
    days = joined["ds"].to_numpy()
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]]) if len(days) else np.empty(0, dtype=np.int64)
    ends = [*starts[1:], len(days)] if len(days) else []
    for start, end in zip(starts, ends, strict=True):
        segments = joined["segment"].slice(start, end - start).to_pylist()
        yield (
            days[start].astype("datetime64[D]").item(),
            segments,
            [column[start:end] for column in columns],
        )


def _measured(
    task: str, day: dt.date, node: str, prediction: np.ndarray, label: np.ndarray, guess: np.ndarray
) -> dict[str, object]:
    predicted, known = len(label), ~np.isnan(label)
    prediction, label, guess = prediction[known], label[known], guess[known]
    metrics = score(task, label, prediction) if len(label) else {}
    guessed = score(task, label, guess) if len(label) else {}
    return {
        "segment": node,
        "predicted": predicted,
        "labelled": len(label),
        **metrics,
        **{f"naive_{name}": value for name, value in guessed.items()},
        "ds": day,
    }
