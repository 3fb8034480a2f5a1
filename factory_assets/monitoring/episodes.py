"""Since when does an alarm last, and on which days is somebody told of it?

Looks that say the same on end are one episode: it is one reason to act, and one thing to tell. It is told on its first day, and again
each time that it has lasted for as long as the line's owner declares. An episode ends with a look that finds nothing amiss. A day
without a verdict, or without rows, ends none: nothing says that what was amiss is mended.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from factory_assets.declarations.days import DAY
from factory_assets.monitoring.performance.losses import Loss

Monitor = Literal["drift", "performance"]


@dataclass(frozen=True)
class Alarm:
    """A look that found something of a node. day: at the close of which it is known; since: that of its episode's first look.

    what: the column that drifted; "performance" of a loss. delay: days after its own at whose close a look is known.
    """

    monitor: Monitor
    node: str
    what: str
    day: dt.date
    since: dt.date
    reason: str
    delay: int = 0

    @property
    def lasts(self) -> str:
        """Since when, in words."""
        return began(self.since - self.delay * DAY, self.delay)


def began(since: dt.date, delay: int) -> str:
    """The first day of an episode in words, and when that was known, where it takes days until labels are in.

    >>> began(dt.date(2026, 3, 31), 0), began(dt.date(2026, 3, 31), 1)
    ('since 2026-03-31', 'since 2026-03-31, known on 2026-04-01')
    """
    return f"since {since}, known on {since + delay * DAY}" if delay else f"since {since}"


def lasting(
    rows: Iterable[Mapping[str, Any]], place: Sequence[str], alarm: str, calm: str
) -> Iterator[tuple[Mapping[str, Any], dt.date]]:
    """Rows that are alarms, by day, each with the first day of its episode.

    rows: looks, at least all those of what ever alarmed, from the first day that counts. place: columns that tell what is looked at.
    alarm, calm: the verdict of an alarm, and the one that ends an episode.
    """
    begun: dict[tuple[Any, ...], dt.date] = {}
    for row in sorted(rows, key=lambda row: (row["ds"], *(row[name] for name in place))):
        at = tuple(row[name] for name in place)
        if row["verdict"] == calm:
            begun.pop(at, None)
        elif row["verdict"] == alarm:
            yield row, begun.setdefault(at, row["ds"])


def reminded(
    alarms: Iterable[tuple[Mapping[str, Any], dt.date]], place: Sequence[str], remind: dt.timedelta
) -> Iterator[tuple[Mapping[str, Any], dt.date, bool]]:
    """Alarms as `lasting` gives them, and whether somebody is to be told of each: of the first of an episode, and to be reminded.

    remind: since somebody was told. Without an alarm on the day on which that has passed, it is the next alarm that is told.
    """
    last: dict[tuple[Any, ...], tuple[dt.date, dt.date]] = {}
    for row, since in alarms:
        at = tuple(row[name] for name in place)
        of, on = last.get(at, (None, since))
        if due := of != since or row["ds"] - on >= remind:
            last[at] = since, row["ds"]
        yield row, since, due


def of_drift(rows: Iterable[Mapping[str, Any]]) -> Iterator[Alarm]:
    """The alarms among rows of the drift table, as `lasting` takes them, by day."""
    for row, since in lasting(rows, ("node", "column"), "drifted", "stable"):
        reason = f"{row['part']} of {row['column']}: {row.get('reason')}"
        yield Alarm("drift", row["node"], row["column"], row["ds"], since, reason)


def begun(alarms: Iterable[Alarm]) -> list[Alarm]:
    """The first alarm of each episode."""
    return [alarm for alarm in alarms if alarm.day == alarm.since]


def of_losses(losses: Iterable[Loss], horizon: int = 0) -> Iterator[Alarm]:
    """Losses as alarms. horizon: days after which a day's labels are in, and its loss is known."""
    for loss in losses:
        day, since = loss.day + horizon * DAY, loss.since + horizon * DAY
        yield Alarm("performance", loss.node, "performance", day, since, loss.reason, horizon)
