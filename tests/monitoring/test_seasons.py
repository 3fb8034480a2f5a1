"""Is what comes every year no drift, once a year of it is known, and is what is new this year found all the same?"""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.habits import Habit, Season, Stretches, habit, season
from factory_assets.measures.profiles import Profile, profile
from factory_assets.monitoring.drift.verdicts import Drift, drift
from factory_assets.training.dataset import training_rows
from factory_assets.training.timeline import Timeline
from factory_resources.engine import Engine
from factory_resources.lake import Lake

FIRST = dt.date(2024, 1, 1)
DAY = dt.timedelta(days=1)
A_DAY, YEARS, TRAINED = 80, 730, 28


def days_of(values: np.ndarray) -> np.ndarray:
    return np.datetime64(FIRST) + np.repeat(np.arange(len(values) // A_DAY), A_DAY)


def kept(values: np.ndarray, as_of: int, first: int = 0) -> tuple[Profile, Habit]:
    """What a release as of a day keeps. first: the day with which the past begins."""
    days, column = days_of(values), pa.array(values)
    past = Stretches(FIRST + DAY * first, FIRST + DAY * as_of, 7)
    back = (np.datetime64(FIRST + DAY * as_of) - days).astype(int)
    inside = (back >= 10) & (back < 10 + TRAINED)
    reference = profile(column.filter(pa.array(inside)))
    places = past.places(days)
    counts, own = (past.counts(reference, column, where) for where in (places, np.where(inside, places, -1)))
    found = habit(reference, column.filter(pa.array(inside)), counts, own)
    return reference, replace(found, season=season(past, reference, column, days))


def week(values: np.ndarray, end: int) -> np.ndarray:
    return values[(end - 6) * A_DAY : (end + 1) * A_DAY]


def yearly(rng: np.random.Generator, growth: float = 1.0) -> np.ndarray:
    """Amounts that go up and down within the year. growth: times as much in the second year."""
    day = np.repeat(np.arange(YEARS), A_DAY)
    values = np.exp(0.35 * np.sin(2 * np.pi * day / 365.25) + rng.normal(0, 0.5, len(day)))
    return np.where(day < 365, values, values * growth)


def looks(values: np.ndarray, changed: float = 1.0, known: bool = True) -> list[Drift]:
    """Weekly verdicts of a quarter after each of four releases of the second year."""
    found = []
    for as_of in (400, 470, 540, 610):
        reference, own = kept(values, as_of)
        own = own if known else replace(own, season=None)
        found += [
            drift(reference, own, pa.array(week(values, end) * changed), last=FIRST + DAY * end)
            for end in range(as_of + 7, as_of + 92, 7)
        ]
    return found


def alarms(found: list[Drift]) -> float:
    return float(np.mean([one.verdict == "drifted" for one in found]))


def test_what_comes_every_year_is_alarmed_without_its_season_and_not_with_it() -> None:
    values = yearly(np.random.default_rng(1))
    without, found = looks(values, known=False), looks(values)
    assert alarms(without) > 0.1 and alarms(found) == 0
    saved = [one for one, other in zip(found, without, strict=True) if other.verdict == "drifted"]
    assert {one.verdict for one in saved} == {"stable"} and all(" of a year ago" in one.reason for one in saved)


def test_what_is_new_this_year_is_found_against_last_year_too() -> None:
    values = yearly(np.random.default_rng(2))
    found = looks(values, changed=2.0)
    assert alarms(found) > 0.4 and alarms(found) >= 0.9 * alarms(looks(values, changed=2.0, known=False))
    assert all("; a year ago it was not so: PSI " in one.reason for one in found if one.verdict == "drifted")


def test_growth_is_found_by_a_champion_that_learned_from_before_it() -> None:
    values = yearly(np.random.default_rng(3), growth=2.0)
    reference, own = kept(values, 364)
    assert own.season is not None
    found = [drift(reference, own, pa.array(week(values, end)), last=FIRST + DAY * end) for end in range(371, 456, 7)]
    assert alarms(found) > 0.8


def test_an_unchanged_column_is_alarmed_no_more_often_with_a_season() -> None:
    rng, told = np.random.default_rng(4), {True: 0, False: 0}
    for _ in range(6):
        values = rng.normal(size=YEARS * A_DAY)
        for known in told:
            told[known] += sum(one.verdict == "drifted" for one in looks(values, known=known))
    assert told[True] <= told[False] <= 4


@pytest.mark.parametrize(("first", "number"), [(0, 21), (100, 21), (153, 21), (200, 14), (300, 0)])
def test_a_season_is_of_whole_weeks_that_the_past_reaches(first: int, number: int) -> None:
    values = yearly(np.random.default_rng(5))
    _, own = kept(values, 545, first)
    assert len(own.season.ends if own.season else ()) == number
    for length in (1, 10):
        assert Stretches(FIRST, FIRST + DAY * 545, length).season.number == 0, "weekdays would be taken for a season"


def test_the_weeks_held_against_a_day_are_those_within_four_weeks_of_a_year_before_it() -> None:
    values = yearly(np.random.default_rng(6))
    reference, own = kept(values, 500)
    assert own.season
    for ahead in (1, 20, 50, 91, 115, 150):
        end, expected = FIRST + DAY * (500 + ahead), []
        for back in range(0, 500, 7):
            last = 500 - back
            if abs(last - (500 + ahead - 364)) <= 28 and 245 <= back <= 385:
                expected.append(
                    np.bincount(reference.places(pa.array(week(values, last))), minlength=len(reference.counts) + 1)
                )
        found = own.season.of(end)
        assert (found is None) == (len(expected) < 4)
        assert found is None or np.array_equal(found, np.array(expected))


def test_a_habit_comes_back_from_the_archive_with_its_season_and_is_small() -> None:
    _, own = kept(yearly(np.random.default_rng(7)), 500)
    text = json.dumps(own.to_dict())
    assert Habit.from_dict(json.loads(text)) == own and isinstance(own.season, Season)
    assert len(text) < 3000
    assert "season" not in replace(own, season=None).to_dict()


def test_a_training_reads_the_weeks_of_its_season_and_no_more(tmp_path: Path) -> None:
    as_of, number = FIRST + 450 * DAY, 460
    span = Timeline(as_of, as_of - 40 * DAY, as_of - 20 * DAY, as_of - 15 * DAY, as_of - 2 * DAY)
    days = [FIRST + DAY * at for at in range(number)]
    at = pa.array(days, pa.date32()).cast(pa.timestamp("us"))
    ids = pa.array(range(number))
    examples = pa.table(
        {"ds": pa.array(days, pa.date32()), "example_id": ids, "observed_at": at, "leaf": ["global"] * number}
    )
    labels = examples.select(["ds", "example_id"]).append_column("label", pa.array([1.0] * number))
    labels = labels.append_column("known_at", at).append_column("superseded_at", pa.nulls(number, pa.timestamp("us")))
    lake = Lake(root=str(tmp_path))
    lake.replace("guess/examples", examples, days)
    lake.replace("guess/labels", labels, days)
    with Engine(threads=1).connect() as con:
        rows, _ = training_rows(con, lake, "guess", span, Stretches(FIRST, as_of, 7))
    of_node = rows.of("global")
    known = {
        "around": {as_of - DAY * back for back in (*range(91), *range(245, 392))},
        "labels": {as_of - DAY * back for back in (*range(2, 93), *range(247, 394))},
    }
    taken = {
        day for day in days if span.train_from <= day <= span.train_to or span.holdout_from <= day <= span.holdout_to
    }
    assert set(of_node.around["ds"].to_pylist()) == known["around"] - taken
    assert set(of_node.labels["ds"].to_pylist()) == known["labels"]


@pytest.mark.parametrize("sway", [0.0, 0.1])
@pytest.mark.parametrize("known", [True, False], ids=["season known", "season not known"])
def test_what_a_stable_verdict_says_would_have_shown_is_found_nine_times_in_ten_wherever_the_season_is(
    sway: float, known: bool
) -> None:
    """Of amounts as they are on that day of the year, which may lie well below those that the champion has learnt from."""
    rng = np.random.default_rng(8)
    day = np.repeat(np.arange(YEARS), A_DAY)
    found: dict[str, list[bool]] = {"more": [], "nulls": [], "new": []}
    for _ in range(3):
        values, fresh = (np.exp(sway * np.sin(2 * np.pi * day / 365.25) + rng.normal(0, 0.5, len(day))) for _ in "ab")
        for as_of in (400, 470, 540, 610):
            reference, own = kept(values, as_of)
            own = own if known else replace(own, season=None)
            for end in range(as_of + 7, as_of + 92, 14):

                def judged(rows: pa.Array, beside: Profile = reference, habit: Habit = own, end: int = end) -> Drift:
                    return drift(beside, habit, rows, last=FIRST + DAY * end)

                stable, another = judged(pa.array(week(values, end))), week(fresh, end)
                if stable.verdict != "stable":
                    continue
                assert stable.visible_change and stable.visible_nulls and stable.visible_new
                changed = {
                    "more": pa.array(another * (1 + stable.visible_change)),
                    "nulls": pa.array(another, mask=rng.random(len(another)) < stable.visible_nulls),
                    "new": pa.array(np.where(rng.random(len(another)) < stable.visible_new, 1e9, another)),
                }
                for name, rows in changed.items():
                    found[name].append(judged(rows).verdict == "drifted")
    shares = {name: float(np.mean(each)) for name, each in found.items()}
    assert len(found["more"]) > 50 and min(shares.values()) > 0.82, shares
