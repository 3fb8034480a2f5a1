"""What may be known at a moment? The rule of the design (section 3), one pair of observation and event at a time.

Slow on purpose: no sorting, no windows, no SQL, nothing shared with the code that it judges but the declarations.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory_assets.declarations.base import format_duration
from factory_assets.declarations.view import View

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Event:
    """Something that happened. known_at: None if nobody ever learnt of it. superseded_at: None if it was not corrected.
    corrects: the number of the original that this is a later version of."""

    number: int
    entity: Any
    event_time: dt.datetime
    known_at: dt.datetime | None
    values: Mapping[str, Any] = field(default_factory=dict)
    superseded_at: dt.datetime | None = None
    corrects: int | None = None

    @property
    def event_id(self) -> int:
        """The versions of an event have one id: the number of the first."""
        return self.number if self.corrects is None else self.corrects


@dataclass(frozen=True)
class Observation:
    """A moment at which something is asked about an entity. current: the observed event, where it is one."""

    number: int
    entity: Any
    t: dt.datetime
    current: Event | None = None


Where = Callable[[Event], bool | None]


def known(event: Event, t: dt.datetime) -> bool:
    return (
        event.known_at is not None and event.known_at <= t and (event.superseded_at is None or event.superseded_at > t)
    )


def in_window(event: Event, observation: Observation, view: View, window: dt.timedelta) -> bool:
    """Whether an observation may use an event in one window of a view."""
    if event.entity is None or event.entity != observation.entity:
        return False
    if view.include_current and event is observation.current:
        return True
    placed = event.event_time + view.delay
    return (
        observation.t - window < placed <= observation.t
        and event.event_time < observation.t
        and known(event, observation.t)
    )


def view_values(view: View, where: Where | None, events: Sequence[Event], observation: Observation) -> dict[str, Any]:
    """The features of a view at an observation, by name.

    The aggregates' arguments are names of columns; the condition of one is `column is not null` or a yes-or-no column.
    """
    values: dict[str, Any] = {}
    held = {
        window: [
            event for event in events if in_window(event, observation, view, window) and (where is None or where(event))
        ]
        for window in view.windows
    }
    for feature, text in view.features.items():
        match = re.fullmatch(r"(\w+)\((\w*)(?:, (\d+))?\)(?: where (\w+))?", text)
        assert match, text
        function, column, place, condition = match.groups()
        for window in view.windows:
            used = [
                (event.event_time, 1 if column == "" else event.values[column])
                for event in held[window]
                if condition is None or event.values[condition]
            ]
            given = [(time, value) for time, value in used if value is not None]
            value = aggregate(function, given, int(place or 1), observation.t)
            if value is None and view.default is not None:
                value = view.default
            values[f"{feature}_{format_duration(window)}"] = value
    if view.flag:
        values[view.flag] = 0 if held[max(view.windows)] else 1
    return values


def aggregate(
    function: str, used: Sequence[tuple[dt.datetime, Any]], place: int = 1, t: dt.datetime | None = None
) -> Any:
    """One aggregate of (event time, value) pairs without empty values, as of t."""
    values = [value for _, value in used]
    if function == "count":
        return len(values)
    if function in ("distinct", "approx_distinct"):  # of few values the sketch is exact
        return len(set(values))
    if not values:
        return None
    if function == "sum":
        return math.fsum(values)
    if function == "mean":
        return math.fsum(values) / len(values)
    if function == "deviation":
        mean = math.fsum(values) / len(values)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if function == "top":
        return min(values, key=lambda value: (-values.count(value), value))
    if function == "time_since_last":
        assert t is not None
        return (t - max(time for time, _ in used)).total_seconds()
    if function == "first":
        earliest = min(time for time, _ in used)
        return min(value for time, value in used if time == earliest)
    if function == "nth_last":
        newest = sorted(used, reverse=True)
        return newest[place - 1][1] if len(newest) >= place else None
    if function == "min":
        return min(values)
    if function == "max":
        return max(values)
    assert function == "last", function
    latest = max(time for time, _ in used)
    return max(value for time, value in used if time == latest)


def close(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time()) + DAY


def active_entities(
    events: Iterable[Event], days: Iterable[dt.date], active: dt.timedelta, where: Where | None = None
) -> set[tuple[dt.date, Any]]:
    """(day, entity) of those with an event in (t - active, t), known at the close t of the day."""
    found = set()
    for day in days:
        t = close(day)
        for event in events:
            recent = t - active < event.event_time < t
            if event.entity is not None and recent and known(event, t) and (where is None or where(event)):
                found.add((day, event.entity))
    return found


def latest_value(
    events: Sequence[Event], entity: Any, column: str, t: dt.datetime, active: dt.timedelta, where: Where | None = None
) -> Any:
    """The newest value of a column that was known of an entity at t, from its events in (t - active, t)."""
    used = [
        (event.event_time, event.values[column])
        for event in events
        if event.entity == entity
        and t - active < event.event_time < t
        and known(event, t)
        and (where is None or where(event))
        and event.values[column] is not None
    ]
    return aggregate("last", used)


def has_event(
    events: Iterable[Event], entity: Any, t: dt.datetime, within: dt.timedelta, delay: dt.timedelta, where: Where | None
) -> float:
    """1 if the entity has an event in [t, t + within) that was known when the label fell due, else 0."""
    hits = [
        event
        for event in events
        if event.entity == entity
        and t <= event.event_time < t + within
        and known(event, t + within + delay)
        and (where is None or where(event))
    ]
    return float(bool(hits))


def same(found: Any, expected: Any) -> bool:
    """Equal; sums and means of floats to nine digits, since their last bits follow the order of adding up."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == expected)
