"""Do control charts cry as seldom as they state, and find what they say they would find?"""

from __future__ import annotations

import numpy as np
import pytest

from factory_assets.monitoring.charts.control import (
    DAY_OUT,
    FEWEST,
    IN_CONTROL,
    NO_VERDICT,
    PAST,
    WEEK_OUT,
    judged_ages,
    judged_counts,
    judged_shares,
)

DAYS, SERIES = PAST + 1, 3000
WEEKLY = np.resize([1.0, 1.0, 1.0, 1.0, 1.2, 0.5, 0.3], DAYS)


def noise(seed: int, spread: float, series: int = SERIES) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0, spread, (series, DAYS)))


def rows(seed: int, mean: float, spread: float = 0.0, series: int = SERIES) -> np.ndarray:
    """Counts of days that scatter by so much beside counting."""
    return np.random.default_rng(seed).poisson(mean * noise(seed, spread, series)).astype(float)


def with_days(counts: np.ndarray, days: int) -> np.ndarray:
    """The counts without those of days before the newest so many."""
    counts = counts.copy()
    counts[:, : DAYS - 1 - days] = np.nan
    return counts


def alarms(verdict: np.ndarray) -> float:
    return float((verdict >= DAY_OUT).mean())


@pytest.mark.parametrize("days", [FEWEST, 28, PAST])
@pytest.mark.parametrize(("mean", "spread"), [(5, 0.0), (50, 0.0), (5000, 0.0), (20, 0.3), (1000, 0.1), (1000, 0.3)])
def test_unchanged_counts_are_alarms_no_more_often_than_stated(mean: float, spread: float, days: int) -> None:
    assert alarms(judged_counts(with_days(rows(1, mean, spread), days), 0.01).verdict) <= 0.02
    assert alarms(judged_counts(with_days(rows(2, mean, spread), days), 0.001).verdict) <= 0.005


def test_of_few_rows_counting_alone_holds_the_rate() -> None:
    """The logarithm of 8 rows is not normal: by the days' scatter alone three in a thousand would be alarms."""
    assert alarms(judged_counts(rows(5, 8, 0.0, 20_000), 0.001).verdict) <= 0.001


@pytest.mark.parametrize("days", [FEWEST, PAST])
@pytest.mark.parametrize("scatter", [0.0, 0.3])
@pytest.mark.parametrize(("share", "size"), [(s, n) for s in (0.001, 0.01, 0.3) for n in (50, 1000, 50_000)])
def test_unchanged_shares_are_alarms_no_more_often_than_stated(
    share: float, size: int, scatter: float, days: int
) -> None:
    rng, shape = np.random.default_rng(3), (SERIES, DAYS)
    own = (1 - share) / share / scatter**2 - 1 if scatter else 0.0
    shares = rng.beta(share * own, (1 - share) * own, shape) if scatter else np.full(shape, share)
    sizes = np.full(shape, float(size))
    counts = with_days(rng.binomial(size, shares).astype(float), days)
    assert alarms(judged_shares(counts, sizes, 0.01).verdict) <= 0.02
    assert alarms(judged_shares(counts, sizes, 0.001).verdict) <= 0.005


def ages(seed: int, kind: str, series: int = SERIES) -> np.ndarray:
    """Whole minutes: how long nothing came before the close of a busy feed, of a sparse one, of one that comes by the hour; and how
    long rows are under way."""
    rng, shape = np.random.default_rng(seed), (series, DAYS)
    made = {
        "busy": lambda: rng.exponential(1.5, shape),
        "sparse": lambda: rng.exponential(120, shape),
        "a few a day": lambda: rng.exponential(480, shape),
        "hourly": lambda: np.full(shape, 60.0),
        "under way": lambda: 20 * np.exp(rng.normal(0, 0.4, shape)),
    }
    return np.floor(made[kind]())


@pytest.mark.parametrize("days", [FEWEST, 28, PAST])
@pytest.mark.parametrize("kind", ["busy", "sparse", "a few a day", "hourly", "under way"])
def test_unchanged_ages_are_alarms_no_more_often_than_stated(kind: str, days: int) -> None:
    assert alarms(judged_ages(with_days(ages(1, kind), days), 0.01).verdict) <= 0.02
    assert alarms(judged_ages(with_days(ages(2, kind), days), 0.001).verdict) <= 0.005


@pytest.mark.parametrize("kind", ["busy", "sparse", "hourly", "under way"])
def test_the_minutes_that_are_stated_as_visible_are_found_nine_times_in_ten(kind: str) -> None:
    minutes = ages(3, kind)
    visible = judged_ages(minutes, 0.001, 24 * 60).visible
    told = np.isfinite(visible)
    assert told.mean() > (0.5 if kind == "sparse" else 0.9)
    minutes[:, -1] = ages(4, kind)[:, -1] + np.nan_to_num(visible)
    assert alarms(judged_ages(minutes, 0.001).verdict[told]) >= 0.87
    minutes[:, -1] -= np.nan_to_num(visible) / 2
    assert alarms(judged_ages(minutes, 0.001).verdict[told]) < 0.6


def test_the_day_after_a_feed_broke_off_is_calm_again() -> None:
    minutes = ages(6, "hourly", 1)
    minutes[0, -1] = 600
    assert judged_ages(minutes, 0.001).verdict[0] == DAY_OUT
    minutes[0, -2:] = 600, 60
    assert judged_ages(minutes, 0.001).verdict[0] == IN_CONTROL


def test_a_limit_beyond_the_day_is_no_verdict_and_fresher_than_usual_is_no_alarm() -> None:
    assert (judged_ages(ages(4, "a few a day"), 0.001, 24 * 60).verdict == NO_VERDICT).mean() > 0.9
    minutes = ages(5, "under way", 200)
    minutes[:, -1] = 0
    assert (judged_ages(minutes, 0.001).verdict != DAY_OUT).all()


def test_a_weekend_is_no_loss_and_a_weekday_with_as_few_rows_is() -> None:
    week = 1000 * WEEKLY * noise(4, 0.05)
    assert alarms(judged_counts(week, 0.001).verdict) <= 0.005
    # The judged day's rows are those of the day two before: of a weekend, where it is not one.
    week[:, -1] = week[:, -2]
    assert WEEKLY[-2] == 0.3 and alarms(judged_counts(week, 0.001).verdict) == 1


def test_ten_and_thirty_percent_and_twice_the_rows_are_found_as_often_as_the_days_let() -> None:
    found = []
    for factor in (1.1, 1.3, 2.0):
        counts = rows(5, 10_000, 0.05)
        counts[:, -1] *= factor
        found.append(alarms(judged_counts(counts, 0.001).verdict))
    assert found[0] < 0.2 and found[1] > 0.8 and found[2] == 1


@pytest.mark.parametrize(("mean", "spread"), [(100, 0.0), (1000, 0.05), (50_000, 0.2)])
def test_the_loss_of_rows_that_is_stated_as_visible_is_found_nine_times_in_ten(mean: float, spread: float) -> None:
    levels = mean * noise(6, spread)
    rng = np.random.default_rng(6)
    counts = rng.poisson(levels).astype(float)
    visible = judged_counts(counts, 0.001).visible
    told = np.isfinite(visible)
    assert told.mean() > 0.9
    counts[:, -1] = rng.poisson(levels[:, -1] * (1 - np.nan_to_num(visible)))
    assert 0.85 <= alarms(judged_counts(counts, 0.001).verdict[told]) <= 0.97


@pytest.mark.parametrize(("share", "size"), [(0.01, 5000), (0.3, 1000), (0.001, 500)])
def test_the_share_that_is_stated_as_visible_is_found_nine_times_in_ten(share: float, size: int) -> None:
    rng, sizes = np.random.default_rng(7), np.full((SERIES, DAYS), float(size))
    counts = rng.binomial(size, share, (SERIES, DAYS)).astype(float)
    visible = judged_shares(counts, sizes, 0.001).visible
    counts[:, -1] = rng.binomial(size, share + visible)
    assert alarms(judged_shares(counts, sizes, 0.001).verdict) >= 0.85


def test_one_row_among_fifty_is_no_alarm_where_one_in_a_thousand_is_usual() -> None:
    counts, sizes = np.zeros((1, DAYS)), np.full((1, DAYS), 50.0)
    counts[0, [10, 30]] = 1
    for many, expected in ((1, IN_CONTROL), (8, DAY_OUT)):
        counts[0, -1] = many
        assert judged_shares(counts, sizes, 0.001).verdict[0] == expected


def test_a_share_that_falls_is_no_alarm_and_a_count_that_falls_is() -> None:
    counts, sizes = np.full((1, DAYS), 50.0), np.full((1, DAYS), 1000.0)
    counts[0, -1] = 0
    assert judged_shares(counts, sizes, 0.001).verdict[0] == IN_CONTROL
    assert judged_counts(counts, 0.001).verdict[0] == DAY_OUT


def test_a_week_that_is_lower_throughout_is_found_though_none_of_its_days_is() -> None:
    counts = rows(8, 1e6, 0.05)
    counts[:, -7:] *= 0.82
    verdict = judged_counts(counts, 0.01).verdict
    assert (verdict == WEEK_OUT).mean() > 0.3
    # Weeks that grow by as much as they scatter are no alarm, and nine in a row on one side they are nearly always.
    grown = rows(9, 1e6, 0.03) * 1.002 ** np.arange(DAYS)
    assert alarms(judged_counts(grown, 0.01).verdict) <= 0.03
    assert (grown[:, -9:] > grown[:, :-9].mean(axis=1, keepdims=True)).all(axis=1).mean() > 0.5


def test_an_outlier_of_the_past_widens_no_limit_and_more_of_them_are_how_the_series_is() -> None:
    counts = rows(10, 1000, 0.05, 200)
    counts[:, -1] *= 0.6
    for outliers, found in ((0, 1.0), (2, 1.0), (8, 0.0)):
        past = counts.copy()
        past[:, 5 : 5 + outliers] = 0
        assert abs(alarms(judged_counts(past, 0.001).verdict) - found) < 0.1


def test_a_new_level_is_told_for_days_and_then_taken_for_the_usual_one() -> None:
    counts = rows(11, 1000, 0.03, 300)
    told = []
    for days in (1, 2, 28):
        moved = counts.copy()
        moved[:, -days:] *= 0.5
        told.append(alarms(judged_counts(moved, 0.001).verdict))
    assert told[0] == 1 and told[1] == 1 and told[2] < 0.05


def test_few_days_few_rows_and_shares_that_cannot_rise_give_no_verdict() -> None:
    few = judged_counts(with_days(rows(12, 1000, 0.05, 20), FEWEST - 1), 0.001)
    assert (few.verdict == NO_VERDICT).all() and (few.days == FEWEST - 1).all()
    assert (judged_counts(rows(13, 2, 0.0, 20), 0.001).verdict == NO_VERDICT).all()
    sizes = np.full((1, DAYS), 200.0)
    assert judged_shares(sizes.copy(), sizes, 0.001).verdict[0] == NO_VERDICT


def test_a_day_without_a_value_is_not_judged_and_no_day_is_in_its_past() -> None:
    counts = rows(14, 1000, 0.05, 20)
    counts[:, -1] = np.nan
    assert (judged_counts(counts, 0.01).verdict == NO_VERDICT).all()
    gaps = rows(14, 1000, 0.05, 20)
    gaps[:, 3:20] = np.nan
    assert (judged_counts(gaps, 0.001).days == PAST - 17).all()
    sizes = np.full_like(gaps, 100.0)
    sizes[:, -1] = 0
    assert (judged_shares(np.zeros_like(gaps), sizes, 0.01).verdict == NO_VERDICT).all()


def test_counts_that_never_differ_are_held_against_what_counting_alone_explains() -> None:
    counts = np.full((1, DAYS), 24.0)
    for many, expected in ((23, IN_CONTROL), (1, DAY_OUT)):
        counts[0, -1] = many
        assert judged_counts(counts, 0.001).verdict[0] == expected


def test_no_series_is_no_verdict() -> None:
    assert len(judged_counts(np.empty((0, DAYS)), 0.001).verdict) == 0
