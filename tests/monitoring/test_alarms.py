"""Does a day say the same of its alarms, and of whom it tells, whenever and with whatever other days it is judged?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.monitoring.alarms import SPAN, Looks, alarms, newest
from factory_resources.lake import Lake

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 1)
LOOKS = Looks("guess/monitors", ("node", "column"), "alarm", "stable")
WEEK = 7 * DAY


def lake_of(folder: Path, **courses: Sequence[str | None]) -> Lake:
    """Verdicts of columns of a node, one a day from the first on; None where nobody looked."""
    rows = [
        {"node": "FR", "column": column, "verdict": verdict, "reason": f"{column} {at}", "ds": FIRST + at * DAY}
        for column, course in courses.items()
        for at, verdict in enumerate(course)
        if verdict
    ]
    lake, length = Lake(root=str(folder)), max(map(len, courses.values()))
    lake.replace(LOOKS.table, pa.Table.from_pylist(rows), [FIRST + at * DAY for at in range(length)])
    return lake


def told(lake: Lake, first: int, last: int, remind: dt.timedelta = WEEK) -> dict[tuple[int, str], tuple[int, bool]]:
    """Day and column -> first day of its episode, and whether somebody is told; in days from the first."""
    days = [FIRST + at * DAY for at in range(first, last + 1)]
    return {
        ((day - FIRST).days, row["column"]): ((row["since"] - FIRST).days, row["is_news"])
        for day, rows in alarms(lake, LOOKS, days, ["reason"], remind).items()
        for row in rows
    }


def days_told(lake: Lake, length: int, remind: dt.timedelta = WEEK) -> list[int]:
    return [day for (day, _), (_, tell) in told(lake, 0, length - 1, remind).items() if tell]


def test_an_episode_is_told_on_its_first_day_and_again_each_time_that_it_has_lasted_so_long(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, x=["stable", *["alarm"] * 20, "stable", "alarm"])
    assert days_told(lake, 23) == [1, 8, 15, 22]
    assert days_told(lake, 23, 3 * DAY) == [1, 4, 7, 10, 13, 16, 19, 22]
    assert {since for since, _ in told(lake, 0, 20).values()} == {1} and told(lake, 22, 22) == {(22, "x"): (22, True)}


def test_who_cannot_be_looked_at_on_the_day_of_a_reminder_is_told_of_on_the_next(tmp_path: Path) -> None:
    course = ["alarm", *["alarm"] * 6, None, "no verdict", *["alarm"] * 8]
    assert days_told(lake_of(tmp_path, x=course), len(course)) == [0, 9, 16]


def test_each_column_is_told_by_itself(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, x=["alarm"] * 5, y=["stable", "stable", *["alarm"] * 3])
    assert {key for key, (_, tell) in told(lake, 0, 4).items() if tell} == {(0, "x"), (2, "y")}


@pytest.mark.parametrize("seed", range(3))
def test_a_range_tells_what_each_of_its_days_tells_by_itself_however_long_ago_it_began(
    tmp_path: Path, seed: int
) -> None:
    rng, length = np.random.default_rng(seed), 4 * SPAN
    verdicts = np.array(["alarm", "stable", "no verdict", None])
    courses = {
        f"c{at}": list(rng.choice(verdicts, length, p=[0.6, odds, 0.2, 0.2 - odds]))
        for at, odds in enumerate([0, 0.01, 0.1])
    }
    courses["ever"] = ["alarm"] * length
    courses["again"] = ["stable", "alarm", *[None] * (length - 3), "alarm"]
    lake = lake_of(tmp_path, **courses)
    first, last = length - 12, length - 1
    together = told(lake, first, last)
    alone = {key: value for on in range(first, last + 1) for key, value in told(lake, on, on).items()}
    assert together == alone and len(together) > 20
    assert together == {key: value for key, value in told(lake, 0, last).items() if key[0] >= first}
    assert together[last, "ever"][0] == 0 and together[last, "again"] == (1, True)


@pytest.mark.parametrize("seed", range(3))
def test_the_newest_alarms_last_since_the_day_that_a_day_of_them_tells(tmp_path: Path, seed: int) -> None:
    rng, length, back = np.random.default_rng(seed), 3 * SPAN, 8
    verdicts = np.array(["alarm", "stable", "no verdict", None])
    courses = {f"c{at}": list(rng.choice(verdicts, length, p=[0.6, 0.02, 0.2, 0.18])) for at in range(20)}
    courses["ever"] = ["alarm"] * length
    courses["over"] = [*["alarm"] * (length - 2), "stable", "no verdict"]
    courses["unknown"] = [*["alarm"] * (length - back), *["no verdict"] * back]
    lake = lake_of(tmp_path, **courses)
    found = newest(lake, LOOKS, FIRST + (length - back) * DAY, FIRST + (length - 1) * DAY, ["reason"])
    last = {
        column: max(at for at, each in enumerate(of) if each in ("alarm", "stable")) for column, of in courses.items()
    }
    alarming = {column: at for column, at in last.items() if courses[column][at] == "alarm" and at >= length - back}
    of_days = told(lake, length - back, length - 1)
    assert {row["column"]: ((row["since"] - FIRST).days, row["reason"]) for row in found.alarms} == {
        column: (of_days[at, column][0], f"{column} {at}") for column, at in alarming.items()
    }
    assert len(alarming) > 10 and {"over", "unknown"}.isdisjoint(alarming)
    assert found.judged == {"FR": sum(at >= length - back for at in last.values())}
