"""Which rows does a span of days give, with their labels? Examples joined to labels known in time."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.measures.habits import Stretches
from factory_assets.measures.tables import known_by
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import Timeline
from factory_resources.lake import Lake

#: Rows that are on their way from a query to the files of nodes at a time.
BATCH = 50_000


@dataclass(frozen=True)
class DaysAsKnown:
    """Days, both inclusive, as they were known at a moment (UTC).

    Later rows and corrections are left out, so that the rows of a past moment stay the same: no label is known before the
    event that it is of.
    """

    first: dt.date
    last: dt.date
    known_before: dt.datetime


@dataclass(frozen=True)
class NodeRows:
    """The rows that a node's model is made from. train: of its training window, with labels. recent: of the holdout, none of a refit.

    around: of the other days of the past weeks that say how much rows differ from week to week, and of their season a year ago.
    labels: of such weeks, which are older, and each as it was known when it would have been judged.
    """

    train: pa.Table
    recent: pa.Table
    around: pa.Table
    labels: pa.Table


@dataclass(frozen=True)
class TrainingRows:
    """The rows of all nodes of a training, by node; see `NodeRows`."""

    train: Subtrees
    recent: Subtrees
    around: Subtrees
    labels: Subtrees

    def of(self, node: str) -> NodeRows:
        return NodeRows(*(part.rows(node) for part in (self.train, self.recent, self.around, self.labels)))


@dataclass(frozen=True)
class RefitRows:
    """The rows of all nodes of a refit: labelled ones alone. What they are compared with later is what the judged version has."""

    train: Subtrees

    def of(self, node: str) -> NodeRows:
        rows = self.train.rows(node)
        none = rows.slice(0, 0)
        return NodeRows(rows, none, none, none)


def labelled_by_node(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    line: str,
    days: DaysAsKnown,
    tables: Mapping[str, int] | None = None,
) -> tuple[Subtrees, dict[str, int]]:
    """Examples of the days with the labels known at the moment, and the table versions they were read from.

    tables: the versions to read; the newest ones if absent.
    """
    versions = {}
    for table in ("examples", "labels"):
        name = f"{line}/{table}"
        version = None if tables is None else tables[name]
        versions[name] = lake.view(con, table, name, days.first, days.last, version, empty_if_absent=True) or 0
    known = known_by(f"TIMESTAMP '{days.known_before:%Y-%m-%d %H:%M:%S}'")
    query = f"SELECT examples.*, label FROM examples JOIN labels USING (ds, example_id) WHERE {known}"
    return _by_node(con, query, "examples"), versions


def label_counts(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    line: str,
    days: DaysAsKnown,
    labels: bool = True,
    tables: Mapping[str, int] | None = None,
) -> list[tuple[dt.date, str, int, int]]:
    """Day, leaf, how many examples it has, and how many of them a label that was known at the moment.

    labels: whether these are counted; 0 otherwise, which reads no id. tables: the versions to read; the newest ones if absent.
    """
    for table in ("examples", "labels") if labels else ("examples",):
        version = None if tables is None else tables[f"{line}/{table}"]
        lake.view(con, table, f"{line}/{table}", days.first, days.last, version, empty_if_absent=True)
    if not labels:
        return con.execute("SELECT ds, leaf, count(*), 0 FROM examples GROUP BY ALL").fetchall()
    known = known_by(f"TIMESTAMP '{days.known_before:%Y-%m-%d %H:%M:%S}'")
    return con.execute(
        f"""SELECT ds, leaf, count(*), count(there) FROM examples
            LEFT JOIN (SELECT ds, example_id, true AS there FROM labels WHERE {known}) USING (ds, example_id) GROUP BY ALL"""
    ).fetchall()


def examples_by_node(con: duckdb.DuckDBPyConnection, lake: Lake, line: str, day: dt.date) -> Subtrees:
    """Examples of a day, with labels or without."""
    lake.view(con, "examples", f"{line}/examples", day, day, empty_if_absent=True)
    return _by_node(con, "SELECT * FROM examples", "examples")


def newest_examples(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, day: dt.date
) -> tuple[dt.date, Subtrees] | None:
    """The newest day that is to be answered until the close of a day, with its examples; None without any.

    A later day that the lake may have by now does not count: a training as of a day comes out alike whenever it runs.
    """
    days = [each for each in lake.days(f"{line}/examples") if each <= day]
    return (days[-1], examples_by_node(con, lake, line, days[-1])) if days else None


def _by_node(con: duckdb.DuckDBPyConnection, query: str, view: str) -> Subtrees:
    """view: has all rows of the query, and maybe more."""
    sizes = con.execute(f"SELECT leaf, count(*) FROM {view} GROUP BY leaf").fetchall()
    # Nodes put their rows in order themselves, so DuckDB need not hold rows back to keep one.
    con.execute("SET preserve_insertion_order = false")
    return Subtrees(con.sql(query).to_arrow_reader(BATCH), dict(sizes))


def learnt_rows(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, span: Timeline, tables: Mapping[str, int] | None = None
) -> tuple[Subtrees, dict[str, int]]:
    """The labelled rows of a training's window, and the table versions read; `tables` as of `labelled_by_node`."""
    return labelled_by_node(con, lake, line, window_of(span), tables)


def window_of(span: Timeline) -> DaysAsKnown:
    """The days that a training learns from, as they are known when it does."""
    return DaysAsKnown(span.train_from, span.train_to, close_of(span.learnt_at))


def past_stretches(declared: DeclaredLine, span: Timeline) -> Stretches:
    """The past, in stretches as long as what drift is judged on, from the first day whose windows the stream fills."""
    filled = declared.observed.stream.start + dt.timedelta(days=declared.reach_days)
    return Stretches(filled, span.as_of, declared.line.monitor.window.days)


def past_of_labels(past: Stretches, span: Timeline) -> Stretches:
    """The past weeks of labels: back from the last day whose labels are all due when the model is made."""
    return past.until(span.holdout_to)


def training_rows(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    line: str,
    span: Timeline,
    past: Stretches,
    tables: Mapping[str, int] | None = None,
) -> tuple[TrainingRows, dict[str, int]]:
    """The rows of a training: labelled ones of its window, examples of the holdout and of past weeks, and the table versions read.

    tables: the versions to read; the newest ones if absent.
    """
    train, versions = learnt_rows(con, lake, line, span, tables)
    name = f"{line}/examples"
    lake.view(con, "recent", name, span.holdout_from, span.holdout_to, versions[name], empty_if_absent=True)
    recent = _by_node(con, "SELECT * FROM recent", "recent")
    lake.view(con, "past", name, _first(past), past.last, versions[name], empty_if_absent=True)
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW around AS SELECT * FROM past
            WHERE {_looked_at(past)} AND ds NOT BETWEEN DATE '{span.train_from}' AND DATE '{span.train_to}'
              AND ds NOT BETWEEN DATE '{span.holdout_from}' AND DATE '{span.holdout_to}'"""
    )
    around = _by_node(con, "SELECT * FROM around", "around")
    return TrainingRows(train, recent, around, _past_labels(con, lake, line, span, past, versions)), versions


def _first(past: Stretches) -> dt.date:
    """The first day of the past, or of its season."""
    return past.season.first if past.season.number else past.first


def _looked_at(past: Stretches, of: str = "") -> str:
    """SQL that is true of days of the past, and of its season."""
    recent = f"{of}ds >= DATE '{past.first}'"
    return f"({recent} OR {of}ds BETWEEN DATE '{past.season.first}' AND DATE '{past.season.last}')"


def _past_labels(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    line: str,
    span: Timeline,
    past: Stretches,
    versions: Mapping[str, int],
) -> Subtrees:
    """Labels of past weeks, each with those that were known at the close of the day on which the last of them were due.

    A verdict on labels knows no more: where labels are corrected later, weeks as they are known now would lie nearer to each other.
    """
    weeks = past_of_labels(past, span)
    for name, table in (("watched", f"{line}/examples"), ("labels", f"{line}/labels")):
        lake.view(con, name, table, _first(weeks), weeks.last, versions[table], empty_if_absent=True)
    back = f"date_diff('day', watched.ds, DATE '{weeks.last}') // {weeks.length} * {weeks.length}"
    known = known_by(f"(TIMESTAMP '{close_of(span.as_of)}' - to_days(({back})::INT))")
    return _by_node(
        con,
        f"""SELECT watched.ds AS ds, leaf, observed_at, watched.example_id AS example_id, label
            FROM watched JOIN labels ON watched.ds = labels.ds AND watched.example_id = labels.example_id
            WHERE {_looked_at(weeks, "watched.")} AND {known}""",
        "watched",
    )


def close_of(day: dt.date) -> dt.datetime:
    """The first moment after a day, in UTC."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
