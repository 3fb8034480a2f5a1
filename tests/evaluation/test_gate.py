"""Does the gate let through what is better on the same rows, and nothing else?"""

from typing import Any

import pytest

from factory_assets.declarations.line import Gate
from factory_assets.evaluation.gate import Contest, Rival, judge, rule
from factory_assets.evaluation.luck import swaps_by_luck
from tests.features.lines import OF_EVENTS, declared_line

#: Any better value will do: what these tests are about is which values meet.
ANY = Gate(certainty=0.5)
NAIVE = Rival("the naive guess", {"mae": 10.0, "average_precision": 0.1})


def verdict(metric: str, challenger: float | None, incumbent: float | None = None, floor: float | None = None) -> str:
    own = {} if challenger is None else {metric: challenger}
    champion = Rival("the champion", {} if incumbent is None else {metric: incumbent})
    return judge(metric, Gate(floor=floor, certainty=0.5), own, champion, NAIVE).verdict


def test_the_first_challenger_is_promoted_when_it_beats_the_naive_guess() -> None:
    assert verdict("mae", 9.9) == "promote"
    assert verdict("average_precision", 0.11) == "promote"


@pytest.mark.parametrize(("metric", "value"), [("mae", 10.0), ("mae", 11.0), ("average_precision", 0.1)])
def test_a_challenger_no_better_than_the_naive_guess_is_not_promoted(metric: str, value: float) -> None:
    assert verdict(metric, value) == "keep"


@pytest.mark.parametrize(("challenger", "expected"), [(4.99, "promote"), (5.0, "keep"), (5.01, "keep")])
def test_improvement_over_the_incumbent_must_be_strict(challenger: float, expected: str) -> None:
    assert verdict("mae", challenger, incumbent=5.0) == expected


@pytest.mark.parametrize(("value", "expected"), [(6.0, "promote"), (6.01, "keep")])
def test_the_floor_is_the_worst_value_that_passes_in_the_direction_of_the_metric(value: float, expected: str) -> None:
    assert verdict("mae", value, floor=6.0) == expected


def test_a_floor_for_a_metric_where_more_is_better_is_a_lower_bound() -> None:
    assert verdict("average_precision", 0.5, floor=0.5) == "promote"
    assert verdict("average_precision", 0.49, floor=0.5) == "keep"


def test_below_the_floor_no_improvement_helps() -> None:
    ruling = judge(
        "average_precision",
        Gate(floor=0.5, certainty=0.5),
        {"average_precision": 0.4},
        Rival("the champion", {"average_precision": 0.2}),
        NAIVE,
    )
    assert ruling.verdict == "keep" and "at least 0.5 needed" in ruling.reason


def test_a_metric_that_the_holdout_cannot_give_keeps_things_as_they_are() -> None:
    assert verdict("average_precision", None, incumbent=0.3) == "keep"


def test_the_reason_names_both_values_and_whose_they_are() -> None:
    reason = judge("mae", ANY, {"mae": 6.0}, Rival("the champion of FR", {"mae": 5.0}), NAIVE).reason
    assert "6" in reason and "5" in reason and "the champion of FR" in reason


def ruled(parent: float | None, champion: float | None, challenger: float | None) -> tuple[str, str]:
    """Verdict and reason by mean absolute error; None who does not exist."""
    sides = [None if value is None else {"mae": value} for value in (parent, champion, challenger)]
    ruling = rule("mae", ANY, Contest({"mae": 10.0}, *sides), "FR")
    return ruling.verdict, ruling.reason


@pytest.mark.parametrize(
    ("parent", "champion", "challenger", "verdict"),
    [
        (5.0, None, 4.9, "promote"),
        (5.0, None, 5.0, "fallback"),
        (5.0, 4.0, 3.9, "promote"),
        (5.0, 4.0, 4.5, "keep"),
        (5.0, 6.0, 5.5, "fallback"),
        (5.0, 6.0, 4.5, "promote"),
        (5.0, 5.0, None, "keep"),
        (5.0, 5.1, None, "fallback"),
        (None, 6.0, None, "keep"),
        (None, None, 9.0, "promote"),
        (None, None, None, "fallback"),
    ],
)
def test_a_node_is_answered_for_by_the_best_of_challenger_champion_and_parent_and_a_tie_changes_nothing(
    parent: float | None, champion: float | None, challenger: float | None, verdict: str
) -> None:
    assert ruled(parent, champion, challenger)[0] == verdict


def test_a_champion_that_steps_down_says_for_whom() -> None:
    assert "steps down: mae 6, 5 of the champion of FR" in ruled(5.0, 6.0, 5.5)[1]


def test_what_cannot_be_measured_is_no_reason_to_step_down() -> None:
    ruling = rule("average_precision", ANY, Contest({}, {"mae": 1.0}, {"mae": 2.0}, None), "FR")
    assert ruling.verdict == "keep"


def surely(
    parent: float | None, champion: float | None, challenger: float | None, /, **certainty: float
) -> tuple[str, str]:
    """As ruled, where the gate asks for a certainty of 0.9."""
    sides = [None if value is None else {"mae": value} for value in (parent, champion, challenger)]
    ruling = rule("mae", Gate(certainty=0.9), Contest({"mae": 10.0}, *sides, {"naive": 0.9} | certainty), "FR")
    return ruling.verdict, ruling.reason


@pytest.mark.parametrize(("sure", "expected"), [(0.9, "promote"), (0.89, "fallback")])
def test_a_challenger_takes_over_when_it_is_better_as_surely_as_asked(sure: float, expected: str) -> None:
    assert surely(5.0, None, 4.0, challenger=sure)[0] == expected


def test_who_is_not_sure_enough_is_told_how_sure_and_how_sure_is_needed() -> None:
    reason = surely(5.0, None, 4.0, challenger=0.89)[1]
    assert reason == "mae 4, better than 5 of the champion of FR, but with a certainty of 0.89 only, 0.9 needed"


def test_days_that_cannot_tell_change_nothing_and_say_so() -> None:
    verdict, reason = surely(None, 5.0, 4.0)
    assert verdict == "keep" and "too few to tell that from luck" in reason


def test_the_first_of_all_has_a_naive_guess_to_be_better_than_as_surely_as_asked() -> None:
    assert surely(None, None, 9.0) == ("promote", "mae 9, better than 10 of the naive guess with a certainty of 0.90")
    assert surely(None, None, 9.0, naive=0.89) == (
        "fallback", "mae 9, better than 10 of the naive guess, but with a certainty of 0.89 only, 0.9 needed",
    )  # fmt: skip


def test_who_is_better_than_the_champion_may_yet_be_no_better_than_a_naive_guess() -> None:
    verdict, reason = surely(None, 9.5, 9.0, challenger=0.99, naive=0.6)
    assert verdict == "keep" and "of the naive guess, but with a certainty of 0.60 only" in reason


@pytest.mark.parametrize(("sure", "expected"), [(0.2, "keep"), (0.05, "fallback")])
def test_a_champion_steps_down_when_its_parent_is_better_as_surely_as_asked(sure: float, expected: str) -> None:
    verdict, reason = surely(5.0, 5.2, None, champion=sure)
    assert verdict == expected and ("champion stays" in reason) == (expected == "keep")


def test_a_challenger_has_to_beat_a_parent_that_is_better_than_the_champion_it_has_not_overtaken_surely() -> None:
    verdict, reason = surely(5.0, 5.2, 5.1, champion=0.2, challenger=0.99)
    assert verdict == "keep" and "no better than 5 of the champion of FR" in reason


@pytest.mark.parametrize(
    ("every", "gate", "certainty", "a_year"),
    [
        ("7d", {}, 0.95, 2.609),
        ("7d", {"certainty": 0.99}, 0.99, 0.522),
        ("7d", {"swaps": "0.5/year"}, 1 - 0.5 * 7 / 365.25, 0.5),
        ("28d", {"swaps": "0.5/year"}, 1 - 0.5 * 28 / 365.25, 0.5),
        # Oftener than every second training cannot be asked for: any better value will do.
        ("1d", {"swaps": "1/day"}, 0.5, 182.6),
    ],
)
def test_how_often_luck_may_change_a_champion_is_a_certainty_at_the_line_s_cadence(
    every: str, gate: dict[str, Any], certainty: float, a_year: float
) -> None:
    line = declared_line(**OF_EVENTS | {"gate": gate, "retrain": {"every": every}}).line
    assert line.bar.certainty == pytest.approx(certainty) and swaps_by_luck(line) == pytest.approx(a_year, abs=0.05)
    against = f"mae 8, better than 9 of {NAIVE.name}"
    met = Contest({"mae": 9.0}, None, None, {"mae": 8.0}, {"naive": 0.98})
    passes = certainty <= 0.98
    assert (rule("mae", line.bar, met, None).verdict == "promote") == passes
    told = rule("mae", line.bar, met, None).reason
    assert passes or told == f"{against}, but with a certainty of 0.98 only, {certainty:.4g} needed"
