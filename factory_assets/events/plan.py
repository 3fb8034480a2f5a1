"""Which fields does the team want of a stream, which of them does it have, and who gets the others by when?

The collection plan of the declaration is compared with the columns of the newest delivery.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from factory_assets.declarations.stream import Planned, Stream
from factory_assets.events.landing import arrivals
from factory_resources.lake import Lake

State = Literal["delivered", "awaited", "overdue", "unknown"]


@dataclass(frozen=True)
class Gap:
    """A planned field and how it stands: unknown while nothing was delivered at all, overdue past its date."""

    field: str
    planned: Planned
    state: State

    @property
    def message(self) -> str:
        """The gap in a sentence."""
        verb = {"overdue": "has been absent past", "unknown": "is wanted by"}.get(self.state, "is awaited until")
        return (
            f"{self.field} {verb} {self.planned.due}: {self.planned.need}; "
            f"remedy: {self.planned.remedy}, owner: {self.planned.owner}"
        )


def gaps(stream: Stream, delivered: Collection[str] | None, today: dt.date) -> list[Gap]:
    """How each planned field stands, in the order of the plan.

    delivered: the columns of the newest delivery, None while there is none. A stream that has ended is judged as of its
    last day: nobody is late for a date after it.
    """
    now = min(today, stream.end or today)
    return [Gap(name, planned, _state(name, planned, delivered, now)) for name, planned in stream.plan.items()]


def _state(name: str, planned: Planned, delivered: Collection[str] | None, now: dt.date) -> State:
    if delivered is not None and name in delivered:
        return "delivered"
    if now > planned.due:
        return "overdue"
    return "unknown" if delivered is None else "awaited"


def newest_columns(lake: Lake, stream: Stream) -> set[str] | None:
    """Columns that every readable file of the newest day has; None while none was delivered."""
    table = f"{stream.name}/deliveries"
    for day in reversed(lake.days(table)):
        delivered = arrivals(lake.read(table, day, day, ["ds", "source", "columns", "problem"]).to_pylist())
        readable = [set(arrival.columns) for arrival in delivered[day] if not arrival.problem]
        if readable:
            return set.intersection(*readable)
    return None
