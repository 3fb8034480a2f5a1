"""What would change for whom if a challenger answered from today on? It scores the newest day beside who answers now.

An answer is another one where the decision would be: the side of a threshold, the most likely class, or a number further off than the
owner tolerates. The rows are those that the challenger would answer: of its subtree without the nodes below that have a champion.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Gate
from factory_assets.declarations.tasks import classes_of
from factory_assets.identity.nodes import answering
from factory_assets.measures.metrics import most_likely
from factory_assets.models.archived import ReleasedModel
from factory_assets.training.subtrees import Subtrees
from factory_assets.words import figure

#: Parts of each kind that are kept.
SHOWN = 5
#: Values that are looked at one by one: columns with more of them are names.
MOST_VALUES = 50
#: A part of fewer rows says nothing of what it has in common.
FEWEST = 20

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("node", "version", "kind", "name")),
        *((name, pa.int64()) for name in ("rows", "differing")),
        ("change", pa.float64()),
        ("day", pa.date32()),
        ("ds", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Part:
    """Some of the rows: how many, of how many the answer is another one, and how far answers lie apart on average.

    kind: all, leaf, value (of a feature, or of a column by which the tree is made), or entity. name: which of them.
    change: in the label's unit; of probabilities how much of them moved.
    """

    kind: str
    name: str
    rows: int
    differing: int
    change: float

    @property
    def share(self) -> float:
        return self.differing / self.rows


@dataclass(frozen=True)
class Staged:
    """A challenger beside who answers now, on the rows of a day. parts: where and for whom it differs, all rows first.

    otherwise: when an answer counts as another one, in words.
    """

    day: dt.date
    otherwise: str
    parts: Sequence[Part]

    @property
    def all(self) -> Part:
        return self.parts[0]

    def __str__(self) -> str:
        part = self.all
        return (
            f"{part.differing:,} of {part.rows:,} rows of {self.day} ({part.share:.1%}) get another answer than now: "
            f"{self.otherwise}"
        )

    def rows(self, node: str, version: str, day: dt.date) -> Iterator[dict[str, object]]:
        """Rows of `<line>/staging` as of a day."""
        for part in self.parts:
            yield vars(part) | {"node": node, "version": version, "day": self.day, "ds": day}


@dataclass
class Staging:
    """Stages the challengers of one training.

    champions: node -> its version before the training. newest: the newest day that is to be answered, with its examples; None
    without any; asked once, if anybody is staged. load: the model of a version.
    """

    declared: DeclaredLine
    champions: Mapping[str, str]
    newest: Callable[[], tuple[dt.date, Subtrees] | None]
    load: Callable[[str], ReleasedModel]
    _day: list[tuple[dt.date, Subtrees] | None] = field(default_factory=list)

    def staged(self, node: str, version: str, error: float) -> Staged | None:
        """The challenger of a node beside who answers now; None where nobody does, or the day has none of its rows.

        error: by how much it is off on average on the holdout, in the label's unit: what is tolerated of a number by default.
        """
        if not self._day:
            self._day.append(self.newest())
        if self._day[0] is None:
            return None
        day, rows = self._day[0][0], self._day[0][1].mapped(node)
        leaves = rows["leaf"].unique().to_pylist()
        now = {
            leaf: answering(leaf, self.champions) for leaf in leaves if answering(leaf, {*self.champions, node}) == node
        }
        parts, tables = list[tuple[np.ndarray, np.ndarray]](), list[pa.Table]()
        model, task = self.load(version), self.declared.line.task
        for answers in sorted({each for each in now.values() if each}):
            own = _of_leaves(rows, [leaf for leaf, each in now.items() if each == answers])
            tables.append(own)
            parts.append((model.predict(own, task), self.load(self.champions[answers]).predict(own, task)))
        if not tables:
            return None
        ours, theirs = (np.concatenate(side) for side in zip(*parts, strict=True))
        differing, change, otherwise = compared(task, self.declared.line.gate, ours, theirs, error)
        return Staged(day, otherwise, list(_parts(self.declared, model, pa.concat_tables(tables), differing, change)))


def compared(
    task: str, gate: Gate, ours: np.ndarray, theirs: np.ndarray, error: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Which answers are other ones, how far apart all of them lie, shape (n,) each, and when one counts as another, in words.

    >>> compared("regression", Gate(), np.array([1.0, 5.0]), np.array([1.5, 2.0]), 2.0)
    (array([False,  True]), array([0.5, 3. ]), 'more than 2 apart, by which the challenger is off on average')
    """
    if classes_of(task):
        return most_likely(ours) != most_likely(theirs), np.abs(ours - theirs).sum(axis=1) / 2, "another class"
    change = np.abs(ours - theirs)
    if task == "binary":
        side = gate.decides_at
        return (ours >= side) != (theirs >= side), change, f"on the other side of {side:g}"
    if gate.tolerance is not None:
        return change > gate.tolerance, change, f"more than {gate.tolerance:g} apart"
    return change > error, change, f"more than {error:.3g} apart, by which the challenger is off on average"


def _of_leaves(rows: pa.Table, leaves: Sequence[str]) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows["leaf"], pa.array(leaves, rows["leaf"].type)))


def _parts(
    declared: DeclaredLine, model: ReleasedModel, rows: pa.Table, differing: np.ndarray, change: np.ndarray
) -> Iterator[Part]:
    """All rows; then those leaves, values and entities that differ most."""
    every = _part("all", "", differing, change)
    yield every

    def excess(part: Part) -> float:
        """How many rows differ beyond the share of all."""
        return part.differing - part.rows * every.share

    def most(parts: list[Part]) -> list[Part]:
        return sorted((each for each in parts if excess(each) > 0), key=lambda each: (-excess(each), each.name))[:SHOWN]

    yield from most(list(_groups("leaf", "", rows["leaf"], differing, change)))
    columns = [
        name for name in dict.fromkeys([*declared.line.segments.levels, *model.features]) if name in rows.column_names
    ]
    levels = {name: _levels(rows[name]) for name in columns}
    values = [
        part
        for name, column in levels.items()
        if len(column.unique()) <= MOST_VALUES
        for part in _groups("value", f"{name} ", column, differing, change)
    ]
    yield from most([each for each in values if FEWEST <= each.rows < every.rows])
    whose = declared.line.cluster if declared.line.cluster in rows.column_names else "example_id"
    entities = _groups("entity", f"{whose} ", rows[whose], differing, change)
    yield from sorted(entities, key=lambda each: (-each.change, each.name))[:SHOWN]


def _part(kind: str, name: str, differing: np.ndarray, change: np.ndarray) -> Part:
    return Part(kind, name, len(change), int(differing.sum()), float(change.mean()))


def _levels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column; numbers of many values by quarters of the rows."""
    if len(column.unique()) <= MOST_VALUES or not (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    ):
        return column
    numbers = column.cast(pa.float64(), safe=False).to_numpy()
    low, middle, high = np.nanquantile(numbers, (0.25, 0.5, 0.75))
    names = [
        f"under {figure(low)}",
        f"{figure(low)} .. {figure(middle)}",
        f"{figure(middle)} .. {figure(high)}",
        f"over {figure(high)}",
    ]
    places = np.searchsorted([low, middle, high], numbers)
    return pa.chunked_array(
        [pa.array([None if np.isnan(each) else names[at] for each, at in zip(numbers, places, strict=True)])]
    )


def _groups(
    kind: str, prefix: str, column: pa.ChunkedArray, differing: np.ndarray, change: np.ndarray
) -> Iterator[Part]:
    """The rows of each value of a column. prefix: of their names."""
    import pyarrow.compute as pc

    values = column.unique()
    places = pc.index_in(column, value_set=values).to_numpy(zero_copy_only=False)
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(len(values) + 1))
    for value, begin, end in zip(values.to_pylist(), ends, ends[1:], strict=False):
        rows = order[begin:end]
        yield _part(kind, f"{prefix}{value}", differing[rows], change[rows])
