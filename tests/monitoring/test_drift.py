"""Drift verdicts: as many false alarms as asked for, no blindness to outliers, nulls or new values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.profiles import Profile, profile, profiles
from factory_assets.monitoring.drift import drift

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


def test_the_limit_of_a_small_sample_is_what_chance_explains_and_of_a_large_one_the_minimum_effect() -> None:
    rng = np.random.default_rng(0)
    reference = profile(normal(rng, 20_000))
    small, large = drift(reference, normal(rng, 200)), drift(reference, normal(rng, 20_000))
    # scipy.stats.chi2.ppf(0.999, 9) = 27.877; no row lies outside the range of the reference
    assert small.limit == pytest.approx(27.877 / (200 * 20_000 / 20_200), rel=1e-4)
    assert large.limit == 0.1
    assert drift(reference, normal(rng, 20_000), minimum_effect=0.25).limit == 0.25


def weeks(rng: np.random.Generator, number: int, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Weeks of 500 rows, whose means differ by chance, own standard deviations; the values and each one's week."""
    week = np.repeat(np.arange(number), 500)
    return rng.normal(size=len(week)) + rng.normal(0, own, number)[week], week


@pytest.mark.parametrize("coded", [False, True], ids=["numbers", "text"])
def test_limits_are_wider_where_the_weeks_of_the_reference_differ_by_themselves(coded: bool) -> None:
    rng = np.random.default_rng(3)
    alarms = {"independent": 0, "told of weeks": 0}
    for _ in range(100):
        values, week = weeks(rng, 9, own=0.15)
        column = pa.array([f"level {value:.0f}" for value in values]) if coded else pa.array(values)
        before, now = column.slice(0, 4000), column.slice(4000)
        for name, stretch in (("independent", None), ("told of weeks", week[:4000])):
            found = drift(profile(before, stretch=stretch), now, false_alarm_rate=0.01, minimum_effect=0)
            alarms[name] += found.verdict == "drifted"
    assert alarms["independent"] > 20 and alarms["told of weeks"] < 10


def test_the_design_effect_is_the_mean_of_chi_square_over_its_degrees_of_freedom() -> None:
    from scipy.stats import chi2_contingency

    values, week = weeks(np.random.default_rng(4), 8, own=0.5)
    made = profile(pa.array(values), stretch=week)
    bins = [np.bincount(made.places(pa.array(values[week == own])), minlength=13)[1:11] for own in range(8)]
    tables = [np.array([own, np.sum(bins, axis=0) - own]) for own in bins]
    expected = np.mean([chi2_contingency(table).statistic / 9 for table in tables])
    assert expected > 3 and made.design_effect == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("column", [normal, long_tailed_text], ids=lambda sample: sample.__name__)
def test_weeks_that_differ_by_nothing_but_chance_widen_no_limit(column: Sample) -> None:
    found = profile(column(np.random.default_rng(6), 8000), stretch=np.repeat(np.arange(8), 1000))
    assert 1 <= found.design_effect < 1.3


def test_rows_of_no_stretch_say_nothing_of_chance_and_neither_does_a_single_stretch() -> None:
    values, week = weeks(np.random.default_rng(7), 4, own=2.0)
    column = pa.array(values)
    assert profile(column, stretch=week).design_effect > 2
    # Of two weeks, each is compared with the rows of all the others.
    assert profile(column, stretch=np.where(week < 2, week, -1)).design_effect > 2
    assert profile(column, stretch=np.where(week == 2, 0, -1)).design_effect == 1
    assert profile(column, stretch=np.full(2000, -1)).design_effect == 1
    assert profile(column, stretch=np.zeros(2000, dtype=int)).design_effect == 1
    assert profile(column) == profile(column, stretch=np.zeros(2000, dtype=int))


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
    assert found.verdict == "drifted"
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
        assert (found.statistic, found.limit, found.p_value, found.null_share) == (0.0, 0.1, 1.0, 0.0)


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
