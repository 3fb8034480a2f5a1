"""How does a deployment stand, in a table a line? Who answers for each segment, how well, and does it still fit."""

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.features.segments import answering, tree
from factory_assets.measures.metrics import guessed, naive, score
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values
from factory_assets.training.assets import metric_of
from factory_assets.training.fitting import rows_within
from factory_assets.training.timeline import first_as_of
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

COLUMNS = ["segment", "answers", "champion", "rows", "metric", "naive", "drift"]
TableOfLine = tuple[str, list[str], list[list[str]], str]


def summarise(catalogue: Catalogue, lake: Lake, ledger: Ledger) -> list[TableOfLine]:
    """Title, columns, rows and note of each line's table."""
    return [_line(catalogue.resolve(line), lake, ledger) for line in catalogue.lines.values()]


def _line(declared: DeclaredLine, lake: Lake, ledger: Ledger) -> TableOfLine:
    name, metric = declared.line.name, metric_of(declared)
    champions = {node: held.champion for node, held in ledger.champions(name).items()}
    decided = ledger.trained_as_of(name)
    if not decided:
        return name, COLUMNS, [], f"not trained yet: the data allow it from {first_as_of(declared)} on"
    task = declared.line.task
    scored = _labelled_predictions(lake, name, task)
    drifted, day = _drift(lake, name)
    rows = []
    for node in tree({held.segment for held in ledger.decisions(name)}):
        answers = answering(node, champions)
        own = rows_within(scored, node)
        guess = _naive(ledger, name, champions, answers, metric, declared, own)
        value = (
            score(task, label_values(task, own[LABEL]), prediction_values(task, own)).get(metric)
            if own.num_rows
            else None
        )
        rows.append(
            [
                node,
                "itself" if answers == node else (answers or "nobody"),
                str(champions[answers])[:8] if answers else "-",
                f"{own.num_rows:,}",
                "-" if value is None else f"{value:.3f}",
                "-" if guess is None else f"{guess:.3f}",
                drifted.get(answers, "too few rows") if answers else "-",
            ]
        )
    note = f"metric: {metric} of all labelled predictions since {decided[0]}, naive: the same rows without a model; drift: on {day}"
    return name, COLUMNS, rows, note


def _labelled_predictions(lake: Lake, line: str, task: str) -> pa.Table:
    with duckdb.connect(":memory:") as con:
        try:
            for name in ("predictions", "labels"):
                lake.view(con, name, f"{line}/{name}", empty_if_absent=True)
        except LookupError:
            return pa.table({"segment": pa.array([], pa.string())})
        said = ", ".join(f'"{field.name}"' for field in prediction_fields(task))
        # Labels that are refused since the task has other classes stand in the table as long as they are.
        known = "".join(f" AND label IN {classes}" for classes in [classes_of(task)] if classes)
        return con.sql(
            f"""SELECT segment, version, {said}, label FROM predictions JOIN labels USING (ds, example_id)
                WHERE labels.superseded_at IS NULL{known}"""
        ).to_arrow_table()


def _naive(
    ledger: Ledger,
    line: str,
    champions: dict[str, Any],
    answers: str | None,
    metric: str,
    declared: DeclaredLine,
    own: pa.Table,
) -> float | None:
    """The metric of a constant guess on the node's rows: the naive guess of the performance table, pooled."""
    if answers is None or not own.num_rows:
        return None
    task = declared.line.task
    y = label_values(task, own[LABEL])
    return score(task, y, guessed(naive(task, y), len(y))).get(metric)


def _drift(lake: Lake, line: str) -> tuple[dict[str, str], str]:
    """Node -> verdict on the newest day of the drift table, in words, and that day."""
    days = lake.days(f"{line}/drift")
    if not days:
        return {}, "no day yet"
    rows = lake.read(f"{line}/drift", days[-1], days[-1])
    verdicts = {}
    for node in pc.unique(rows["node"]).to_pylist():
        own = rows.filter(pc.equal(rows["node"], node)).to_pylist()
        drifted = [row["column"] for row in own if row["verdict"] == "drifted"]
        judged = [row for row in own if row["verdict"] != "no verdict"]
        verdicts[node] = _drift_in_words(drifted) if judged else "too few rows"
    return verdicts, str(days[-1])


def _drift_in_words(drifted: list[str]) -> str:
    if not drifted:
        return "stable"
    return drifted[0] if len(drifted) == 1 else f"{len(drifted)} columns"
