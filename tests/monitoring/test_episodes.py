"""Does an episode last as long as nothing says that it is over?"""

import datetime as dt
from typing import Any

from factory_assets.monitoring.episodes import Alarm, begun, of_drift, of_losses
from factory_assets.monitoring.performance.losses import Loss

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 3, 1)


def looks(*verdicts: str | None, column: str = "a") -> list[dict[str, Any]]:
    """One a day; None where nobody looked."""
    told = {"node": "FR", "column": column, "part": "values", "reason": "far away"}
    return [told | {"verdict": each, "ds": FIRST + at * DAY} for at, each in enumerate(verdicts) if each is not None]


def since(*verdicts: str | None) -> list[tuple[int, int]]:
    """(Offset of each alarm, of the first of its episode)."""
    return [((alarm.day - FIRST).days, (alarm.since - FIRST).days) for alarm in of_drift(looks(*verdicts))]


def test_looks_that_say_the_same_on_end_are_one_episode() -> None:
    assert since("stable", "drifted", "drifted", "stable", "drifted") == [(1, 1), (2, 1), (4, 4)]


def test_a_day_without_a_verdict_or_without_a_look_ends_none() -> None:
    assert since("drifted", "no verdict", None, "drifted", "stable", "no verdict", "drifted") == [
        (0, 0),
        (3, 0),
        (6, 6),
    ]


def test_each_column_has_episodes_of_its_own_in_whatever_order_rows_come() -> None:
    rows = [*looks("drifted", "drifted"), *looks("stable", "drifted", column="b")]
    assert [(alarm.what, alarm.day, alarm.since) for alarm in of_drift(rows[::-1])] == [
        ("a", FIRST, FIRST), ("a", FIRST + DAY, FIRST), ("b", FIRST + DAY, FIRST + DAY)
    ]  # fmt: skip
    assert [alarm.what for alarm in begun(of_drift(rows))] == ["a", "b"]


def test_a_loss_is_known_when_its_days_labels_are_in() -> None:
    loss = Loss("FR", FIRST + DAY, FIRST, "worse")
    (alarm,) = of_losses([loss], 7)
    assert alarm == Alarm("performance", "FR", "performance", FIRST + 8 * DAY, FIRST + 7 * DAY, "worse", 7)
    assert alarm.lasts == "since 2026-03-01, known on 2026-03-08"
    (at_once,) = of_drift(looks("drifted"))
    assert at_once.lasts == "since 2026-03-01"
