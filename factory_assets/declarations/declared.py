"""Which declarations does one need? A stream its contract, a view the types of its stream, a line its streams and views."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from factory_assets.declarations import expressions, on_demand, types
from factory_assets.declarations.base import FILE_LINE, TIMES, whole_days
from factory_assets.declarations.contract import SQL_TYPES, Contract
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.types import Mistake
from factory_assets.declarations.view import View

#: Aggregates that are whole numbers, and those that give back values as the events have them.
COUNTS = ("count", "distinct", "approx_distinct")
VALUED = ("first", "last", "nth_last", "top")


@dataclass(frozen=True)
class DeclaredStream:
    """A stream with its contract, and the type of every column of its events."""

    stream: Stream
    contract: Contract

    @cached_property
    def _typed(self) -> tuple[dict[str, str], list[Mistake]]:
        columns = {name: SQL_TYPES[column.type] for name, column in self.contract.columns.items()}
        if self.stream.by_line:
            columns[FILE_LINE] = "VARCHAR"
        texts: dict[tuple[str, ...], str] = {("derive", name): text for name, text in self.stream.derive.items()}
        texts |= {("rules", name): text for name, text in self.stream.rules.items()}
        return types.added(columns, texts)

    @cached_property
    def types(self) -> dict[str, str]:
        """Column -> type in DuckDB, in the order of the events table. Raises ValueError where an expression has none."""
        found, findings = self._typed
        if findings:
            raise ValueError("; ".join(message for _, message in findings))
        return {name: kind for name, kind in found.items() if name not in TIMES} | dict.fromkeys(TIMES, "TIMESTAMP")

    @property
    def meanings(self) -> dict[str, str]:
        """Column of the events -> its meaning: the contract's description, or the expression that computes it."""
        described = {name: column.description for name, column in self.contract.columns.items()}
        times = {"event_time": "When it happened, in UTC.", "known_at": "When it was known, in UTC."}
        by_line = {FILE_LINE: "The file and the line that brought the event."} if self.stream.by_line else {}
        return described | by_line | self.stream.derive | self.stream.rules | times

    def column_type(self, name: str) -> str:
        """Type in DuckDB of a column of the contract."""
        return SQL_TYPES[self.contract.columns[name].type]

    def check(self) -> list[Mistake]:
        """Mistakes between the stream and its contract, and in its expressions, as (path, message) pairs."""
        if findings := self.stream.check(self.contract) or self._typed[1]:
            return findings
        truths = {"rules": self.stream.rules, "exclude": self.stream.exclude, "contract": self.contract.rules}
        found = types.unsuited(
            self._typed[0],
            [((field, name), text, "true or false") for field, texts in truths.items() for name, text in texts.items()],
        )
        return [
            ((path[0],), f"rule {path[1]!r}: {message}") if path[0] == "contract" else (path, message)
            for path, message in found
        ]


def feature_types(view: View, declared: DeclaredStream) -> dict[str, str]:
    """DuckDB's type of each feature of a view by name, as snapshots and examples hold it."""
    aggregates = {name: expressions.aggregate(text) for name, text in view.features.items()}
    # A default is a number, and so is then what it stands beside.
    valued = {name: one for name, one in aggregates.items() if one.function in VALUED and view.default is None}
    own = types.of(declared.types, {name: str(one.text) for name, one in valued.items()}) if valued else {}
    own |= {name: "BIGINT" for name, one in aggregates.items() if one.function in COUNTS}
    found = dict(
        zip(view.aggregated, (own.get(name, "DOUBLE") for name in view.features for _ in view.windows), strict=True)
    )
    return found | dict.fromkeys(view.derive, "DOUBLE") | ({view.flag: "INTEGER"} if view.flag else {})


def written_out(features: Iterable[str], views: Mapping[str, View | OnDemandView]) -> list[str]:
    """Canonical names with `view.*` of these views written out, in order, each once; other names stay as they are."""
    names: list[str] = []
    for name in features:
        view, _, feature = name.partition(".")
        names += views[view].canonical if feature == "*" and view in views else [name]
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class DeclaredLine:
    """A line with the streams and views that it stands on."""

    line: Line
    observed: DeclaredStream
    views: dict[str, View]
    streams: dict[str, DeclaredStream] = field(repr=False)
    on_demand: dict[str, OnDemandView] = field(default_factory=dict)

    @cached_property
    def features(self) -> list[str]:
        """Canonical names with every `view.*` written out, in order, each once."""
        return written_out(self.line.features, self.every_view)

    @cached_property
    def every_view(self) -> dict[str, View | OnDemandView]:
        return {**self.views, **self.on_demand}

    @cached_property
    def derived(self) -> dict[str, str]:
        """Features that the line computes on demand and their expressions, those first that others read. Not all are its own."""
        texts = on_demand.texts(self.on_demand)
        return {name: texts[name] for name in on_demand.in_order(self.features, texts)}

    @cached_property
    def types(self) -> dict[str, str]:
        """DuckDB's type of each feature of the line's views, by canonical name."""
        found = {
            f"{view.name}.{name}": kind
            for view in self.views.values()
            for name, kind in feature_types(view, self.streams[view.stream]).items()
        }
        return found | dict.fromkeys(self.derived, "DOUBLE")

    def stream_of(self, feature: str) -> str:
        """The stream whose events a feature is made of; of one that is derived from others, the observed stream."""
        view = self.views.get(feature.partition(".")[0])
        return view.stream if view else self.line.observe.stream

    @property
    def stands_on(self) -> list[str]:
        """Names of the streams that the line reads: the observed stream, those that its views aggregate, and its label's."""
        names = {self.line.observe.stream, *(view.stream for view in self.views.values())}
        return sorted(names | ({self.line.label.event} if self.line.label.event else set()))

    @cached_property
    def row_features(self) -> list[str]:
        return [name for name in self.features if "." not in name]

    @cached_property
    def carried(self) -> list[str]:
        """Columns of the observed event that examples hold beside features: segment levels, those asked for, and those that
        features computed on demand read."""
        read = on_demand.observed(self.features, self.derived)
        return list(dict.fromkeys([*self.line.segments.levels, *self.line.observe.carry, *read]))

    @cached_property
    def kept(self) -> list[str]:
        """Columns of an observation itself: entities, by which views are joined, carried columns and row features."""
        observed = self.line.observe.entity
        entities = [observed] if observed else [key for view in self.views.values() for key in view.entity]
        return list(dict.fromkeys([*entities, *self.carried, *self.row_features]))

    @cached_property
    def revealing(self) -> frozenset[str]:
        """Columns of the observed stream that reveal something of the label before it is known."""
        label = self.line.label
        if label.expression is None or not label.silence:
            return frozenset()
        stream = self.observed.stream
        texts = {**stream.derive, **stream.rules}
        read, todo = set[str](), [*expressions.columns(label.expression)]
        while todo:
            name = todo.pop()
            read.add(name)
            todo += expressions.columns(texts[name]) - read if name in texts else ()
        read -= {*label.known, *texts, stream.id, stream.event_time, stream.known_at}
        columns = set(read)
        for name, text in texts.items():
            if expressions.columns(text) & columns and name not in label.known:
                columns.add(name)
        return frozenset(columns)

    @cached_property
    def reach_days(self) -> int:
        """Days before an observation that its features need to be complete."""
        return max(
            (whole_days(view.settles) + (view.name in self.line.snapshot) for view in self.views.values()), default=0
        )
