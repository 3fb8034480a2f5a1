"""Drift verdicts: as many false alarms as asked for, no blindness to outliers, nulls or new values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.habits import FACTORS, MOST, Habit, Stretches, habit
from factory_assets.measures.profiles import AT_ONCE, MANY, Profile, profile, profiles
from factory_assets.monitoring.drift.verdicts import Drift
from factory_assets.monitoring.drift.verdicts import drift as against

#: A column whose weeks differ by no more than as many independent rows.
CALM = Habit(MOST, MOST, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})


def drift(reference: Profile, now: pa.Array, one: Habit | None = CALM, **limits: float) -> Drift:
    return against(reference, one, now, **limits)  # type: ignore[arg-type]


Sample = Callable[[np.random.Generator, int], pa.Array]


def normal(rng: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(rng.normal(size=rows))


def mostly_zero_with_gaps(rng: np.random.Generator, rows: int) -> pa.Array:
    amounts = np.where(rng.random(rows) < 0.6, 0.0, rng.exponential(size=rows))
    return pa.array(amounts, mask=rng.random(rows) < 0.02)


def rare_flag(rng: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(rng.random(rows) < 0.01)


def text(codes: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes, [f"level {code}" for code in range(500)]).dictionary_decode()


def long_tailed_text(rng: np.random.Generator, rows: int) -> pa.Array:
    weights = 1 / np.arange(1, 501) ** 1.3
    return text(rng.choice(500, rows, p=weights / weights.sum()))


def many_equal_levels(rng: np.random.Generator, rows: int) -> pa.Array:
    return text(rng.integers(0, 60, rows))


def few_frequent_many_rare_levels(rng: np.random.Generator, rows: int, moved: float = 0.0) -> pa.Array:
    return text(rng.choice(25, rows, p=[0.3 - moved, 0.25 + moved, 0.2, 0.1, 0.05, *[0.005] * 20]))


SAMPLES = [normal, mostly_zero_with_gaps, rare_flag, long_tailed_text, many_equal_levels, few_frequent_many_rare_levels]


@pytest.mark.parametrize(("reference_rows", "rows"), [(20_000, 200), (20_000, 20_000), (200, 200)])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_unchanged_columns_are_called_drifted_no_more_often_than_asked(
    sample: Sample, reference_rows: int, rows: int
) -> None:
    rng = np.random.default_rng(0)
    found = [drift(profile(sample(rng, reference_rows)), sample(rng, rows)) for _ in range(300)]
    # Of 300, 0.3 are expected at the stated rate of 0.001, and 3 at 0.01: a few times as many are let pass.
    assert sum(one.verdict == "drifted" for one in found) <= 3
    assert sum(one.p_value < 0.01 for one in found) <= 12


@pytest.mark.parametrize(("reference_rows", "rows"), [(20_000, 200), (20_000, 20_000), (1000, 1000)])
def test_p_values_of_unchanged_columns_are_about_uniform(reference_rows: int, rows: int) -> None:
    rng = np.random.default_rng(5)
    p = [drift(profile(normal(rng, reference_rows)), normal(rng, rows)).p_value for _ in range(200)]
    assert 0.4 < np.mean(np.array(p) < 0.5) < 0.6


def test_the_limit_is_what_weeks_differ_by_and_nothing_below_the_minimum_effect() -> None:
    from scipy.stats import f

    rng = np.random.default_rng(0)
    reference = profile(normal(rng, 20_000))
    calm, swaying = drift(reference, normal(rng, 200)), Habit(MOST, 3, {"values": 4.5, "nulls": 1.0, "beyond": 4.5})
    # Nine degrees of freedom, since no row lies outside the range of the reference; of rows that move together, as many fewer.
    chance = 9 / (200 * 20_000 / 20_200)
    assert calm.limit == pytest.approx(f.ppf(0.999, 9, 9 * MOST) * chance, rel=1e-4)
    wider = drift(reference, normal(rng, 200), swaying)
    assert wider.limit == pytest.approx(4.5 * f.ppf(0.999, 2, 2 * MOST) * chance, rel=1e-3)
    assert drift(reference, normal(rng, 20_000), minimum_effect=0.25).limit == 0.25


def weeks(rng: np.random.Generator, number: int, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Weeks of 500 rows, whose means differ by chance, own standard deviations; the values and each one's week."""
    week = np.repeat(np.arange(number), 500)
    return rng.normal(size=len(week)) + rng.normal(0, own, number)[week], week


def habit_of(column: pa.Array, week: np.ndarray, learnt: range) -> tuple[Profile, Habit]:
    """The profile of the weeks that are learnt from, and the habit over all of them."""
    first = np.datetime64("2026-01-01")
    days, inside = first + 7 * week, np.isin(week, learnt)
    reference = profile(column.filter(pa.array(inside)))
    past = Stretches(first.item(), (first + 7 * week.max() + 6).item(), 7)
    places = past.places(days)
    own = past.counts(reference, column, np.where(inside, places, -1))
    return reference, habit(reference, column.filter(pa.array(inside)), past.counts(reference, column, places), own)


@pytest.mark.parametrize("coded", [False, True], ids=["numbers", "text"])
def test_limits_are_wider_where_weeks_differ_by_themselves(coded: bool) -> None:
    rng = np.random.default_rng(3)
    alarms = {"independent": 0, "told of weeks": 0}
    for _ in range(100):
        values, week = weeks(rng, 13, own=0.15)
        column = pa.array([f"level {value:.0f}" for value in values]) if coded else pa.array(values)
        reference, own = habit_of(column.slice(0, 6000), week[:6000], range(4, 8))
        for name, one in (("independent", CALM), ("told of weeks", own)):
            alarms[name] += drift(reference, column.slice(6000), one, false_alarm_rate=0.01).verdict == "drifted"
    assert alarms["independent"] > 20 and alarms["told of weeks"] < 8


@pytest.mark.parametrize("column", [normal, long_tailed_text], ids=lambda sample: sample.__name__)
def test_weeks_that_differ_by_nothing_but_chance_widen_no_limit(column: Sample) -> None:
    _, found = habit_of(column(np.random.default_rng(6), 6000), np.repeat(np.arange(12), 500), range(4, 8))
    assert (found.stretches, found.outside) == (12, 8)
    assert 0.7 < found.excess["values"] < 1.3


def test_a_week_is_compared_with_the_rows_of_the_others_alone() -> None:
    """Of a week that is half of the reference, the other half is left; so a week unlike all others stands out."""
    week = np.repeat(np.arange(4), 500)
    values = np.where(week == 3, 5.0, 0.0) + np.random.default_rng(7).normal(size=2000)
    _, found = habit_of(pa.array(values), week, range(2, 4))
    _, alike = habit_of(pa.array(np.where(week == 3, values - 5, values)), week, range(2, 4))
    assert found.excess["values"] > 50 > 2 > alike.excess["values"]


def test_nulls_are_judged_by_themselves_however_the_values_sway() -> None:
    """A feature that follows the season, a year of reference, 168 rows a week: its values let nothing be said."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(336), 24)
    temperature = 12 + 10 * np.sin(2 * np.pi * day / 365) + rng.normal(0, 3, len(day))
    reference, own = habit_of(pa.array(temperature[:7392]), day[:7392] // 7, range(3, 41))
    assert own.excess["values"] > 20
    said = {
        "as it is": temperature[-168:].tolist(),
        "all null": [None] * 168,
        "a tenth null": [None if rng.random() < 0.1 else value for value in temperature[-168:]],
        "beyond": [1e9] * 168,
        "one value": [12.0] * 168,
    }
    found = {name: drift(reference, pa.array(values, pa.float64()), own) for name, values in said.items()}
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts == dict.fromkeys(["all null", "a tenth null", "beyond"], "drifted") | dict.fromkeys(
        ["as it is", "one value"], "no verdict"
    )
    assert (
        found["all null"].reason.endswith("no value: 0 % of the reference, 100 % now")
        and found["all null"].part == "nulls"
    )
    assert "not even half of the rows moving to new values would show" in found["one value"].reason


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (None, "a release that kept no past weeks"),
        (Habit(3, 3, CALM.excess), "3 past weeks to compare with; a verdict takes 4"),
        (
            Habit(8, 0, CALM.excess),
            "8 past weeks to compare with, none with days that the champion has not learnt from",
        ),
    ],
)
def test_too_little_past_gives_no_verdict(one: Habit | None, says: str) -> None:
    rng = np.random.default_rng(1)
    found = drift(profile(normal(rng, 2000)), pa.array(rng.normal(5, 1, 1000)), one)
    assert found.verdict == "no verdict" and says in found.reason


def test_a_history_shorter_than_a_stretch_is_a_habit_of_none() -> None:
    day = np.datetime64("2026-03-01").item()
    past, column = Stretches(day, day, 7), pa.array([1.0, 2.0, 3.0])
    reference = profile(column)
    places = past.places(np.array(["2026-03-01"] * 3, dtype="datetime64[D]"))
    counts = past.counts(reference, column, places)
    found = habit(reference, column, counts, counts)
    assert (past.number, counts.shape[0], found.stretches, found.outside) == (0, 0, 0, 0)
    assert "0 past weeks to compare with" in drift(profile(pa.array(range(1000))), pa.array(range(1000)), found).reason


@pytest.mark.parametrize("rows", [200, 1000, 5000])
def test_the_change_that_a_stable_verdict_states_as_visible_is_found_nine_times_in_ten(rows: int) -> None:
    rng = np.random.default_rng(2)

    def amounts(count: int) -> np.ndarray:
        return rng.lognormal(4, 1, count)

    learnt = pa.array(amounts(20_000))
    reference = profile(learnt)
    factors = habit(reference, learnt, np.zeros((1, 13), int), np.zeros((1, 13), int)).factors
    own, tries = Habit(MOST, 6, CALM.excess, factors), 150
    stable = drift(reference, pa.array(amounts(rows)), own)
    assert stable.verdict == "stable" and len(factors) == len(FACTORS)
    assert stable.visible_change is not None and stable.visible_nulls is not None and stable.visible_new is not None
    changes: dict[str, Callable[[np.ndarray], pa.Array]] = {
        "more": lambda values: pa.array(values * (1 + stable.visible_change)),
        "nulls": lambda values: pa.array(values, mask=rng.random(rows) < stable.visible_nulls),
        "new": lambda values: pa.array(np.where(rng.random(rows) < stable.visible_new, 1e9, values)),
    }
    for name, change in changes.items():
        found = sum(drift(reference, change(amounts(rows)), own).verdict == "drifted" for _ in range(tries)) / tries
        assert 0.8 <= found <= 0.99, name
    assert stable.reason.endswith("of the rows missing would have shown")


def test_of_counts_and_codes_a_stable_verdict_speaks_of_new_values_and_not_of_one_per_cent_more() -> None:
    rng = np.random.default_rng(3)
    items = pa.array(rng.poisson(2, 5000))
    reference, own = habit_of(items, np.repeat(np.arange(10), 500), range(4, 8))
    found = drift(reference, pa.array(rng.poisson(2, 500)), own)
    assert own.factors == () and found.visible_change is None
    assert "of the rows with new values or" in found.reason


def test_half_a_standard_deviation_is_seen_in_a_thousand_rows() -> None:
    rng = np.random.default_rng(1)
    reference = profile(normal(rng, 20_000), name="amount")
    found = drift(reference, pa.array(rng.normal(0.5, 1, 1000)))
    assert (found.column, found.verdict, found.rows) == ("amount", "drifted", 1000)
    assert found.statistic > 0.15 and found.p_value < 1e-9


def test_psi_is_the_sum_over_bins_that_its_definition_says() -> None:
    reference = profile(pa.array([0.0] * 500 + [1.0] * 300 + [2.0] * 200))
    found = drift(reference, pa.array([0.0] * 300 + [1.0] * 300 + [2.0] * 400))
    assert found.statistic == pytest.approx(0.2 * math.log(0.5 / 0.3) + 0.2 * math.log(0.4 / 0.2), rel=0.01)


@pytest.mark.parametrize("outlier", [1e6, -1e30, math.inf])
@pytest.mark.parametrize("side", ["reference", "current"])
def test_one_outlier_hides_no_shift(outlier: float, side: str) -> None:
    rng = np.random.default_rng(2)
    before, now = rng.normal(0, 1, 10_000), rng.normal(1, 1, 10_000)
    clean = drift(profile(pa.array(before)), pa.array(now))
    (before if side == "reference" else now)[0] = outlier
    assert drift(profile(pa.array(before)), pa.array(now)).statistic == pytest.approx(clean.statistic, rel=0.05)


def test_one_outlier_is_no_drift() -> None:
    rng = np.random.default_rng(2)
    now = rng.normal(size=10_000)
    now[0] = 1e6
    assert drift(profile(normal(rng, 10_000)), pa.array(now)).verdict == "stable"


def test_values_beyond_the_range_of_the_reference_are_drift_although_their_decile_is_open() -> None:
    rng = np.random.default_rng(3)
    now = np.where(rng.random(2000) < 0.05, 1000.0, rng.normal(size=2000))
    found = drift(profile(normal(rng, 20_000)), pa.array(now))
    assert (found.verdict, found.part) == ("drifted", "values")
    assert "above" in found.reason and "0 % of the reference" in found.reason


@pytest.mark.parametrize("nulls", [pa.nulls(500, pa.float64()), pa.nulls(500), pa.array([math.nan] * 500)])
def test_a_column_that_became_null_has_drifted(nulls: pa.Array) -> None:
    found = drift(profile(normal(np.random.default_rng(4), 1000)), nulls)
    assert (found.verdict, found.null_share, found.reference_null_share) == ("drifted", 1.0, 0.0)
    assert found.reason.endswith("no value: 0 % of the reference, 100 % now")


def test_nulls_among_unshifted_values_are_drift() -> None:
    rng = np.random.default_rng(4)
    reference = profile(normal(rng, 20_000))
    assert drift(reference, pa.array(rng.normal(size=1000), mask=rng.random(1000) < 0.05)).verdict == "drifted"


def test_values_in_a_column_that_was_always_null_are_drift() -> None:
    reference = profile(pa.nulls(1000))
    assert drift(reference, pa.nulls(500, pa.string())).verdict == "stable"
    assert drift(reference, pa.array(["FR"] * 500)).verdict == "drifted"
    assert drift(reference, pa.array([1.5] * 500)).verdict == "drifted"


@pytest.mark.parametrize("value", [0.0, 7, True, "FR"])
def test_a_constant_column_is_stable_and_another_constant_is_drift(value: object) -> None:
    other = {"FR": "DE", True: False}.get(value, 8)  # type: ignore[call-overload]
    reference = profile(pa.array([value] * 1000))
    assert drift(reference, pa.array([value] * 200)).verdict == "stable"
    assert drift(reference, pa.array([other] * 200)).verdict == "drifted"


def test_a_value_that_fills_a_bin_is_told_from_its_neighbours() -> None:
    rng = np.random.default_rng(5)
    reference = profile(pa.array(np.where(rng.random(5000) < 0.5, 0.0, rng.uniform(-1, 1, 5000))))
    moved = np.where(rng.random(2000) < 0.5, 1e-9, rng.uniform(-1, 1, 2000))
    assert drift(reference, pa.array(moved)).verdict == "drifted"


def test_a_new_level_is_drift_and_named_as_new() -> None:
    rng = np.random.default_rng(6)
    reference = profile(pa.array(rng.choice(["AA", "DL", "UA"], 5000)))
    found = drift(reference, pa.array(rng.choice(["AA", "DL", "UA", "B6"], 1000, p=[0.3, 0.3, 0.3, 0.1])))
    assert found.verdict == "drifted"
    assert "new levels: 0 % of the reference" in found.reason


def test_a_shift_among_light_levels_is_seen_and_located() -> None:
    rng = np.random.default_rng(7)
    cities = np.array([f"city{i:02d}" for i in range(80)])
    found = drift(profile(pa.array(rng.choice(cities, 20_000))), pa.array(rng.choice(cities[:40], 2000)))
    assert found.verdict == "drifted"
    assert "levels 'city" in found.reason and "0 % now" in found.reason


def test_a_shift_between_frequent_levels_is_not_diluted_by_many_rare_ones() -> None:
    rng = np.random.default_rng(7)
    reference = profile(few_frequent_many_rare_levels(rng, 20_000))
    found = [drift(reference, few_frequent_many_rare_levels(rng, 200, moved=0.15)) for _ in range(50)]
    assert sum(one.verdict == "drifted" for one in found) > 42  # 23 if each rare level cost a degree of freedom


def test_levels_seen_once_are_not_new_the_second_time() -> None:
    rng = np.random.default_rng(0)
    reference = profile(few_frequent_many_rare_levels(rng, 200))
    assert sum(reference.counts) == 200 and reference.counts[-1] > 3  # the levels seen once, counted as new ones
    assert reference.count(pa.array([*reference.levels, "never seen"]))[-2] == 1


def test_dictionary_encoding_and_chunks_change_nothing() -> None:
    rng = np.random.default_rng(8)
    before, now = long_tailed_text(rng, 5000), long_tailed_text(rng, 1000)
    chunked = pa.chunked_array([before[:100], before[100:]]).dictionary_encode()
    assert profile(chunked) == profile(before)
    assert drift(profile(before), now.dictionary_encode()) == drift(profile(before), now)


def test_levels_too_many_to_compare_give_no_verdict_rather_than_a_stable_one() -> None:
    ids = pa.array([f"id{i}" for i in range(5000)])
    found = drift(profile(ids), ids)
    assert (found.verdict, "too many levels" in found.reason) == ("no verdict", True)


@pytest.mark.parametrize(("reference_rows", "rows", "says"), [(1000, 99, "99 current"), (50, 500, "50 reference")])
def test_too_few_rows_on_either_side_give_no_verdict(reference_rows: int, rows: int, says: str) -> None:
    rng = np.random.default_rng(9)
    found = drift(profile(normal(rng, reference_rows)), pa.array(rng.normal(5, 1, rows)))
    assert found.verdict == "no verdict"
    assert found.reason == f"{says} rows, fewer than the 100 a verdict takes"


def test_no_rows_at_all_give_no_verdict_and_finite_numbers() -> None:
    reference = profile(normal(np.random.default_rng(9), 1000))
    for found in (drift(reference, pa.array([], pa.float64())), drift(profile(pa.nulls(0)), pa.nulls(0))):
        assert found.verdict == "no verdict"
        assert (found.statistic, found.p_value, found.null_share) == (0.0, 1.0, 0.0) and math.isfinite(found.limit)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_a_profile_survives_json_exactly(sample: Sample) -> None:
    kept = profile(sample(np.random.default_rng(10), 3000), name="terminal_risk.risk_7d")
    assert Profile.from_dict(json.loads(json.dumps(kept.to_dict(), allow_nan=False))) == kept


def test_infinite_values_leave_a_profile_plain_json() -> None:
    kept = profile(pa.array([math.inf, -math.inf, 1.0, 2.0] * 50))
    assert Profile.from_dict(json.loads(json.dumps(kept.to_dict(), allow_nan=False))) == kept


def test_every_row_of_the_reference_is_counted_once() -> None:
    rng = np.random.default_rng(11)
    table = pa.table({sample.__name__: sample(rng, 3000) for sample in SAMPLES})
    kept = profiles(table, table.column_names)
    assert {name: (one.column, one.rows, one.nulls) for name, one in kept.items()} == {
        name: (name, 3000, table[name].null_count) for name in table.column_names
    }


def test_numbers_that_became_text_are_refused_by_name() -> None:
    reference = profile(pa.array([1.0] * 200), name="amount")
    with pytest.raises(TypeError, match="'amount' was number in the reference and is text now"):
        drift(reference, pa.array(["1.0"] * 200))


def test_a_timestamp_has_no_profile() -> None:
    with pytest.raises(TypeError, match="'paid_at' is timestamp"):
        profile(pa.array([0], pa.timestamp("us")), name="paid_at")


@pytest.mark.parametrize("rows", [MANY - 1, MANY, AT_ONCE, 3 * AT_ONCE + 7])
def test_few_values_and_many_are_counted_alike_and_as_a_search_of_the_edges_would(rows: int) -> None:
    rng = np.random.default_rng(9)
    reference = profile(pa.array(np.where(rng.random(5000) < 0.3, 7.0, rng.normal(size=5000))))
    edges = np.array(reference.edges)
    values = rng.choice([*edges, *np.nextafter(edges, -np.inf), -np.inf, np.inf, *rng.normal(size=50)], rows)
    absent = rng.random(rows) < 0.1
    places = reference.places(pa.array(values, mask=absent))
    assert places.tolist() == np.where(absent, len(reference.counts), np.searchsorted(edges, values, "right")).tolist()
