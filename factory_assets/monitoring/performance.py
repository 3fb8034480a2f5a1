"""How good were the predictions of a day, now that labels are in? Metrics of every node's rows beside a naive guess."""

import datetime as dt
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.features.segments import lineage, tree
from factory_assets.measures.metrics import metrics_of, score


def schema(task: str) -> pa.Schema:
    """A row a day and node. predicted, labelled: rows; a metric that these rows cannot give is null."""
    metrics = [(f"{who}{metric.name}", pa.float64()) for metric in metrics_of(task) for who in ("", "naive_")]
    return pa.schema(
        [("segment", pa.string()), ("predicted", pa.int64()), ("labelled", pa.int64()), *metrics, ("ds", pa.date32())]
    )


def measure(con: duckdb.DuckDBPyConnection, task: str, naive: dict[str, float]) -> pa.Table:
    """Metrics by day and node from the views `predictions` and `labels`; each node counts all rows of its subtree.

    naive: version -> what its training labels alone would have predicted.
    """
    con.register("naive_guesses", pa.table({"version": list(naive), "guess": list(naive.values())}, schema=_GUESSES))
    joined = con.sql(
        """SELECT predictions.ds AS ds, segment, prediction, label, guess
           FROM predictions LEFT JOIN (SELECT * FROM labels WHERE superseded_at IS NULL) USING (ds, example_id)
           LEFT JOIN naive_guesses USING (version)
           ORDER BY ds, segment, example_id"""
    ).to_arrow_table()
    rows: list[dict[str, object]] = []
    for day, segments, values in _by_day(joined):
        places: dict[str, list[int]] = {}
        for place, leaf in enumerate(segments):
            for node in lineage(leaf):
                places.setdefault(node, []).append(place)
        rows += [_measured(task, day, node, values[:, places[node]]) for node in tree(set(segments))]
    return pa.Table.from_pylist(rows, schema=schema(task))


def _by_day(joined: pa.Table) -> Iterator[tuple[dt.date, list[str], np.ndarray]]:
    """Day, segments and the array of (prediction, label, guess) of its rows; a label not yet known is NaN."""
    columns = [joined[name].to_numpy() for name in ("prediction", "label", "guess")]
    days = joined["ds"].to_numpy()
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]]) if len(days) else np.empty(0, dtype=np.int64)
    for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
        segments = joined["segment"].slice(start, end - start).to_pylist()
        yield (
            days[start].astype("datetime64[D]").item(),
            segments,
            np.array([column[start:end] for column in columns], float),
        )


_GUESSES = pa.schema([("version", pa.string()), ("guess", pa.float64())])


def _measured(task: str, day: dt.date, node: str, values: np.ndarray) -> dict[str, object]:
    prediction, label, guess = values[:, ~np.isnan(values[1])]
    metrics = score(task, label, prediction) if len(label) else {}
    guessed = score(task, label, guess) if len(label) else {}
    return {
        "segment": node,
        "predicted": values.shape[1],
        "labelled": len(label),
        **metrics,
        **{f"naive_{name}": value for name, value in guessed.items()},
        "ds": day,
    }
