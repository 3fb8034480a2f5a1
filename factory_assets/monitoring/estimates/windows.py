"""How good are the predictions of the last days, before their labels are in? And how good was that estimate, once they were?

Day after day, for every node: an estimate of each metric of the window that ends with the day, from predictions and the labels
known at the day's close alone; a band from the errors of the node's own estimates whose labels were in by then; beside them the
metric of the labels that are known now. An estimate says the same whenever it is computed, so that it can be held to account.

Rows are kept by day, leaf, version and cell of their prediction: each is read once, and a window is a sum.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import kind_of
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.identity.nodes import tree
from factory_assets.measures.metrics import Floats
from factory_assets.measures.tables import LABEL, label_values, prediction_fields, prediction_values
from factory_assets.monitoring.estimates.expected import (
    ESTIMATED,
    FEWEST,
    LOSSES,
    Band,
    Counted,
    Curve,
    band,
    cells,
    curve,
    error,
    expected,
    is_beyond,
    outcomes,
    values,
)
from factory_assets.monitoring.performance.measured import BATCH_ROWS, by_day
from factory_assets.words import counted, figure

#: Newest days with all labels that curves are fitted on. More of them are steadier, and later to notice what is new.
LEARNT = 28
#: Windows that share no day, of past errors, that a band is made of.
PAST = 8
SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("metric", pa.string()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("limit", pa.float64()),
        ("again", pa.float64()),
        ("coverage", pa.float64()),
        ("partial", pa.float64()),
        ("final", pa.float64()),
        ("error", pa.float64()),
        ("verdict", pa.string()),
        ("rows", pa.int64()),
        ("past", pa.int64()),
        ("reason", pa.string()),
        ("ds", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Asked:
    """What is estimated.

    task: of the line. window: days whose rows make one estimate, up to its day. horizon: days until all labels of a day are in.
    block: days over which labels overlap, 1 where every row has a label of its own.
    """

    task: str
    window: int
    horizon: int
    block: int = 1

    @property
    def alone(self) -> int:
        """Days from a window to the next that has none of its labels."""
        return self.window + self.block - 1

    @property
    def apart(self) -> int:
        """Days back to the newest window whose error was known by then, and which shares no label: one that does is no past."""
        return max(self.horizon, self.alone)

    @property
    def before(self) -> int:
        """Days before its own that the estimate of a day reads."""
        return max(self.window - 1, self.horizon + LEARNT - 1)

    @property
    def reach(self) -> int:
        """Days before its own that a day reads: beside its estimate, those whose errors make the band."""
        return self.apart + PAST * self.alone - 1 + self.before


def asked_of(line: Line) -> Asked:
    """What is estimated of a line."""
    return Asked(line.task, line.monitor.window.days, line.horizon_days, line.overlap_days)


def state(asked: Asked, days: Iterable[dt.date], through: dt.date) -> dict[dt.date, str]:
    """Day -> how far the labels have come that it tells of, in a text: it depends on it beside predictions and labels.

    through: the last day by whose close labels are known.
    """
    return {day: str(max(-asked.reach, min(asked.horizon, (through - day).days))) for day in days}


@dataclass(frozen=True)
class Tally:
    """A day's rows by leaf and cell of the prediction, and the labels that came for them.

    leaf, node: codes of the leaf, and of the node that answered, shape (cells,). x, rows: shape (cells,).
    Of labels, by cell and day by whose close they are known: cell: the place of the cell; known: the day's number; count: labels
    more, or fewer where one was superseded; sums: of outcomes, shape (n, losses).
    """

    leaf: np.ndarray
    node: np.ndarray
    x: Floats
    rows: Floats
    cell: np.ndarray
    known: np.ndarray
    count: Floats
    sums: Floats


MEANS = {
    "node": "Node of the tree; its rows are those of its subtree.",
    "metric": "What is estimated of the window of days up to this one.",
    "estimate": "Its value by predictions, and by labels that were known at the close of the day. It stays as it is.",
    "low": "The truth is between this, in 95 % of the windows, by the errors of past estimates of the node,",
    "high": "and this.",
    "limit": "Beyond this the truth is concept change: by chance alone in 0.1 % of the windows.",
    "again": "Its value in the newest window whose labels were in at the close of the day: what one would have guessed without this.",
    "coverage": "Share of the window's rows whose label is known by now.",
    "partial": "Its value by the labels that are known by now.",
    "final": "Its value by the labels that were known when all were due.",
    "error": "The estimate less that.",
    "verdict": "no estimate, estimated, partial, final, or concept.",
    "rows": "Rows of the window.",
    "past": "Days of past errors that the band is made of.",
    "reason": "The estimate in a sentence, or why there is none.",
}


def query(con: duckdb.DuckDBPyConnection, task: str) -> pa.RecordBatchReader:
    """Predictions of the view `predictions` with every label of the view `labels` that ever held, in the order of days."""
    names = ", ".join(f'"{each.name}"' for each in prediction_fields(task))
    return con.sql(
        f"""SELECT predictions.ds AS ds, example_id, leaf, node, {names}, label, known_at, superseded_at
            FROM predictions LEFT JOIN labels USING (ds, example_id) ORDER BY ds, leaf, example_id, known_at"""
    ).to_arrow_reader(BATCH_ROWS)


@dataclass
class _Codes:
    """Texts by number, in the order in which they were met."""

    texts: dict[str, int] = field(default_factory=dict)

    def of(self, column: pa.ChunkedArray) -> np.ndarray:
        coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
        numbers = [self.texts.setdefault(text, len(self.texts)) for text in coded.dictionary.to_pylist()]
        return np.array(numbers, dtype=np.int64)[coded.indices.to_numpy()]


def estimates(asked: Asked, rows: pa.RecordBatchReader, days: Iterable[dt.date], through: dt.date) -> pa.Table:
    """Estimates of the days by node and metric; see `SCHEMA`.

    rows: as of `query`, of the days from `asked.reach` before the first on. through: the last day by whose close labels are known.
    """
    wanted, found = sorted(days), list[dict[str, Any]]()
    run, ahead = _Run(asked, through.toordinal()), by_day(rows)
    first, last = wanted[0].toordinal(), wanted[-1].toordinal()
    day, of_day = next(ahead, (None, None))
    for number in range(first - asked.reach, last + 1):
        if day is not None and of_day is not None and day.toordinal() == number:
            run.add(number, of_day)
            day, of_day = next(ahead, (None, None))
        if number >= first - asked.reach + asked.before:
            judged = run.judge(number)
            found += (run.row(each) for each in judged if number >= first)
    return pa.Table.from_pylist(found, schema=SCHEMA)


@dataclass(frozen=True)
class _Window:
    """Rows of a window in the order of their predictions, with the labels that are known of them by a day."""

    x: Floats
    rows: Floats
    node: np.ndarray
    leaves: pa.Table
    count: Floats
    sums: Floats


@dataclass(frozen=True)
class _Judged:
    """A node's metric of the window up to a day. known: of the labels that are in. lacks: why there is no estimate."""

    day: int
    node: str
    metric: str
    rows: int
    coverage: float
    estimate: float | None
    known: float | None
    lacks: str


class _Run:
    """Goes from day to day, and keeps of each what later ones need."""

    def __init__(self, asked: Asked, through: int):
        self._asked, self._through = asked, through
        self._leaves, self._nodes = _Codes(), _Codes()
        self._tallies: dict[int, Tally] = {}
        #: Node and metric -> day -> the truth of its window at maturity, and the error of the estimate.
        self._truths: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._errors: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)

    def add(self, day: int, rows: pa.Table) -> None:
        """Count the rows of a day, a row for each label of an observation."""
        task = self._asked.task
        predictions = prediction_values(task, rows)
        x, rank = cells(task, predictions), _rank(rows["leaf"])
        # By leaf as they came, and not by its code: numbers are to be added in an order that does not depend on earlier days.
        order = np.lexsort((x, rank))
        begins = np.append(True, (np.diff(rank[order]) != 0) | (np.diff(x[order]) != 0))
        cell = np.empty(len(order), dtype=np.int64)
        cell[order] = np.cumsum(begins) - 1
        starts = order[begins]
        counted_rows = np.bincount(cell, _first_of_each(rows["example_id"])).astype(np.float64)
        labels, known, until = label_values(task, rows[LABEL]), _known(rows["known_at"]), _known(rows["superseded_at"])
        labelled = np.flatnonzero(~np.isnan(labels))
        ended = labelled[np.isfinite(until[labelled])]
        happened = outcomes(task, labels[labelled], predictions[labelled])
        # A label that was superseded is taken off from then on.
        of_cell, moment = cell[np.append(labelled, ended)], np.append(known[labelled], until[ended])
        sign = np.append(np.ones(len(labelled)), -np.ones(len(ended)))
        sums = np.concatenate([happened, -happened[np.isin(labelled, ended)]])
        order = np.lexsort((moment, of_cell))
        of_cell, moment, sign, sums = of_cell[order], moment[order], sign[order], sums[order]
        new = np.flatnonzero(np.append(True, (np.diff(of_cell) != 0) | (np.diff(moment) != 0))[: len(of_cell)])
        self._tallies[day] = Tally(
            self._leaves.of(rows["leaf"])[starts],
            self._nodes.of(rows["node"])[starts],
            x[starts],
            counted_rows,
            of_cell[new],
            moment[new],
            _summed(sign, new),
            _summed(sums, new),
        )

    def judge(self, day: int) -> list[_Judged]:
        """Every node's metrics of the window up to a day. Days come in order."""
        for gone in [each for each in self._tallies if each < day - self._asked.before]:
            del self._tallies[gone]
        task, horizon = self._asked.task, self._asked.horizon
        window = self._window(day, min(self._through, day + horizon))
        if window is None:
            return []
        means, lacks = self._means(day, window)
        by_node = SubtreeRows(window.leaves)
        found: list[_Judged] = []
        for node in tree(window.leaves["leaf"].unique().to_pylist()):
            places = by_node.places(node)
            x, rows, count = window.x[places], window.rows[places], window.count[places]
            estimated = {} if means is None else values(task, expected(task, x, rows, means[places]))
            known = values(task, Counted(x, count, window.sums[places]))
            coverage = float(count.sum() / rows.sum())
            for metric in ESTIMATED[kind_of(task)]:
                one = _Judged(
                    day, node, metric, int(rows.sum()), coverage, estimated.get(metric), known.get(metric), lacks
                )
                if one.known is not None and day + horizon <= self._through:
                    self._truths[node, metric][day] = one.known
                    if one.estimate is not None:
                        self._errors[node, metric][day] = error(metric, one.estimate, one.known)
                found.append(one)
        return found

    def row(self, one: _Judged) -> dict[str, Any]:
        """A row of the table."""
        horizon, alone, day = self._asked.horizon, self._asked.alone, one.day
        errors, truths = self._errors[one.node, one.metric], self._truths[one.node, one.metric]
        newest = day - self._asked.apart
        landed = range(newest - PAST * alone + 1, newest + 1)
        past = [errors[each] for each in landed if each in errors]
        around = None if one.estimate is None else band(one.metric, one.estimate, past, alone)
        final = truths.get(day)
        row = {
            "node": one.node,
            "metric": one.metric,
            "estimate": one.estimate,
            "again": truths.get(day - horizon),
            "coverage": one.coverage,
            "partial": one.known if final is None else None,
            "final": final,
            "error": None if final is None or one.estimate is None else one.estimate - final,
            "rows": one.rows,
            "past": len(past),
            "reason": one.lacks or _reason(one.estimate, around, len(past), alone),
            "ds": dt.date.fromordinal(day),
        }
        row |= {"low": around.low, "high": around.high, "limit": around.limit} if around else {}
        return row | {"verdict": _verdict(one.metric, row)}

    def _window(self, day: int, seen: int) -> _Window | None:
        """The rows of the window up to a day, with the labels known by the close of the day `seen`."""
        there = [self._tallies[each] for each in range(day - self._asked.window + 1, day + 1) if each in self._tallies]
        if not there:
            return None
        labels = [_as_of(each, seen) for each in there]
        x = np.concatenate([each.x for each in there])
        order = np.argsort(x, kind="stable")
        names = pa.array(list(self._leaves.texts), pa.string())
        leaf = np.concatenate([each.leaf for each in there])[order]
        return _Window(
            x[order],
            np.concatenate([each.rows for each in there])[order],
            np.concatenate([each.node for each in there])[order],
            pa.table({"leaf": pa.DictionaryArray.from_arrays(pa.array(leaf), names)}),
            np.concatenate([count for count, _ in labels])[order],
            np.concatenate([sums for _, sums in labels])[order],
        )

    def _means(self, day: int, window: _Window) -> tuple[Floats | None, str]:
        """What is expected of each row, shape (n, losses), by what was known at the close of a day; or None, and why."""
        newest = day - self._asked.horizon
        days = [each for each in range(newest - LEARNT + 1, newest + 1) if each in self._tallies]
        learnt = _Learnt(self._asked.task, [self._tallies[each] for each in days], day)
        means = np.zeros((len(window.x), len(LOSSES[kind_of(self._asked.task)])))
        for node in np.unique(window.node):
            found = learnt.curve(int(node))
            if found is None:
                return (
                    None,
                    f"no estimate: {learnt.number:,.0f} rows with a label in the {LEARNT} days whose labels are in, too few",
                )
            mine = np.flatnonzero(window.node == node)
            means[mine] = found.at(window.x[mine])
        return means, ""


class _Learnt:
    """Curves of the nodes that answered, by the labelled rows that each of them answered, or else by those of the whole line.

    A node's champions share a curve: the newest has few labels, and its rows are more like its predecessor's than like a week's.
    """

    def __init__(self, task: str, tallies: list[Tally], seen: int):
        self._task = task
        labels = [_as_of(each, seen) for each in tallies]
        count = np.concatenate([np.zeros(0), *(count for count, _ in labels)])
        some = np.flatnonzero(count)
        node = np.concatenate([np.zeros(0, np.int64), *(each.node for each in tallies)])[some]
        x = np.concatenate([np.zeros(0), *(each.x for each in tallies)])[some]
        sums = np.concatenate([np.zeros((0, len(LOSSES[kind_of(task)]))), *(sums for _, sums in labels)])[some]
        self._rows = Counted(x, count[some], sums)
        self._order = np.lexsort((x, node))
        self._node = node[self._order]

    @property
    def number(self) -> float:
        """Labelled rows of the line."""
        return float(self._rows.rows.sum())

    def curve(self, node: int) -> Curve | None:
        """The curve of a node, by its code; None where even the line has too few rows."""
        low, high = np.searchsorted(self._node, [node, node + 1])
        return curve(self._task, self._rows.take(self._order[low:high])) or self._of_line

    @cached_property
    def _of_line(self) -> Curve | None:
        return curve(self._task, self._rows.take(np.argsort(self._rows.x, kind="stable")))


def _as_of(tally: Tally, day: int) -> tuple[Floats, Floats]:
    """Labels of each cell that hold at the close of a day: how many, and the sums of their outcomes."""
    known = tally.known <= day
    cell, size = tally.cell[known], len(tally.x)
    count: Floats = np.bincount(cell, tally.count[known], minlength=size).astype(np.float64)
    sums: list[Floats] = [np.bincount(cell, each, minlength=size).astype(np.float64) for each in tally.sums[known].T]
    return count, np.column_stack(sums)


def _rank(leaves: pa.ChunkedArray) -> np.ndarray:
    """Numbers that rise with the leaf. leaves: in order."""
    codes = leaves.combine_chunks().cast(pa.string()).dictionary_encode().indices.to_numpy()
    return np.append(0, np.cumsum(np.diff(codes) != 0))[: len(codes)]


def _summed(numbers: Floats, starts: np.ndarray) -> Floats:
    return np.add.reduceat(numbers, starts, axis=0) if len(starts) else numbers


def _first_of_each(ids: pa.ChunkedArray) -> Floats:
    """1 for the first of rows side by side with the same id, else 0."""
    import pyarrow.compute as pc

    whole = ids.combine_chunks()
    same = pc.equal(whole.slice(1), whole.slice(0, max(len(whole) - 1, 0)))
    return np.append(1.0, 1.0 - same.to_numpy(zero_copy_only=False).astype(np.float64))[: len(whole)]


def _known(moments: pa.ChunkedArray) -> np.ndarray:
    """The number of the day by whose close something is known; infinite for what never is."""
    times = moments.cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]")
    days = np.ceil((times - np.datetime64("0001-01-01T00:00:00")) / np.timedelta64(1, "D"))
    return np.where(np.isnat(times), np.inf, days)


def _verdict(metric: str, row: Mapping[str, Any]) -> str:
    if (final := row["final"]) is not None:
        limit = row.get("limit")
        return "concept" if limit is not None and is_beyond(metric, final, limit) else "final"
    if row["estimate"] is None:
        return "no estimate"
    return "estimated" if row["partial"] is None else "partial"


def _reason(estimate: float | None, around: Band | None, past: int, alone: int) -> str:
    if estimate is None:
        return "no estimate: the rows do not define it"
    if around is None:
        return f"no band: {counted(past, 'day')} of past errors, {FEWEST * alone} needed"
    return f"{figure(estimate)}, between {figure(around.low)} and {figure(around.high)} by {counted(past, 'day')} of past errors"


@dataclass(frozen=True)
class Foretold:
    """How well estimates foretold what came. days: with both; error, again: mean absolute error of the estimate, and of the last
    window whose labels were in; in_band: share of truths in their band, None without any; banded: how many had one.
    """

    days: int
    error: float
    again: float
    banded: int
    in_band: float | None


def foretold(rows: Iterable[Mapping[str, Any]]) -> Foretold | None:
    """What came of a node's estimates of a metric; None while there is none whose labels are in, and to be compared."""
    landed = [row for row in rows if None not in (row["final"], row["estimate"], row["again"])]
    if not landed:
        return None
    inside = [row["low"] <= row["final"] <= row["high"] for row in landed if row["low"] is not None]
    errors = (abs(row["error"]) for row in landed), (abs(row["again"] - row["final"]) for row in landed)
    own, again = (float(np.mean(list(each))) for each in errors)
    return Foretold(len(landed), own, again, len(inside), float(np.mean(inside)) if inside else None)


def maturity(con: duckdb.DuckDBPyConnection, through: dt.date, oldest: int) -> list[tuple[int, int, float]]:
    """Age in days, rows that are at least as old, and the share of them whose label was known at that age, up to the oldest.

    Of the days of the views `predictions` and `labels`. A label is known at an age if it is known by the close of that day.
    """
    return con.execute(
        f"""WITH observed AS (
                SELECT ds, example_id, min(known_at) AS known_at
                FROM predictions LEFT JOIN labels USING (ds, example_id) GROUP BY ds, example_id)
            SELECT age, count(*), avg((coalesce(known_at <= ds + to_days(age + 1), false))::INT)
            FROM observed JOIN (SELECT unnest(range({oldest + 1}))::INT AS age) ON ds + to_days(age) <= DATE '{through}'
            GROUP BY age ORDER BY age"""
    ).fetchall()
