"""Is what was recorded of a table still there? Its days as recorded, against what the lake holds of it, day by day.

Nothing is read for it but the table's log and the sizes of its files: so each plan can ask. Whether a file of the right size
holds the right rows is asked by `factory verify`, which reads them.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence

from factory_assets.identity.inputs import Recorded
from factory_resources.lake import Held

#: Tables that a run writes beside the table of its asset, for the same days: they are made again with it.
BESIDE = {"raw": ("deliveries",), "events": ("quarantine", "superseded")}
#: Tables whose rows count in the data version of an asset's day beside its own: other versions of the same events.
COUNTED = {"events": ("superseded", "moved")}
#: The rows that a data version counts: that of a day with content begins with them.
ROWS = re.compile(r"(\d+)-[0-9a-f]{16}")


def beside(asset: str) -> list[str]:
    """Names of the tables that are written with the asset's own."""
    owner, _, kind = asset.partition("/")
    return [f"{owner}/{each}" for each in BESIDE.get(kind, ())]


def counted(asset: str) -> list[str]:
    """Names of the tables whose rows the data version of an asset's day tells, too."""
    owner, _, kind = asset.partition("/")
    return [f"{owner}/{each}" for each in COUNTED.get(kind, ())]


def damaged(
    recorded: Mapping[dt.date, Recorded],
    held: Held,
    lacking: Mapping[dt.date, Sequence[str]],
    newest: int | None,
    versions: Callable[[], Mapping[dt.date, int]],
) -> dict[dt.date, str]:
    """Day -> what of it is lost or damaged, of the days of an asset that were recorded with content.

    lacking: what is wrong with the files of days, as `Lake.lacking` gives it. newest: the table's version that was recorded last.
    versions: asks for the version that was recorded of each day; only where the table is older than the newest.
    """
    rows_of = {day: int(found[1]) for day, each in recorded.items() if (found := ROWS.fullmatch(each.data))}
    if held.unreadable:
        return dict.fromkeys(rows_of, f"the log of its table is damaged: {held.unreadable}")
    if held.version is None:
        return dict.fromkeys(rows_of, "its table is gone")
    reasons: dict[dt.date, str] = {}
    older = versions() if newest is not None and newest > held.version else {}
    for day, rows in rows_of.items():
        if day in lacking:
            reasons[day] = "; ".join(lacking[day])
        elif held.rows(day) != rows:
            reasons[day] = f"its table has {held.rows(day):,} rows of it, recorded were {rows:,}"
        elif older.get(day, 0) > held.version:
            reasons[day] = f"it was written in version {older[day]} of its table, which is back at {held.version}"
    return reasons


def damaged_beside(
    table: str, recorded: Mapping[dt.date, Recorded], held: Held, lacking: Mapping[dt.date, Sequence[str]]
) -> dict[dt.date, str]:
    """The same of a table that is written with an asset's own, of which no rows are recorded. recorded: of the asset."""
    days = [day for day, each in recorded.items() if ROWS.fullmatch(each.data)]
    if held.unreadable:
        return dict.fromkeys(days, f"the log of {table} is damaged: {held.unreadable}")
    if held.version is None:
        return dict.fromkeys(days, f"{table} is gone")
    return {day: "; ".join(lacking[day]) for day in days if day in lacking}
