"""What was known about an entity at a moment? Trailing-window aggregates, computed point in time.

The rule. An event happened at `event_time`, was known at `known_at`, and was valid until a correction of it was known, at
`superseded_at`. A view with a delay places it at u = event_time + delay. An observation at t uses the event in a window
w if and only if

    t - w < u <= t,   event_time < t   and   known_at <= t < superseded_at.

The first two are one RANGE window per length over the sorted events. The third holds by itself where events are
punctual (known_at <= u) and never corrected. Where an event was not known yet at t, or no longer valid, the windows saw too
much. The same pass finds these observations: it compares t with the latest known_at and the earliest superseded_at among the
events of the longest window. They are few unless events are late by much, and are computed again by the rule as written, with
a join. A naive scan in tests/oracles holds both ways to the rule, value for value.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time import exact
from factory_assets.features.point_in_time.aggregates import entity_of, features, filled, named, results, value_columns
from factory_assets.features.point_in_time.exact import Grid
from factory_assets.features.point_in_time.parts import Plain

MICROSECOND = dt.timedelta(microseconds=1)
#: Before the name of a column: what is summed up of its numbers beside their grid.
BESIDE = "beside_"
#: SQL of a column as it is, or of a number.
PLAIN = re.compile(r'\(?("[^"]*"|event_time|rowid|\d+)\)?')


@dataclass(frozen=True)
class Along:
    """A view computed along the events of a stream, for each as it is observed, as parts of one query over them.

    given: columns made of an event alone. asked: aggregates over windows by column, and the windows. values: SQL of every feature.
    """

    given: list[str]
    asked: dict[str, str]
    windows: list[str]
    values: dict[str, str]


def compute(
    con: duckdb.DuckDBPyConnection, view: View, events: str, observations: str, into: str, *, same_stream: bool
) -> None:
    """Create the table `into` (obs, one column a feature) with the view's values at every observation of an entity.

    events: a table with the stream's columns, `event_time`, `known_at` and `superseded_at` (null: valid to this day),
        reaching back far enough.
    observations: a relation of obs (unique number), entity, t (timestamp, UTC). One without an entity gets no row.
    same_stream: the observations are events of this very table and `obs` is their rowid. Then one sorted pass over the
        events serves both, and `into` may hold rows for events that are not observed. Only then is there a current
        event for `include_current` to include.
    """
    if same_stream and (found := along(con, view, events)):
        query = f"SELECT obs, {named(found.values)} FROM ({passed(events, [found])}) AS observations"
        con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {query}").fetchall()
        return
    located, seen = "placed", "seen"
    con.execute(f"CREATE OR REPLACE TEMP VIEW {located} AS {placed(view, events)}")
    survey = _survey(con, view, located, {name: name for name in _given(view)})
    if survey.asks:
        exact.register(con)
    windows = _by_windows(view, located, observations, same_stream, survey)
    if not survey.surprises:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {_completed(view, windows)}").fetchall()
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE {seen} AS {windows}").fetchall()
    both = f"""SELECT * EXCLUDE (too_much) FROM {seen} WHERE NOT too_much
               UNION ALL BY NAME {_by_join(view, located, observations, seen, same_stream, survey)}"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {_completed(view, both)}").fetchall()
    con.execute(f"DROP TABLE {seen}").fetchall()


def along(con: duckdb.DuckDBPyConnection, view: View, events: str) -> Along | None:
    """How `passed` computes a view for each event of its own stream.

    events: as for `compute`. None if any was known late, is valid no longer or has no entity, or if Python may be asked for a
    result: a query that is read while it runs had better not wait for the reader.
    """
    columns, given = {}, []
    for name, value in _given(view).items():
        # A sort copies each column that it carries: a column that is there already is not given another name.
        columns[name] = value if PLAIN.fullmatch(value) else identifier(f"{view.name}.{name}")
        given += [] if columns[name] == value else [f"{value} AS {columns[name]}"]
    survey = _survey(con, view, f"(SELECT {', '.join(['*', *given])} FROM {events})", columns)
    if survey.surprises or survey.asks or not survey.whole:
        return None
    asked = _Asked("*", survey, f"{view.name}.")
    now = "observations.event_time"
    made = results(view, lambda feature: columns[feature.column], "event_time", now, asked, survey.grids.__getitem__)
    return Along(
        given=given,
        asked=asked.over(lambda window: identifier(f"{view.name}.{_over(window)}")),
        windows=[
            f"{identifier(f'{view.name}.{name}')} AS (PARTITION BY {columns['entity']} ORDER BY event_time {frame})"
            for name, frame in _frames(view, same_stream=True).items()
        ],
        values=filled(view, made),
    )


def passed(events: str, along: Sequence[Along]) -> str:
    """Query for the events with `obs`, their number, and the columns that the views' values are made of."""
    given = "".join(f", {column}" for view in along for column in view.given)
    asked = "".join(f", {text} AS {column}" for view in along for column, text in view.asked.items())
    windows = ", ".join(window for view in along for window in view.windows)
    return f"SELECT *{asked} FROM (SELECT *, rowid AS obs{given} FROM {events}) WINDOW {windows}"


def interval(span: dt.timedelta) -> str:
    """A length as SQL, exact to the microsecond."""
    return f"to_microseconds({span // MICROSECOND})"


def placed(view: View, events: str) -> str:
    """Events of an entity: number, entity, u, the times, what aggregates look at. Empty known_at: never known."""
    chosen = ", ".join(f"{value} AS {column}" for column, value in _given(view).items())
    return f"SELECT {chosen} FROM {events} WHERE {entity_of(view.entity)} IS NOT NULL"


def _given(view: View) -> dict[str, str]:
    """The columns that a view takes from an event, as column -> SQL."""
    return {
        "number": "rowid",
        "entity": entity_of(view.entity),
        "u": f"event_time + {interval(view.delay)}",
        "event_time": "event_time",
        "known_at": "coalesce(known_at, TIMESTAMP 'infinity')",
        "superseded_at": "coalesce(superseded_at, TIMESTAMP 'infinity')",
        **{column: value for value, column in value_columns(view).items()},
    }


class _Asked:
    """Aggregates over windows, each asked for once, a sum and the count of the same values as one.

    A value that every event has is not counted: the events are.
    """

    def __init__(self, event: str, survey: "_Survey", prefix: str = ""):
        """event: SQL that counts events in `count(...)`. prefix: the beginning of the columns' names."""
        self._event, self._survey, self._prefix = event, survey, prefix
        self.columns: dict[tuple[str, dt.timedelta], str] = {}

    def __call__(self, plain: Plain, window: dt.timedelta) -> str:
        survey = self._survey
        events = plain.function == "count" and plain.value in survey.full
        value = survey.counting if events and survey.counting else plain.value
        if value in survey.packed and plain.function in ("sum", "count"):
            grid, number = survey.packed[value]
            column = self._column(grid.packed(number), window)
            return grid.unpacked(column) if plain.function == "sum" else grid.counted(column)
        if plain.function == "bins":
            return self._bins(plain.value, window)
        return self._column(f"count({self._event})" if events else plain.sql, window)

    def _bins(self, value: str, window: dt.timedelta) -> str:
        """A list of bins, each of sums over the window; null where all are empty."""
        column = self._survey.beside[value]
        sums = {
            unit: [
                self._column(f"sum({column}.{one}) FILTER ({column}.unit = {unit})", window)
                for one in ("total", "high", "low")
            ]
            for unit in self._survey.grids[column.removeprefix(BESIDE)].bins
        }
        structs = ", ".join(
            f"{{'unit': {unit}, 'total': {total}, 'high': {high}, 'low': {low}}}"
            for unit, (total, high, low) in sums.items()
        )
        listed = f"CAST([{structs}] AS {exact.BIN}[])"
        return f"nullif(list_filter({listed}, lambda e: e.total IS NOT NULL), [])"

    def _column(self, text: str, window: dt.timedelta) -> str:
        return self.columns.setdefault((text, window), identifier(f"{self._prefix}p{len(self.columns)}"))

    def over(self, name: Callable[[dt.timedelta], str]) -> dict[str, str]:
        """Column -> SQL. name: gives the name of a window."""
        return {column: f"{text} OVER {name(window)}" for (text, window), column in self.columns.items()}


@dataclass(frozen=True)
class _Survey:
    """What all events of a view have in common.

    surprises: whether an event was known late, or is valid no longer. whole: whether each event has an entity.
    grids: column -> grid of its numbers, for those that are summed up. beside: SQL of a number's `exact.BIN` -> a name for it.
    full: values that every event has, so that to count them is to count events.
    packed: number that is counted, or whole number that is summed up -> its grid and number, which do both as one.
    counting: a number among these that is full; empty where there is none.
    """

    surprises: bool
    whole: bool
    grids: Mapping[str, Grid]
    beside: Mapping[str, str]
    full: frozenset[str]
    packed: Mapping[str, tuple[Grid, str]]
    counting: str

    @property
    def asks(self) -> bool:
        """Whether Python may be asked for a result."""
        return any(grid.asks for grid in self.grids.values())


def _survey(con: duckdb.DuckDBPyConnection, view: View, relation: str, columns: Mapping[str, str]) -> _Survey:
    """Look at all events before they are sorted. columns: SQL of each column of `_given` in the relation."""
    summed = dict.fromkeys(feature.column for feature in features(view) if feature.sums)
    grids = exact.grids(con, relation, {column: columns[column] for column in summed})
    asked = _aggregates(view, columns, grids)
    numbers = {column: grid.number(columns[column]) for column, grid in grids.items()}
    counted = [plain.value for plain in asked if plain.function == "count"]
    values = list(dict.fromkeys([*counted, *numbers.values()]))
    surprise = f"{columns['known_at']} > {columns['u']} OR {columns['superseded_at']} < TIMESTAMP 'infinity'"
    looked = [
        f"coalesce(bool_or({surprise}), false)",
        f"count({columns['entity']}) = count(*)",
        *(f"count({value}) = count(*)" for value in values),
    ]
    surprises, whole, *tests = con.execute(f"SELECT {', '.join(looked)} FROM {relation}").fetchall()[0]
    full = frozenset(value for value, same in zip(values, tests, strict=True) if same)
    # Where nothing is counted, no sum can be packed together with a count.
    packing = {numbers[column]: grid for column, grid in grids.items() if grid.packs and counted}
    counting = next((number for number in packing if number in full), "")
    packed = {
        text: (grid, number)
        for number, grid in packing.items()
        if number in counted or number == counting
        for text in (number, grid.total(number))
    }
    beside = {grid.beside(numbers[column]): f"{BESIDE}{column}" for column, grid in grids.items() if not grid.certain}
    return _Survey(surprises, whole, grids, beside, full, packed, counting)


def _aggregates(view: View, columns: Mapping[str, str], grids: Mapping[str, Grid]) -> list[Plain]:
    """The plain aggregates that a view is made of, each once."""
    asked: dict[Plain, None] = {}

    def note(plain: Plain, window: dt.timedelta) -> str:
        asked[plain] = None
        return "noted"

    u = columns["u"]
    results(view, lambda feature: columns[feature.column], u, u, note, grids.__getitem__)
    return list(asked)


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


def _by_windows(view: View, events: str, observations: str, same_stream: bool, survey: _Survey) -> str:
    """Features by RANGE windows; with surprises, also whether a window saw `too_much`: events not known at t, or void.

    events: name of the relation that `placed` gives.
    """
    columns = ["number", "known_at", "superseded_at", *value_columns(view).values()]
    if same_stream:
        timeline = f"SELECT number AS obs, entity, event_time AS moment, {', '.join(columns)} FROM {events}"
    else:
        empty = ", ".join(f"NULL AS {column}" for column in columns)
        timeline = f"""SELECT NULL::BIGINT AS obs, entity, u AS moment, {", ".join(columns)} FROM {events}
                       UNION ALL BY NAME
                       SELECT obs, entity, t AS moment, {empty} FROM {observations} WHERE entity IS NOT NULL"""
    if survey.beside:
        # Once for all bins and windows.
        timeline = f"SELECT *, {named(dict(zip(survey.beside.values(), survey.beside, strict=True)))} FROM ({timeline})"
    asked, frames = _Asked("number", survey), _frames(view, same_stream)
    made = results(view, lambda feature: feature.column, "moment", "moment", asked, survey.grids.__getitem__)
    chosen, too_much = asked.over(_over), ""
    if survey.surprises:
        # The observed event is no surprise to itself: the current row is outside this frame.
        frames["before"] = _frame(view, max(view.windows), same_stream)
        surprised = "max(known_at) OVER before > moment OR min(superseded_at) OVER before <= moment"
        chosen["too_much"] = f"coalesce({surprised}, false)"
        too_much = ", too_much"
    windows = ", ".join(f"{name} AS (PARTITION BY entity ORDER BY moment {frame})" for name, frame in frames.items())
    columns_over = ", ".join(f"{text} AS {column}" for column, text in chosen.items())
    seen = f"SELECT obs, moment, {columns_over} FROM ({timeline}) WINDOW {windows} QUALIFY obs IS NOT NULL"
    return f"SELECT obs, {named(made)}{too_much} FROM ({seen})"


def _frames(view: View, same_stream: bool) -> dict[str, str]:
    """Every window of the view by name, as a frame."""
    current = view.include_current and same_stream
    return {
        _over(window): _frame_with_current(window) if current else _frame(view, window, same_stream)
        for window in view.windows
    }


def _over(window: dt.timedelta) -> str:
    return f"w{format_duration(window)}"


def _by_join(view: View, events: str, observations: str, seen: str, same_stream: bool, survey: _Survey) -> str:
    """Features by the rule as written, for the observations that saw too much.

    events: name of the relation that `placed` gives. seen: name of the table that `_by_windows` gives.

    Time is cut into stretches as long as the longest window, which therefore lies in an observation's stretch and the
    one before: the join compares only the events of these two, and not all events that an entity ever had.
    """
    longest = max(view.windows)
    stretch = f"// {longest // MICROSECOND}"
    usable = "e.event_time < o.t AND e.known_at <= o.t AND e.superseded_at > o.t"
    if view.include_current and same_stream:
        usable = f"(({usable}) OR e.number = o.obs)"
    asked: dict[str, str] = {}
    made = results(
        view,
        lambda feature: f"CASE WHEN e.u > o.t - {interval(feature.window)} THEN e.{feature.column} END",
        "e.u",
        "t",
        lambda plain, window: asked.setdefault(plain.sql, f"p{len(asked)}"),
        survey.grids.__getitem__,
    )
    chosen = ", ".join(f"{text} AS {column}" for text, column in asked.items())
    joined = f"""SELECT o.obs, o.t, {chosen}
               FROM (SELECT obs, entity, t, unnest([epoch_us(t) {stretch}, epoch_us(t) {stretch} - 1]) AS stretch
                     FROM {observations} WHERE obs IN (SELECT obs FROM {seen} WHERE too_much)) o
               LEFT JOIN (SELECT *, epoch_us(u) {stretch} AS stretch FROM {events}) e
               ON e.entity = o.entity AND e.stretch = o.stretch
                  AND e.u > o.t - {interval(longest)} AND e.u <= o.t AND {usable}
               GROUP BY o.obs, o.t"""
    return f"SELECT obs, {named(made)} FROM ({joined})"


def _completed(view: View, aggregated: str) -> str:
    """Query for obs and every feature of the view, from one for the aggregates' results."""
    values = filled(view, {name: identifier(name) for name in view.names})
    return f"SELECT obs, {named(values)} FROM ({aggregated})"


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
