"""What does a person look at first? A column over the last days, and over the newest of them, from sketches alone."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from factory_assets.events.statistics import sketches
from factory_assets.events.statistics.sketches import Sketch
from factory_assets.measures.plots import Distribution, OverDays

#: Days beside each other in the picture: four weeks, so that a weekday meets its like.
DAYS = 28
#: A number of at most so many different values is shown by the shares of each: its median would say nothing.
FEW_VALUES = 6
#: Names with a share of their own in the picture.
NAMED = 4


def over_days(rows: Iterable[Sketch], days: Sequence[dt.date]) -> dict[str, OverDays]:
    """A picture of each column that has a number or a text, over these days: see `plots.days_plot`. Columns as they stand in rows.

    Days before a column became a text, or stopped being one, are left out: nothing of them can stand beside the others.
    """
    by_column: dict[str, dict[dt.date, Sketch]] = {}
    for row in rows:
        if not row["slice"] and sketches.kind(row["type"]) != "time":
            by_column.setdefault(row["column"], {})[row["ds"]] = row
    return {name: _over_days(found, days) for name, found in by_column.items()}


def distributions(rows: Iterable[Sketch]) -> dict[str, Distribution]:
    """The distribution of each column that has different values on one day; of the whole day, without slices."""
    found: dict[str, Distribution] = {}
    for row in rows:
        shown = {} if row["slice"] or row["bins"] == row["values"] else sketches.histogram(row)
        if isinstance(shown, Mapping):
            if shown:
                found[row["column"]] = shown
        elif shown[0] and (row["minimum"] is None or row["minimum"] < row["maximum"]):
            found[row["column"]] = shown
    return found


def _over_days(by_day: Mapping[dt.date, Sketch], days: Sequence[dt.date]) -> OverDays:
    newest = sketches.kind(by_day[max(by_day)]["type"])
    by_day = {day: sketch for day, sketch in by_day.items() if sketches.kind(sketch["type"]) == newest}
    merged = sketches.merge(by_day.values())
    absent = [1 - sketches.present(by_day[day]) / by_day[day]["rows"] if day in by_day else None for day in days]
    names = merged["values"]
    if names is None and len(merged["bins"]) > FEW_VALUES:
        band = [
            tuple(by_day[day][name] if day in by_day else None for day in days) for name in ("q05", "median", "q95")
        ]
        return OverDays(absent, band=(band[0], band[1], band[2]))
    names = names[:NAMED] if names is not None else merged["bins"]
    shares = {}
    for name in names:
        of_day = [_share(by_day[day], name) if day in by_day else None for day in days]
        shares[_called(merged, name)] = of_day
    return OverDays(absent, shares=shares)


def _share(sketch: Sketch, key: object) -> float:
    keys, counts = ("bins", "counts") if sketch["values"] is None else ("values", "value_counts")
    return float(dict(zip(sketch[keys], sketch[counts], strict=True)).get(key, 0) / sketch["rows"])


def _called(sketch: Sketch, key: Any) -> str:
    if sketch["values"] is not None:
        return str(key)
    (value,) = sketches.midpoints([key], sketches.is_whole(sketch["type"]))
    return str(bool(value)).lower() if sketch["type"] == "BOOLEAN" else f"{value:.3g}"
