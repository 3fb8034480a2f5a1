"""Since when does an alarm last? Looks that say the same on end are one episode: it is told once, and is one reason to act.

An episode of drift ends with a look that finds the column stable. A day without a verdict, or without rows, ends none: nothing says
that what was amiss is mended.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from factory_assets.declarations.days import DAY
from factory_assets.monitoring.losses import Loss

Monitor = Literal["drift", "performance"]


@dataclass(frozen=True)
class Alarm:
    """A look that found something of a node. day: at the close of which it is known; since: that of its episode's first look.

    what: the column that drifted; "performance" of a loss.
    """

    monitor: Monitor
    node: str
    what: str
    day: dt.date
    since: dt.date
    reason: str


def of_drift(rows: Iterable[Mapping[str, Any]]) -> Iterator[Alarm]:
    """The alarms among rows of the drift table, by day.

    rows: at least all those of columns that drifted, from the first day that counts.
    """
    begun: dict[tuple[str, str], dt.date] = {}
    for row in sorted(rows, key=lambda row: (row["ds"], row["node"], row["column"])):
        place = row["node"], row["column"]
        if row["verdict"] == "stable":
            begun.pop(place, None)
        elif row["verdict"] == "drifted":
            since = begun.setdefault(place, row["ds"])
            yield Alarm("drift", *place, row["ds"], since, f"{row['part']} of {row['column']}: {row.get('reason')}")


def begun(alarms: Iterable[Alarm]) -> list[Alarm]:
    """The first alarm of each episode."""
    return [alarm for alarm in alarms if alarm.day == alarm.since]


def of_losses(losses: Iterable[Loss], horizon: int = 0) -> Iterator[Alarm]:
    """Losses as alarms. horizon: days after which a day's labels are in, and its loss is known."""
    for loss in losses:
        yield Alarm(
            "performance", loss.node, "performance", loss.day + horizon * DAY, loss.since + horizon * DAY, loss.reason
        )
