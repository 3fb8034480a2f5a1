"""How does a challenger that is looked at more than once share the luck that the gate allows among its looks?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.declarations.line import Gate, Line
from factory_assets.evaluation.challengers import look
from factory_assets.evaluation.gate import Contest, Look, rule
from factory_assets.measures.certainty import Groups, certainty
from tests.features.lines import DAY, OF_EVENTS, declared_line

TRAINED = dt.date(2026, 3, 1)


def a_line(**gate: Any) -> Line:
    train = {"window": "28d", "holdout": "7d"}
    return declared_line(**OF_EVENTS | {"train": train, "gate": {"patience": "21d"} | gate}).line


def looks_on(line: Line, *days: int) -> list[Look]:
    """The looks so many days after the training, the first of them on its day."""
    dates = [TRAINED + day * DAY for day in days]
    return [look(line, TRAINED, day, before) for day, before in zip(dates, [None, *dates], strict=False)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=9, unique=True), st.sampled_from([0.8, 0.95, 0.999]))
def test_all_looks_together_use_no_more_luck_than_the_gate_allows(days: list[int], sure: float) -> None:
    """Whichever days they fall on; and none after the one that is the last."""
    taken = looks_on(a_line(certainty=sure), *sorted(days))
    last = next((place for place, each in enumerate(taken) if not each.lasting), len(taken) - 1)
    luck = [1 - each.certainty for each in taken[: last + 1]]
    assert sum(luck) <= (1 - sure) * (1 + 1e-9) and min(luck) > 0
    assert taken[last].lasting or sum(luck) == pytest.approx(1 - sure)


def test_weekly_looks_of_four_weeks_use_a_sixteenth_three_five_and_seven_of_the_luck() -> None:
    taken = looks_on(a_line(), 0, 7, 14, 21)
    assert [1 - each.certainty for each in taken] == pytest.approx([0.05 * part / 16 for part in (1, 3, 5, 7)])
    assert [(each.days, each.lasting) for each in taken] == [(7, 21), (14, 14), (21, 7), (28, 0)]


def test_one_look_has_all_the_luck() -> None:
    assert looks_on(a_line(patience="0d"), 0) == [Look(0.95, days=7, alone=0.95)]


def test_patience_with_a_certainty_that_takes_any_better_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patience: 21d waits for nothing where certainty: 0.5"):
        Gate(patience="21d", certainty=0.5)


def ruled(
    look: Look, challenger: float, sure: float | None, champion: float | None = 5.0, gate: Gate | None = None
) -> Any:
    certain = {"naive": 0.9999} | ({} if sure is None else {"challenger": sure})
    met = Contest({"mae": 10.0}, {"mae": 5.2}, champion and {"mae": champion}, {"mae": challenger}, certain)
    return rule("mae", gate or Gate(patience="21d"), met, "FR", look)


FIRST, LAST = Look(0.997, days=7, lasting=21, at_last=0.953), Look(0.978, days=28)


@pytest.mark.parametrize(
    ("challenger", "sure", "first", "last"),
    [
        (4.5, 0.999, "promote", "promote"),
        (4.5, 0.98, "undecided", "promote"),
        (4.5, 0.6, "undecided", "keep"),
        (5.1, 0.3, "undecided", "keep"),
        (5.1, 0.04, "keep", "keep"),
        (4.5, None, "undecided", "keep"),
    ],
    ids=["sure", "sure with more days", "better", "worse by luck maybe", "worse", "too few days"],
)
def test_what_the_days_leave_open_is_undecided_until_the_last_look(
    challenger: float, sure: float | None, first: str, last: str
) -> None:
    assert (ruled(FIRST, challenger, sure).verdict, ruled(LAST, challenger, sure).verdict) == (first, last)


def test_an_undecided_challenger_says_what_is_lacking_and_how_long_that_would_take() -> None:
    assert ruled(FIRST, 4.5, 0.9).reason == (
        "mae 4.5, better than 5 of the champion, but with a certainty of 0.90 only, 0.997 needed; looked at again for up to 21 more "
        "days; about 5 days would do if all are like those so far"
    )
    assert "none would do if all are like those so far" in ruled(FIRST, 5.1, 0.3).reason
    assert ruled(FIRST, 4.5, 0.996).reason.startswith(
        "mae 4.5, better than 5 of the champion, but with a certainty of 0.9960 only"
    )


def test_a_floor_that_is_not_met_is_waited_for_by_nobody() -> None:
    assert ruled(FIRST, 4.5, 0.9, gate=Gate(patience="21d", floor=4.0)).verdict == "keep"


@pytest.mark.parametrize(("naive", "verdict"), [(0.96, "promote"), (0.9, "fallback")])
def test_where_nobody_answers_there_is_one_look(naive: float, verdict: str) -> None:
    met = Contest({"mae": 10.0}, None, None, {"mae": 9.0}, {"naive": naive})
    assert rule("mae", Gate(patience="21d"), met, None, FIRST).verdict == verdict


def test_who_answers_meanwhile_is_judged_as_ever() -> None:
    """The champion steps down before a better parent, with a challenger that nobody can tell yet or without."""
    certain = {"naive": 0.9999, "challenger": 0.6, "champion": 0.01}
    met = Contest({"mae": 10.0}, {"mae": 5.0}, {"mae": 7.0}, {"mae": 4.9}, certain)
    ruling = rule("mae", Gate(patience="21d"), met, "FR", FIRST)
    assert ruling.verdict == "undecided" and "the champion steps down" in ruling.reason
    assert ruling.champion("old", "new") is None and ruled(FIRST, 4.5, 0.6).champion("old", "new") == "old"


def test_looks_at_more_days_find_more_and_promote_no_more_by_luck() -> None:
    """Paired daily differences, half of their own spread better, or no better: the share that passes, by one look and by four."""
    tries, line = 400, a_line()
    rng = np.random.default_rng(8)

    def passing(gain: float, *days: int) -> float:
        taken, passed = looks_on(line if len(days) > 1 else a_line(patience="0d"), *days), 0
        for _ in range(tries):
            theirs = 5 + rng.normal(gain, 1, 28)
            for each in taken:
                y, of = np.zeros(each.days), np.arange(each.days)
                sure = certainty(
                    "regression", "mae", y, np.full(each.days, 5.0), theirs[: each.days], [Groups(of, follow=True)]
                )
                met = Contest(
                    {}, None, {"mae": float(theirs[: each.days].mean())}, {"mae": 5.0}, {"challenger": sure or 0.0}
                )
                verdict = rule("mae", line.bar, met, None, each).verdict
                if verdict != "undecided":
                    passed += verdict == "promote"
                    break
        return passed / tries

    assert passing(0.0, 0, 7, 14, 21) <= 0.05 + 2 * 0.011
    assert passing(0.5, 0) < 0.33 and passing(0.5, 0, 7, 14, 21) > 0.58
