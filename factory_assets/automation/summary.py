"""How does a deployment stand, in a table a line? Who answers for each node, how well, and does it still fit.

Nodes with something amiss come first: those for which nobody answers, those worse than a naive guess, those that drift.
"""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.identity.nodes import answering, tree
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import better, score
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values
from factory_assets.models.archived import naive_of
from factory_assets.monitoring.performance.measured import guess_values
from factory_assets.training.timeline import first_as_of
from factory_assets.words import brief
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: Labelled rows from which a node that is worse than the naive guess comes first: with a few, any is now and then.
TELLING_ROWS = 100
COLUMNS = ["node", "answers", "champion", "rows", "metric", "naive", "drift"]
NO_VERDICT, STABLE = "no verdict", "stable"
TableOfLine = tuple[str, list[str], list[list[str]], str]


def summarise(catalogue: Catalogue, lake: Lake, ledger: Ledger, archive: ArchiveFolder) -> list[TableOfLine]:
    """Title, columns, rows and note of each line's table."""
    return [_line(catalogue.resolve(line), lake, ledger, archive) for line in catalogue.lines.values()]


def _line(declared: DeclaredLine, lake: Lake, ledger: Ledger, archive: ArchiveFolder) -> TableOfLine:
    name, metric = declared.line.name, metric_of(declared)
    stands = ledger.standing(name)
    champions = {node: by.champion for node, by in stands.items() if by.champion is not None}
    decided = ledger.trained_as_of(name)
    if not decided:
        return name, COLUMNS, [], f"not trained yet: the data allow it from {first_as_of(declared)} on"
    task = declared.line.task
    labelled = _labelled_predictions(lake, name, task)
    guesses, scored = _guesses(archive, name, task, labelled), SubtreeRows(labelled)
    drifted, day = _drift(lake, name)
    rows: list[tuple[tuple[bool, ...], list[str]]] = []
    for node in tree(stands):
        answers, of_node = answering(node, champions), scored.rows(node)
        value, guess = _measured(task, metric, of_node, guesses) if of_node.num_rows else (None, None)
        # A verdict is on the rows that a champion answers, all of them: it says nothing of one node among these.
        drift, has_drifted = (f"as {answers}" if answers else "-"), False
        if answers == node:
            drift, has_drifted = drifted.get(node, (NO_VERDICT, False))
        worse = value is not None and guess is not None and better(metric, guess, value)
        trouble = (answers is None, worse and of_node.num_rows >= TELLING_ROWS, has_drifted)
        row = [
            node,
            "itself" if answers == node else (answers or "nobody"),
            brief(champions[answers] if answers else None),
            f"{of_node.num_rows:,}",
            "-" if value is None else f"{value:.3f}",
            "-" if guess is None or answers is None else f"{guess:.3f}",
            drift,
        ]
        rows.append((trouble, row))
    # Where nothing is amiss, nodes stay in the order of the tree.
    rows.sort(key=lambda each: each[0], reverse=True)
    what = (
        f"metric: {metric} of all labelled predictions since {decided[0]}, naive: a guess by the training labels alone"
    )
    note = f"{what}; drift: on {day}"
    return name, COLUMNS, [row for _, row in rows], note


def _labelled_predictions(lake: Lake, line: str, task: str) -> pa.Table:
    with lake.connect() as con:
        try:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line}/{name}", empty_if_absent=True)
        except LookupError:
            return pa.table({"leaf": pa.array([], pa.string()), "version": pa.array([], pa.string())})
        columns = ", ".join(f'"{field.name}"' for field in prediction_fields(task))
        # Labels that are refused since the task has other classes stand in the table as long as they are.
        of_classes = "".join(f" AND label IN {classes}" for classes in [classes_of(task)] if classes)
        return con.sql(
            f"""SELECT leaf, version, {columns}, label FROM predictions JOIN labels USING (ds, example_id)
                WHERE labels.superseded_at IS NULL{of_classes}"""
        ).to_arrow_table()


def _guesses(archive: ArchiveFolder, line: str, task: str, rows: pa.Table) -> dict[str, np.ndarray]:
    """Version -> what its training labels alone would have predicted, of the versions that the archive has."""
    import pyarrow.compute as pc

    guesses = {}
    for version in pc.unique(rows["version"]).to_pylist():
        with suppress(FileNotFoundError, ArchiveDamaged):  # The run names it among what is damaged.
            guesses[version] = naive_of(archive, line, version, task)
    return guesses


def _measured(
    task: str, metric: str, rows: pa.Table, guesses: Mapping[str, np.ndarray]
) -> tuple[float | None, float | None]:
    """The metric of a node's rows, and of the guesses on them, by which `performance` measures each day."""
    import pyarrow.compute as pc

    y = label_values(task, rows[LABEL])
    value = score(task, y, prediction_values(task, rows)).get(metric)
    if not {*pc.unique(rows["version"]).to_pylist()} <= guesses.keys():
        return value, None
    return value, score(task, y, guess_values(rows, guesses)).get(metric)


def _drift(lake: Lake, line: str) -> tuple[dict[str, tuple[str, bool]], str]:
    """Node -> verdict on the newest day of the drift table, in words, and whether a column has drifted; and that day."""
    days = lake.days(f"{line}/drift")
    if not days:
        return {}, "no day yet"
    rows = lake.read(f"{line}/drift", days[-1], days[-1], ["node", "column", "verdict"])
    judged: dict[str, dict[str, list[str]]] = {}
    for node, column, verdict in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        judged.setdefault(node, {}).setdefault(verdict, []).append(column)
    return {node: (_drift_in_words(of), "drifted" in of) for node, of in judged.items()}, str(days[-1])


def _drift_in_words(columns: Mapping[str, list[str]]) -> str:
    """columns: those of a node by verdict."""
    drifted, stable = columns.get("drifted", []), columns.get("stable", [])
    if drifted:
        return drifted[0] if len(drifted) == 1 else f"{len(drifted)} columns"
    if not stable:
        return NO_VERDICT
    # A column without a verdict is not called stable.
    untold = len(columns.get("no verdict", []))
    return f"{len(stable)} of {len(stable) + untold} {STABLE}" if untold else STABLE
