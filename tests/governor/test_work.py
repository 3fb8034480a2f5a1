"""What is done next while a training is due: nothing that it would have done anew, but what it waits for."""

import datetime as dt

from factory_assets.governor.retraining import Training
from factory_assets.governor.work import Plan, Work

DAY = dt.date(2026, 3, 1)
SCORING = Work(("guess/predictions",), "new", (DAY,))
OTHERS = Work(("again/predictions",), "new", (DAY,))


def training(*after: str) -> Work:
    return Work(
        ("guess/model",), "14 new days", (), Training("guess", DAY, ("global",), "new_data", "14 new days"), after
    )


def test_scoring_waits_for_a_training_whether_it_is_ready_or_waits_for_labels() -> None:
    ready, waiting = training(), training("guess/labels")
    assert Plan([ready, SCORING, OTHERS]).next == [ready, OTHERS]
    assert Plan([waiting, SCORING, OTHERS]).next == [OTHERS]


def test_a_training_that_waits_for_what_the_monitors_will_say_lets_the_days_be_scored() -> None:
    for monitor in ("guess/drift", "guess/performance"):
        assert Plan([training(monitor), SCORING]).next == [SCORING]
