"""Is a champion's gain over the naive guess put beside that of its own release, and of no other?"""

from __future__ import annotations

import datetime as dt

import pytest

from factory_assets.monitoring.performance.released import Reign, Release, gains, reigns, releases
from factory_resources.ledger import EvaluationRecord

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 1)


def on(number: int) -> dt.date:
    return FIRST + number * DAY


def evaluation(node: str, version: str, model: float | None, naive: float, day: int = 0) -> EvaluationRecord:
    own = {} if model is None else {"mae": model}
    return EvaluationRecord("eta", node, version, on(day), on(0), on(6), 90, own, {}, None, {"mae": naive})


def test_a_version_answers_from_the_day_after_its_decision_until_another_does() -> None:
    steps = [(on(2), "global", "a"), (on(5), "global", "a"), (on(9), "global", "b"), (on(12), "global", None)]
    found = reigns(steps, [on(number) for number in (2, 3, 9, 10, 12, 13)])
    assert found == {
        on(2): {}, on(3): {"global": Reign("a", on(3))}, on(9): {"global": Reign("a", on(3))},
        on(10): {"global": Reign("b", on(10))}, on(12): {"global": Reign("b", on(10))}, on(13): {},
    }  # fmt: skip


def test_a_node_some_of_whose_rows_another_answers_is_held_against_nothing() -> None:
    steps = [
        (on(0), "global", "g"),
        (on(0), "FR", "f"),
        (on(0), "DE", "d"),
        (on(3), "FR/Lyon", "l"),
        (on(6), "FR/Lyon", None),
    ]
    found = reigns(steps, [on(1), on(4), on(7)])
    assert {day: set(of_day) for day, of_day in found.items()} == {
        on(1): {"FR", "DE"}, on(4): {"FR/Lyon", "DE"}, on(7): {"FR", "DE"}
    }  # fmt: skip
    assert found[on(7)]["FR"] == Reign("f", on(1)), "it was champion all the while"


def test_the_gain_at_release_is_that_of_the_first_evaluation_that_measured_it() -> None:
    records = [
        evaluation("FR", "f", 4.0, 10.0), evaluation("FR", "f", 9.0, 10.0, day=7), evaluation("DE", "f", 1.0, 10.0),
        evaluation("DE", "d", None, 10.0),
    ]  # fmt: skip
    gained = gains({"f": records[:3], "d": records[3:]}, "mae")
    assert gained == {("FR", "f"): 6.0, ("DE", "f"): 9.0}
    assert releases({"FR": Reign("f", on(1)), "DE": Reign("d", on(1))}, gained) == {"FR": Release(on(1), 6.0)}


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_metric_that_no_evaluation_has_gives_no_release(metric: str) -> None:
    assert gains({"f": [evaluation("FR", "f", 4.0, 10.0)]}, metric) == {}
