"""What did everyone who met on a holdout predict, row by row? Rows of `<line>/evaluation`, kept once as of the day of the training.

Metrics, curves, slices and what-ifs are computed from them, and no model is asked again. A node's rows are those of its subtree, so
a row is there once for its leaf and once for each node above that has a model to measure.
"""

import datetime as dt
from collections.abc import Iterator, Mapping

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.tasks import PROBABILITY, classes_of
from factory_assets.evaluation.parts import ASKED, SLICES, Asked, belonging, parts_of
from factory_assets.evaluation.parts import measured as measured_of
from factory_assets.measures.tables import (
    LABEL,
    PREDICTION,
    label_values,
    prediction_columns,
    prediction_fields,
    prediction_values,
    probability_columns,
)
from factory_assets.models.archived import ReleasedModel
from factory_resources.lake import Lake

#: Who predicts a node's rows; all but the naive guess are versions.
SIDES = ("challenger", "champion", "parent", "naive")
VERSIONS = SIDES[:-1]
#: What is kept of an example beside its label. No feature is: the example has it.
ABOUT = ("example_id", "observed_at", "leaf", "ds")
#: A sum of the same numbers in another order differs in its last bits.
ORDER = [("observed_at", "ascending"), ("example_id", "ascending")]
#: Rows whose features are a matrix at a time.
BATCH = 50_000

Floats = np.ndarray


def schema(task: str) -> pa.Schema:
    """Columns of the table. An id is a text whatever its type: the rows of years stay as they are when that changes."""
    return pa.schema(
        [
            ("node", pa.string()),
            ("task", pa.string()),
            *((version_of(side), pa.string()) for side in VERSIONS),
            ("example_id", pa.string()),
            ("observed_at", pa.timestamp("us")),
            ("leaf", pa.string()),
            ("day", pa.date32()),
            (LABEL, pa.string() if classes_of(task) else pa.float64()),
            *(pa.field(f"{side}_{each.name}", each.type) for side in SIDES for each in prediction_fields(task)),
            (SLICES, pa.list_(pa.string())),
            (ASKED, pa.string()),
            ("ds", pa.date32()),
        ]
    )


def meaning(task: str) -> dict[str, str]:
    """Column -> its meaning."""
    whose = {
        "challenger": "the version that was trained for the node",
        "champion": "the version that the node held before its ruling",
        "parent": "the version that answered above the node after the ruling there",
        "naive": "a guess that knows the training labels alone",
    }
    of_sides = {f"{side}_{PREDICTION}": f"The prediction of {who}." for side, who in whose.items()}
    for name in probability_columns(task):
        of_class = f"Probability of {name.removeprefix(PROBABILITY)}, by"
        of_sides |= {f"{side}_{name}": f"{of_class} {who}." for side, who in whose.items()}
    return of_sides | {
        "node": "The node on whose rows they met; its rows are those of its subtree.",
        "task": "The task as it was declared then.",
        **{version_of(side): f"{whose[side].capitalize()}; empty where there was none." for side in VERSIONS},
        "example_id": "The observation, as in the examples, as a text.",
        "observed_at": "When it was made, in UTC.",
        "leaf": "Its leaf of the tree.",
        "day": "The day of the observation, by which the examples are kept.",
        LABEL: "What happened, as it was known at the close of the day as of which it is.",
        SLICES: "The declared slices that the row is of, and the groups, such as country=FR; null where none were declared.",
        ASKED: "What was declared then of slices, groups and costs, as JSON; empty where nothing was.",
        "ds": "The day as of which the challenger was trained, and they met.",
    }


def version_of(side: str) -> str:
    """The column with a side's version."""
    return f"{side}_version"


def predicted(
    task: str,
    rows: pa.Table,
    models: Mapping[str, ReleasedModel],
    since: dt.date,
    asked: Asked | None = None,
    also: str | None = None,
) -> tuple[pa.Table, dict[str, Floats]]:
    """Rows from a day on, ordered, without features, and what each side predicts of them: shape (n,), or (n, k) for k classes.

    rows: in any order. They may lie in files that are mapped: only a batch of them is looked at at a time, and what is returned
    is small. models: side -> model. asked: what is measured on parts of the rows, which are kept with them. also: a further column
    to keep.
    """
    import pyarrow.compute as pc

    names = dict.fromkeys([*ABOUT, LABEL, *([also] if also else [])])
    kept = rows.select(list(names)).filter(pc.field("ds") >= since)
    place = kept.schema.get_field_index("example_id")
    kept = kept.set_column(place, "example_id", kept["example_id"].cast(pa.string()))
    order = pc.sort_indices(kept, sort_keys=ORDER)
    parts: dict[str, list[Floats]] = {side: [] for side in models}
    slices: list[pa.Array] = []
    for start in range(0, max(rows.num_rows, 1), BATCH):
        batch = rows.slice(start, BATCH).filter(pc.field("ds") >= since)
        slices += [belonging(asked, batch)] if asked else []
        for side, model in models.items():
            parts[side].append(model.predict(batch, task))
    if asked:
        same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(kept.num_rows, np.int8)), [asked.json])
        kept = kept.append_column(SLICES, pa.chunked_array(slices, pa.list_(pa.string()))).append_column(ASKED, same)
    return kept.take(order), {side: np.concatenate(of)[order.to_numpy()] for side, of in parts.items()}


def tables(
    node: str,
    task: str,
    day: dt.date,
    rows: pa.Table,
    versions: Mapping[str, str],
    predictions: Mapping[str, Floats],
) -> Iterator[pa.Table]:
    """A node's rows of `<line>/evaluation` as of a day, some at a time.

    rows, predictions: as `predicted` gives them, and the naive guess. versions: side -> version, of those that there are.
    """
    same = {"node": node, "task": task, **{version_of(side): versions.get(side) for side in VERSIONS}, "ds": day}
    wanted = schema(task)
    for start in range(0, rows.num_rows, BATCH):
        of, count = rows.slice(start, BATCH), min(BATCH, rows.num_rows - start)
        columns: dict[str, pa.Array | pa.ChunkedArray] = {name: of[name] for name in ABOUT} | {"day": of["ds"]}
        columns |= {name: pa.repeat(pa.scalar(value, wanted.field(name).type), count) for name, value in same.items()}
        columns |= {name: of[name] if name in of.column_names else pa.nulls(count) for name in (SLICES, ASKED)}
        columns[LABEL] = of[LABEL] if classes_of(task) else pa.array(label_values(task, of[LABEL]))
        for side in SIDES:
            own = prediction_columns(task, predictions[side][start : start + BATCH]) if side in predictions else {}
            for each in prediction_fields(task):
                columns[f"{side}_{each.name}"] = own.get(each.name, pa.nulls(count, each.type))
        yield pa.table({name: columns[name] for name in wanted.names}).cast(wanted)


def view(con: duckdb.DuckDBPyConnection, lake: Lake, line: str, day: dt.date, name: str = "scores") -> str:
    """Make the rows as of a day a view on the connection; its name."""
    lake.view(con, name, f"{line}/evaluation", day, day, empty_if_absent=True)
    return name


def nodes_of(con: duckdb.DuckDBPyConnection, scores: str) -> list[str]:
    """The nodes with rows in a view of scores."""
    return [node for (node,) in con.execute(f"SELECT DISTINCT node FROM {scores} ORDER BY node").fetchall()]


def of_node(con: duckdb.DuckDBPyConnection, scores: str, node: str) -> pa.Table:
    """A node's rows in a view of scores, in the order in which they were measured."""
    rows: pa.Table = con.sql(f"SELECT * FROM {scores} WHERE node = ?", params=[node]).to_arrow_table()
    return rows.sort_by(ORDER)


def measured(rows: pa.Table) -> dict[str, dict[str, float]]:
    """Side -> its metrics by the rows of one node, or by any of them: bit for bit what the ledger has of all. {} without rows.

    rows: as `of_node` gives them, or a part of them in the same order.
    """
    if not rows.num_rows:
        return {}
    task, parts = rows["task"][0].as_py(), parts_of(rows)
    y = label_values(task, rows[LABEL])
    return {side: measured_of(task, y, predictions_of(rows, side), parts) for side in SIDES if _is_there(rows, side)}


def predictions_of(rows: pa.Table, side: str) -> Floats:
    """What a side predicted of rows of one node: shape (n,), or (n, k) for k classes."""
    task = rows["task"][0].as_py()
    return prediction_values(
        task, pa.table({each.name: rows[f"{side}_{each.name}"] for each in prediction_fields(task)})
    )


def _is_there(rows: pa.Table, side: str) -> bool:
    return side not in VERSIONS or rows[version_of(side)][0].is_valid
