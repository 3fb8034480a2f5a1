"""Which alarms does a table of looks have on these days, since when does each last, and is somebody to be told of it?

An episode may have begun long ago. It is looked for as far back as that takes, so that a day says the same whenever, and with
whatever other days, it is judged.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
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


@dataclass(frozen=True)
class Newest:
    """What the newest looks say. judged: by the first name of a place, how many of its places have a verdict. alarms: those whose
    verdict is one, with `since` when it lasts.
    """

    judged: dict[str, int]
    alarms: list[dict[str, Any]]


def newest(lake: Lake, looks: Looks, first: dt.date, last: dt.date, columns: Sequence[str]) -> Newest:
    """The newest verdict of each place on these days: a look without a verdict, or none, says nothing.

    columns: what is told of an alarm beside its place and day. Rows stay in the engine: a fleet has millions, and few alarms.
    """
    place = _listed(looks.place)
    with lake.connect() as con:
        lake.view(con, "looks", looks.table, first, last, empty_if_absent=True)
        con.execute(
            f"""CREATE TEMP TABLE newest AS SELECT {place}, max(ds) AS ds, arg_max(verdict, ds) AS verdict
                FROM looks WHERE verdict IN (?, ?) GROUP BY ALL""",
            [looks.alarm, looks.calm],
        ).fetchall()
        judged = con.execute(f'SELECT "{looks.place[0]}", count(*) FROM newest GROUP BY ALL').fetchall()
        alarming = con.sql(
            f"""SELECT newest.* EXCLUDE verdict, {_listed(columns, "looks.")} FROM newest JOIN looks USING ({place}, ds)
                WHERE newest.verdict = ? ORDER BY ALL""",
            params=[looks.alarm],
        ).to_arrow_table()
        since = _begun(lake, looks, con, alarming.select(looks.place), last)
    rows = [row | {"since": since[tuple(row[name] for name in looks.place)]} for row in alarming.to_pylist()]
    return Newest(dict(judged), rows)


def _begun(
    lake: Lake, looks: Looks, con: duckdb.DuckDBPyConnection, alarming: pa.Table, last: dt.date
) -> dict[tuple[Any, ...], dt.date]:
    """Place -> the first day of its episode, as `episodes.lasting` has it. alarming: places whose newest verdict is an alarm."""
    place, found = _listed(looks.place), dict[tuple[Any, ...], dt.date]()
    start = min(lake.days(looks.table))
    while alarming.num_rows and last >= start:
        first = last - (SPAN - 1) * DAY
        lake.view(con, "past", looks.table, first, last, empty_if_absent=True)
        con.register("alarming", alarming)
        rows = con.sql(
            f"""WITH own AS (SELECT {place}, ds, verdict FROM past SEMI JOIN alarming USING ({place})),
                     calm AS (SELECT {place}, max(ds) AS ended FROM own WHERE verdict = ? GROUP BY ALL)
                SELECT {place}, ended, min(ds) FILTER (verdict = ? AND (ended IS NULL OR ds > ended)) AS begun
                FROM alarming LEFT JOIN own USING ({place}) LEFT JOIN calm USING ({place}) GROUP BY {place}, ended""",
            params=[looks.calm, looks.alarm],
        ).to_arrow_table()
        for row in rows.filter(rows["begun"].is_valid()).to_pylist():
            found[tuple(row[name] for name in looks.place)] = row["begun"]
        # Before a look that found nothing, the episode had not begun.
        alarming, last = rows.filter(rows["ended"].is_null()).select(looks.place), first - DAY
    return found


def _listed(names: Sequence[str], of: str = "") -> str:
    return ", ".join(f'{of}"{name}"' for name in names)


def _names(rows: pa.Table, looks: Looks) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*(rows[name] for name in looks.place), "\0")
