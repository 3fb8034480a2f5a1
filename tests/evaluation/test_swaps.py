"""Does luck alone change a node's champion no more often than the declaration says, however its trainings come about?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory_assets.declarations.line import DAYS_OF, Line
from factory_assets.evaluation.challengers import challengers_of, look
from factory_assets.evaluation.gate import Contest, Look, rule
from factory_assets.evaluation.luck import in_words, required, swaps_by_luck
from factory_resources.ledger import Ledger
from tests.features.lines import DAY, OF_EVENTS, declared_line
from tests.resources.test_ledger import a_version, an_evaluation

TRAINED = dt.date(2026, 3, 1)
ALARMS = {"every": "7d", "on": ["new_data", "drift"]}


def a_line(gate: dict[str, Any], retrain: dict[str, Any] | None = None, holdout: str = "7d") -> Line:
    train = {"window": "28d", "holdout": holdout}
    return declared_line(**OF_EVENTS | {"train": train, "gate": gate, "retrain": retrain or {"every": "7d"}}).line


@pytest.mark.parametrize(
    ("gate", "retrain", "a_year"),
    [
        ({}, {"every": "7d"}, 0.05 * 365.25 / 7),
        # The four looks share what one has, and the next challenger comes after the last of them.
        ({"patience": "21d"}, {"every": "7d"}, 0.05 * 365.25 / 28),
        ({}, ALARMS, 0.05 * 365.25 / 3),
        ({"patience": "21d"}, ALARMS, 0.05 * 365.25 / 24),
        ({}, ALARMS | {"cooldown": "9d"}, 0.05 * 365.25 / 7),
        ({"swaps": "0.5/year"}, ALARMS, 0.5),
        ({"swaps": "0.5/year", "patience": "21d"}, {"every": "7d"}, 0.5),
    ],
    ids=["weekly", "patience", "alarms", "alarms and patience", "rare alarms", "swaps", "swaps, patience"],
)
def test_what_a_declaration_amounts_to(gate: dict[str, Any], retrain: dict[str, Any], a_year: float) -> None:
    assert swaps_by_luck(a_line(gate, retrain)) == pytest.approx(a_year)


def test_challengers_whose_looks_end_early_are_counted_with_the_luck_of_those() -> None:
    """Of a holdout of four weeks the first look has most of it, and a challenger that is worse for sure has no other."""
    line = a_line({"patience": "7d"}, {"every": "7d"}, holdout="28d")
    assert swaps_by_luck(line) == pytest.approx(0.05 * (28 / 35) ** 2 * 365.25 / 7)


def test_a_check_says_it_in_words() -> None:
    assert in_words(a_line({"swaps": "0.5/year"}, ALARMS)) == (
        "luck alone changes the champion of a node up to 0.5 times a year (trained every 7d, or 3d after the last time where alarms "
        "call for it, certainty 0.9904), and promotes up to 1 of the nodes of one training"
    )


def contest(champion: float | None, challenger: float, rng: np.random.Generator) -> Contest:
    """Of models that are equally good, by how sure the rows are of the first of each pair: that the champion is better than the
    parent, and the challenger than the better of these two.
    """
    parent = 5.0 if champion is None else 5 + (champion - 0.5)
    own = None if champion is None else {"mae": 5.0}
    best = parent if champion is None or champion < 0.5 else 5.0
    sure = {"challenger": challenger, "naive": 1.0} | ({} if champion is None else {"champion": champion})
    return Contest({"mae": 10.0}, {"mae": parent}, own, {"mae": best - (challenger - 0.5)}, sure)


@pytest.mark.parametrize("retrain", [{"every": "7d"}, ALARMS], ids=["weekly", "alarms"])
@pytest.mark.parametrize("patience", ["0d", "21d"])
def test_luck_changes_who_answers_for_a_node_as_often_as_declared(retrain: dict[str, Any], patience: str) -> None:
    """A node below others, whose own models are no better: promotions and champions that step down count both."""
    line, rng = a_line({"swaps": "8/year", "patience": patience}, retrain), np.random.default_rng(1)
    day, before, trained, looked, swaps = TRAINED, None, None, None, 0
    champion, years = False, 150
    while (day - TRAINED).days < years * 365.25:
        trained = trained or day
        bar = line.bar if before is None else line.bar_after((day - before).days)
        taken = look(line, trained, day, looked, required(bar, "FR", [1, 5]))
        met = contest(float(rng.random()) if champion else None, float(rng.random()), rng)
        ruling = rule("mae", line.bar, met, "global", taken)
        after = ruling.champion("old" if champion else None, "new")
        swaps += after != ("old" if champion else None)
        champion, before = after is not None, day
        trained, looked = (trained, day) if ruling.verdict == "undecided" else (None, None)
        day += (3 if "on" in retrain and rng.random() < 0.5 else 7) * DAY
    assert 4 < swaps / years <= 8 + 3 * np.sqrt(8 / years)


def test_luck_accrues_from_the_node_s_last_contest_on_whoever_asked_for_it(tmp_path: Path) -> None:
    """By hand or by an alarm: two days later a challenger has the luck of two days, and after a long pause that of the cadence."""
    ledger = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}")
    gate = {"swaps": "0.5/year"}
    declared = declared_line(**OF_EVENTS | {"gate": gate, "train": {"window": "28d", "holdout": "7d"}})
    found = {}
    for days in (0, 2, 9, 60):
        on, version = TRAINED + days * DAY, f"v{days}"
        ledger.register(a_version(version, line=declared.line.name, node="FR", as_of=on))
        found[days] = challengers_of(ledger, declared, on)["FR"].look.certainty
        ledger.record_evaluation(
            an_evaluation(version, line=declared.line.name, node="FR", as_of=on, incumbent_version=None)
        )
    a_day = 0.5 / DAYS_OF["year"]
    assert found == pytest.approx({0: 1 - 7 * a_day, 2: 1 - 2 * a_day, 9: 1 - 7 * a_day, 60: 1 - 7 * a_day})
    # Judged again, each has what it had: later days do not count.
    again = challengers_of(ledger, declared, TRAINED + 2 * DAY)["FR"]
    assert again.look.certainty == found[2]


@pytest.mark.parametrize(("sure", "steps_down"), [(0.994, False), (0.996, True)])
def test_a_champion_steps_down_with_half_of_the_luck_that_swaps_leave(sure: float, steps_down: bool) -> None:
    line = a_line({"swaps": "0.5/year"})
    met = Contest({"mae": 10.0}, {"mae": 5.0}, {"mae": 5.1}, None, {"champion": 1 - sure})
    assert (rule("mae", line.bar, met, "global").verdict == "fallback") == steps_down
    # A root has nobody above it, so that its challengers have all of it.
    root = Contest({"mae": 10.0}, None, {"mae": 5.1}, {"mae": 5.0}, {"challenger": 0.991, "naive": 0.999})
    assert rule("mae", line.bar, root, None, Look(line.bar.certainty)).verdict == "promote"
    below = Contest({"mae": 10.0}, {"mae": 6.0}, {"mae": 5.1}, {"mae": 5.0}, {"challenger": 0.991, "naive": 0.999})
    assert rule("mae", line.bar, below, "global", Look(line.bar.certainty)).verdict == "keep"
