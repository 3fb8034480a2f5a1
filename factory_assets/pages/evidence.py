"""On what does a node's champion stand? The rows on which it was judged, as curves and sums that a page can show.

Read from `<line>/evaluation`, which has what every side predicted of every row; no model is asked again.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.tasks import classes_of, kind_of, level_of
from factory_assets.evaluation.parts import parts_of
from factory_assets.evaluation.scores import of_node, predictions_of, version_of, view
from factory_assets.measures.certainty import limits_of, witnesses
from factory_assets.measures.limits import possible
from factory_assets.measures.metrics import METRICS, Floats, by_threshold, most_likely
from factory_assets.measures.tables import LABEL, label_values
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger

#: Bins of equal mass of the predictions, in which they are held against what happened.
BINS = 10
#: Thresholds between which a decision's cost is drawn.
STEPS = 101


@dataclass(frozen=True)
class Interval:
    """A value and between which others it lies with 95 %; low, high: None where the rows cannot say."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bin:
    """Rows of like predictions. low, middle, high: of what happened, or of its errors, a tenth, the half and nine tenths."""

    rows: int
    predicted: float
    happened: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Threshold:
    """What decisions from a threshold on do: counts of rows, and what a row costs where a cost is declared."""

    at: float
    true_yes: int
    false_yes: int
    true_no: int
    false_no: int
    cost: float | None = None


@dataclass(frozen=True)
class Evidence:
    """A version on the holdout of its evaluation.

    y: labels, shape (n,). predictions: version, or naive -> shape (n,) or (n, k). metric: of the version, with its interval; bias: by
    how much it predicts too high: of classes too sure, of a quantile too often above. decides_at: from where on a prediction is a yes.
    """

    task: str
    version: str
    as_of: dt.date
    y: Floats
    predictions: Mapping[str, Floats]
    metric: Interval
    bias: Interval
    decides_at: float
    cost: Mapping[str, float]

    @property
    def own(self) -> Floats:
        return self.predictions["champion"]

    @property
    def bins(self) -> list[Bin]:
        """As `bins_of`."""
        return bins_of(self.task, self.y, self.own)

    @property
    def thresholds(self) -> list[Threshold]:
        """What a yes from each threshold on would do, for steps of equal mass of the predictions, and where the line decides."""
        levels = np.unique(np.append(np.quantile(self.own, np.linspace(0, 1, STEPS)), self.decides_at))
        return [self.at(float(level)) for level in levels]

    def at(self, threshold: float) -> Threshold:
        """What a yes from a threshold on does to these rows."""
        yes, happened = self.own >= threshold, self.y == 1
        counts = (yes & happened, yes & ~happened, ~yes & ~happened, ~yes & happened)
        true_yes, false_yes, true_no, false_no = (int(each.sum()) for each in counts)
        cost = None
        if self.cost:
            names = ("true_positive", "false_positive", "true_negative", "false_negative")
            by_name = zip(names, (true_yes, false_yes, true_no, false_no), strict=True)
            cost = sum(self.cost[name] * number for name, number in by_name) / len(self.y)
        return Threshold(threshold, true_yes, false_yes, true_no, false_no, cost)

    @property
    def confusion(self) -> list[list[int]]:
        """Of classes: how many rows of each, a row of numbers, were taken for each."""
        of = len(classes_of(self.task))
        counts = np.bincount(self.y.astype(int) * of + most_likely(self.own), minlength=of * of)
        return [[int(each) for each in row] for row in counts.reshape(of, of)]


def evidence(
    declared: DeclaredLine,
    metric: str,
    champions: Mapping[str, str],
    lake: Lake,
    engine: Engine,
    ledger: Ledger,
    damaged: Collection[str] = (),
) -> Iterator[tuple[str, Sequence[EvaluationRecord], Evidence | None]]:
    """Node, the evaluations that say how good its champion is, and it on the rows of the newest; None where these are not kept.

    champions: node -> its own champion. Nodes whose champion was never measured are left out.
    """
    line = declared.line.name
    records = ledger.evaluated(line, {*champions.values()})
    newest = {node: records[version][-1] for node, version in champions.items() if records.get(version)}
    by_day: dict[dt.date, list[str]] = {}
    for node, record in newest.items():
        by_day.setdefault(record.as_of, []).append(node)
    held = [] if f"{line}/evaluation" in damaged else lake.days(f"{line}/evaluation")
    for day, nodes in by_day.items():
        with engine.connect() as con:
            scores = view(con, lake, line, day) if day in held else None
            for node in nodes:
                rows = of_node(con, scores, node) if scores else None
                yield node, records[champions[node]], _of_rows(declared, metric, newest[node], rows)


def _of_rows(declared: DeclaredLine, metric: str, record: EvaluationRecord, rows: pa.Table | None) -> Evidence | None:
    if rows is None or not rows.num_rows:
        return None
    side = next(
        (each for each in ("challenger", "champion") if rows[version_of(each)][0].as_py() == record.version), ""
    )
    if not side:
        return None
    task, parts = str(rows["task"][0].as_py()), parts_of(rows)
    y = label_values(task, rows[LABEL])
    named = {"champion": side, "naive": "naive"} | (
        {"parent": "parent"} if rows[version_of("parent")][0].is_valid else {}
    )
    predictions = {name: predictions_of(rows, each) for name, each in named.items()}
    own, line, level = predictions["champion"], declared.line, level_of(task)

    def measured(kept: np.ndarray) -> float:
        return METRICS[metric].fn(y[kept], own[kept], *([] if level is None else [level]))

    too_high = _too_high(task, y, own)
    groupings = witnesses(rows["day"].to_numpy(), line.overlap_days, follow=True)
    gate = line.gate
    return Evidence(
        task,
        record.version,
        record.as_of,
        y,
        predictions,
        _within(metric, _interval(measured, len(y), groupings)),
        _interval(lambda kept: float(too_high[kept].mean()), len(y), groupings),
        parts.asked.threshold if parts else gate.decides_at,
        parts.asked.cost if parts else {},
    )


def bins_of(task: str, y: Floats, p: Floats) -> list[Bin]:
    """Predictions in bins of equal mass; of classes how sure they were of the likeliest, and how often it came."""
    p, y = _sure(p, y) if classes_of(task) else (p, y)
    order = np.argsort(p, kind="stable")
    found = []
    for places in np.array_split(order, min(BINS, len(order))):
        error = p[places] - y[places]
        low, middle, high = (float(each) for each in np.quantile(error, [0.1, 0.5, 0.9]))
        found.append(Bin(len(places), float(p[places].mean()), float(y[places].mean()), low, middle, high))
    return found


def gains(y: Floats, p: Floats) -> tuple[Floats, Floats]:
    """How many of the rows are taken, highest predictions first, and how many of the positives are among them; both from 0 to 1.

    One point for each distinct prediction: rows with the same one are taken together, so that their order makes no gain.
    y: labels with a positive at least, shape (n,). p: predictions, shape (n,).

    >>> gains(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.4, 0.4, 0.1]))[1].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    last, positives = by_threshold(y, p)
    return np.append(0, (last + 1) / len(y)), np.append(0, positives / y.sum())


def _interval(of: Callable[[np.ndarray], float], rows: int, groupings: list) -> Interval:  # type: ignore[type-arg]
    value = of(np.ones(rows, dtype=bool))
    low, high = limits_of(of, rows, groupings) or (None, None)
    return Interval(float(value), low, high)


def _too_high(task: str, y: Floats, p: Floats) -> Floats:
    """By how much each row's prediction is too high, shape (n,); its mean is 0 where they are right on average."""
    if classes_of(task):
        sure, came = _sure(p, y)
        return sure - came
    level = level_of(task)
    too_high = p - y if level is None else (y <= p).astype(np.float64) - level
    return np.asarray(too_high, np.float64)


def _sure(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How sure the likeliest class was, and whether it came."""
    likely = most_likely(p)
    return p[np.arange(len(p)), likely], (likely == y).astype(np.float64)


def is_binary(task: str) -> bool:
    return kind_of(task) == "binary"


def _within(metric: str, found: Interval) -> Interval:
    if found.low is None or found.high is None:
        return found
    return Interval(found.value, *possible(metric, found.low, found.high))
