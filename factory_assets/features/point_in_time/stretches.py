"""How many days are computed together? As many as memory holds: more of them spill, and cost more than their share."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: Memory of a value while windows run over its rows and the result is sorted, in bytes; see benchmarks/README.md.
VALUE_BYTES = 16
#: A stretch has at least this many times the rows that the next stretch reads again, even where memory ends and it spills.
LEAST = 3


@dataclass(frozen=True)
class Read:
    """An input of a computation. rows: day -> rows of the input. back: days before the first that are read as well."""

    rows: Mapping[dt.date, int]
    back: int


def cut(days: Sequence[dt.date], reads: Sequence[Read], most: int) -> Iterator[list[dt.date]]:
    """The days in order, as many together as need no more than `most` rows of the inputs."""
    stretch: list[dt.date] = []
    rows_of_stretch = again = 0
    for day in days:
        rows = sum(read.rows.get(day, 0) for read in reads)
        if stretch and again + rows_of_stretch + rows > most and rows_of_stretch >= LEAST * _before(reads, day):
            yield stretch
            stretch, rows_of_stretch = [], 0
        if not stretch:
            again = _before(reads, day)
        stretch.append(day)
        rows_of_stretch += rows
    if stretch:
        yield stretch


def _before(reads: Sequence[Read], day: dt.date) -> int:
    """Rows of the inputs' days before the day, as far back as each is read."""
    return sum(
        rows
        for read in reads
        for other, rows in read.rows.items()
        if dt.timedelta(0) < day - other <= dt.timedelta(read.back)
    )
