"""What are the features of one request? The views of a line at one observation, its history kept in memory.

History comes from the store: `Online` reads the events that a day's observations look back on. The new event comes from
the caller. A value is the one that `examples` has of the same event, to the last bit: sums are exact and rounded alike, ties are
broken the same way, and the rule of `windows` decides what was known. Expressions are DuckDB's in both.
"""

import datetime as dt
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from math import isfinite
from typing import Any, NamedTuple

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream, feature_types
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.on_demand import observed
from factory_assets.declarations.view import View
from factory_assets.features import on_demand
from factory_assets.features.examples.rows import fresh_views, lookback
from factory_assets.features.online import rows
from factory_assets.features.online.rows import Beyond, Value
from factory_assets.features.point_in_time import exact, history
from factory_assets.features.point_in_time.aggregates import (
    SEEN,
    Feature,
    columns_read,
    features,
    value_columns,
    value_of,
)
from factory_assets.features.point_in_time.exact import whole
from factory_assets.features.point_in_time.history import Load, Versions
from factory_assets.features.point_in_time.windows import placed

Values = list[Any]
EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
#: Later than any time.
NEVER = 2**63
SQL_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR", dt.date: "DATE", dt.datetime: "TIMESTAMP"}


class Past:
    """The events of one entity in a view, by the time at which they count. Times are microseconds since 1970."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], summed: Sequence[int]):
        """rows: (u, event_time, known_at, superseded_at, value of each column), by u. summed: columns that are added up."""
        self.u, self.event_time, self.known_at, self.superseded_at, *self.values = map(list, zip(*rows, strict=True))
        times = zip(self.u, self.known_at, self.superseded_at, strict=True)
        self._surprises = [at for at, (u, known, until) in enumerate(times) if known > u or until != NEVER]
        every = list(range(len(rows) + 1))
        self._counts = [
            list(accumulate([value is not None for value in column], initial=0)) if None in column else every
            for column in self.values
        ]
        self._sums = {at: _Running(self.values[at], self._counts[at]) for at in summed}

    def window(self, t: int, length: int, inclusive: bool) -> tuple[int, int]:
        """Places of the events with t - length < u and u < t, or u <= t where that is inclusive."""
        end = bisect_right(self.u, t) if inclusive else bisect_left(self.u, t)
        return bisect_right(self.u, t - length), end

    def surprised(self, first: int, last: int, t: int) -> bool:
        """Whether any of the events from first to before last was not known at t, or valid no longer."""
        return any(self.known_at[at] > t or self.superseded_at[at] <= t for at in self._surprises if first <= at < last)

    def known(self, first: int, last: int, t: int) -> list[int]:
        return [at for at in range(first, last) if self.known_at[at] <= t < self.superseded_at[at]]

    def count(self, column: int, first: int, last: int) -> int:
        counts = self._counts[column]
        return counts[last] - counts[first]

    def sums(self, column: int, first: int, last: int) -> "Sums":
        return self._sums[column].between(first, last)


class Sums(NamedTuple):
    """How many numbers, their sum in units of 2**-places, and the sum of their squares in units of 4**-places."""

    n: int
    total: int
    squares: int
    places: int

    def with_number(self, m: int, places: int) -> "Sums":
        """With the number m / 2**places."""
        n, total, squares, own = self
        if places > own:
            total, squares, own = total << places - own, squares << 2 * (places - own), places
        m <<= own - places
        return Sums(n + 1, total + m, squares + m * m, own)


class _Running:
    """Running sums of a column, exact: any stretch is a difference of two."""

    def __init__(self, values: Values, counts: list[int]):
        """counts: how many of the values before each place are there."""
        given = [_whole(value) for value in values]
        self._places = places = max([one[1] for one in given if one is not None], default=0)
        scaled = [0 if one is None else one[0] << places - one[1] for one in given]
        # A value that is there is a number, but for those that are not finite.
        are_numbers = given.count(None) == len(values) - counts[-1]
        self._numbers = counts if are_numbers else list(accumulate([one is not None for one in given], initial=0))
        self._totals = list(accumulate(scaled, initial=0))
        self._squares = list(accumulate([number * number for number in scaled], initial=0))

    def between(self, first: int, last: int) -> Sums:
        numbers, totals, squares = self._numbers, self._totals, self._squares
        return Sums(
            numbers[last] - numbers[first], totals[last] - totals[first], squares[last] - squares[first], self._places
        )


class Window:
    """The values of one column that an observation sees in one window: past events, and the current one where it counts."""

    def __init__(self, past: Past | None, column: int, span: tuple[int, int], known: list[int] | None, current: Values):
        """known: places of the past that were known, None if all in the span were. current: the current event's value, or none."""
        self._past, self._column, self._span, self._known, self._current = past, column, span, known, current
        self._sums: Sums | None = None

    def pairs(self, t: int) -> list[tuple[int, Any]]:
        """(time, value) of every value, by time."""
        found: list[tuple[int, Any]] = []
        if self._past is not None:
            values, times = self._past.values[self._column], self._past.event_time
            places = range(*self._span) if self._known is None else self._known
            found = [(times[at], values[at]) for at in places if values[at] is not None]
        return found + [(t, value) for value in self._current if value is not None]

    def values(self) -> Values:
        found: Values = []
        if self._past is not None:
            values = self._past.values[self._column]
            seen = values[slice(*self._span)] if self._known is None else [values[at] for at in self._known]
            found = [value for value in seen if value is not None]
        return found + [value for value in self._current if value is not None]

    def count(self) -> int:
        if self._known is None and self._past is not None:
            return self._past.count(self._column, *self._span) + sum(value is not None for value in self._current)
        return len(self.values())

    @property
    def sums(self) -> Sums:
        if self._sums is None:
            if self._known is None and self._past is not None:
                found, more = self._past.sums(self._column, *self._span), self._current
            else:
                found, more = Sums(0, 0, 0, 0), self.values()
            for value in more:
                if (number := _whole(value)) is not None:
                    found = found.with_number(*number)
            self._sums = found
        return self._sums


class Compiled:
    """A view as requests need it, read from its declaration once.

    columns: names of the values that aggregates read. results: each feature and the place of its column.
    formulas: functions that compute the derived features; none where the engine has to compute one of them.
    """

    def __init__(self, view: View, declared: DeclaredStream):
        self.view = view
        texts = value_columns(view)
        self.columns = list(texts.values())
        self.results = [(feature, self.columns.index(feature.column)) for feature in features(view)]
        self.seen = self.columns.index(texts[value_of(view, SEEN)]) if view.flag else None
        self.read = sorted({*columns_read(view), "event_time"})
        plain = {f'("{name}")': name for name in self.read} | {"event_time": "event_time"}
        self.texts = list(texts)
        # Plain columns are taken as they are, and DuckDB is asked for the rest.
        as_they_are = all(text in plain or text == "1" for text in texts)
        self.plain = [plain.get(text) for text in texts] if as_they_are else None
        self.doubles = [name for name in self.read if declared.types.get(name) in ("DOUBLE", "FLOAT")]
        names = {feature.name: identifier(feature.name) for feature, _ in self.results}
        derived = [expressions.over(text, names) for text in view.derive.values()]
        self.derived = [f"TRY_CAST({text} AS DOUBLE)" for text in derived]
        kinds = feature_types(view, declared)
        self.formulas = _all([rows.compiled(text, kinds) for text in derived])


class Recent:
    """A view's history: every entity's past."""

    def __init__(self, con: duckdb.DuckDBPyConnection, compiled: Compiled, events: str):
        self.view, self._compiled = compiled.view, compiled
        self._inclusive = bool(self.view.delay)
        self._lengths = {window: window // MICROSECOND for window in self.view.windows}
        added = ("sum", "mean", "deviation")
        self._summed = sorted({at for one, at in compiled.results if one.aggregate.function in added})
        self._con = con
        chosen = ", ".join(["entity", *(f"epoch_us({name})" for name in ("u", "event_time"))])
        times = ", ".join(
            f"CASE WHEN {name} = TIMESTAMP 'infinity' THEN {NEVER}::HUGEINT ELSE epoch_us({name}) END"
            for name in ("known_at", "superseded_at")
        )
        rows = con.execute(
            f"SELECT {chosen}, {times}, {', '.join(compiled.columns)} FROM ({placed(self.view, events)}) ORDER BY entity, u, number"
        ).fetchall()
        self._rows: dict[Any, list[tuple[Any, ...]]] = {}
        for entity, *row in rows:
            self._rows.setdefault(_hashable(entity), []).append(tuple(row))
        self._pasts: dict[Any, Past] = {}
        # What is read over which window, once each; and of which of these each feature is what.
        pairs = [(at, feature.window) for feature, at in compiled.results]
        seen = None if compiled.seen is None else (compiled.seen, max(self.view.windows))
        self._over = list(dict.fromkeys(pairs if seen is None else [*pairs, seen]))
        places = {pair: place for place, pair in enumerate(self._over)}
        self._asked = [
            (feature.name, self._aggregate(feature), places[pair])
            for (feature, _), pair in zip(compiled.results, pairs, strict=True)
        ]
        self._flag = (self.view.flag, places[seen]) if self.view.flag and seen else None

    def learn(self, entity: Any, row: tuple[Any, ...]) -> None:
        """Add an event: (u, event_time, known_at, superseded_at, value of each column)."""
        rows = self._rows.setdefault(entity, [])
        rows.insert(bisect_right([one[0] for one in rows], row[0]), row)
        self._pasts.pop(entity, None)

    def at(self, entity: Any, t: int, current: Sequence[Any] | None) -> dict[str, Any]:
        """Aggregate -> its result at t, and flag -> number of events. current: the observed event's values."""
        past = self._past(entity)
        spans: dict[dt.timedelta, tuple[tuple[int, int], list[int] | None]] = {}
        for window, length in self._lengths.items():
            span, known = (0, 0), None
            if past is not None:
                span = past.window(t, length, self._inclusive)
                known = past.known(*span, t) if past.surprised(*span, t) else None
            spans[window] = span, known
        included = current if self.view.include_current else None

        # Once each: aggregates of one column over one window share its sums.
        windows = [
            Window(past, column, *spans[length], [] if included is None else [included[column]])
            for column, length in self._over
        ]
        results = {name: aggregated(windows[at], t) for name, aggregated, at in self._asked}
        if self._flag is not None:
            flag, at = self._flag
            results[flag] = windows[at].count()
        return results

    def _past(self, entity: Any) -> Past | None:
        """The entity's past, its running sums made when it is first asked for."""
        if entity not in self._pasts and entity in self._rows:
            self._pasts[entity] = Past(self._rows[entity], self._summed)
        return self._pasts.get(entity)

    def _aggregate(self, feature: Feature) -> "Callable[[Window, int], Any]":
        """What a feature is of its window, at a time."""
        place = feature.aggregate.place

        def approx_distinct(window: Window, t: int) -> int:
            asked = "SELECT approx_count_distinct(v) FROM (SELECT unnest(?) AS v)"
            values = window.values()
            return self._con.execute(asked, [values]).fetchall()[0][0] if values else 0

        def nth_last(window: Window, t: int) -> Any:
            newest = sorted(window.pairs(t), reverse=True)
            return newest[place - 1][1] if len(newest) >= place else None

        more: dict[str, Callable[[Window, int], Any]] = {"approx_distinct": approx_distinct, "nth_last": nth_last}
        return (AGGREGATES | more)[feature.aggregate.function]


def _sum(window: Window, t: int) -> float | None:
    found = window.sums
    return exact.sum_of(found.total, found.places) if found.n else None


def _mean(window: Window, t: int) -> float | None:
    found = window.sums
    return exact.mean_of(found.n, found.total, found.places) if found.n else None


def _deviation(window: Window, t: int) -> float | None:
    found = window.sums
    return exact.deviation_of(found.n, found.total, found.squares, found.places) if found.n else None


def _finite(window: Window) -> Iterator[float]:
    return filter(math.isfinite, map(float, window.values()))


def _top(window: Window, t: int) -> Any:
    counted = Counter(window.values())
    return min(counted, key=lambda value: (-counted[value], value)) if counted else None


def _since(window: Window, t: int) -> float | None:
    times = window.values()
    return (t - _micros(max(times))) / 1e6 if times else None


#: Aggregates of one window at t.
AGGREGATES: dict[str, Callable[[Window, int], Any]] = {
    "count": lambda window, t: window.count(),
    "sum": _sum,
    "mean": _mean,
    "deviation": _deviation,
    "min": lambda window, t: min(_finite(window), default=None),
    "max": lambda window, t: max(_finite(window), default=None),
    "first": lambda window, t: min(window.pairs(t), default=(0, None))[1],
    "last": lambda window, t: max(window.pairs(t), default=(0, None))[1],
    "distinct": lambda window, t: len(set(window.values())),
    "top": _top,
    "time_since_last": _since,
}


class Online:
    """The feature vector of a line's observed event, from the history of the days before and the event itself.

    >>> con, day = duckdb.connect(), event["event_time"].date()
    >>> online = Online(con, model.declared, day, loader(lake, con))
    >>> vector = online.features(event)
    >>> sorted(vector) == sorted(model.features)
    True
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, declared: DeclaredLine, day: dt.date, load: Load):
        """Read the history of observations of a day: events up to that day, and snapshots of the day before.

        con: is used as long as this object lives. Raises ValueError for a line that observes entities: nobody requests these.
        """
        if declared.line.observe.entity:
            raise ValueError(
                f"{declared.line.name} observes {declared.line.observe.entity} at the close of a day, no event"
            )
        self._con, self._declared, self.day = con, declared, day
        self._compiled = {name: Compiled(view, declared.streams[view.stream]) for name, view in declared.views.items()}
        self._recent: dict[str, Recent] = {}
        for stream, back in lookback(declared).items():
            views = [view for view in fresh_views(declared) if view.stream == stream]
            if views:
                events, columns = f"past_{stream}", set[str]().union(*map(columns_read, views))
                versions = Versions(declared.streams[stream], columns, day - dt.timedelta(days=back), day)
                history.create(con, events, versions, load)
                self._recent |= {view.name: Recent(con, self._compiled[view.name], events) for view in views}
                con.execute(f"DROP TABLE {events}").fetchall()
        self._closed = {
            view.name: self._snapshot(view, load) for view in declared.views.values() if view.name not in self._recent
        }
        self._formulas: dict[tuple[Any, ...], str] = {}
        if declared.derived:
            self._along = observed(declared.features, declared.derived)
            self._given = [*on_demand.read(declared), *self._along]
            types = declared.observed.types | declared.types
            given = ", ".join(f"CAST(? AS {types[name]}) AS {identifier(name)}" for name in self._given)
            derived = on_demand.added(f"SELECT {given}", declared.derived)
            self._derived = f"SELECT {', '.join(map(identifier, declared.derived))} FROM ({derived})"
            texts = map(expressions.over_features, declared.derived.values())
            self._formulas_on_demand = _all([rows.compiled(text, types) for text in texts])

    def _snapshot(self, view: View, load: Load) -> dict[Any, dict[str, Any]]:
        before = self.day - dt.timedelta(days=1)
        load("closed", f"features/{view.name}", before, before)
        keys, names = ", ".join(map(identifier, view.entity)), ", ".join(map(identifier, view.names))
        rows = self._con.execute(f"SELECT {keys}, {names} FROM closed").fetchall()
        width = len(view.entity)
        by_entity = {_key(row[:width]): dict(zip(view.names, row[width:], strict=True)) for row in rows}
        if view.flag:
            for values in by_entity.values():
                values[view.flag] = 1 - values[view.flag]
        return by_entity

    def features(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical name -> value at the event, as `examples` has it.

        event: the columns of the stream's events that the line reads, derived ones included, and `event_time` (UTC, naive).
        Raises KeyError for a column that is not there, ValueError for an event of another day.
        """
        t = event["event_time"]
        if t.date() != self.day:
            raise ValueError(f"an event of {t.date()}, and the history is of {self.day}")
        moment = _micros(t)
        vector: dict[str, Any] = {name: event[name] for name in self._declared.row_features}
        for view in self._declared.views.values():
            entity = _key([event[key] for key in view.entity])
            recent = self._recent.get(view.name)
            if recent is None:
                results = self._closed[view.name].get(entity, {})
            elif entity is None:
                results = {}
            else:
                with_current = view.stream == self._declared.line.observe.stream and view.include_current
                results = recent.at(entity, moment, self._values(view, event) if with_current else None)
            vector |= {f"{view.name}.{name}": value for name, value in self._completed(view, results).items()}
        if self._declared.derived:
            vector |= self._on_demand({name: event[name] for name in self._along} | vector)
        return {name: vector[name] for name in self._declared.features}

    def learn(self, stream: str, event: Mapping[str, Any]) -> None:
        """Take a new event of a stream into the history. event: as for `features`, and `known_at`.

        The event must be new: a correction of an earlier event takes effect when the history is read again.
        """
        for recent in self._recent.values():
            view = recent.view
            entity = _key([event[key] for key in view.entity]) if view.stream == stream else None
            if entity is not None:
                u, known_at = event["event_time"] + view.delay, event["known_at"]
                known_micros = NEVER if known_at is None else _micros(known_at)
                row = (_micros(u), _micros(event["event_time"]), known_micros, NEVER, *self._values(view, event))
                recent.learn(entity, row)

    def _values(self, view: View, event: Mapping[str, Any]) -> list[Any]:
        """The values of an event that the view's aggregates read."""
        compiled = self._compiled[view.name]
        # A double that a caller writes without a point is one all the same: it has 53 bits, and an integer more.
        doubles = {name: float(event[name]) for name in compiled.doubles if type(event[name]) is int}
        if compiled.plain is not None:
            return [1 if name is None else doubles.get(name, event[name]) for name in compiled.plain]
        return self._computed(compiled.texts, {name: event[name] for name in compiled.read} | doubles)

    def _completed(self, view: View, results: Mapping[str, Any]) -> dict[str, Any]:
        """Every feature of the view from the results of its aggregates: counts of nothing, defaults, derived features."""
        values: dict[str, Any] = {}
        compiled = self._compiled[view.name]
        for feature, _ in compiled.results:
            value = results.get(feature.name)
            if feature.counts:
                value = value or 0
            elif view.default is not None:
                value = float(view.default if value is None else value)
            values[feature.name] = value
        if view.derive:
            values |= zip(view.derive, self._derived_of(compiled, values), strict=True)
        if view.flag:
            values[view.flag] = int(not results.get(view.flag))
        return values

    def _derived_of(self, compiled: Compiled, values: Mapping[str, Any]) -> list[float | None]:
        """The features that a view derives from its other features."""
        if compiled.formulas:
            with suppress(Beyond):  # then the engine computes the row, and raises what it raises for batches
                return [formula(values) for formula in compiled.formulas]
        numbers = self._computed(compiled.derived, values)
        return [number if number is not None and math.isfinite(number) else None for number in numbers]

    def _on_demand(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Features computed from features of other views and columns of the event."""
        if self._formulas_on_demand:
            with suppress(Beyond):
                row = dict(values)
                for name, formula in zip(self._declared.derived, self._formulas_on_demand, strict=True):
                    row[name] = formula(row)
                return row
        numbers = self._con.execute(self._derived, [values[name] for name in self._given]).fetchall()[0]
        return dict(zip(self._declared.derived, numbers, strict=True))

    def _computed(self, texts: Sequence[str], given: Mapping[str, Any]) -> list[Any]:
        """Values of SQL expressions over one row."""
        kinds = tuple(SQL_TYPES[type(value)] if value is not None else "NULL" for value in given.values())
        key = (*texts, *given, *kinds)
        if key not in self._formulas:
            columns = ", ".join(
                f"{'NULL' if kind == 'NULL' else f'CAST(? AS {kind})'} AS {identifier(name)}"
                for name, kind in zip(given, kinds, strict=True)
            )
            self._formulas[key] = f"SELECT {', '.join(texts)} FROM (SELECT {columns})"
        asked = [value for value in given.values() if value is not None]
        return list(self._con.execute(self._formulas[key], asked).fetchall()[0])


def _all(formulas: Sequence[Value | None]) -> list[Value]:
    """The functions if all are there, else none."""
    compiled = [formula for formula in formulas if formula is not None]
    return compiled if len(compiled) == len(formulas) else []


def _key(values: Sequence[Any]) -> Any:
    """An entity as a key: the value itself, or a tuple of several; None where one is missing."""
    if any(value is None for value in values):
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _hashable(entity: Any) -> Any:
    return tuple(entity.values()) if isinstance(entity, dict) else entity


def _micros(time: dt.datetime) -> int:
    return (time - EPOCH) // MICROSECOND


def _whole(value: Any) -> tuple[int, int] | None:
    """A number as `exact.whole` has it; None of nothing and of what is no finite number. An integer is what it is."""
    if isinstance(value, int):
        return int(value), 0
    if value is None or not isfinite(number := float(value)):
        return None
    return whole(number)
