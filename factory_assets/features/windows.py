"""What was known about an entity at a moment? Trailing-window aggregates, computed point in time.

The rule. An event happened at `event_time`, was known at `known_at`, and held until a correction of it was known, at
`superseded_at`. A view with a delay places it at u = event_time + delay. An observation at t uses the event in a window
w if and only if

    t - w < u <= t,   event_time < t   and   known_at <= t < superseded_at.

The first two are one RANGE window per length over the sorted events. The third holds by itself where events are
punctual (known_at <= u) and never corrected. Where one was not known yet, or no longer held, the windows saw too much: the
latest known_at and the earliest superseded_at among the events of the longest window tell, in the same pass. Those
observations, few unless events are late by much, are computed again by the rule as written, with a join. A naive scan
in tests/oracles holds both to the rule, value for value.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.expressions import Aggregate, identifier
from factory_assets.declarations.view import View

MICROSECOND = dt.timedelta(microseconds=1)
#: Variance below this share of the mean square is what rounding leaves of equal values.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Feature:
    """One column of a view over a window. `column` is what is aggregated, among the placed events."""

    name: str
    aggregate: Aggregate
    column: str
    window: dt.timedelta

    @property
    def counts(self) -> bool:
        """Whether no event makes it 0."""
        return self.aggregate.function in ("count", "distinct", "approx_distinct")


def interval(span: dt.timedelta) -> str:
    """A length as SQL, exact to the microsecond."""
    return f"to_microseconds({span // MICROSECOND})"


def entity_of(keys: Sequence[str], relation: str = "") -> str:
    """SQL of an entity: its column, or a struct of its columns; null where one of them is."""
    named = {key: f"{relation}{identifier(key)}" for key in keys}
    if len(keys) == 1:
        return named[keys[0]]
    given = " AND ".join(f"{value} IS NOT NULL" for value in named.values())
    packed = ", ".join(f"{identifier(key)} := {value}" for key, value in named.items())
    return f"CASE WHEN {given} THEN struct_pack({packed}) END"


def keys_of(keys: Sequence[str]) -> str:
    """The columns of `entity`, as a list to select."""
    if len(keys) == 1:
        return f"entity AS {identifier(keys[0])}"
    return ", ".join(f"entity.{identifier(key)} AS {identifier(key)}" for key in keys)


def compute(
    con: duckdb.DuckDBPyConnection, view: View, events: str, observations: str, into: str, *, same_stream: bool
) -> None:
    """Create the table `into` (obs, one column a feature) with the view's values at every observation of an entity.

    events: a table with the stream's columns, `event_time`, `known_at` and `superseded_at` (null: holds to this day),
        reaching back far enough.
    observations: a relation of obs (unique number), entity, t (timestamp, UTC). One without an entity gets no row.
    same_stream: the observations are events of this very table and `obs` is their rowid. Then one sorted pass over the
        events serves both, and `into` may hold rows for events that are not observed. Only then is there a current
        event for `include_current` to include.
    """
    con.execute(f"CREATE OR REPLACE TEMP VIEW placed AS {placed(view, events)}")
    surprising = "coalesce(bool_or(known_at > u OR superseded_at < TIMESTAMP 'infinity'), false)"
    surprises = con.execute(f"SELECT {surprising} FROM placed").fetchall()[0][0]
    windows = _by_windows(view, observations, same_stream, surprises)
    if not surprises:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {_completed(view, windows)}").fetchall()
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {windows}").fetchall()
    both = f"""SELECT * EXCLUDE (too_much) FROM seen WHERE NOT too_much
               UNION ALL BY NAME {_by_join(view, observations, same_stream)}"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {_completed(view, both)}").fetchall()
    con.execute("DROP TABLE seen").fetchall()


def value_of(view: View, aggregate: Aggregate) -> str:
    """SQL of what an aggregate looks at in one event, null where the event does not count."""
    conditions = [part for part in (expressions.sql(view.where) if view.where else None, aggregate.where) if part]
    value = aggregate.argument or "1"
    if aggregate.function == "time_since_last":
        conditions += [f"{aggregate.argument} IS NOT NULL"] if aggregate.argument else []
        value = "event_time"
    return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END" if conditions else value


def value_columns(view: View) -> dict[str, str]:
    """The distinct values that the view's aggregates look at, and a column name for each."""
    values = [value_of(view, expressions.aggregate(text)) for text in view.features.values()]
    values += [value_of(view, SEEN)] if view.flag else []
    return {value: f"a{index}" for index, value in enumerate(dict.fromkeys(values))}


#: What a view's flag asks: is there any event?
SEEN = Aggregate("count", None, frozenset())


def features(view: View) -> list[Feature]:
    """Every feature over a window, in the order of `view.aggregated`."""
    columns, found = value_columns(view), []
    for feature, text in view.features.items():
        aggregate = expressions.aggregate(text)
        for window in view.windows:
            name = f"{feature}_{format_duration(window)}"
            found.append(Feature(name, aggregate, columns[value_of(view, aggregate)], window))
    return found


def columns_read(view: View) -> set[str]:
    """Columns of the stream that the view is computed from, beside the times."""
    read = {name for text in view.features.values() for name in expressions.aggregate(text).columns}
    return {*view.entity, *read, *(expressions.columns(view.where) if view.where else ())}


def _needed(view: View) -> list[Feature]:
    """Features over a window, and the count of events that the flag stands on."""
    flag = [Feature(view.flag, SEEN, value_columns(view)[value_of(view, SEEN)], max(view.windows))] if view.flag else []
    return [*features(view), *flag]


def placed(view: View, events: str) -> str:
    """Events of an entity: number, entity, u, the times, what aggregates look at. Empty known_at: never known."""
    values = ", ".join(f"{value} AS {column}" for value, column in value_columns(view).items())
    entity = entity_of(view.entity)
    return f"""SELECT rowid AS number, {entity} AS entity, event_time + {interval(view.delay)} AS u, event_time,
                      coalesce(known_at, TIMESTAMP 'infinity') AS known_at,
                      coalesce(superseded_at, TIMESTAMP 'infinity') AS superseded_at, {values}
               FROM {events} WHERE {entity} IS NOT NULL"""


def _frame(view: View, window: dt.timedelta, same_stream: bool) -> str:
    """The window (t - w, t] over u as a frame; without a delay, events at t itself are not before t and stay out.

    Sorted by event time instead of u, the frame of an observed event lies further back by the delay.
    """
    shift = view.delay if same_stream else dt.timedelta(0)
    end = shift if view.delay else MICROSECOND
    return f"RANGE BETWEEN {interval(window + shift - MICROSECOND)} PRECEDING AND {interval(end)} PRECEDING"


def _frame_with_current(window: dt.timedelta) -> str:
    """(t - w, t) and the observed event itself; others at the same instant are not before it and stay out."""
    return f"RANGE BETWEEN {interval(window - MICROSECOND)} PRECEDING AND CURRENT ROW EXCLUDE TIES"


def _by_windows(view: View, observations: str, same_stream: bool, surprises: bool) -> str:
    """Features by RANGE windows; with surprises, also whether a window saw `too_much`: what was not known at t, or void."""
    columns = ["known_at", "superseded_at", *value_columns(view).values()]
    if same_stream:
        timeline = f"SELECT number AS obs, entity, event_time AS moment, {', '.join(columns)} FROM placed"
    else:
        empty = ", ".join(f"NULL AS {column}" for column in columns)
        timeline = f"""SELECT NULL::BIGINT AS obs, entity, u AS moment, {", ".join(columns)} FROM placed
                       UNION ALL BY NAME
                       SELECT obs, entity, t AS moment, {empty} FROM {observations} WHERE entity IS NOT NULL"""
    current = view.include_current and same_stream
    frames = {
        _over(window): _frame_with_current(window) if current else _frame(view, window, same_stream)
        for window in view.windows
    }
    chosen = [
        _column(feature, feature.column, "moment", "moment", f" OVER {_over(feature.window)}")
        for feature in _needed(view)
    ]
    if surprises:
        # The observed event is no surprise to itself: the current row is outside this frame.
        frames["before"] = _frame(view, max(view.windows), same_stream)
        surprised = "max(known_at) OVER before > moment OR min(superseded_at) OVER before <= moment"
        chosen.append(f"coalesce({surprised}, false) AS too_much")
    windows = ", ".join(f"{name} AS (PARTITION BY entity ORDER BY moment {frame})" for name, frame in frames.items())
    return f"SELECT obs, {', '.join(chosen)} FROM ({timeline}) WINDOW {windows} QUALIFY obs IS NOT NULL"


def _over(window: dt.timedelta) -> str:
    return f"w{format_duration(window)}"


def _by_join(view: View, observations: str, same_stream: bool) -> str:
    """Features by the rule as written, for the observations that saw too much.

    Time is cut into stretches as long as the longest window, which therefore lies in an observation's stretch and the
    one before: the join compares events of these alone, and not all that an entity ever had.
    """
    longest = max(view.windows)
    stretch = f"// {longest // MICROSECOND}"
    known = "e.event_time < o.t AND e.known_at <= o.t AND e.superseded_at > o.t"
    if view.include_current and same_stream:
        known = f"(({known}) OR e.number = o.obs)"
    chosen = ", ".join(
        _column(
            feature, f"CASE WHEN e.u > o.t - {interval(feature.window)} THEN e.{feature.column} END", "e.u", "o.t", ""
        )
        for feature in _needed(view)
    )
    return f"""SELECT o.obs, {chosen}
               FROM (SELECT obs, entity, t, unnest([epoch_us(t) {stretch}, epoch_us(t) {stretch} - 1]) AS stretch
                     FROM {observations} WHERE obs IN (SELECT obs FROM seen WHERE too_much)) o
               LEFT JOIN (SELECT *, epoch_us(u) {stretch} AS stretch FROM placed) e
               ON e.entity = o.entity AND e.stretch = o.stretch
                  AND e.u > o.t - {interval(longest)} AND e.u <= o.t AND {known}
               GROUP BY o.obs, o.t"""


def _column(feature: Feature, value: str, moment: str, now: str, over: str) -> str:
    return f"{_aggregate(feature.aggregate, value, moment, now, over)} AS {identifier(feature.name)}"


def _aggregate(aggregate: Aggregate, value: str, moment: str, now: str, over: str) -> str:
    """SQL of an aggregate; empty values are left out by all of them. now: the moment of the observation.

    Sums are taken in decimals of twelve places, of numbers up to 1e26: a sum of doubles depends on the order of
    addition, and so on how many days a run covers and on how many threads. Where several values are equally late or
    frequent, the larger or the smaller is taken: an order that does not depend on the order of rows.
    """
    number = f"CAST({value} AS DOUBLE)"  # of a yes or no, 1 or 0: their mean is a rate
    exact = f"TRY_CAST({number} AS DECIMAL(38, 12))"
    n, total = f"count({exact}){over}", f"CAST(sum({exact}){over} AS DOUBLE)"
    placed, given = f"{{'u': {moment}, 'v': {value}}}", f"FILTER ({value} IS NOT NULL)"
    if aggregate.function == "deviation":
        square = f"CAST(sum(TRY_CAST({number} * {number} AS DECIMAL(38, 12))){over} AS DOUBLE)"
        return f"""CASE WHEN {n} > 0 THEN CASE WHEN {square} / {n} - ({total} / {n}) ** 2 <= {ROUNDING!r} * {square} / {n}
                   THEN 0.0 ELSE sqrt({square} / {n} - ({total} / {n}) ** 2) END END"""
    if aggregate.function == "top":
        counted = f"map_entries(histogram({value}){over})"
        return f"list_min(list_transform({counted}, lambda e: {{'n': -e.value::BIGINT, 'v': e.key}})).v"
    return {
        "count": f"count({value}){over}",
        "sum": total,
        "mean": f"{total} / nullif({n}, 0)",
        "min": f"min({number}){over}",
        "max": f"max({number}){over}",
        "first": f"(min({placed}) {given}{over}).v",
        "last": f"(max({placed}) {given}{over}).v",
        "nth_last": f"(max({placed}, {aggregate.place}) {given}{over})[{aggregate.place}].v",
        "distinct": f"count(DISTINCT {value}){over}",
        "approx_distinct": f"approx_count_distinct({value}){over}",
        "time_since_last": f"(epoch_us({now}) - epoch_us(max({value}){over})) / 1e6",
    }[aggregate.function]


def filled(view: View, columns: Mapping[str, str]) -> dict[str, str]:
    """SQL of every feature of the view by name, from that of the aggregates' results, which may be null.

    columns: SQL of the results by name; of the flag, of the number of events. Counts of nothing are 0, other aggregates
    of nothing the view's default, a number. What is derived from them is a finite number or null.
    """
    found = {}
    for feature in features(view):
        value = columns[feature.name]
        if feature.counts:
            value = f"coalesce({value}, 0)"
        elif view.default is not None:
            value = f"coalesce(CAST({value} AS DOUBLE), CAST({view.default!r} AS DOUBLE))"
        found[feature.name] = value
    for name, text in view.derive.items():
        number = f"TRY_CAST({expressions.over(text, found)} AS DOUBLE)"
        found[name] = f"CASE WHEN isfinite({number}) THEN {number} END"
    if view.flag:
        found[view.flag] = f"CAST(coalesce({columns[view.flag]}, 0) = 0 AS INTEGER)"
    return found


def _completed(view: View, aggregated: str) -> str:
    """Query for obs and every feature of the view, from one for the aggregates' results."""
    values = filled(view, {name: identifier(name) for name in view.names})
    chosen = ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
    return f"SELECT obs, {chosen} FROM ({aggregated})"


def active_entities(
    events: str, keys: Sequence[str], days: Sequence[dt.date], active: dt.timedelta, where: str | None = None
) -> str:
    """Entities at the close t of each day that had an event in (t - active, t), known and valid at t: (ds, entity, t).

    days: without a gap. An event makes its entity active from the close of the day on which it is known to the last
    close before it is `active` old. Stretches that overlap are joined up, so that the cost is in days with events and
    not in days times events.
    """
    entity, tick = entity_of(keys), interval(MICROSECOND)
    return f"""
        WITH stretches AS (
            SELECT DISTINCT {entity} AS entity,
                   CAST(greatest(event_time, known_at - {tick}) AS DATE) AS first,
                   CAST(least(event_time + {interval(active)}, superseded_at) - {tick} AS DATE) - 1 AS last
            FROM {events} WHERE {entity} IS NOT NULL AND known_at IS NOT NULL AND {expressions.condition(where)}
        ), spells AS (
            SELECT entity, greatest(first, coalesce(max(last) OVER before + 1, first), DATE '{min(days)}') AS first,
                   least(last, DATE '{max(days)}') AS last
            FROM stretches
            WINDOW before AS (PARTITION BY entity ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        )
        SELECT CAST(unnest(range(first, last + 1, INTERVAL 1 DAY)) AS DATE) AS ds, entity, ds + INTERVAL 1 DAY AS t
        FROM spells WHERE first <= last"""
