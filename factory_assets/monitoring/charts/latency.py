"""Did a run take longer than the runs before it that made the same?

A control chart as those of rows: of the seconds that a run took, or has taken so far, held against up to 56 runs before it that made
the same assets of one day. How long a run takes belongs to the machine and the moment: a day that is made again tells something else.
So it stands in no table, and no check says it; it is read from the event log when somebody asks.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from factory_assets.monitoring.charts.control import DAY_OUT, FEWEST, NO_VERDICT, PAST, judged_ages
from factory_assets.words import counted

#: Share of runs that may be told to be slow while nothing changes.
FALSE_ALARM_RATE = 0.001


@dataclass(frozen=True)
class Run:
    """A run that makes assets of one day. seconds: that it took, or so far if it is running."""

    assets: tuple[str, ...]
    day: dt.date
    began: dt.datetime
    seconds: float
    running: bool = False


@dataclass(frozen=True)
class Latency:
    """The newest run of its kind. usual, limit: seconds; None without a verdict. before: runs that it was held against."""

    run: Run
    verdict: str
    usual: float | None
    limit: float | None
    before: int
    reason: str


def latencies(runs: Iterable[Run]) -> list[Latency]:
    """The newest run of each kind, slow ones first. runs: in any order; those that have ended succeeded."""
    kinds: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.began):
        kinds.setdefault(run.assets, []).append(run)
    found = [_judged(of_kind) for of_kind in kinds.values()]
    return sorted(found, key=lambda each: (each.verdict != "slow", -each.run.began.timestamp(), each.run.assets))


def _judged(runs: list[Run]) -> Latency:
    """runs: of one kind, as they began. Of a run that goes on only what it took so far is known, so it is no past of another."""
    newest = runs[-1]
    before = [run for run in runs[:-1] if not run.running][-PAST:]
    seconds = np.full((1, PAST + 1), np.nan)
    seconds[0, PAST - len(before) :] = [np.floor(run.seconds) for run in (*before, newest)]
    chart = judged_ages(seconds, FALSE_ALARM_RATE)
    verdict, usual, limit = int(chart.verdict[0]), float(chart.usual[0]), float(chart.limit[0])
    now = f"{'running for' if newest.running else 'took'} {in_words(newest.seconds)}"
    if verdict == NO_VERDICT:
        ago = f"{counted(len(before), 'run')} before it in control" if before else "no run before it"
        return Latency(newest, "no verdict", None, None, len(before), f"{now}; {ago}, a verdict takes {FEWEST}")
    held = f"usual are {in_words(usual)}, the limit is {in_words(limit)}, by {counted(int(chart.days[0]), 'run')}"
    return Latency(newest, "slow" if verdict == DAY_OUT else "as usual", usual, limit, len(before), f"{now}; {held}")


def in_words(seconds: float) -> str:
    """A duration for people.

    >>> in_words(1.4), in_words(200), in_words(7300)
    ('1 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
