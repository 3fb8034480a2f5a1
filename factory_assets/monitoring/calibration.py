"""What are a line's monitors worth on its own past: how often did they alarm, and what would they have found, after how many days?

Alarms are counted as people feel them: a column that stays beyond its limit for a week is one episode, not seven. And changes are
put into days of the past that were found stable: into all rows of a column or into those of one segment, from one day of the window
on, from two, and so on, until the verdict is that the column has drifted.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.measures.compared import metric_of
from factory_assets.measures.profiles import Profile
from factory_assets.models.archived import ReleasedModel
from factory_assets.monitoring.drift.days import MINIMUM_ROWS, DriftDays, watching
from factory_assets.monitoring.drift.verdicts import Counted, drifts
from factory_assets.monitoring.episodes import begun, of_drift, of_losses
from factory_assets.monitoring.performance.losses import Loss, losses
from factory_assets.scoring.champions import champions_of_days
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: One row in so many is made a null.
TENTH = 10
#: Change -> the values of a column of numbers after it. `rows`: shape (n,), which rows are changed.
NUMBERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x1.1": lambda values: values * 1.1,
    "x1.3": lambda values: values * 1.3,
}
NULLS, LOST, SEGMENT = "10 % nulls", "the commonest level lost", "x1.3 in the largest segment"
CHANGES = (*NUMBERS, NULLS, LOST, SEGMENT)
#: Days of a change after which it is asked whether it was found, beside the whole window.
AFTER = (1, 3)


@dataclass
class Month:
    """Days of a month on which a line was watched. drift, performance: episodes that began in it."""

    days: int = 0
    drift: int = 0
    performance: int = 0


@dataclass
class Found:
    """A change that was put into columns of nodes on days of the past.

    tried: how often. after: days of the change -> how often it was found after so many. Not found in a whole window is in none.
    """

    tried: int = 0
    after: Counter[int] = field(default_factory=Counter)

    def share(self, days: int) -> float:
        """Of all tries, those found after so many days at most."""
        return sum(number for each, number in self.after.items() if each <= days) / max(self.tried, 1)


def months(drift: Iterable[Mapping[str, Any]], lost: Iterable[Loss]) -> dict[dt.date, Month]:
    """First day of a month -> its alarms. drift: rows of the drift table; lost: the losses of performance."""
    found: dict[dt.date, Month] = defaultdict(Month)
    rows = list(drift)
    for day in {row["ds"] for row in rows}:
        found[day.replace(day=1)].days += 1
    for alarm in begun(of_drift(rows)):
        found[alarm.since.replace(day=1)].drift += 1
    for alarm in begun(of_losses(lost)):
        found[alarm.since.replace(day=1)].performance += 1
    return dict(sorted(found.items()))


SCHEMA = pa.schema(
    [
        ("monitor", pa.string()),
        ("month", pa.date32()),
        ("change", pa.string()),
        ("after", pa.int64()),
        ("tried", pa.int64()),
        ("number", pa.int64()),
        ("ds", pa.date32()),
    ]
)
MEANS = {
    "monitor": "drift or performance.",
    "month": "First day of a month whose alarms are counted; empty where a change was put in.",
    "change": "What was put into stable columns of nodes; empty where alarms are counted.",
    "after": "Days of the change after which it was found at the latest.",
    "tried": "Days of the month on which the line was watched; how many columns of nodes were changed.",
    "number": "Alarms that began in the month; changed columns that were found.",
    "ds": "The newest day that was looked at.",
}


@dataclass(frozen=True)
class Calibration:
    """What a line's monitors are worth on its past. ends: the last days of the weeks into which changes were put, ascending."""

    months: Mapping[dt.date, Month]
    found: Mapping[str, Found]
    ends: Sequence[dt.date]
    window: int

    @property
    def spans(self) -> list[int]:
        """Days after which it is asked what was found."""
        return [days for days in AFTER if days < self.window] + [self.window]

    def table(self) -> pa.Table:
        """Rows of `SCHEMA`."""
        counted = [
            {"monitor": monitor, "month": month, "tried": one.days, "number": getattr(one, monitor)}
            for month, one in self.months.items()
            for monitor in ("drift", "performance")
        ]
        changed = [
            {
                "monitor": "drift",
                "change": change,
                "after": days,
                "tried": one.tried,
                "number": sum(number for each, number in one.after.items() if each <= days),
            }
            for change, one in self.found.items()
            for days in self.spans
            if one.tried
        ]
        return pa.Table.from_pylist([row | {"ds": self.ends[-1]} for row in (*counted, *changed)], schema=SCHEMA)


def calibrate(
    declared: DeclaredLine, lake: Lake, archive: ArchiveFolder, ledger: Ledger, weeks: int
) -> Calibration | None:
    """Count the alarms of a line's past, and put changes into so many of its newest weeks; None without any day of drift."""
    line, metric = declared.line, metric_of(declared)
    days, window = lake.days(f"{line.name}/drift"), line.monitor.window.days
    if not days:
        return None
    judged = lake.read(f"{line.name}/drift", days[0], days[-1], ["node", "column", "part", "verdict", "ds"]).to_pylist()
    columns = ["node", "ds", "labelled", metric, f"naive_{metric}"]
    measured = lake.read(f"{line.name}/performance", days[0], days[-1], columns, empty_if_absent=True).to_pylist()
    lost = losses(metric, measured, sorted({row["ds"] for row in measured}), line.overlap_days)
    ends = days[::-window][:weeks][::-1]
    watched = DriftDays(
        lambda first, last: lake.read(f"{line.name}/examples", first, last, empty_if_absent=True),
        watching(archive, line.name),
        line.monitor,
    )
    found = put_in(watched, ends, champions_of_days(ledger, line.name, ends))
    return Calibration(months(judged, lost), found, ends, window)


def put_in(
    watched: DriftDays, days: Sequence[dt.date], champions: Mapping[dt.date, Mapping[str, str]]
) -> dict[str, Found]:
    """Change -> what was found of it. watched: reads the line's examples. days: ascending; champions: day -> node -> version."""
    found = {change: Found() for change in CHANGES}
    for day in days:
        stable = defaultdict(set)
        verdicts = watched.judge(day, champions[day])
        for node, _, verdict in verdicts:
            if verdict.verdict == "stable":
                stable[node].add(verdict.column)
        for node, version in watched.judged.items():
            model, rows = watched.model(version), watched.rows(node)
            window = [day - DAY * back for back in range(watched.monitor.window.days - 1, -1, -1)]
            node_day = _NodeDay(model, rows, window, watched.rate, watched.monitor.minimum_effect)
            for name in model.features:
                if name not in stable[node]:
                    continue
                for change, values in _changed(model.profiles[name], rows, name):
                    after = node_day.found_after(name, values)
                    found[change].tried += 1
                    if after is not None:
                        found[change].after[after] += 1
    return found


def _changed(reference: Profile, rows: pa.Table, name: str) -> Iterator[tuple[str, pa.Array]]:
    """Changes that suit a column, with its values after each."""
    import pyarrow.compute as pc

    column = rows[name].combine_chunks()
    places = np.arange(len(column))
    if reference.kind == "number":
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        for change, changed in NUMBERS.items():
            yield change, pa.array(changed(numbers), from_pandas=True)
        leaves = rows["leaf"].combine_chunks().cast(pa.string())
        common = leaves.value_counts().to_pylist()
        if len(common) > 1:
            largest = max(common, key=lambda each: (each["counts"], each["values"]))["values"]
            inside = pc.equal(leaves, largest).to_numpy(zero_copy_only=False)
            yield SEGMENT, pa.array(np.where(inside, numbers * 1.3, numbers), from_pandas=True)
        yield NULLS, pa.array(numbers, mask=np.isnan(numbers) | (places % TENTH == 0))
    elif reference.kind == "text":
        texts = column.cast(pa.string())
        levels = texts.drop_null().value_counts().to_pylist()
        levels.sort(key=lambda each: (-each["counts"], each["values"]))
        if len(levels) > 1:
            yield LOST, pc.if_else(pc.equal(texts, levels[0]["values"]), levels[1]["values"], texts)
        yield NULLS, pc.if_else(pa.array(places % TENTH == 0), pa.scalar(None, pa.string()), texts)


@dataclass(frozen=True)
class _NodeDay:
    """A node's rows of a window of days, as they are judged."""

    model: ReleasedModel
    rows: pa.Table
    window: Sequence[dt.date]
    rate: float
    minimum_effect: float

    def found_after(self, name: str, values: pa.Array) -> int | None:
        """After how many days of the changed values the column has drifted; None if not after the whole window."""
        as_it_is, changed = self._by_day(name, self.rows[name]), self._by_day(name, values)
        reference, habit = self.model.profiles[name], self.model.habits.get(name)
        spans = range(1, len(self.window) + 1)
        after = [
            Counted(
                reference, habit, as_it_is[:-days].sum(axis=0) + changed[-days:].sum(axis=0), self.rate, self.window[-1]
            )
            for days in spans
        ]
        verdicts = drifts(after, minimum_effect=self.minimum_effect, minimum_rows=MINIMUM_ROWS)
        return next((days for days, one in zip(spans, verdicts, strict=True) if one.verdict == "drifted"), None)

    def _by_day(self, name: str, values: pa.Array | pa.ChunkedArray) -> np.ndarray:
        reference = self.model.profiles[name]
        bins = len(reference.counts) + 1
        days = np.searchsorted(
            np.array(self.window, dtype="datetime64[D]"), self.rows["ds"].to_numpy().astype("datetime64[D]")
        )
        cells = reference.places(values) + bins * days
        return np.bincount(cells, minlength=bins * len(self.window)).reshape(len(self.window), bins)
