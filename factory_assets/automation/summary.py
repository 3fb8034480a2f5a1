"""How does a deployment stand, in a table a line? Who answers for each segment, how well, and does it still fit."""

import pyarrow as pa

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.identity.nodes import answering, tree
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import guessed, naive, score
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values
from factory_assets.training.timeline import first_as_of
from factory_resources.duck import opened
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

COLUMNS = ["node", "answers", "champion", "rows", "metric", "naive", "drift"]
TableOfLine = tuple[str, list[str], list[list[str]], str]


def summarise(catalogue: Catalogue, lake: Lake, ledger: Ledger) -> list[TableOfLine]:
    """Title, columns, rows and note of each line's table."""
    return [_line(catalogue.resolve(line), lake, ledger) for line in catalogue.lines.values()]


def _line(declared: DeclaredLine, lake: Lake, ledger: Ledger) -> TableOfLine:
    name, metric = declared.line.name, metric_of(declared)
    stands = ledger.standing(name)
    champions = {node: by.champion for node, by in stands.items() if by.champion is not None}
    decided = ledger.trained_as_of(name)
    if not decided:
        return name, COLUMNS, [], f"not trained yet: the data allow it from {first_as_of(declared)} on"
    task = declared.line.task
    scored = SubtreeRows(_labelled_predictions(lake, name, task))
    drifted, day = _drift(lake, name)
    rows = []
    for node in tree(stands):
        answers, of_node = answering(node, champions), scored.rows(node)
        value, guess = _measured(task, metric, of_node) if of_node.num_rows else (None, None)
        rows.append(
            [
                node,
                "itself" if answers == node else (answers or "nobody"),
                champions[answers][:8] if answers else "-",
                f"{of_node.num_rows:,}",
                "-" if value is None else f"{value:.3f}",
                "-" if guess is None or answers is None else f"{guess:.3f}",
                drifted.get(answers, "too few rows") if answers else "-",
            ]
        )
    note = f"metric: {metric} of all labelled predictions since {decided[0]}, naive: the same rows without a model; drift: on {day}"
    return name, COLUMNS, rows, note


def _labelled_predictions(lake: Lake, line: str, task: str) -> pa.Table:
    with opened([lake.root]) as con:
        try:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line}/{name}", empty_if_absent=True)
        except LookupError:
            return pa.table({"leaf": pa.array([], pa.string())})
        columns = ", ".join(f'"{field.name}"' for field in prediction_fields(task))
        # Labels that are refused since the task has other classes stand in the table as long as they are.
        of_classes = "".join(f" AND label IN {classes}" for classes in [classes_of(task)] if classes)
        return con.sql(
            f"""SELECT leaf, {columns}, label FROM predictions JOIN labels USING (ds, example_id)
                WHERE labels.superseded_at IS NULL{of_classes}"""
        ).to_arrow_table()


def _measured(task: str, metric: str, rows: pa.Table) -> tuple[float | None, float | None]:
    """The metric of a node's rows, and of a constant guess on them: that of the performance table, pooled."""
    y = label_values(task, rows[LABEL])
    prediction, guess = prediction_values(task, rows), guessed(naive(task, y), len(y))
    return score(task, y, prediction).get(metric), score(task, y, guess).get(metric)


def _drift(lake: Lake, line: str) -> tuple[dict[str, str], str]:
    """Node -> verdict on the newest day of the drift table, in words, and that day."""
    days = lake.days(f"{line}/drift")
    if not days:
        return {}, "no day yet"
    rows = lake.read(f"{line}/drift", days[-1], days[-1], ["node", "column", "verdict"])
    judged = dict[str, list[str] | None]()
    for node, column, verdict in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        drifted = judged.setdefault(node, None)
        if verdict != "no verdict":
            judged[node] = (drifted or []) + ([column] if verdict == "drifted" else [])
    words = {node: "too few rows" if drifted is None else _drift_in_words(drifted) for node, drifted in judged.items()}
    return words, str(days[-1])


def _drift_in_words(drifted: list[str]) -> str:
    if not drifted:
        return "stable"
    return drifted[0] if len(drifted) == 1 else f"{len(drifted)} columns"
