"""Is a certainty what it says: the share of times that the other days agree, whatever the metric?"""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.certainty import GROUPS, Groups, certainty, grouped, stretches, witnesses

DAYS, A_DAY = 14, 40


def rows(seed: int, gain: float, shared: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, two models' predictions, days. The first errs less by `gain`; `shared` is the part of luck that a day has."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), A_DAY)
    luck = rng.normal(0, shared, DAYS)[day] + rng.normal(0, 1, len(day))
    y = rng.normal(0, 1, len(day))
    # Errors of one sign, so that the mean absolute errors differ by the mean of gain + luck.
    return y, y + 10 - gain - luck, y + 10.0, day


def judged(found: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    """Labels, predictions and one grouping, by days."""
    return (*found[:3], [Groups(found[3])])


def share_called_better(gain: float, limit: float, shared: float) -> float:
    calls = [certainty("regression", "mae", *judged(rows(seed, gain, shared))) for seed in range(600)]
    return float(np.mean([call is not None and call >= limit for call in calls]))


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_of_models_that_are_alike_one_is_called_better_as_often_as_the_certainty_leaves_to_chance(
    shared: float,
) -> None:
    assert 0.02 < share_called_better(0.0, 0.95, shared) < 0.085
    assert 0.07 < share_called_better(0.0, 0.90, shared) < 0.14


def test_a_model_that_is_better_is_found_out() -> None:
    assert share_called_better(0.3, 0.95, shared=0.2) > 0.9


@pytest.mark.parametrize(("n", "positives"), [(480, 10), (480, 40), (2100, 20)])
def test_a_ranking_by_chance_beats_the_naive_guess_mostly_and_surely_no_oftener_than_is_left_to_chance(
    n: int, positives: int
) -> None:
    from factory_assets.measures.metrics import average_precision

    rng, tries = np.random.default_rng(11), 150
    better = surely = 0
    for _ in range(tries):
        y = np.zeros(n)
        y[rng.choice(n, positives, replace=False)] = 1
        day, ours, naive = rng.permutation(np.arange(n) * 7 // n), rng.random(n), np.full(n, positives / n)
        sure = certainty("binary", "average_precision", y, ours, naive, [Groups(day)])
        better += average_precision(y, ours) > average_precision(y, naive)
        surely += sure is not None and sure >= 0.95
    assert better / tries > 0.6
    # Of 150 tries at .05, 15 or more come by chance once in 200.
    assert surely / tries < 0.1


def test_for_a_mean_over_equal_days_it_is_the_paired_t_test_over_days() -> None:
    from scipy import stats

    y, ours, theirs, day = rows(3, 0.1, 0.5)
    gains = [np.mean(np.abs(theirs - y)[day == each] - np.abs(ours - y)[day == each]) for each in range(DAYS)]
    expected = 1 - stats.ttest_1samp(gains, 0, alternative="greater").pvalue
    assert certainty("regression", "mae", y, ours, theirs, [Groups(day)]) == pytest.approx(expected, abs=1e-9)


def test_a_metric_that_is_no_mean_is_judged_as_a_bootstrap_over_days_would() -> None:
    from factory_assets.measures.metrics import roc_auc

    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(28), 60)
    signal = rng.normal(0, 1, len(day))
    y = (signal + rng.normal(0, 1, len(day)) > 0.5).astype(float)
    ours, theirs = signal + rng.normal(0, 0.8, len(day)), signal + rng.normal(0, 0.9, len(day))
    drawn = [np.concatenate([np.flatnonzero(day == each) for each in rng.integers(0, 28, 28)]) for _ in range(800)]
    gains = np.array([roc_auc(y[kept], ours[kept]) - roc_auc(y[kept], theirs[kept]) for kept in drawn])
    assert certainty("binary", "roc_auc", y, ours, theirs, [Groups(day)]) == pytest.approx(np.mean(gains > 0), abs=0.03)


def test_it_is_turned_round_with_the_models_and_does_not_depend_on_the_order_of_rows() -> None:
    y, ours, theirs, day = rows(1, 0.05, 0.5)
    forth, back = (
        certainty("regression", "rmse", y, *pair, [Groups(day)]) for pair in ((ours, theirs), (theirs, ours))
    )
    assert forth is not None and back is not None and forth + back == pytest.approx(1)
    order = np.random.default_rng(0).permutation(len(y))
    assert certainty("regression", "rmse", y[order], ours[order], theirs[order], [Groups(day[order])]) == pytest.approx(
        forth
    )


@pytest.mark.parametrize(("gain", "expected"), [(0.5, 1.0), (0.0, 0.5), (-0.5, 0.0)])
def test_a_difference_that_every_day_has_alike_is_certain(gain: float, expected: float) -> None:
    y, day = np.zeros(8), np.repeat(np.arange(4), 2)
    assert certainty("regression", "mae", y, np.full(8, 1.0 - gain), np.full(8, 1.0), [Groups(day)]) == expected


def test_rows_of_one_day_or_a_metric_that_a_day_alone_defines_cannot_say() -> None:
    y, p = np.array([0.0, 1, 0, 0]), np.array([0.1, 0.9, 0.2, 0.3])
    assert certainty("binary", "roc_auc", y, p, 1 - p, [Groups(np.zeros(4, int))]) is None
    assert certainty("binary", "roc_auc", y, p, 1 - p, [Groups(np.array([0, 0, 1, 1]))]) is None
    assert certainty("binary", "roc_auc", y[:0], p[:0], p[:0], [Groups(np.zeros(0, int))]) is None


def test_many_days_are_taken_in_stretches() -> None:
    rng = np.random.default_rng(2)
    y, day = np.zeros(365 * 3), np.repeat(np.arange(np.datetime64("2025-01-01"), np.datetime64("2026-01-01")), 3)
    ours, theirs = rng.exponential(1.0, len(y)), rng.exponential(1.1, len(y))
    whole = certainty("regression", "mae", y, ours, theirs, [stretches(day)])
    thirds = certainty("regression", "mae", y, ours, theirs, [Groups(np.arange(len(y)) * 30 // len(y))])
    assert whole == pytest.approx(thirds, abs=0.01)


def test_errors_too_large_for_a_double_give_no_certainty() -> None:
    days, y = np.arange(60) // 10, np.full(60, 1.7e308)
    assert certainty("regression", "mae", y, -y, y, [Groups(days)]) is None
    assert certainty("regression", "rmse", y, np.full(60, 1e200), y, [Groups(days)]) is None


def test_days_that_are_like_the_day_before_say_as_much_as_fewer_that_are_not() -> None:
    """Daily differences of mean zero, each .4 like that before: as often called better as is left to chance, or a little oftener."""
    rng, tries, days = np.random.default_rng(6), 2000, 14
    drawn = rng.normal(size=(tries, days + 20))
    for at in range(1, days + 20):
        drawn[:, at] = 0.4 * drawn[:, at - 1] + drawn[:, at] * np.sqrt(1 - 0.4**2)
    by_day, y, ours = np.arange(days), np.zeros(days), np.full(days, 9.0)

    def called(theirs: np.ndarray, follow: bool) -> float:
        sure = [certainty("regression", "mae", y, ours, each, [Groups(by_day, follow)]) for each in theirs]
        return float(np.mean([one is not None and one >= 0.95 for one in sure]))

    alike, apart = 9 + drawn[:, 20:], 9 + rng.normal(size=(tries, days))
    assert called(alike, follow=False) > 0.12 and called(alike, follow=True) < 0.08
    # Where no day is like the one before, that is not known either, and costs a little.
    assert 0.025 < called(apart, follow=True) < 0.05 < 2 * called(apart, follow=False)
    assert called(apart + 1, follow=True) > 0.85


def test_customers_who_come_every_day_are_witnesses_once() -> None:
    """Two models that err with customers, each with its own; these customers are no others tomorrow than they are today."""
    by_days, by_both = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        day, customer = np.repeat(np.arange(7), 300), rng.integers(0, 15, 2100)
        y = rng.normal(size=len(day))
        ours, theirs = (y + (rng.normal(size=15) * 0.5)[customer] + rng.normal(size=len(day)) for _ in "ab")
        found = witnesses(day, clusters=pa.chunked_array([customer]))
        by_days.append(certainty("regression", "mae", y, ours, theirs, found[:1]))
        by_both.append(certainty("regression", "mae", y, ours, theirs, found))
    assert np.mean([sure is not None and sure >= 0.95 for sure in by_days]) > 0.15
    # Of 200 tries at .05, 18 or more come by chance once in 100.
    assert np.mean([sure is not None and sure >= 0.95 for sure in by_both]) < 0.09
    assert all(both <= days for both, days in zip(by_both, by_days, strict=True))


def test_stretches_are_no_shorter_than_labels_overlap_and_no_more_than_are_worth_their_cost() -> None:
    days = np.repeat(np.arange(np.datetime64("2026-03-01"), np.datetime64("2026-04-01")), 2)
    assert [len(days[stretches(days, 7).of == each]) for each in range(5)] == [14, 14, 14, 20, 0]
    assert stretches(days, 31).number == stretches(days[:10], 7).number == 1
    assert stretches(np.repeat(days, 3), 1).number == GROUPS
    # A day without a row ends no stretch.
    assert list(stretches(np.array([0, 1, 5, 6, 13]), 7).of) == [0, 0, 0, 0, 1]
    assert list(stretches(np.array([4, 2, 9])).of) == [1, 0, 2]


def test_each_cluster_is_in_one_group_whatever_its_type_and_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    names = rng.permutation([f"c{at % 100:03}" for at in range(1000)])
    groups = grouped(pa.chunked_array([pa.array(names)]))
    assert {name: set(groups.of[names == name]) for name in names} == {f"c{at:03}": {at % GROUPS} for at in range(100)}
    numbers = pa.chunked_array([pa.array([7, None, 3], pa.int64()), pa.array([7, None], pa.int64())])
    assert list(grouped(numbers).of) == [1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("days", "overlap", "lengths"),
    [
        (7, 7, [1] * 7),
        (14, 7, [3, 3, 3, 5]),
        (21, 7, [5, 5, 5, 6]),
        (28, 7, [7] * 4),
        (30, 7, [7, 7, 7, 9]),
        (3, 1, [1] * 3),
        (7, 30, [1] * 7),
    ],
)
def test_stretches_are_as_long_as_labels_overlap_where_that_leaves_four(
    days: int, overlap: int, lengths: list[int]
) -> None:
    dates = np.datetime64("2026-03-01") + np.arange(days)
    clusters = pa.chunked_array([pa.array(["a", "b"] * days)]).slice(0, days)
    of_time, of_clusters = witnesses(dates, overlap, clusters)
    assert np.bincount(of_time.of).tolist() == lengths and set(of_clusters.of) == {0, 1}
    assert (
        witnesses(dates, overlap, clusters, follow=True)[0].follow
        and not witnesses(dates, overlap, clusters, follow=True)[1].follow
    )
    (alone,) = witnesses(dates, overlap)
    assert list(alone.of) == list(of_time.of) and (of_time.follow, of_clusters.follow) == (False, False)


def test_days_on_which_models_differ_are_asked_however_much_labels_overlap() -> None:
    """By customers alone, who are all asked on each of the days on which two models differ, luck is skill."""
    alone, both = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        day, customer = np.repeat(np.arange(7), 100), np.tile(np.arange(100), 7)
        y = rng.normal(size=700)
        ours, theirs = (y + (rng.normal(size=7) * 0.7)[day] + rng.normal(size=700) for _ in "ab")
        found = witnesses(day, 7, pa.chunked_array([customer]))
        alone.append(certainty("regression", "mae", y, ours, theirs, found[1:]))
        both.append(certainty("regression", "mae", y, ours, theirs, found))
    assert np.mean([sure is not None and sure >= 0.95 for sure in alone]) > 0.15
    assert np.mean([sure is not None and sure >= 0.95 for sure in both]) < 0.09


def test_of_one_cluster_nothing_can_be_said() -> None:
    days, y, alike = np.arange(28), np.zeros(28), pa.chunked_array([pa.array(["a"] * 28)])
    assert certainty("regression", "mae", y, y + 1, y + 2, witnesses(days, 1, alike)) is None
