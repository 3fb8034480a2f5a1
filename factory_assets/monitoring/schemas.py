"""Has a stream been delivered with other columns than before? A column that came, is gone, or is of another type.

Contracts say which columns there have to be; this says on which day a feed began to bring another set of them, so that the change is
told from one in what the columns hold.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from factory_assets.declarations.days import DAY
from factory_assets.words import counted

#: Columns of the deliveries table that tell it.
READ = ("ds", "rows", "columns", "types", "problem", "late")
#: Types of a column in which nothing is delivered: it may become any.
NOTHING = ("NULL", '"NULL"')


@dataclass(frozen=True)
class Delivered:
    """What a stream was delivered with on a day. columns: name -> types, by which source; empty where none was kept.

    rows: of the day, of all its sources.
    """

    day: dt.date
    columns: Mapping[str, frozenset[str]]
    rows: int


@dataclass(frozen=True)
class Change:
    """A column that changed, and how, in a sentence."""

    column: str
    reason: str


def delivered(rows: Iterable[Mapping[str, Any]]) -> dict[dt.date, Delivered]:
    """Day -> what it was delivered with, of the days with a source that can be read.

    rows: of the deliveries table, with the columns `READ`. Sources of later days, which bring late rows, are not the day's own.
    """
    columns: dict[dt.date, dict[str, set[str]]] = {}
    number: dict[dt.date, int] = {}
    for row in rows:
        if row["problem"] or row["late"]:
            continue
        names = json.loads(row["columns"])
        # Days that an earlier release recorded have no types.
        types = json.loads(row["types"]) if row["types"] else [None] * len(names)
        of_day = columns.setdefault(row["ds"], {})
        for name, kind in zip(names, types, strict=True):
            of_day.setdefault(name, set()).update({kind.lower()} if kind and kind not in NOTHING else ())
        number[row["ds"]] = number.get(row["ds"], 0) + row["rows"]
    return {
        day: Delivered(day, {name: frozenset(types) for name, types in of_day.items()}, number[day])
        for day, of_day in columns.items()
    }


def before(days: Mapping[dt.date, Delivered], day: dt.date, reach: int) -> Delivered | None:
    """The newest day before a day that was delivered, within so many days."""
    known = [each for each in days if day - reach * DAY <= each < day]
    return days[max(known)] if known else None


def changes(then: Delivered, now: Delivered) -> list[Change]:
    """The columns that differ, by name."""
    found = []
    for name in sorted({*then.columns, *now.columns}):
        if name not in then.columns:
            found.append(Change(name, f"column {name} came with this day{_typed(now.columns[name])}"))
        elif name not in now.columns:
            found.append(
                Change(name, f"column {name} is gone with this day; {then.day} had it{_typed(then.columns[name])}")
            )
        elif then.columns[name] and now.columns[name] and then.columns[name] != now.columns[name]:
            was, is_now = (" or ".join(sorted(each.columns[name])) for each in (then, now))
            found.append(Change(name, f"column {name} is {is_now} with this day; on {then.day} it was {was}"))
    return found


def as_before(then: Delivered, now: Delivered) -> str:
    """That nothing changed, in a sentence."""
    return f"{counted(len(now.columns), 'column')}, as on {then.day}"


def _typed(types: frozenset[str]) -> str:
    return f": {' or '.join(sorted(types))}" if types else ""
