"""Which labels does drift of a day see? Those of the newest whole window whose labels are all due at the close of the day.

A label counts if it held at that close: a day says the same whenever it is judged, however late labels or their corrections come.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Line
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.monitoring.drift.sliding import Sliding
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: What a day's verdict on labels depends on, beside tables: whether they are all in.
IN, AWAITED = "labels are in", "labels are awaited"


@dataclass(frozen=True)
class Due:
    """How far back the labels lie that a day sees. horizon: days until all labels of a day are due; window: how many days are seen."""

    horizon: int
    window: int

    def days(self, day: dt.date) -> tuple[dt.date, dt.date]:
        """The first and the last day whose labels drift of a day sees.

        >>> Due(horizon=2, window=7).days(dt.date(2026, 3, 10))
        (datetime.date(2026, 3, 2), datetime.date(2026, 3, 8))
        """
        first, last = self.offsets
        return day + first * DAY, day + last * DAY

    @property
    def offsets(self) -> tuple[int, int]:
        """Days from a day to the first and to the last of these."""
        return -(self.horizon + self.window - 1), -self.horizon


def due_of(line: Line) -> Due:
    """Which labels drift of a line's days sees."""
    return Due(line.horizon_days, line.monitor.window.days)


def state(days: Iterable[dt.date], through: dt.date) -> dict[dt.date, str]:
    """Day -> whether its labels are in, in a text. through: the last day by whose close labels are known."""
    return {day: IN if day <= through else AWAITED for day in days}


def read(engine: Engine, lake: Lake, line: str, first: dt.date, last: dt.date) -> pa.Table:
    """Every label that ever held of a line's examples of the days, both inclusive, with its leaf, by day."""
    with engine.connect() as con:
        for name in ("examples", "labels"):
            lake.view(con, name, f"{line}/{name}", first, last, empty_if_absent=True)
        return con.sql(
            """SELECT ds, leaf, label, known_at, superseded_at FROM labels JOIN examples USING (ds, example_id)
               ORDER BY ds, example_id, known_at"""
        ).to_arrow_table()


@dataclass(frozen=True)
class Labels:
    """The labels that a day sees: rows of leaf and label, by node; those of the days from the first to the last.

    are_in: whether all that are due have come.
    """

    first: dt.date
    last: dt.date
    rows: SubtreeRows
    are_in: bool


class LabelDays:
    """Gives the labels of one day after the other, ascending.

    read: rows as the function `read` gives them, from a day to a day. through: the last day by whose close labels are known.
    """

    def __init__(self, read: Callable[[dt.date, dt.date], pa.Table], due: Due, through: dt.date):
        self._seen, self._due, self._through = Sliding(read), due, through

    def of(self, day: dt.date) -> Labels:
        first, last = self._due.days(day)
        rows = self._seen.move_to(first, last)
        close = np.datetime64(day + DAY, "us")
        known, until = (rows[name].cast(pa.timestamp("us")).to_numpy() for name in ("known_at", "superseded_at"))
        # Nothing is known at no time: a comparison with it is false.
        valid = (known <= close) & (np.isnat(until) | (until > close))
        return Labels(
            first, last, SubtreeRows(rows.select(["leaf", "label"]).filter(pa.array(valid))), day <= self._through
        )
