"""Which days hang together? A range of days is one run, and one condition of a query."""

import datetime as dt
from collections.abc import Iterable, Iterator

DAY = dt.timedelta(days=1)
#: The day that a clock shows which was never set.
EPOCH = dt.date(1970, 1, 1)


def ranges(days: Iterable[dt.date]) -> Iterator[list[dt.date]]:
    """Days in stretches without a gap, oldest first."""
    stretch: list[dt.date] = []
    for day in sorted(days):
        if stretch and day != stretch[-1] + DAY:
            yield stretch
            stretch = []
        stretch.append(day)
    if stretch:
        yield stretch


def day_of(field: str, text: str) -> dt.date | None:
    """The day that a field of a launch names; None where it is empty. Raises ValueError with the field and an example.

    >>> day_of("first", "2026-03-11"), day_of("first", "")
    (datetime.date(2026, 3, 11), None)
    """
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{field}: {text!r} is no day; give one such as 2026-03-11") from None
