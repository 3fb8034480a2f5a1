"""How did a node do day by day, and does it do worse than a month ago? Rows of performance, estimates and monitors, by node."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.measures.certainty import Groups, limits_of
from factory_assets.measures.metrics import improvement
from factory_assets.monitoring.episodes import lasting
from factory_assets.monitoring.monitors import ALARM, DRIFT, PERFORMANCE, STABLE
from factory_resources.lake import Lake

#: Days that a page looks back: the course of a quarter of a year.
BACK = 91
#: A month, in whole weeks, so that each day is held against one of the same weekday.
MONTH = 28 * DAY
#: Newest measured days that are held against those of a month before; and of how many fewer pairs nothing is said.
NEWEST, FEWEST = 14, 7
#: How often a change is said of one of all nodes of a page while none has changed.
FALSE = 0.05


@dataclass(frozen=True)
class Change:
    """By how much a node is better than a month ago, in the line's metric: negative where it is worse.

    low, high: between which the gain lies, with a certainty that holds for all nodes of a page together; None where the days allow
    no limits. days: pairs of days. until: the newest of them.
    """

    gain: float
    low: float | None
    high: float | None
    days: int
    until: dt.date

    @property
    def is_worse(self) -> bool:
        return self.high is not None and self.high < 0

    @property
    def is_better(self) -> bool:
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Course:
    """A node's days, oldest first. measured, estimated, looks: rows of performance, of estimates and of monitors."""

    measured: Sequence[Mapping[str, Any]] = ()
    estimated: Sequence[Mapping[str, Any]] = ()
    looks: Sequence[Mapping[str, Any]] = ()

    def series(self, column: str) -> tuple[list[dt.date], list[float | None]]:
        """Days with a row of performance, and a column of it."""
        return [row["ds"] for row in self.measured], [row[column] for row in self.measured]

    @property
    def limits(self) -> tuple[list[float | None], list[float | None]]:
        """Between which values each of these days' metric lies; None on a day that an earlier release measured, without limits."""
        return [row.get("low") for row in self.measured], [row.get("high") for row in self.measured]

    @property
    def alarmed(self) -> list[dt.date]:
        """Days on which the performance was an alarm."""
        return [row["ds"] for row in self.looks if row["monitor"] == PERFORMANCE and row["verdict"] == ALARM]

    @property
    def drift(self) -> list[Mapping[str, Any]]:
        return [row for row in self.looks if row["monitor"] == DRIFT]

    def drifting(self, column: str) -> tuple[dt.date, bool] | None:
        """Since when a column's drift is an alarm, and whether it may have been before the first day here; None where it is none."""
        looks = [row for row in self.drift if row["column"] == column]
        calm = max((row["ds"] for row in looks if row["verdict"] == STABLE), default=dt.date.min)
        begun = [since for _, since in lasting(looks, ["node", "column"], ALARM, STABLE) if since > calm]
        return (begun[-1], begun[-1] == looks[0]["ds"]) if begun else None


@dataclass(frozen=True)
class Courses:
    """The courses of some nodes of a line. newest: its newest day that monitors looked at."""

    by_node: Mapping[str, Course] = field(default_factory=dict)
    newest: dt.date | None = None

    def of(self, node: str) -> Course:
        return self.by_node.get(node, Course())


def courses(line: str, metric: str, lake: Lake, nodes: Collection[str], damaged: Collection[str] = ()) -> Courses:
    """What the newest days say of these nodes. damaged: tables that are not read, as they are not whole."""
    import pyarrow.compute as pc

    tables = {name: f"{line}/{name}" for name in ("performance", "estimates", "monitors")}
    days = {name: [] if table in damaged else lake.days(table) for name, table in tables.items()}
    newest = max((of[-1] for of in days.values() if of), default=None)
    if newest is None:
        return Courses()
    first, found = newest - BACK * DAY, dict[str, dict[str, list[dict[str, Any]]]]()
    for name, table in tables.items():
        if not days[name]:
            continue
        rows = _of(lake.read(table, first, newest, empty_if_absent=True), nodes)
        if name == "estimates":
            rows = rows.filter(pc.equal(rows["metric"], metric))
        if name == "monitors":
            rows = rows.filter(pc.is_in(rows["monitor"], pa.array([DRIFT, PERFORMANCE])))
        for row in rows.sort_by("ds").to_pylist():
            found.setdefault(row["node"], {}).setdefault(name, []).append(row)
    by_node = {
        node: Course(*(of.get(name, []) for name in ("performance", "estimates", "monitors")))
        for node, of in found.items()
    }
    return Courses(by_node, newest)


def _of(rows: pa.Table, nodes: Collection[str]) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows["node"], pa.array(sorted(nodes), pa.string())))


def since_a_month(metric: str, course: Course, nodes: int = 1) -> Change | None:
    """Whether a node has changed: its newest days against those a month before, day by day of the week.

    nodes: among how many a change is looked for. None where too few days have one to be held against. Days may be like the day
    before, and are no independent witnesses then; see `certainty.judge`.
    """
    days, values = course.series(metric)
    value_of = {day: value for day, value in zip(days, values, strict=True) if value is not None}
    newest = sorted(value_of)[-NEWEST:]
    paired = [day for day in newest if day - MONTH in value_of]
    if len(paired) < FEWEST:
        return None
    gains = np.array([improvement(metric, value_of[day], value_of[day - MONTH]) for day in paired])
    groups = Groups(np.arange(len(gains), dtype=np.intp), follow=True)
    limits = limits_of(lambda kept: float(gains[kept].mean()), len(gains), [groups], 1 - FALSE / max(nodes, 1))
    low, high = limits or (None, None)
    return Change(float(gains.mean()), low, high, len(paired), paired[-1])
