"""How is a window of days moved on without reading a day twice?"""

import datetime as dt
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY


class Sliding:
    """The rows of a window of days that moves on: of a window that overlaps the one before, only later days are read.

    read: rows from a day to a day, both inclusive, in the order of their days, with the column ds.
    """

    def __init__(self, read: Callable[[dt.date, dt.date], pa.Table]):
        self._read, self._newest = read, dt.date.min
        self._rows: pa.Table | None = None

    def move_to(self, first: dt.date, last: dt.date) -> pa.Table:
        """The rows of these days. Neither day may lie before that of the window before."""
        rows = self._read(max(first, self._newest + DAY), last)
        if self._rows is not None:
            kept = self._rows.slice(np.searchsorted(days_of(self._rows), np.datetime64(first)))
            rows = pa.concat_tables([kept, rows])
        self._rows, self._newest = rows.combine_chunks(), last
        return self._rows


def days_of(rows: pa.Table) -> np.ndarray:
    """Shape (n,): the day of each row, as datetime64[D]."""
    return np.asarray(rows["ds"].to_numpy()).astype("datetime64[D]")
