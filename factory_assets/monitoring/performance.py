"""How good were the predictions of a day, now that labels are in? Metrics of every node's rows beside a naive guess."""

import datetime as dt

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.features.segments import tree
from factory_assets.measures.metrics import METRICS, score
from factory_assets.training.fitting import rows_within


def metric_names(task: str) -> list[str]:
    return [name for name, metric in METRICS.items() if metric.task == task]


def schema(task: str) -> pa.Schema:
    """A row a day and node. predicted, labelled: rows; a metric that these rows cannot give is null."""
    metrics = [(f"{who}{name}", pa.float64()) for name in metric_names(task) for who in ("", "naive_")]
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
           FROM predictions LEFT JOIN labels USING (ds, example_id) LEFT JOIN naive_guesses USING (version)
           ORDER BY ds, segment, example_id"""
    ).to_arrow_table()
    rows = []
    for day in sorted(set(joined["ds"].to_pylist())):
        of_day = joined.filter(pc.equal(joined["ds"], pa.scalar(day, pa.date32())))
        nodes = tree(set(of_day["segment"].to_pylist()))
        rows += [_measured(task, day, node, rows_within(of_day, node)) for node in nodes]
    return pa.Table.from_pylist(rows, schema=schema(task))


_GUESSES = pa.schema([("version", pa.string()), ("guess", pa.float64())])


def _measured(task: str, day: dt.date, node: str, rows: pa.Table) -> dict[str, object]:
    known = rows.filter(pc.is_valid(rows["label"]))
    y = known["label"].to_numpy()
    metrics = score(task, y, known["prediction"].to_numpy()) if known.num_rows else {}
    guessed = score(task, y, known["guess"].to_numpy()) if known.num_rows else {}
    return {
        "segment": node,
        "predicted": rows.num_rows,
        "labelled": known.num_rows,
        **metrics,
        **{f"naive_{name}": value for name, value in guessed.items()},
        "ds": day,
    }
