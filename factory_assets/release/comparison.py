"""Why is one version better than another? Both on the same rows, and how much of the difference is whose.

Versions are fitted once more with parts of the other: its rows, its features, its configuration. Where a version does not come out
as it was archived, the rest is of the libraries or the code with which it was made. Nothing is recorded.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.tasks import level_of
from factory_assets.evaluation.attribution import NoValue, Share, shares
from factory_assets.evaluation.differences import (
    CODE,
    CONFIGURATION,
    DATA,
    FEATURES,
    LIBRARIES,
    Difference,
    causes,
    differences,
    made_with_other,
)
from factory_assets.evaluation.scores import ORDER, VERSIONS, of_node, predictions_of, version_of, view
from factory_assets.identity.code import code_of
from factory_assets.identity.nodes import lineage
from factory_assets.measures.certainty import Groups, certainty, limits_of, witnesses
from factory_assets.measures.compared import metric_of
from factory_assets.measures.limits import limits_of_metric
from factory_assets.measures.metrics import METRICS, Floats, improvement, score
from factory_assets.measures.tables import LABEL, aligned, label_values
from factory_assets.models.archived import ModelRefused, load
from factory_assets.models.libraries import libraries
from factory_assets.models.matrix import encode
from factory_assets.release.rebuild import Origin
from factory_assets.training.crossed import Crossed, Recipe
from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node
from factory_assets.training.fit.fitting import Fitted
from factory_assets.training.remake import NotRebuildable
from factory_resources.archive_folder import ArchiveDamaged
from factory_resources.ledger import VersionRecord

#: Labels are read as they are known now.
EVER = dt.datetime(9999, 1, 1)
#: Further seeds that say how much of a difference is luck.
SEEDS = 4
#: A share that is not larger than this many standard deviations of what another seed does may be the seed's.
TWICE = 2.0

Say = Callable[[str], None]


class NotComparable(Exception):
    """There are no two versions to compare, or no rows to compare them on; the message says why."""


#: Between which values something lies, with 95 %.
Limits = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """The rows of a comparison. days: shape (n,). y: labels. predictions: version -> what it says of them, as `score` takes them."""

    days: np.ndarray
    y: Floats
    predictions: Mapping[str, Floats]


@dataclass(frozen=True)
class Comparison:
    """Two versions beside each other.

    node: on whose rows. rows, first, last: so many, of days that neither has learnt from. where: where they are from.
    metrics: version -> its metrics on these rows; without one that cannot be scored. certainty: that b is better by `metric`, from
    0 to 1. limits: version -> between which values its `metric` lies; between: the difference b - a; without what the rows cannot say.
    shares: causes of the difference b - a in `metric`; they sum to it where both were scored and made again.
    seeds: the spread of the metric if b is fitted with other seeds. notes: what could not be told. sentence: all of it in one.
    """

    line: str
    node: str
    a: str
    b: str
    metric: str
    differences: Sequence[Difference]
    rows: int
    first: dt.date
    last: dt.date
    where: str
    metrics: Mapping[str, Mapping[str, float]]
    certainty: float | None
    measured: Measured = field(compare=False)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    between: Limits | None = None
    shares: Sequence[Share] = ()
    seeds: float | None = None
    notes: Sequence[str] = ()
    sentence: str = ""

    @property
    def difference(self) -> float | None:
        """b - a, in the metric's unit; None where one of them cannot be measured."""
        values = [self.metrics.get(each, {}).get(self.metric) for each in (self.a, self.b)]
        return None if values[0] is None or values[1] is None else values[1] - values[0]


@dataclass
class _Rows:
    """The rows on which both are measured, ordered; kept: version -> what it predicted of them when they met."""

    node: str
    table: pa.Table
    where: str
    kept: dict[str, np.ndarray] = field(default_factory=dict)


def compare(
    declared: DeclaredLine,
    a: VersionRecord,
    b: VersionRecord,
    origin: Origin,
    seeds: int = SEEDS,
    say: Say = lambda text: None,
) -> Comparison:
    """Compare two versions of a line. seeds: how many further fits say what luck does. say: is told what is being done.

    Raises NotComparable where there are no rows that neither has learnt from, or none that are both nodes'.
    """
    if a.version == b.version:
        raise NotComparable(f"{a.version} is compared with itself: name two versions")
    rows = _rows(declared, a, b, origin)
    task, metric, table = declared.line.task, metric_of(declared), rows.table
    y, notes = label_values(task, table[LABEL]), list[str]()
    predictions = dict[str, np.ndarray]()
    for record in (a, b):
        try:
            predictions[record.version] = _predictions(record, rows, task, origin, notes)
        except (ModelRefused, ArchiveDamaged, FileNotFoundError, KeyError) as error:
            notes.append(f"{record.version} cannot be scored on these rows: {_message(error)}")
    days = table["ds"].to_numpy()
    metrics = {version: score(task, y, each) for version, each in predictions.items()}
    clusters = table[declared.line.cluster] if declared.line.cluster else None
    groupings = witnesses(days, declared.line.overlap_days, clusters)
    known = {version: predictions[version] for version, of in metrics.items() if metric in of}
    limits = {version: limits_of_metric(task, metric, y, p, groupings) for version, p in known.items()}
    sure = between = None
    if len(known) == 2:
        sure = certainty(task, metric, y, known[b.version], known[a.version], groupings)
        between = _limits(task, metric, y, known[b.version], known[a.version], groupings)
    found = Comparison(
        line=declared.line.name,
        node=rows.node,
        a=a.version,
        b=b.version,
        metric=metric,
        differences=differences(a, b),
        rows=table.num_rows,
        first=min(table["ds"].to_pylist()),
        last=max(table["ds"].to_pylist()),
        where=rows.where,
        metrics=metrics,
        certainty=sure,
        measured=Measured(days, y, predictions),
        limits={version: each for version, each in limits.items() if each},
        between=between,
    )
    fits = _Fits(a, b, origin, task, metric, table, y, say)
    made = fits.attribute(metrics, predictions, notes)
    spread = fits.spread(seeds, notes) if made and seeds else None
    found = replace(found, shares=made, seeds=spread, notes=notes)
    return replace(found, sentence=_sentence(found))


class _Fits:
    """Fits of two versions crossed, each measured on the same rows."""

    def __init__(
        self,
        a: VersionRecord,
        b: VersionRecord,
        origin: Origin,
        task: str,
        metric: str,
        rows: pa.Table,
        y: np.ndarray,
        say: Say,
    ):
        self._a, self._b, self._task, self._metric, self._rows, self._y = a, b, task, metric, rows, y
        self._crossed = Crossed(origin.lake, origin.engine, origin.ledger, origin.archive)
        self._say = say
        self._predicted = dict[frozenset[str], np.ndarray]()

    def attribute(
        self, metrics: Mapping[str, Mapping[str, float]], predictions: Mapping[str, np.ndarray], notes: list[str]
    ) -> list[Share]:
        """The causes of the difference. metrics, predictions: of the versions as they are archived."""
        a, b, every = self._a, self._b, causes(self._a, self._b)
        ends = {a.version: frozenset[str](), b.version: frozenset(every)}
        again = dict[str, float]()
        for record in (a, b):
            try:
                again[record.version] = self._value(ends[record.version])
            except NoValue as why:
                notes.append(f"{record.version} cannot be fitted again: {why}. What differs is listed, and not weighed")
                return []
        found, missing = self._causes(every)
        if missing:
            notes.append(f"not every order of causes could be tried: {'; '.join(missing)}")
        other = self._made_elsewhere(metrics, predictions, again, ends, notes)
        return [*found, *([other] if other else [])]

    def _causes(self, every: Sequence[str]) -> tuple[list[Share], tuple[str, ...]]:
        if not every:
            return [], ()
        found = shares(every, self._value)
        if found is None and {DATA, FEATURES} <= {*every}:
            # Rows and features that exist together only are one cause.
            both = f"{DATA} and {FEATURES}"
            parts = {both: {DATA, FEATURES}, CONFIGURATION: {CONFIGURATION}}

            def value(changed: frozenset[str]) -> float:
                return self._value(frozenset(part for cause in changed for part in parts[cause]))

            found = shares([both, *([CONFIGURATION] if CONFIGURATION in every else [])], value)
        if found is None:
            # The versions themselves were fitted: all causes together are always known.
            total = self._value(frozenset(every)) - self._value(frozenset())
            return [Share(" and ".join(every), total, total, total)], ()
        return list(found.shares), found.missing

    def _made_elsewhere(
        self,
        metrics: Mapping[str, Mapping[str, float]],
        predictions: Mapping[str, np.ndarray],
        again: Mapping[str, float],
        ends: Mapping[str, frozenset[str]],
        notes: list[str],
    ) -> Share | None:
        """What making both again here leaves over: a as archived -> a made here, and b made here -> b as archived."""
        size, names, is_other = 0.0, dict[str, None](), False
        for sign, record in ((1, self._a), (-1, self._b)):
            archived = metrics.get(record.version, {}).get(self._metric)
            if archived is None:
                return None
            if np.array_equal(predictions[record.version], self._predicted[ends[record.version]]):
                continue
            is_other = True
            size += sign * (again[record.version] - archived)
            differ, code = made_with_other(record, libraries(), code_of("model"))
            names |= dict.fromkeys([LIBRARIES] if differ else [])
            names |= dict.fromkeys([CODE] if code else [])
            because = [f"{name} {then} then, {here} here" for name, (then, here) in differ.items()]
            because += ["the code of models is another one"] if code else []
            why = ", ".join(because) or "by the same libraries and code: another machine, or chance"
            notes.append(
                f"{record.version}, made again here, has {self._metric} {again[record.version]:.4g} and not {archived:.4g}: {why}"
            )
        if not is_other:
            return None
        if LIBRARIES in names and self._a.configuration.get("libraries") == self._b.configuration.get("libraries"):
            notes.append(
                "both were made with the same libraries: where those are installed, this command leaves them out"
            )
        return Share(" or ".join(names) or "machine or chance", size)

    def spread(self, seeds: int, notes: list[str]) -> float | None:
        """The standard deviation of the metric over other seeds of b."""
        own = int(self._b.configuration.get("seed", 0))
        values = []
        for number in range(1, seeds + 1):
            self._say(f"another seed, {number} of {seeds}")
            try:
                fitted = self._crossed.fit(Recipe(self._b, self._b, self._b), seed=own + number)
            except NotRebuildable as why:
                notes.append(f"what another seed does is not known: {why}")
                return None
            values.append(self._measured(self._predict(fitted, self._b.task)))
        return stdev([self._value(frozenset(causes(self._a, self._b))), *values])

    def _value(self, changed: frozenset[str]) -> float:
        """The metric of a with these causes taken from b. Raises NoValue."""
        if changed not in self._predicted:
            sides = {cause: self._b if cause in changed else self._a for cause in (DATA, FEATURES, CONFIGURATION)}
            # What does not differ is the same from either; b's own parts make b itself.
            if changed == frozenset(causes(self._a, self._b)):
                sides = dict.fromkeys(sides, self._b)
            named = ", ".join(sorted(changed)) or "nothing"
            self._say(f"{self._a.version[:8]} with {named} of {self._b.version[:8]}")
            try:
                fitted = self._crossed.fit(Recipe(sides[DATA], sides[FEATURES], sides[CONFIGURATION]))
                self._predicted[changed] = self._predict(fitted, sides[FEATURES].task)
            except (NotRebuildable, KeyError) as error:
                raise NoValue(_message(error)) from error
        return self._measured(self._predicted[changed])

    def _predict(self, fitted: Fitted, task: str) -> np.ndarray:
        """task: as the model was made for; classes may be others by now."""
        return aligned(task, fitted.model.predict(encode(self._rows, fitted.encoding)), self._task)

    def _measured(self, predictions: np.ndarray) -> float:
        found = score(self._task, self._y, predictions).get(self._metric)
        if found is None:
            raise NoValue(f"{self._metric} cannot be measured on these rows")
        return found


def _rows(declared: DeclaredLine, a: VersionRecord, b: VersionRecord, origin: Origin) -> _Rows:
    """The rows of the newest meeting of both; where they never met, all labelled ones that neither has learnt from."""
    node = _node(a, b)
    if (met := _meeting(declared, a, b, node, origin)) is not None:
        return met
    line, lake = declared.line.name, origin.lake
    days = [lake.days(f"{line}/{table}") for table in ("examples", "labels")]
    since = max(a.holdout_from, b.holdout_from)
    last = min(each[-1] if each else since - DAY for each in days)
    table = _examples(declared, DaysAsKnown(since, last, EVER), node, origin)
    if not table.num_rows:
        raise NotComparable(f"no labelled row of {node} since {since}, the first day that neither has learnt from")
    return _Rows(node, table, "labels as they are known now")


def _meeting(declared: DeclaredLine, a: VersionRecord, b: VersionRecord, node: str, origin: Origin) -> _Rows | None:
    line, both = declared.line.name, {a.version, b.version}
    records = [
        each for each in origin.ledger.evaluations(line, versions=both) if each.node == node and each.incumbent_version
    ]
    if origin.lake.version(f"{line}/evaluation") is None:
        return None
    for day in sorted({each.as_of for each in records}, reverse=True):
        with origin.engine.connect() as con:
            kept = of_node(con, view(con, origin.lake, line, day), node)
        if not kept.num_rows or kept["task"][0].as_py() != declared.line.task:
            continue
        sides = {kept[version_of(side)][0].as_py(): side for side in VERSIONS}
        if not both <= set(sides):
            continue
        on = kept["day"].to_pylist()
        table = _examples(declared, DaysAsKnown(min(on), max(on), close_of(day)), node, origin)
        found = _Rows(node, table, f"those on which they met as of {day}")
        labels = [label_values(declared.line.task, each[LABEL]) for each in (table, kept)]
        same = table["example_id"].equals(kept["example_id"].cast(pa.string()))
        if same and np.array_equal(labels[0], labels[1]):
            found.kept = {version: predictions_of(kept, sides[version]) for version in both}
            return found
        if table.num_rows:
            return replace(found, where=f"{found.where}, as these are now: some were corrected since")
    return None


def _examples(declared: DeclaredLine, days: DaysAsKnown, node: str, origin: Origin) -> pa.Table:
    """A node's labelled examples in the order of the rows that are kept of meetings."""
    try:
        with origin.engine.connect() as con:
            rows = labelled_by_node(con, origin.lake, declared.line.name, days)[0].rows(node)
    except LookupError as error:
        raise NotComparable(str(error.args[0])) from error
    place = rows.schema.get_field_index("example_id")
    return rows.set_column(place, "example_id", rows["example_id"].cast(pa.string())).sort_by(ORDER)


def _node(a: VersionRecord, b: VersionRecord) -> str:
    """The node whose rows both have models for: of a node and one above it the lower."""
    if a.node in lineage(b.node):
        return b.node
    if b.node in lineage(a.node):
        return a.node
    raise NotComparable(
        f"{a.version} is of {a.node} and {b.version} of {b.node}: neither lies below the other, so they have no row in common"
    )


def _predictions(record: VersionRecord, rows: _Rows, task: str, origin: Origin, notes: list[str]) -> np.ndarray:
    """What the version predicts of the rows: as kept of a meeting where the model does not score here."""
    kept = rows.kept.get(record.version)
    try:
        scored = load(origin.archive, record.line, record.version).predict(rows.table, task)
    except (ModelRefused, ArchiveDamaged, FileNotFoundError, KeyError) as error:
        if kept is None:
            raise
        notes.append(f"{record.version} cannot be scored here, so these are its predictions of then: {_message(error)}")
        return kept
    if kept is not None and not np.array_equal(kept, scored):
        notes.append(
            f"{record.version} predicts these rows otherwise than when they met: their features were corrected since"
        )
    return scored


def _limits(
    task: str, metric: str, y: Floats, one: Floats, other: Floats, groupings: Sequence[Groups]
) -> Limits | None:
    """Between which values the difference of a metric lies; None where the rows cannot say."""
    level = level_of(task)

    def of(kept: np.ndarray) -> float:
        first, second = (
            METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level])) for p in (one, other)
        )
        return first - second

    return limits_of(of, len(y), groupings)


def _message(error: Exception) -> str:
    return str(error.args[0]) if error.args else str(error)


def _sentence(found: Comparison) -> str:
    """What came out, and the largest cause."""
    metric, total = found.metric, found.difference
    if total is None:
        return f"{metric} of the two cannot be compared on these rows"
    values = [found.metrics[each][metric] for each in (found.a, found.b)]
    gained = improvement(metric, values[1], values[0])
    sure = found.certainty
    how = "as good as before" if gained == 0 else f"{'better' if gained > 0 else 'worse'} by {abs(gained):.4g}"
    if gained and sure is not None:
        how += f" with a certainty of {sure if gained > 0 else 1 - sure:.2f}"
    text = f"{metric} {values[0]:.4g} -> {values[1]:.4g}, {how}"
    if not found.shares:
        return f"{text}; the two differ in nothing that was found" if not found.differences else text
    if all(each.size == 0 for each in found.shares):
        return f"{text}: what differs changes nothing on these rows"
    largest = max(found.shares, key=lambda each: abs(each.size))
    bound = TWICE * found.seeds if found.seeds else 0.0
    if abs(largest.size) <= bound:
        return f"{text}: no cause changes more than another seed does ({bound:.2g})"
    if gained == 0:
        return f"{text}: what one cause changes, another takes back"
    if len(found.shares) == 1:
        return f"{text}: by {largest.cause} alone"
    others = [each.cause for each in found.shares if each is not largest and abs(each.size) > abs(largest.size) / 2]
    beside = f", beside {' and '.join(others)}" if others else ""
    return f"{text}: mostly by {largest.cause} ({largest.size:+.4g} of {total:+.4g}){beside}"


def is_better(metric: str) -> str:
    """Which values of a metric are better, in words."""
    return "more is better" if METRICS[metric].greater_is_better else "less is better"


def as_json_object(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "line": found.line,
        "node": found.node,
        "a": found.a,
        "b": found.b,
        "metric": found.metric,
        "rows": found.rows,
        "first": str(found.first),
        "last": str(found.last),
        "where": found.where,
        "differences": [vars(each) for each in found.differences],
        "metrics": {version: dict(each) for version, each in found.metrics.items()},
        "difference": found.difference,
        "between": found.between,
        "limits": dict(found.limits),
        "certainty": found.certainty,
        "shares": [vars(each) for each in found.shares],
        "seeds": found.seeds,
        "notes": list(found.notes),
        "sentence": found.sentence,
    }
