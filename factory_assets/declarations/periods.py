"""Which days does a file hold, by a placeholder in its name? `{day}`, `{month}` or `{year}`, with a strftime format if need be.

`orders-{day}.csv` is orders-2024-03-01.csv, `trips_{month}.parquet` is trips_2024-03.parquet, and `{day:%Y/%m/%d}/*.csv` lies in
folders of year, month and day.
"""

import datetime as dt
import re
from dataclasses import dataclass

#: Placeholder -> how it is written without a format, the first being the shortest period.
FORMATS = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
#: Directives whose text is the same in every locale.
DIRECTIVES = "YymdjGVu%"
_BRACES = re.compile(r"\{([^{}]*)\}")
#: A leap year, and the days around it.
_PROBED = [dt.date(2023, 12, 1) + dt.timedelta(days=offset) for offset in range(430)]


@dataclass(frozen=True)
class Period:
    """A stretch of days with a file of its own."""

    first: dt.date
    last: dt.date

    def __contains__(self, day: dt.date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def unit(uri: str) -> str | None:
    """The shortest period that a URI has a placeholder for; None where its files may hold rows of any day."""
    used = {match.partition(":")[0] for match in _BRACES.findall(uri)}
    return next((name for name in FORMATS if name in used), None)


def period(uri: str, day: dt.date) -> Period:
    """The days whose file holds a day. The URI has a placeholder."""
    match unit(uri):
        case "day":
            return Period(day, day)
        case "month":
            following = (day.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
            return Period(day.replace(day=1), following - dt.timedelta(days=1))
        case "year":
            return Period(day.replace(month=1, day=1), day.replace(month=12, day=31))
    raise ValueError(f"{uri} has no placeholder")


def name(uri: str, day: dt.date) -> str:
    """The URI with its placeholders replaced by a day."""

    def written(match: re.Match[str]) -> str:
        which, _, form = match[1].partition(":")
        return day.strftime(form or FORMATS[which])

    return _BRACES.sub(written, uri)


def check(uri: str) -> str:
    """The URI. Raises ValueError for a placeholder that is none, or that gives two periods one file."""
    if "{{" in uri:
        return uri  # read once more when its templates are filled in
    for found in _BRACES.findall(uri):
        which, colon, form = found.partition(":")
        if which not in FORMATS:
            raise ValueError(f"{{{found}}} is no placeholder; allowed: {', '.join(f'{{{each}}}' for each in FORMATS)}")
        directives = re.findall(r"%(.?)", form)
        if colon and (not directives or not set(directives) <= {*DIRECTIVES}):
            allowed = ", ".join(f"%{each}" for each in DIRECTIVES)
            raise ValueError(f"{{{found}}} has a format that is none; allowed: {allowed}, as in {{day:%Y/%m/%d}}")
    if unit(uri):
        named, names = dict[str, Period](), dict[Period, str]()
        for day in _PROBED:
            own, file = period(uri, day), name(uri, day)
            if named.setdefault(file, own) != own:
                raise ValueError(f"{uri} names one file for {named[file]} and {own}")
            if names.setdefault(own, file) != file:
                raise ValueError(f"{uri} names two files for {own}")
    return uri
