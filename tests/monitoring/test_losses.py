"""Is a node that does worse than a naive guess named on the days on which it does, and no other for a bad day?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from factory_assets.declarations.tasks import METRICS as TASKS
from factory_assets.measures.metrics import score
from factory_assets.monitoring.performance.losses import (
    FALSE_ALARM_RATE,
    PARENT,
    WORSE_OF_FEW,
    BesideFloor,
    begun_before,
    beside_floor,
    losses,
    visible,
    window,
)

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 1)


def table(gains: Sequence[float | None], node: str = "FR", naive: float = 10.0) -> list[dict[str, Any]]:
    """Rows of a performance table by mae: by so much the model is better than the naive guess on each day from the first on."""
    return [
        {"node": node, "ds": FIRST + DAY * at, "mae": None if gain is None else naive - gain, "naive_mae": naive}
        for at, gain in enumerate(gains)
    ]


def said(rows: list[dict[str, Any]], block: int = 1) -> dict[int, int]:
    """Day -> since when, of the losses, as numbers of days from the first."""
    days = sorted({row["ds"] for row in rows})
    return {(one.day - FIRST).days: (one.since - FIRST).days for one in losses("mae", rows, days, block)}


def noise(seed: int, days: int, mean: float, spread: float) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, spread, days))


def test_a_collapse_is_told_on_its_first_day_and_until_the_days_are_as_before() -> None:
    gains = [*noise(1, 20, 3.0, 0.5), -4.0, -2.0, 0.2, -3.0, *noise(2, 10, 3.0, 0.5)]
    # The third day is no loss by itself, and no day as expected either.
    assert said(table(gains)) == dict.fromkeys([20, 21, 22, 23], 20)


def test_the_days_of_a_collapse_are_no_past_for_those_after_it() -> None:
    gains = [*noise(1, 20, 3.0, 0.5), *[-4.0] * 6]
    assert said(table(gains)) == dict.fromkeys(range(20, 26), 20)


@pytest.mark.parametrize("level", [-1.0, -0.2])
def test_a_collapse_lasts_for_as_long_as_days_are_losses_however_many_they_are(level: float) -> None:
    """Their mean over four weeks is no loss for the first three of them, and by then there are few sound days before them."""
    gains = [*noise(1, 40, 3.0, 0.3), *[level] * 60, *noise(2, 10, 3.0, 0.3)]
    found = said(table(gains))
    # The mean of four weeks needs some days more.
    assert set(range(40, 100)) <= set(found) <= set(range(40, 103)) and set(found.values()) == {40}


def test_a_collapse_after_which_days_are_low_and_no_losses_ends_within_four_weeks() -> None:
    found = said(table([*noise(1, 40, 3.0, 0.3), -1.0, *[0.2] * 60]))
    assert min(found) == 40 and max(found) < 40 + 28 and set(found.values()) == {40}


#: Days of a model that was of use, of which some were wild: a single day of -2 is nothing beside them.
WILD = [0.2, 9.0, 0.4, 0.3, -0.1, 7.0, 0.5, 0.2]


@pytest.mark.parametrize(("past", "on_end"), [(8, 7), (12, 5), (17, 4), (24, 4)])
def test_days_on_end_that_are_worse_than_all_before_are_a_loss_though_none_would_be_alone(
    past: int, on_end: int
) -> None:
    gains = [*(WILD * 4)[:past], *[-2.0, -1.5, -2.5] * 4]
    assert said(table(gains[: past + on_end - 1])) == {}
    found = losses("mae", table(gains), [FIRST + DAY * (past + on_end - 1)])
    assert [(one.day, one.since) for one in found] == [(FIRST + DAY * (past + on_end - 1),) * 2]
    assert f": for {on_end} days on end worse than on each of the {past} days before, on which it" in found[0].reason
    assert said(table(gains)) == dict.fromkeys(range(past + on_end - 1, len(gains)), past + on_end - 1)


def test_a_day_that_is_nearly_a_collapse_does_not_hide_the_one_after_it() -> None:
    past = noise(1, 20, 1.0, 0.5)
    least = next(gain for gain in np.arange(0.0, -5.0, -0.01) if said(table([*past, gain])))
    assert said(table([*past, least + 0.05])) == {}
    assert said(table([*past, least + 0.05, least - 0.05])) == {21: 21}


def test_days_on_end_that_were_told_are_no_past_for_a_loss_after_them() -> None:
    gains = [*(WILD * 4)[:20], *[-2.0] * 5, *(WILD * 4)[:15], *[-1.0] * 4]
    assert said(table(gains)) == dict.fromkeys([23, 24], 23) | {43: 43}


@pytest.mark.parametrize("better", [0.1, -0.05])
def test_a_day_that_is_no_worse_than_one_before_begins_the_days_on_end_anew(better: float) -> None:
    gains = [*(WILD * 4)[:20], -2.0, -1.5, -1.8, better, -2.5, -1.5, -1.8]
    assert said(table(gains)) == {}


def test_days_on_end_of_a_few_of_their_rows_are_lower_than_the_others_by_chance() -> None:
    rows = [row | {"labelled": 40} for row in table([*(WILD * 4)[:20], *[-0.4] * 4])]
    assert said(rows) == {23: 23}
    assert said([*rows[:-4], *(row | {"labelled": 2} for row in rows[-4:])]) == {}


@pytest.mark.parametrize("freedom", [2.5, 3, 5])
def test_days_with_heavy_tails_are_told_no_more_often_than_stated(freedom: float) -> None:
    rng, days, told = np.random.default_rng(10), 365, 0
    for _ in range(12):
        told += len(set(said(table(list(rng.standard_t(freedom, days)))).values()))
    # Of all ways, and what chance adds to so few.
    assert told / (12 * days) <= 2 * FALSE_ALARM_RATE + 2 * (2 * FALSE_ALARM_RATE / (12 * days)) ** 0.5


def test_a_day_of_a_few_of_its_rows_may_scatter_as_few_rows_do() -> None:
    gains = [*noise(1, 28, 3.0, 1.0), -5.0]
    rows = [row | {"labelled": 24} for row in table(gains)]
    assert said(rows) == {28: 28}
    assert said([*rows[:-1], rows[-1] | {"labelled": 2}]) == {}
    assert said([*rows[:-1], rows[-1] | {"labelled": 2, "mae": 60.0}]) == {28: 28}, (
        "and yet not any loss is by few rows"
    )
    whole, few = visible(gains[:-1]), visible(gains[:-1], fewer=3.0)
    assert whole and few and few > 2 * whole


def test_a_day_without_labels_ends_no_loss_and_tells_none() -> None:
    gains = [*noise(1, 20, 3.0, 0.5), -4.0, None, -4.0]
    assert said(table(gains)) == {20: 20, 22: 20}


def test_what_is_low_for_the_node_and_yet_better_than_the_naive_guess_is_no_loss() -> None:
    assert said(table([*noise(1, 20, 3.0, 0.1), 1.0, 0.5])) == {}


def test_a_model_that_has_become_useless_little_by_little_is_named() -> None:
    falling = list(np.linspace(1.0, -1.0, 60) + np.array(noise(3, 60, 0.0, 1.0)))
    found = said(table([*falling, *noise(4, 40, -1.0, 1.0)]))
    assert min(found) > 30 and 99 in found


@pytest.mark.parametrize("days", [1, 5])
def test_a_few_days_give_no_verdict(days: int) -> None:
    assert said(table([3.0] * min(days, 3) + [-9.0] * 3)) == {}


def test_each_node_is_judged_by_itself_and_the_root_says_nothing_for_it() -> None:
    calm, lost = noise(1, 21, 3.0, 0.5), [*noise(2, 20, 3.0, 0.5), -4.0]
    found = losses("mae", [*table(calm, "global"), *table(lost, "FR/Lyon")], [FIRST + 20 * DAY])
    assert [(one.node, one.day) for one in found] == [("FR/Lyon", FIRST + 20 * DAY)]
    assert found[0].reason.startswith("mae 14, naive 10: far worse than the 20 days before it let expect")


def test_a_metric_of_which_more_is_better_is_turned_round() -> None:
    rows = [
        {"node": "global", "ds": FIRST + DAY * at, "roc_auc": 0.5 + gain / 10, "naive_roc_auc": 0.5}
        for at, gain in enumerate([*noise(1, 20, 3.0, 0.5), -2.0])
    ]
    assert [one.day for one in losses("roc_auc", rows, [FIRST + 20 * DAY])] == [FIRST + 20 * DAY]


@pytest.mark.parametrize(("mean", "spread"), [(3.0, 1.0), (1.0, 1.0), (0.3, 1.0), (0.0, 1.0)])
def test_where_nothing_is_lost_no_more_days_are_told_than_stated_and_by_a_single_day_many_would_be(
    mean: float, spread: float
) -> None:
    days, told, worse = 365, 0, 0
    for seed in range(6):
        gains = noise(seed, days, mean, spread)
        worse += sum(gain < 0 for gain in gains)
        # An alarm is the first day of a loss: the days after it are the same one.
        told += len(set(said(table(gains)).values()))
    assert told / (6 * days) <= 2 * FALSE_ALARM_RATE
    assert worse / (6 * days) > 2 * FALSE_ALARM_RATE or mean >= 3.0


def test_labels_that_overlap_count_as_one_day_a_block() -> None:
    """Each day's gain is shared by the seven days around it, as labels of a week ahead are: nothing is lost all the same."""
    told_by_days = told_by_blocks = 0
    for seed in range(8):
        shared = np.convolve(noise(seed, 506, 0.0, 1.0), np.ones(7) / 7, "valid")
        told_by_days += len(set(said(table(list(shared))).values()))
        told_by_blocks += len(set(said(table(list(shared)), block=7).values()))
    assert told_by_blocks <= 8 * 500 * 2 * FALSE_ALARM_RATE < told_by_days
    assert window(7) == 168


@pytest.mark.parametrize(("mean", "spread"), [(3.0, 0.5), (0.5, 1.0)])
def test_what_is_stated_as_visible_is_found_nine_times_in_ten(mean: float, spread: float) -> None:
    found = []
    for seed in range(300):
        *past, now = noise(seed, 29, mean, spread)
        worse = visible(past)
        assert worse is not None and worse > mean
        found.append(28 in said(table([*past, now - worse])))
    assert 0.85 <= np.mean(found) <= 0.97
    assert visible([3.0] * 7) is None and visible([3.0] * 27, block=7) is None


def above(
    values: Sequence[float | None], metric: str = "mae", floor: float = 10.0, block: int = 1
) -> list[BesideFloor]:
    """How a node's days stand to the floor."""
    rows = [{"node": "FR", "ds": FIRST + DAY * at, metric: value, "labelled": 40} for at, value in enumerate(values)]
    return beside_floor(metric, floor, rows, [row["ds"] for row in rows], block)


@pytest.mark.parametrize("mean", [9.0, 10.0, 10.4, 10.8, 12.0])
def test_a_floor_is_broken_where_a_t_test_of_the_days_says_so(mean: float) -> None:
    for seed in range(8):
        values = noise(seed, 60, mean, 1.0)
        for at, one in enumerate(above(values)):
            window_of_day = values[max(0, at - 27) : at + 1]
            assert one.value == pytest.approx(np.mean(window_of_day)) and one.days == len(window_of_day)
            assert one.rows == 40 * one.days
            if one.days >= 4:
                p = stats.ttest_1samp(window_of_day, 10.0, alternative="greater").pvalue
                assert (one.since is not None) == (p < FALSE_ALARM_RATE)
            else:
                assert one.since is None and one.visible is None


def test_a_broken_floor_is_told_since_its_first_day_and_until_the_mean_is_within_chance_again() -> None:
    values = [*noise(1, 30, 9.0, 0.5), *noise(2, 30, 12.0, 0.5), *noise(3, 40, 9.0, 0.5)]
    told = {(one.day - FIRST).days: (one.since - FIRST).days for one in above(values) if one.since}
    first, last = min(told), max(told)
    assert 30 < first < 55 and 60 <= last < 90
    assert told == dict.fromkeys(range(first, last + 1), first)


def test_of_a_metric_of_which_more_is_better_the_floor_lies_below() -> None:
    assert above(noise(1, 30, 0.6, 0.02), "roc_auc", 0.7)[-1].since is not None
    kept = above(noise(1, 30, 0.8, 0.02), "roc_auc", 0.7)[-1]
    assert kept.since is None and kept.value == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("mean", [10.0, 9.8])
def test_of_nodes_that_are_no_worse_than_the_floor_no_more_days_are_told_than_stated(mean: float) -> None:
    looks = [one.since is not None for seed in range(20) for one in above(noise(seed, 250, mean, 1.0))]
    assert sum(looks) / len(looks) <= FALSE_ALARM_RATE


def test_a_worsening_that_is_stated_as_visible_is_found_nine_times_in_ten() -> None:
    found = []
    for seed in range(300):
        kept = last(noise(seed, 28, 9.0, 1.0))
        assert kept.visible is not None
        found.append(last([value + kept.visible for value in noise(1000 + seed, 28, 9.0, 1.0)]).since is not None)
    assert 0.85 <= np.mean(found) <= 0.97


def last(values: Sequence[float | None], metric: str = "mae", floor: float = 10.0) -> BesideFloor:
    """How the newest of a node's days stands to the floor."""
    rows = [{"node": "FR", "ds": FIRST + DAY * at, metric: value, "labelled": 40} for at, value in enumerate(values)]
    return beside_floor(metric, floor, rows, [rows[-1]["ds"]])[-1]


def test_labels_that_overlap_count_as_one_block_for_a_floor_as_well() -> None:
    by_days = by_blocks = looks = 0
    for seed in range(4):
        shared = 10 + np.convolve(noise(seed, 306, 0.0, 1.0), np.ones(7) / 7, "valid")
        by_days += sum(one.since is not None for one in above(list(shared)))
        by_blocks += sum(one.since is not None for one in above(list(shared), block=7))
        looks += len(shared)
    assert by_blocks / looks <= FALSE_ALARM_RATE < by_days / looks


KINDS = [("regression", name) for name in TASKS["regression"]] + [("binary", name) for name in TASKS["binary"]]
KINDS += [("count", "poisson_deviance"), ("quantile(0.9)", "pinball")]
KINDS += [("multiclass(a, b, c)", name) for name in TASKS["multiclass"]]


def some_rows(task: str, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the best predictions of them that there are."""
    x = rng.normal(size=rows)
    if task == "binary":
        p = 1 / (1 + np.exp(1 - 1.5 * x))
        return (rng.random(rows) < p).astype(float), p
    if task == "count":
        return rng.poisson(np.exp(0.5 + 0.5 * x)).astype(float), np.exp(0.5 + 0.5 * x)
    if task.startswith("multiclass"):
        p = np.exp(np.column_stack([x, -x, np.zeros(rows)]))
        p /= p.sum(axis=1, keepdims=True)
        return (rng.random((rows, 1)) > np.cumsum(p, axis=1)).sum(axis=1).clip(max=2).astype(float), p
    return 2 * x + rng.normal(size=rows), 2 * x + (1.2816 if task.startswith("quantile") else 0)


@pytest.mark.parametrize(("task", "metric"), KINDS)
def test_days_of_few_rows_cry_of_the_floor_of_many_by_those_metrics_alone_that_are_held_against_none(
    task: str, metric: str
) -> None:
    """A model that is exactly as good as the floor, by 100,000 rows, is looked at in windows of 28 days of 12 rows."""
    rng = np.random.default_rng(5)

    def value(rows: int) -> float | None:
        return score(task, *some_rows(task, rng, rows)).get(metric)

    floor = value(100_000)
    assert floor is not None
    cries = [last([value(12) for _ in range(28)], metric, floor).since is not None for _ in range(60)]
    assert (np.mean(cries) > 0.01) == (metric in WORSE_OF_FEW), np.mean(cries)


def test_a_loss_that_has_lasted_for_months_says_the_same_first_day_for_a_day_and_for_a_range() -> None:
    measured = [*table([*noise(1, 40, 3.0, 0.5), *noise(2, 150, -3.0, 0.5)]), *table(noise(3, 190, 3.0, 0.5), "DE")]
    rows = [row | {"labelled": 20} for row in measured]

    def read(first: dt.date, last: dt.date) -> list[dict[str, Any]]:
        return [row for row in rows if first <= row["ds"] <= last]

    def since(days: list[dt.date], of: Any) -> set[dt.date]:
        found = begun_before(lambda some: of(some, days), read, days)
        assert {one.day for one in found if one.since} == set(days) and len(
            {one.node for one in found if one.since}
        ) == 1
        return {one.since for one in found if one.since}

    last = FIRST + 189 * DAY
    ways = [
        lambda some, days: losses("mae", some, days),
        lambda some, days: beside_floor("mae", 10.0, some, days),
    ]
    for of in ways:
        (began,) = since([last], of)
        assert since([last - ahead * DAY for ahead in range(60, -1, -1)], of) == {began}
        assert FIRST + 40 * DAY <= began <= FIRST + 70 * DAY
    assert since([last], ways[0]) == {FIRST + 40 * DAY}


def test_a_loss_of_any_length_is_told_by_a_day_as_by_a_range() -> None:
    for seed, (level, spread) in enumerate([(-0.3, 1.0), (-1.0, 1.0), (-0.5, 0.1), (0.5, 3.0)]):
        rows = table([*noise(seed, 60, 3.0, 0.5), -9.0, *noise(seed + 50, 70, level, spread)])

        def read(first: dt.date, last: dt.date, rows: list[dict[str, Any]] = rows) -> list[dict[str, Any]]:
            return [row for row in rows if first <= row["ds"] <= last]

        days = [FIRST + at * DAY for at in range(56, 131)]

        def told_of(asked: list[dt.date], read: Any = read) -> list[Any]:
            return begun_before(lambda some: losses("mae", some, asked), read, asked)

        alone, together = [one for day in days for one in told_of([day])], told_of(days)
        assert [(one.day, one.since) for one in alone] == [(one.day, one.since) for one in together] and alone


def test_a_node_that_its_parent_would_have_done_better_for_is_told_by_the_same_rule() -> None:
    for gains in ([*noise(1, 20, 3.0, 0.5), -4.0, -3.0], [*noise(1, 30, 0.2, 0.5), *noise(2, 60, -0.6, 0.5)]):
        rows = table(gains)
        beside = [{**row, "naive_mae": 90.0, "parent_mae": row["naive_mae"]} for row in rows]
        days = [row["ds"] for row in rows]
        naive, parent = losses("mae", rows, days), losses("mae", beside, days, rival=PARENT)
        assert [(one.day, one.since) for one in parent] == [(one.day, one.since) for one in naive] and parent
        assert losses("mae", beside, days) == [], "it is better than the naive guess"
        told = {one.reason.replace("naive ", "parent ").replace("the parent guess", "its parent") for one in naive}
        assert {one.reason for one in parent} == told
    # Nobody is above the root, and a node that answers nothing has no parent to be held against.
    assert losses("mae", [row | {"parent_mae": None} for row in table([-9.0] * 40)], days, rival=PARENT) == []
