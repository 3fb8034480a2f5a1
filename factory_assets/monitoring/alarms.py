"""Which alarms does a table of looks have on these days, since when does each last, and is somebody to be told of it?

An episode may have begun long ago. It is looked for as far back as that takes, so that a day says the same whenever, and with
whatever other days, it is judged.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.monitoring.episodes import lasting, reminded
from factory_resources.lake import Lake

#: Days that are read at a time to find the first of an episode.
SPAN = 60


@dataclass(frozen=True)
class Looks:
    """A table of looks, one a row. place: columns that tell what is looked at, one verdict a day.

    alarm, calm: the verdict of an alarm, and the one that ends an episode.
    """

    table: str
    place: tuple[str, ...]
    alarm: str
    calm: str


def alarms(
    lake: Lake, looks: Looks, days: Sequence[dt.date], columns: Sequence[str], remind: dt.timedelta
) -> dict[dt.date, list[dict[str, Any]]]:
    """Day -> its alarms: place and columns, `since` when it lasts, and whether it `is_news` on the day.

    days: ascending, one or a range.
    """
    import pyarrow.compute as pc

    needed = [*looks.place, "verdict", "ds"]
    asked = lake.read(looks.table, days[0], days[-1], [*needed, *columns], empty_if_absent=True)
    alarming = _names(asked, looks).filter(pc.equal(asked["verdict"], looks.alarm)).unique()
    asked = asked.filter(pc.is_in(_names(asked, looks), value_set=alarming))
    rows, unknown = [*asked.to_pylist()], alarming
    start, last = min(lake.days(looks.table), default=days[0]), days[0] - DAY
    while len(unknown) and last >= start:
        first = last - (SPAN - 1) * DAY
        past = lake.read(looks.table, first, last, needed, empty_if_absent=True)
        past = past.filter(pc.is_in(_names(past, looks), value_set=unknown))
        rows += past.to_pylist()
        # Before a look that found nothing, the episode had not begun.
        calm = _names(past, looks).filter(pc.equal(past["verdict"], looks.calm)).unique()
        unknown = unknown.filter(pc.invert(pc.is_in(unknown, value_set=calm)))
        last = first - DAY
    by_day: dict[dt.date, list[dict[str, Any]]] = {}
    for row, since, due in reminded(lasting(rows, looks.place, looks.alarm, looks.calm), looks.place, remind):
        if row["ds"] >= days[0]:
            by_day.setdefault(row["ds"], []).append({**row, "since": since, "is_news": due})
    return by_day


def _names(rows: pa.Table, looks: Looks) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*(rows[name] for name in looks.place), "\0")
