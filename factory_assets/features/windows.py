"""What was known about an entity at a moment? Trailing-window aggregates, computed point in time.

The rule. An event happened at `event_time` and was known at `known_at`. A view with a delay places it at
u = event_time + delay. An observation at t uses the event in a window w if and only if

    t - w < u <= t,   event_time < t   and   known_at <= t.

Punctual events (known_at <= u) need only the first two, which is one RANGE window per length over the sorted events.
Late ones are few: every observation that one of them could concern is computed again by the rule as written, with a
join. A naive scan in tests/oracles holds both to the rule, value for value.
"""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View

MICROSECOND = dt.timedelta(microseconds=1)


def interval(span: dt.timedelta) -> str:
    """A length as SQL, exact to the microsecond."""
    return f"to_microseconds({span // MICROSECOND})"


def compute(
    con: duckdb.DuckDBPyConnection, view: View, events: str, observations: str, into: str, *, same_stream: bool
) -> None:
    """Create the table `into` (obs, one column a feature) with the view's values at every observation.

    events: a table with the stream's columns, `event_time` and `known_at`, reaching back far enough.
    observations: a relation of obs (unique number), entity, t (timestamp, UTC).
    same_stream: the observations are events of this very table and `obs` is their rowid. Then one sorted pass over the
        events serves both, and `into` may hold rows for events that are not observed.
    """
    con.execute(f"CREATE OR REPLACE TEMP VIEW view_events AS {_placed_events(view, events)}")
    late, nameless = con.execute(
        "SELECT count(*) FILTER (late), count(*) FILTER (entity IS NULL) FROM view_events"
    ).fetchall()[0]
    # An event without an entity describes nobody, and a late one is left to the join.
    mask = " AND ".join(["NOT late"] * bool(late) + ["entity IS NOT NULL"] * bool(nameless))
    windows = _by_windows(view, observations, mask, same_stream)
    if not late:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {windows}").fetchall()
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE concerned AS {_concerned(view, observations)}").fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {into} AS
            SELECT * FROM ({windows}) WHERE obs NOT IN (SELECT obs FROM concerned)
            UNION ALL BY NAME {_by_join(view, observations)}"""
    ).fetchall()


def _arguments(view: View) -> list[str | None]:
    """The distinct arguments of the view's aggregates, in order; None stands for a bare count()."""
    return list(dict.fromkeys(expressions.aggregate(text).argument for text in view.features.values()))


def _argument_column(view: View, argument: str | None) -> str:
    return f"a{_arguments(view).index(argument)}"


def _placed_events(view: View, events: str) -> str:
    """Events of the view: number, entity, u, both times, the aggregates' arguments, whether late."""
    where = expressions.sql(view.where) if view.where else None
    arguments = []
    for argument in _arguments(view):
        value = "1" if argument is None else argument
        value = f"CASE WHEN {where} THEN {value} END" if where else value
        arguments.append(f"{value} AS {_argument_column(view, argument)}")
    placed = f"event_time + {interval(view.delay)}"
    return f"""SELECT rowid AS number, {identifier(view.entity)} AS entity, {placed} AS u, event_time, known_at,
                      known_at > {placed} AS late, {", ".join(arguments)}
               FROM {events}"""


def _frame(view: View, window: dt.timedelta, same_stream: bool) -> str:
    """The window (t - w, t] over u as a frame; without a delay, events at t itself are not before t and stay out.

    Sorted by event time instead of u, the frame of an observed event lies further back by the delay.
    """
    if view.include_current:
        # The observed event counts, others at the same instant do not.
        return f"RANGE BETWEEN {interval(window - MICROSECOND)} PRECEDING AND CURRENT ROW EXCLUDE TIES"
    shift = view.delay if same_stream else dt.timedelta(0)
    end = interval(MICROSECOND if not view.delay else shift)
    return f"RANGE BETWEEN {interval(window + shift - MICROSECOND)} PRECEDING AND {end} PRECEDING"


def _by_windows(view: View, observations: str, mask: str, same_stream: bool) -> str:
    """Features by RANGE windows over punctual events."""
    columns = [_argument_column(view, argument) for argument in _arguments(view)]
    values = ", ".join(f"CASE WHEN {mask} THEN {column} END AS {column}" if mask else column for column in columns)
    if same_stream:
        timeline = f"SELECT number AS obs, entity, event_time AS moment, {values} FROM view_events"
    else:
        nothing = ", ".join(f"NULL AS {column}" for column in columns)
        timeline = f"""SELECT NULL::BIGINT AS obs, entity, u AS moment, {values} FROM view_events
                       UNION ALL BY NAME SELECT obs, entity, t AS moment, {nothing} FROM {observations}"""
    windows = ", ".join(
        f"w{index} AS (PARTITION BY entity ORDER BY moment {_frame(view, window, same_stream)})"
        for index, window in enumerate(view.windows)
    )
    chosen = ", ".join(
        f"{_filled(view, function, _aggregate(function, column, 'moment', f' OVER w{index}'))} AS {identifier(name)}"
        for name, function, column, index, _ in _features(view)
    )
    return f"SELECT obs, {chosen} FROM ({timeline}) WINDOW {windows} QUALIFY obs IS NOT NULL"


def _concerned(view: View, observations: str) -> str:
    """Observations that a late event could concern, or whose own event is late."""
    longest = interval(max(view.windows))
    own = "OR o.obs = e.number" if view.include_current else ""
    return f"""SELECT DISTINCT o.obs FROM {observations} o JOIN view_events e ON o.entity = e.entity
               WHERE e.late AND ((e.u > o.t - {longest} AND e.u <= o.t AND e.known_at <= o.t) {own})"""


def _by_join(view: View, observations: str) -> str:
    """Features by the rule as written, for the observations in `concerned`."""
    longest = interval(max(view.windows))
    before = "e.event_time < o.t AND e.known_at <= o.t"
    known = f"(({before}) OR o.obs = e.number)" if view.include_current else f"({before})"
    chosen = ", ".join(
        _filled(
            view,
            function,
            _aggregate(function, f"CASE WHEN e.u > o.t - {interval(window)} THEN e.{column} END", "e.u", ""),
        )
        + f" AS {identifier(name)}"
        for name, function, column, _, window in _features(view)
    )
    return f"""SELECT o.obs, {chosen} FROM {observations} o
               LEFT JOIN view_events e ON o.entity = e.entity AND e.u > o.t - {longest} AND e.u <= o.t AND {known}
               WHERE o.obs IN (SELECT obs FROM concerned) GROUP BY o.obs"""


def _features(view: View) -> list[tuple[str, str, str, int, dt.timedelta]]:
    """(name, function, argument column, number of the window, window) of every feature of the view."""
    found = []
    for feature, text in view.features.items():
        aggregate = expressions.aggregate(text)
        column = _argument_column(view, aggregate.argument)
        for index, window in enumerate(view.windows):
            found.append((f"{feature}_{format_duration(window)}", aggregate.function, column, index, window))
    return found


def _aggregate(function: str, value: str, moment: str, over: str) -> str:
    """SQL of an aggregate; empty values are left out by all of them."""
    return {
        "count": f"count({value}){over}",
        # A sum of whole numbers would be 128 bits wide, which tables do not have.
        "sum": f"CAST(sum({value}){over} AS DOUBLE)",
        "mean": f"avg({value}){over}",
        "min": f"min({value}){over}",
        "max": f"max({value}){over}",
        # Of several at the latest instant, the largest: an order that does not depend on the order of rows.
        "last": f"(max({{'u': {moment}, 'v': {value}}}) FILTER ({value} IS NOT NULL){over}).v",
        "distinct": f"count(DISTINCT {value}){over}",
    }[function]


def _filled(view: View, function: str, aggregate: str) -> str:
    if function in ("count", "distinct") or view.default is None:
        return aggregate
    return f"coalesce({aggregate}, {view.default!r})"


def active_entities(
    events: str, entity: str, days: Sequence[dt.date], active: dt.timedelta, where: str | None = None
) -> str:
    """Entities at the close of each day that had an event, known by then, within `active` before: (ds, entity, t).

    Each day of events makes its entity active for the days that follow; runs of days that overlap are joined up, so
    that the cost is in days with events and not in days times events.
    """
    condition = f" AND {expressions.sql(where)}" if where else ""
    length = -(-active // dt.timedelta(days=1))
    return f"""
        WITH seen AS (
            SELECT DISTINCT {identifier(entity)} AS entity, CAST(greatest(event_time, known_at - {interval(MICROSECOND)}) AS DATE) AS first,
                   CAST(event_time AS DATE) + {length - 1} AS last
            FROM {events} WHERE {identifier(entity)} IS NOT NULL{condition}
        ), spells AS (
            SELECT entity, greatest(first, coalesce(max(last) OVER before + 1, first), DATE '{min(days)}') AS first,
                   least(last, DATE '{max(days)}') AS last
            FROM seen WINDOW before AS (PARTITION BY entity ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        )
        SELECT CAST(unnest(range(first, last + 1, INTERVAL 1 DAY)) AS DATE) AS ds, entity,
               ds + INTERVAL 1 DAY AS t
        FROM spells WHERE first <= last"""
