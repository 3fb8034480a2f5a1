"""What did the predictions of a day come to, in the owner's own measure? Declared outcomes by node and version, once labels are in.

An outcome is an expression over one row: the observed event as it is known now, its label, and the prediction. It is computed
once for the prediction, and once with the naive guess of the version in the prediction's place. All else is sums.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations import expressions, outcomes
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.features.point_in_time import history
from factory_assets.features.point_in_time.aggregates import finite
from factory_assets.features.point_in_time.history import Load, Versions
from factory_assets.identity.nodes import tree
from factory_assets.measures.tables import LABEL, PREDICTION, prediction_columns
from factory_assets.monitoring.performance.measured import BATCH_ROWS, by_day

SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("version", pa.string()),
        ("outcome", pa.string()),
        ("rows", pa.int64()),
        ("sum", pa.float64()),
        ("mean", pa.float64()),
        ("naive_rows", pa.int64()),
        ("naive_sum", pa.float64()),
        ("naive_mean", pa.float64()),
        ("ds", pa.date32()),
    ]
)
MEANS = {
    "node": "Node of the tree; its rows are those of its subtree.",
    "version": "The version that answered.",
    "outcome": "The outcome, as the line declares it.",
    "rows": "Rows of the version whose label is known, and for which the outcome has a value.",
    "sum": "The outcome of these rows together, in its unit.",
    "mean": "The outcome of one of them on average.",
    "naive_rows": "Those of the rows for which it also has a value with a naive guess, which knows the training labels alone.",
    "naive_sum": "What the outcome of these would have come to with the naive guess in place of the prediction.",
    "naive_mean": "The mean of that.",
}
#: Days of a week, and weeks that a person is shown.
WEEK, WEEKS = 7, 4
#: Versions that a picture can tell apart, with their names in a line beside its title.
VERSIONS_SHOWN = 3


def reads(declared: DeclaredLine) -> list[str]:
    """Tables whose day the outcomes of a day are made of."""
    line = declared.line
    tables = [f"{line.name}/predictions", f"{line.name}/labels"]
    if _columns(declared):
        tables.append(f"{line.name}/examples" if line.observe.entity else f"{line.observe.stream}/events")
    return tables


def _columns(declared: DeclaredLine) -> list[str]:
    """Columns of the observation that the outcomes read."""
    read = (outcomes.read(declared, outcome.expression) for outcome in declared.line.outcomes.values())
    return list(dict.fromkeys(name for names in read for name in names))


def observed(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], load: Load) -> str | None:
    """A query for the observations of the days as they are known now: ds, example_id, and the columns that outcomes read.

    None where they read none. The newest version of an event counts, wherever a correction has moved it: its label does as well.
    """
    columns = _columns(declared)
    if not columns:
        return None
    listed, key = ", ".join(map(identifier, columns)), "example_id"
    if declared.line.observe.entity:
        load("examples", f"{declared.line.name}/examples", days[0], days[-1])
        return f"SELECT ds, {key}, {listed} FROM examples"
    stream, events = declared.observed.stream, "observed_events"
    key = f"{identifier(stream.id)} AS {key}"
    versions = Versions(declared.observed, {*columns, stream.id}, days[0], days[-1], elsewhere=True)
    history.create(con, events, versions, load)
    return f"SELECT ds, {key}, {listed} FROM {events} WHERE superseded_at IS NULL"


def measure(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, observations: str | None, naive: Mapping[str, np.ndarray]
) -> pa.Table:
    """Outcomes by day, node and version from the views `predictions` and `labels`; each node counts all rows of its subtree.

    observations: as `observed` gave it. naive: as of `performance.measure`. A row of which an outcome cannot be computed, or
    is no finite number, is none of its rows.
    """
    import pyarrow.compute as pc

    if not naive:
        return SCHEMA.empty_table()
    guesses = prediction_columns(declared.line.task, np.concatenate(list(naive.values())))
    con.register("guesses", pa.table({"version": pa.array(naive, pa.string()), **guesses}))
    rows: list[dict[str, Any]] = []
    for day, of_day in by_day(con.sql(_query(declared, observations)).to_arrow_reader(BATCH_ROWS)):
        by_node = SubtreeRows(of_day.select(["leaf"]))
        answered = of_day["version"].combine_chunks().dictionary_encode()
        versions, codes = answered.dictionary.to_pylist(), answered.indices.to_numpy()
        values = {
            name: [of_day[f"{who}{place}"].to_numpy() for who in ("own", "naive")]
            for place, name in enumerate(declared.line.outcomes)
        }
        for node in tree(pc.unique(of_day["leaf"]).to_pylist()):
            places = by_node.places(node)
            for name, (own, guessed) in values.items():
                known = places[~np.isnan(own[places])]
                sums = _sums(codes[known], len(versions), own[known], guessed[known])
                rows += [
                    {"node": node, "version": version, "outcome": name, **of_version, "ds": day}
                    for version, of_version in sorted(zip(versions, sums, strict=True), key=lambda one: one[0])
                    if of_version["rows"]
                ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _query(declared: DeclaredLine, observations: str | None) -> str:
    """Rows with a label: ds, leaf, version, and of the outcome in place i the values own<i> and naive<i>, null for none."""
    of_event = {name: f"observed.{identifier(name)}" for name in _columns(declared)} | {LABEL: "labels.label"}
    classes = [name for name in outcomes.answer(declared.line) if name not in (LABEL, PREDICTION)]
    # A class that was not declared yet when the row was predicted has no column.
    predicted = {name: f"coalesce(predictions.{identifier(name)}, 0)" for name in classes}
    guessed = {name: f"guesses.{identifier(name)}" for name in (PREDICTION, *classes)}
    by_side = {"own": of_event | {PREDICTION: "predictions.prediction"} | predicted, "naive": of_event | guessed}
    values = [
        f"{finite(f'TRY({expressions.over(outcome.expression, columns)})')} AS {who}{place}"
        for place, outcome in enumerate(declared.line.outcomes.values())
        for who, columns in by_side.items()
    ]
    source = f"LEFT JOIN ({observations}) AS observed USING (ds, example_id)" if observations else ""
    return f"""SELECT predictions.ds AS ds, predictions.leaf AS leaf, predictions.version AS version, {", ".join(values)}
               FROM predictions JOIN (SELECT * FROM labels WHERE superseded_at IS NULL) AS labels USING (ds, example_id)
               JOIN guesses ON guesses.version = predictions.version {source}
               ORDER BY predictions.ds, predictions.leaf, example_id"""


def _sums(codes: np.ndarray, versions: int, own: np.ndarray, naive: np.ndarray) -> list[dict[str, Any]]:
    """For each version what its rows come to. codes: place of each row's version, shape (n,); own, naive: values, NaN for none."""
    found: list[dict[str, Any]] = [{} for _ in range(versions)]
    for before, values in (("", own), ("naive_", naive)):
        known = ~np.isnan(values)
        rows = np.bincount(codes[known], minlength=versions).tolist()
        sums = np.bincount(codes[known], values[known], versions).tolist()
        for one, number, all_of in zip(found, rows, sums, strict=True):
            one[f"{before}rows"] = number
            one[f"{before}sum"] = all_of if number else None
            one[f"{before}mean"] = all_of / number if number else None
    return found


def courses(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dt.date], dict[str, list[float | None]]]:
    """The days of one outcome, and its mean on each by version, None where it has none; and that with the naive guesses.

    rows: of one node and outcome, by day. Of the versions those that answered for most rows, the newest first.
    """
    days = by_days(rows)
    many: dict[str, int] = {}
    newest: dict[str, dt.date] = {}
    for row in rows:
        many[row["version"]] = many.get(row["version"], 0) + row["rows"]
        newest[row["version"]] = row["ds"]
    shown = sorted(many, key=lambda version: (-many[version], version))[:VERSIONS_SHOWN]
    shown.sort(key=lambda version: (newest[version], many[version], version), reverse=True)
    means = {(row["version"], row["ds"]): row["mean"] for row in rows}
    series: dict[str, list[float | None]] = {version: [means.get((version, day)) for day in days] for version in shown}
    return [*days], series | {"naive": [of_day["naive"] for of_day in days.values()]}


def by_week(rows: Iterable[Mapping[str, Any]], last: dt.date) -> list[dict[str, Any]]:
    """The last weeks of one outcome by version, newest week first: mean, naive, rows, week_to, version.

    rows: of one node and outcome. last: the day with which the newest week ends.
    """
    weeks: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if 0 <= (back := (last - row["ds"]).days // WEEK) < WEEKS:
            weeks.setdefault((back, row["version"]), []).append(row)
    found = [
        {**_total(of_week), "week_to": last - dt.timedelta(days=WEEK * back), "version": version}
        for (back, version), of_week in weeks.items()
    ]
    return sorted(found, key=lambda row: (-row["week_to"].toordinal(), -row["rows"], row["version"]))


def by_days(rows: Iterable[Mapping[str, Any]]) -> dict[dt.date, dict[str, Any]]:
    """Day -> mean, naive and rows of one outcome, of all versions. rows: of one node and outcome, by day."""
    days: dict[dt.date, list[Mapping[str, Any]]] = {}
    for row in rows:
        days.setdefault(row["ds"], []).append(row)
    return {day: _total(of_day) for day, of_day in days.items()}


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the table together: mean of the outcome, its mean with the naive guess, and of how many rows."""
    number, guessed = (sum(row[name] for row in rows) for name in ("rows", "naive_rows"))
    own, naive = (sum(row[name] or 0.0 for row in rows) for name in ("sum", "naive_sum"))
    return {"mean": own / number, "naive": naive / guessed if guessed else None, "rows": number}
