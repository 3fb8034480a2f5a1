"""What was known about an entity at a moment? Trailing-window aggregates, computed point in time.

The rule. An event happened at `event_time` and was known at `known_at`. A view with a delay places it at
u = event_time + delay. An observation at t uses the event in a window w if and only if

    t - w < u <= t,   event_time < t   and   known_at <= t.

The first two are one RANGE window per length over the sorted events. The third holds by itself where events are
punctual (known_at <= u). Where one was not known yet, the windows saw too much: the latest known_at among the events
of the longest window tells, in the same pass. Those observations, few unless events are late by much, are computed
again by the rule as written, with a join. A naive scan in tests/oracles holds both to the rule, value for value.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View

MICROSECOND = dt.timedelta(microseconds=1)


class Feature(NamedTuple):
    """One column of a view: an aggregate over a window. `column` is its argument among the placed events."""

    name: str
    function: str
    column: str
    window: dt.timedelta


def interval(span: dt.timedelta) -> str:
    """A length as SQL, exact to the microsecond."""
    return f"to_microseconds({span // MICROSECOND})"


def compute(
    con: duckdb.DuckDBPyConnection, view: View, events: str, observations: str, into: str, *, same_stream: bool
) -> None:
    """Create the table `into` (obs, one column a feature) with the view's values at every observation of an entity.

    events: a table with the stream's columns, `event_time` and `known_at`, reaching back far enough.
    observations: a relation of obs (unique number), entity, t (timestamp, UTC). One without an entity gets no row.
    same_stream: the observations are events of this very table and `obs` is their rowid. Then one sorted pass over the
        events serves both, and `into` may hold rows for events that are not observed. Only then is there a current
        event for `include_current` to include.
    """
    con.execute(f"CREATE OR REPLACE TEMP VIEW placed AS {_placed(view, events)}")
    late = con.execute("SELECT coalesce(bool_or(known_at > u), false) FROM placed").fetchall()[0][0]
    windows = _by_windows(view, observations, same_stream, late)
    if not late:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {windows}").fetchall()
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {windows}").fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {into} AS
            SELECT * EXCLUDE (too_much) FROM seen WHERE NOT too_much
            UNION ALL BY NAME {_by_join(view, observations, same_stream)}"""
    ).fetchall()
    con.execute("DROP TABLE seen").fetchall()


def _argument_columns(view: View) -> dict[str | None, str]:
    """The distinct arguments of the view's aggregates and a column name for each; None stands for a bare count()."""
    arguments = dict.fromkeys(expressions.aggregate(text).argument for text in view.features.values())
    return {argument: f"a{index}" for index, argument in enumerate(arguments)}


def features(view: View) -> list[Feature]:
    """Every feature of the view, in the order of `view.names`."""
    columns, found = _argument_columns(view), []
    for feature, text in view.features.items():
        aggregate = expressions.aggregate(text)
        for window in view.windows:
            name = f"{feature}_{format_duration(window)}"
            found.append(Feature(name, aggregate.function, columns[aggregate.argument], window))
    return found


def _placed(view: View, events: str) -> str:
    """Events of an entity: number, entity, u, both times, the aggregates' arguments. Empty known_at: never known."""
    where = expressions.sql(view.where) if view.where else None
    arguments = []
    for argument, column in _argument_columns(view).items():
        value = "1" if argument is None else argument
        arguments.append(f"{f'CASE WHEN {where} THEN {value} END' if where else value} AS {column}")
    entity = identifier(view.entity)
    return f"""SELECT rowid AS number, {entity} AS entity, event_time + {interval(view.delay)} AS u, event_time,
                      coalesce(known_at, TIMESTAMP 'infinity') AS known_at, {", ".join(arguments)}
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


def _by_windows(view: View, observations: str, same_stream: bool, late: bool) -> str:
    """Features by RANGE windows; if events are late, also whether a window saw `too_much`: one not known at t."""
    columns = ["known_at", *_argument_columns(view).values()]
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
        _column(view, feature, feature.column, "moment", f" OVER {_over(feature.window)}") for feature in features(view)
    ]
    if late:
        # The observed event is no surprise to itself: the current row is outside this frame.
        frames["before"] = _frame(view, max(view.windows), same_stream)
        chosen.append("coalesce(max(known_at) OVER before > moment, false) AS too_much")
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
    known = "e.event_time < o.t AND e.known_at <= o.t"
    if view.include_current and same_stream:
        known = f"(({known}) OR e.number = o.obs)"
    chosen = ", ".join(
        _column(
            view, feature, f"CASE WHEN e.u > o.t - {interval(feature.window)} THEN e.{feature.column} END", "e.u", ""
        )
        for feature in features(view)
    )
    return f"""SELECT o.obs, {chosen}
               FROM (SELECT obs, entity, t, unnest([epoch_us(t) {stretch}, epoch_us(t) {stretch} - 1]) AS stretch
                     FROM {observations} WHERE obs IN (SELECT obs FROM seen WHERE too_much)) o
               LEFT JOIN (SELECT *, epoch_us(u) {stretch} AS stretch FROM placed) e
               ON e.entity = o.entity AND e.stretch = o.stretch
                  AND e.u > o.t - {interval(longest)} AND e.u <= o.t AND {known}
               GROUP BY o.obs"""


def _column(view: View, feature: Feature, value: str, moment: str, over: str) -> str:
    return f"{filled(view, feature, _aggregate(feature.function, value, moment, over))} AS {identifier(feature.name)}"


def _aggregate(function: str, value: str, moment: str, over: str) -> str:
    """SQL of an aggregate; empty values are left out by all of them.

    Sums are taken in decimals of twelve places, of numbers up to 1e26: a sum of doubles depends on the order of
    addition, and so on how many days a run covers and on how many threads.
    """
    number = f"CAST({value} AS DOUBLE)"  # of a yes or no, 1 or 0: their mean is a rate
    exact = f"TRY_CAST({number} AS DECIMAL(38, 12))"
    return {
        "count": f"count({value}){over}",
        "sum": f"CAST(sum({exact}){over} AS DOUBLE)",
        "mean": f"CAST(sum({exact}){over} AS DOUBLE) / nullif(count({exact}){over}, 0)",
        "min": f"min({number}){over}",
        "max": f"max({number}){over}",
        # Of several at the latest instant, the largest: an order that does not depend on the order of rows.
        "last": f"(max({{'u': {moment}, 'v': {value}}}) FILTER ({value} IS NOT NULL){over}).v",
        "distinct": f"count(DISTINCT {value}){over}",
    }[function]


def filled(view: View, feature: Feature, value: str) -> str:
    """SQL of a feature's value where there may be none: counts are 0, others the view's default, a number."""
    if feature.function in ("count", "distinct"):
        return f"coalesce({value}, 0)"
    return value if view.default is None else f"coalesce(CAST({value} AS DOUBLE), CAST({view.default!r} AS DOUBLE))"


def active_entities(
    events: str, entity: str, days: Sequence[dt.date], active: dt.timedelta, where: str | None = None
) -> str:
    """Entities at the close t of each day that had an event in (t - active, t), known by t: (ds, entity, t).

    days: without a gap. An event makes its entity active from the close of the day on which it is known to the last
    close before it is `active` old. Stretches that overlap are joined up, so that the cost is in days with events and
    not in days times events.
    """
    name, tick = identifier(entity), interval(MICROSECOND)
    return f"""
        WITH stretches AS (
            SELECT DISTINCT {name} AS entity,
                   CAST(greatest(event_time, known_at - {tick}) AS DATE) AS first,
                   CAST(event_time + {interval(active)} - {tick} AS DATE) - 1 AS last
            FROM {events} WHERE {name} IS NOT NULL AND known_at IS NOT NULL AND {expressions.condition(where)}
        ), spells AS (
            SELECT entity, greatest(first, coalesce(max(last) OVER before + 1, first), DATE '{min(days)}') AS first,
                   least(last, DATE '{max(days)}') AS last
            FROM stretches
            WINDOW before AS (PARTITION BY entity ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        )
        SELECT CAST(unnest(range(first, last + 1, INTERVAL 1 DAY)) AS DATE) AS ds, entity, ds + INTERVAL 1 DAY AS t
        FROM spells WHERE first <= last"""
