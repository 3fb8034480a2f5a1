"""Which observations' truth is known by now? Labels with the moment at which they became known."""

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from factory_assets.declarations import expressions
from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import classes_of
from factory_assets.declarations.types import Mistake
from factory_assets.events.versions import MOVED
from factory_assets.features.examples.rows import load_events, population
from factory_assets.features.point_in_time.aggregates import entity_of, finite
from factory_assets.features.point_in_time.history import Load
from factory_assets.features.point_in_time.windows import interval
from factory_assets.identity.nodes import ROOT, lineage, tree
from factory_assets.words import counted
from factory_resources.lake import Lake

#: So many labels of a strange line tell what they are.
SHOWN = 5
#: Days before labels of a node stopped that tell how many of its rows get one; and how rarely chance alone leaves as many rows
#: without: rarely enough for thousands of nodes that are looked at every day.
BEFORE, BY_CHANCE = 14 * DAY, 1e-6


def lookaround(declared: DeclaredLine) -> dict[str, tuple[int, int]]:
    """Stream -> days of events before and after the observation's day that its label is made from."""
    line = declared.line
    needed = {line.observe.stream: (-whole_days(line.observe.active) if line.observe.entity else 0, 0)}
    if line.label.event:
        before, _ = needed.get(line.label.event, (0, 0))
        needed[line.label.event] = (before, line.horizon_days)
    return needed


@dataclass(frozen=True)
class Through:
    """How far the events are in from which labels are made.

    day: the last day that is in; a label counts if it is known by the close of that day.
    lasting: day -> the last day on which an event of it becomes known.
    holes: days before the last that were held back, or never delivered.
    """

    day: dt.date
    lasting: Mapping[dt.date, dt.date]
    holes: frozenset[dt.date]

    def hole_after(self, day: dt.date, days: int) -> dt.date | None:
        """The first hole within so many days after a day."""
        return next((each for ahead in range(1, days + 1) if (each := day + ahead * DAY) in self.holes), None)


def stream_of(declared: DeclaredLine) -> str:
    """The stream that the line's labels are made from."""
    return declared.line.label.event or declared.line.observe.stream


def through(declared: DeclaredLine, lake: Lake, served: Collection[dt.date]) -> Through:
    """served: days of the label's stream that have events to build on, or are known to have none."""
    stream = stream_of(declared)
    start = declared.streams[stream].stream.start
    last = max(served, default=start)
    holes = {start + ahead * DAY for ahead in range((last - start).days)} - set(served)
    lasting: dict[dt.date, dt.date] = {}
    if not declared.line.observe.entity:
        latest = [lake.latest(f"{declared.line.observe.stream}/events", "known_at")]
        if declared.line.label.expression and declared.streams[stream].stream.reach:
            delay = declared.line.horizon_days * DAY
            of_moved = [lake.latest(f"{stream}/{MOVED}", column) for column in ("known_at", "event_time")]
            latest += [of_moved[0], {day: time + delay for day, time in of_moved[1].items()}]
        for of_days in latest:
            for day, known in of_days.items():
                lasting[day] = max(known.date(), lasting.get(day, known.date()))
    return Through(last, lasting, frozenset(holes))


def state(declared: DeclaredLine, days: Sequence[dt.date], through: Through) -> dict[dt.date, str]:
    """Day -> how far its labels have come, in a text: labels depend on it beside the day's events."""
    return {day: _state(declared, day, through) for day in days}


def _state(declared: DeclaredLine, day: dt.date, through: Through) -> str:
    horizon, passed = declared.line.horizon_days, (through.day - day).days
    if declared.line.label.event and (hole := through.hole_after(day, horizon)):
        return f"without {hole}"
    # A label comes with its event, which may be known long after the label's own delay.
    whole = max(horizon, (through.lasting.get(day, day) - day).days)
    return str(max(0, min(passed, whole)))


def complete(declared: DeclaredLine, day: dt.date, through: Through) -> bool:
    """Whether all labels of the day that come within the label's delay are in."""
    if declared.line.label.event and through.hole_after(day, declared.line.horizon_days):
        return False
    return (through.day - day).days >= declared.line.horizon_days


@dataclass(frozen=True)
class Arrival:
    """How far labels have come. due: the newest day whose labels could be known; labelled: the newest that has any."""

    due: dt.date
    labelled: dt.date | None
    start: dt.date

    @property
    def behind(self) -> dt.timedelta:
        """How long labels have stayed away, in whole days; before the first is due, none."""
        before_first = self.start - dt.timedelta(days=1)
        return max(dt.timedelta(0), self.due - (self.labelled or before_first))


def arrival(declared: DeclaredLine, observed: Sequence[dt.date], labelled: Sequence[dt.date]) -> Arrival:
    """observed, labelled: days with events of the observed stream, and with labels; ascending, both may be empty.

    A day without an event has nothing to be labelled, so that a quiet feed of events makes no label late.
    """
    start = declared.observed.stream.start
    newest = observed[-1] if observed else start
    last_known = newest - dt.timedelta(days=declared.line.horizon_days)
    due = max((day for day in observed if day <= last_known), default=start - dt.timedelta(days=1))
    return Arrival(due, labelled[-1] if labelled else None, start)


@dataclass(frozen=True)
class Stopped:
    """A node whose labels stay away, though those of others come. since: the newest day that has any, None for none in sight.

    rows: of the node, on days after that whose labels are due.
    """

    node: str
    since: dt.date | None
    rows: int


def by_leaf(con: duckdb.DuckDBPyConnection, examples: str, labels: str) -> list[tuple[dt.date, str, int, int]]:
    """Day, leaf, how many rows it has and how many of them a label. examples, labels: relations."""
    return con.execute(
        f"""SELECT e.ds, e.leaf, count(*), count(l.example_id) FROM {examples} AS e
            LEFT JOIN (FROM {labels} WHERE superseded_at IS NULL) AS l ON l.ds = e.ds AND l.example_id = e.example_id
            GROUP BY ALL ORDER BY ALL"""
    ).fetchall()


def stopped(counts: Sequence[tuple[dt.date, str, int, int]], due: dt.date, allowed: dt.timedelta) -> list[Stopped]:
    """Nodes of whose rows none has had a label for longer than is allowed, where others have; of these the highest in the tree.

    counts: as `by_leaf` gives them, of days up to `due`. As long as chance may have left the rows without a label, by the share of
    labelled rows before, no node is called stopped.
    """
    of_node: dict[str, dict[dt.date, tuple[int, int]]] = {}
    for day, leaf, rows, labelled in counts:
        for node in lineage(leaf):
            before = of_node.setdefault(node, {}).get(day, (0, 0))
            of_node[node][day] = before[0] + rows, before[1] + labelled
    of_all = _share(of_node.get(ROOT, {}).values())
    found: dict[str, Stopped] = {}
    for node in tree(of_node) if of_node else ():
        days = of_node[node]
        since = max((day for day, (_, labelled) in days.items() if labelled), default=None)
        without = sum(rows for day, (rows, _) in days.items() if since is None or day > since)
        usual = _share(of for day, of in days.items() if since is not None and day <= since) if since else of_all
        late = (due - (since or min(days) - DAY)) > allowed
        if late and (1 - usual) ** without < BY_CHANCE and not found.keys() & {*lineage(node)}:
            found[node] = Stopped(node, since, without)
    return [*found.values()]


def _share(counts: Iterable[tuple[int, int]]) -> float:
    """The share of rows with a label; a little less, for few rows do not say that all have one."""
    rows, labelled = np.array([*counts] or [(0, 0)]).sum(axis=0).tolist()
    return float(labelled / (rows + 1))


def build(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], through: Through, load: Load
) -> str:
    """A query for labels known at the close of the last day that is in: example_id, label, known_at, superseded_at, ds.

    days: ascending, without a gap. An observation whose label is not known yet, empty, or no finite number has no row. One whose label
    was corrected has a row for each label that was known; the valid one has no `superseded_at`. A label by an event is not
    known while a day is missing on which there might have been one.
    """
    events: dict[str, str] = {}
    by_event = bool(declared.line.label.expression)
    for stream, (before, after) in lookaround(declared).items():
        first, last = days[0] + dt.timedelta(days=before), min(days[-1] + dt.timedelta(days=after), through.day)
        elsewhere = by_event and stream == declared.line.observe.stream
        events[stream] = load_events(con, declared, stream, first, max(first, last), load, elsewhere=elsewhere)
    close = f"TIMESTAMP '{through.day + dt.timedelta(days=1)}'"
    if by_event:
        query = _of_events(con, declared, events, days)
    elif declared.line.label.same:
        query = _of_later(con, declared, events, days, close)
    else:
        query = _of_entities(con, declared, events, days)
    horizon = declared.line.horizon_days
    unknown = [day for day in days if declared.line.label.event and through.hole_after(day, horizon)]
    known = f"label IS NOT NULL AND known_at <= {close} AND coalesce(superseded_at > known_at, true)"
    if unknown:
        known += f" AND ds NOT IN ({', '.join(repr(str(day)) for day in unknown)})"
    return f"SELECT example_id, label, known_at, superseded_at, ds FROM ({query}) WHERE {known}"


def strange(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, labels: str) -> list[Mistake]:
    """That labels are no class of the line's task, or of a binary one neither 0 nor 1; a number may be anything else.

    labels: name of the relation of labels.
    """
    line, classes = declared.line, classes_of(declared.line.task)
    if not classes and line.task != "binary":
        return []
    listed = ", ".join(f"'{name}'" for name in classes) or "0, 1"
    found = con.execute(
        f"""SELECT label, count(*), min(ds), label NOT IN ({listed}) AS strange FROM {labels} GROUP BY label
            ORDER BY strange DESC, 2 DESC, 1 LIMIT {SHOWN}"""
    ).fetchall()
    if not any(is_strange for *_, is_strange in found):
        return []
    unknown = found if line.task == "binary" else [row for row in found if row[-1]]
    shown = ", ".join(f"{_label(label)} ({counted(rows, 'row')}, first on {day})" for label, rows, day, _ in unknown)
    allowed = (
        f"classes of the task: {', '.join(classes)}. Add what is missing to the task, or let the expression give one of these"
        if classes
        else f"allowed of a binary label: 0 and 1, or false and true. Let it say which is the yes, as {_yes(line, found)} does"
    )
    return [
        (
            ("label", "expression"),
            f"{line.label.expression!r} gives {shown}; {allowed}, or null where there is no label",
        )
    ]


def _label(value: str | float) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.15g}"


def _yes(line: Line, found: Sequence[tuple[Any, ...]]) -> str:
    """The line's expression turned into a truth, by the largest of the labels found."""
    text = str(line.label.expression)
    plain = text if re.fullmatch(r"\w+", text) else f"({text})"
    return f"{plain} = {_label(max(value for value, *_ in found))}"


def _of_events(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Mapping[str, str], days: Sequence[dt.date]
) -> str:
    """The expression over each version of each observed event, known with it but not before the label's delay has passed.

    A version that was moved to another day is one of the observation all the same. events: stream -> table of its events.
    """
    line, stream = declared.line, declared.observed.stream
    assert line.label.expression is not None
    known_at = f"greatest(known_at, event_time + {interval(line.label.delay)})"
    key, within = identifier(stream.id), f"ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'"
    observed = "true"
    moved = con.execute(f"SELECT 1 FROM {events[stream.name]} WHERE _elsewhere LIMIT 1").fetchall()
    if line.observe.where or moved:
        # The observation is the original version, whatever was corrected later.
        seen = f"_original AND NOT _elsewhere AND {within} AND {expressions.condition(line.observe.where)}"
        observed = f"(ds, {key}) IN (SELECT (ds, {key}) FROM {events[stream.name]} WHERE {seen})"
    text = expressions.sql(line.label.expression)
    label = f"CAST({text} AS VARCHAR)" if classes_of(line.task) else finite(text)
    return f"""SELECT {key} AS example_id, {label} AS label,
                      {known_at} AS known_at, superseded_at, ds FROM {events[stream.name]}
               WHERE {within} AND known_at IS NOT NULL AND {observed}"""


def _of_entities(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Mapping[str, str], days: Sequence[dt.date]
) -> str:
    """Whether each entity had an event in [t, t + within). The label is final when the delay has passed.

    An event that was not known by then never counts, or a label would depend on the day on which it is asked for.
    events: stream -> table of its events.
    """
    line, label = declared.line, declared.line.label
    assert label.event is not None and label.within is not None and line.observe.entity is not None
    entities = "population"
    rows = population(line, events[line.observe.stream], days)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {entities} AS {rows}").fetchall()
    known_at = f"t + {interval(label.horizon)}"
    return f"""
        WITH later AS (
            SELECT {identifier(line.observe.entity)} AS entity, event_time, known_at AS event_known, superseded_at
            FROM {events[label.event]} WHERE {expressions.condition(label.where)}
        ), hits AS (
            SELECT DISTINCT obs FROM {entities} JOIN later USING (entity)
            WHERE event_time >= t AND event_time < t + {interval(label.within)} AND event_known <= {known_at}
              AND coalesce(superseded_at > {known_at}, true)
        )
        SELECT example_id, CAST(hits.obs IS NOT NULL AS DOUBLE) AS label, {known_at} AS known_at, NULL::TIMESTAMP AS superseded_at, ds
        FROM {entities} LEFT JOIN hits USING (obs)"""


def _of_later(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredLine,
    events: Mapping[str, str],
    days: Sequence[dt.date],
    close: str,
) -> str:
    """Whether another event with the same keys came in [t, t + within) after each observed one, which was at t.

    A yes is known with that event, a no when the horizon has passed, and neither before the observation itself. A yes whose
    event is corrected, so that none is left, ends with the correction; what is corrected after the horizon changes nothing,
    as for entities. An observation that lacks a key has no label, and none has one before its horizon has passed at the close:
    until then those with a yes are all that is known, and a day measured by them would be a day of nothing else.

    events: stream -> table of its events. close: SQL of the close of the last day that is in.
    """
    line, label, stream = declared.line, declared.line.label, declared.observed.stream
    assert label.event is not None and label.within is not None
    later_id = identifier(declared.streams[label.event].stream.id)
    itself = "AND later_id <> example_id" if label.event == stream.name else ""
    seen, hits = "labelled", "hits"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {seen} AS
            SELECT row_number() OVER () AS obs, {identifier(stream.id)} AS example_id, {entity_of(label.same)} AS keys,
                   event_time AS t, t + {interval(label.horizon)} AS due, known_at AS seen, ds
            FROM {events[stream.name]}
            WHERE _original AND ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}' AND keys IS NOT NULL AND seen IS NOT NULL
              AND due <= {close} AND {expressions.condition(line.observe.where)}"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {hits} AS
            WITH later AS (
                SELECT {later_id} AS later_id, {entity_of(label.same)} AS keys, event_time,
                       greatest(known_at, event_time + {interval(label.delay)}) AS first,
                       coalesce(superseded_at, 'infinity') AS until
                FROM {events[label.event]} WHERE known_at IS NOT NULL AND {expressions.condition(label.where)}
            ), spans AS (
                SELECT obs, due, first, until, coalesce(first > max(until) OVER before, true) AS begins
                FROM {seen} JOIN later USING (keys)
                WHERE event_time >= t AND event_time < t + {interval(label.within)} AND first <= due AND until > first {itself}
                WINDOW before AS (PARTITION BY obs ORDER BY first, until ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            ), numbered AS (
                SELECT *, sum(begins::INTEGER) OVER (PARTITION BY obs ORDER BY first, until ROWS UNBOUNDED PRECEDING) AS spell
                FROM spans
            )
            SELECT obs, min(first) AS first, max(until) AS until, max(until) > any_value(due) AS final
            FROM numbered GROUP BY obs, spell"""
    ).fetchall()
    return f"""
        SELECT example_id, 1.0::DOUBLE AS label, greatest(first, seen) AS known_at,
               CASE WHEN NOT final THEN until END AS superseded_at, ds
        FROM {hits} JOIN {seen} USING (obs) WHERE final OR until > seen
        UNION ALL
        SELECT example_id, 0.0::DOUBLE AS label, greatest(due, seen) AS known_at, NULL::TIMESTAMP AS superseded_at, ds
        FROM {seen} WHERE obs NOT IN (SELECT obs FROM {hits} WHERE final)"""
