"""Is a changed label found, an unchanged one not, and does a day see those labels alone that were known at its close?"""

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Monitor
from factory_assets.measures.habits import Habit, Stretches
from factory_assets.measures.profiles import Profile, profile
from factory_assets.measures.tables import label_column
from factory_assets.models.archived import ReleasedModel
from factory_assets.monitoring.drift.days import DriftDays
from factory_assets.monitoring.drift.labels import AWAITED, IN, Due, LabelDays, state
from factory_assets.monitoring.drift.verdicts import Drift, drift
from factory_assets.training.archiving import _habit_of_labels
from factory_assets.training.dataset import NodeRows

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 1)
CLASSES = "multiclass(car, bike, van)"


def rows(days: int, a_day: int, labels: np.ndarray) -> pa.Table:
    of_day = np.repeat(np.arange(days), a_day)
    return pa.table({"ds": pa.array([FIRST + DAY * int(at) for at in of_day], pa.date32()), "label": labels})


def kept(task: str, labels: pa.Table, train: range) -> tuple[Profile, Habit]:
    """What a release keeps of labels. train: days of the training window; the labels of all days are due."""
    last = labels["ds"][-1].as_py()
    of_train = labels.filter(
        pa.array([FIRST + DAY * train.start <= day < FIRST + DAY * train.stop for day in labels["ds"].to_pylist()])
    )
    reference = profile(label_column(task, of_train["label"]), name="label")
    none = labels.slice(0, 0)
    past = Stretches(FIRST, last, 7)
    return reference, _habit_of_labels(task, past, NodeRows(of_train, none, none, labels), reference)


def drawn(task: str, rng: np.random.Generator, size: int, change: float = 1.0) -> np.ndarray:
    """Labels of independent rows. change: times as many yeses, or of the first class, or as large."""
    if task == "binary":
        return (rng.random(size) < 0.08 * change).astype(float)
    if task == CLASSES:
        return rng.choice(
            ["car", "bike", "van"], size, p=[0.2 * change, 0.5 - 0.1 * (change - 1), 0.3 - 0.1 * (change - 1)]
        )
    return rng.poisson(4.0 * change, size).astype(float) if task == "count" else rng.lognormal(2, 1, size) * change


TASKS = ["binary", CLASSES, "count", "regression"]


@pytest.mark.parametrize("task", TASKS)
def test_unchanged_labels_are_called_drifted_no_more_often_than_stated_and_a_changed_base_rate_is_found(
    task: str,
) -> None:
    rng = np.random.default_rng(1)
    calm = flipped = 0
    for _ in range(60):
        reference, habit = kept(task, rows(70, 100, drawn(task, rng, 7000)), range(21, 49))
        assert (habit.stretches, habit.outside) == (10, 6)
        for _ in range(5):
            calm += judged(task, reference, habit, drawn(task, rng, 700)).verdict == "drifted"
        flipped += judged(task, reference, habit, drawn(task, rng, 700, 2.2)).verdict == "drifted"
    # Of 300 looks at three parts 3 are to be expected at a rate of .003 a part.
    assert calm <= 6 and flipped >= 57


def judged(task: str, reference: Profile, habit: Habit, labels: np.ndarray) -> Drift:
    column = label_column(task, pa.chunked_array([pa.array(labels)]))
    return drift(reference, habit, column, false_alarm_rate=0.003)


def test_a_base_rate_that_sways_from_week_to_week_has_a_wider_limit() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(40):
        rate = np.repeat(np.exp(rng.normal(np.log(0.1), 0.25, 11)), 7 * 200)
        labels = (rng.random(len(rate)) < rate).astype(float)
        reference, habit = kept("binary", rows(70, 200, labels[:14000]), range(21, 49))
        alarms += judged("binary", reference, habit, labels[14000:]).verdict == "drifted"
        assert habit.excess["values"] > 1
    assert alarms <= 2


def test_the_change_of_a_base_rate_that_is_stated_as_visible_is_found_nine_times_in_ten() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(80):
        reference, habit = kept("binary", rows(70, 200, drawn("binary", rng, 14_000)), range(21, 49))
        stable = judged("binary", reference, habit, drawn("binary", rng, 1400))
        assert stable.verdict == "stable" and stable.visible_change is not None and 0.2 < stable.visible_change < 1.5
        assert f"{stable.visible_change:.0%} more" in stable.reason
        of_reference = reference.counts[reference.levels.index("1")] / reference.rows / 0.08
        changed = drawn("binary", rng, 1400, of_reference * (1 + stable.visible_change))
        found.append(judged("binary", reference, habit, changed).verdict == "drifted")
    assert 0.8 < np.mean(found) < 0.98


WIDE, NARROW = [1.0, 0.4, 0.8, 0.6, 1.0, 1.0, 1.0, 0.5, 0.7, 0.9], [1.0, 0.85, 0.9, 0.8, 1.0, 1.0, 1.0, 0.95, 0.8, 0.9]


@pytest.mark.parametrize(("weeks", "share"), [(WIDE, 1.0), (WIDE, 0.7), (WIDE, 0.4), (NARROW, 0.9), (NARROW, 0.8)])
def test_the_visible_change_of_a_base_rate_is_of_the_current_one_where_the_season_is_another(
    weeks: list[float], share: float
) -> None:
    """Yeses are `share` of those that the champion has learnt from, as in some past week they were."""
    rng, found = np.random.default_rng(6), []
    for _ in range(60):
        past = (rng.random(10 * 2100) < 0.12 * np.repeat(weeks, 2100)).astype(float)
        reference, habit = kept("binary", rows(70, 300, past), range(28, 49))
        stable = judged("binary", reference, habit, drawn("binary", rng, 2100, 1.5 * share))
        if stable.verdict == "stable" and stable.visible_change is not None:
            changed = drawn("binary", rng, 2100, 1.5 * share * (1 + stable.visible_change))
            found.append(judged("binary", reference, habit, changed).verdict == "drifted")
    assert len(found) > 40 and np.mean(found) > 0.82


def test_of_a_base_rate_of_nothing_no_number_of_times_would_have_shown() -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random(10 * 2100) < 0.02 * np.repeat([1.0, 0.0] * 5, 2100)).astype(float)
    reference, habit = kept("binary", rows(70, 300, labels), range(28, 49))
    none = judged("binary", reference, habit, np.zeros(2100))
    assert (none.verdict, none.visible_change) == ("stable", None) and "more" not in none.reason


def test_a_drifted_label_names_its_level_and_is_a_kind_of_its_own() -> None:
    rng = np.random.default_rng(4)
    reference, habit = kept(CLASSES, rows(70, 100, drawn(CLASSES, rng, 7000)), range(21, 49))
    found = judged(CLASSES, reference, habit, np.array(["tram"] * 300 + ["car"] * 200))
    assert found.verdict == "drifted" and found.kind(["amount"]) == "label"
    binary = drift(*kept("binary", rows(70, 100, drawn("binary", rng, 7000)), range(21, 49)), pa.array(["1"] * 200))
    assert "; '0': 9" in binary.reason and binary.reason.endswith(" 0 % now") and binary.kind([]) == "label"


def a_model(*, with_labels: bool = True) -> ReleasedModel:
    rng = np.random.default_rng(5)
    learnt = pa.table({"amount": rng.normal(size=2000)})
    calm = Habit(8, 4, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})
    own = {name: profile(learnt["amount"], name=name) for name in ("amount", "prediction")}
    own |= {"label": profile(pa.array(["0"] * 1800 + ["1"] * 200), name="label")} if with_labels else {}
    made = SimpleNamespace(
        features=("amount",), task="binary", profiles=own, habits=dict.fromkeys(own, calm), parts={"model": b""},
        predict=lambda rows: rows["amount"].to_numpy(), sample=learnt, contributions=lambda rows: None,
    )  # fmt: skip
    return cast(ReleasedModel, made)


def labels_of(*days: tuple[int, int, int, float]) -> pa.Table:
    """Day, the day after whose close they are known, how many, and their value."""
    columns: dict[str, list[Any]] = {name: [] for name in ("ds", "leaf", "label", "known_at", "superseded_at")}
    for day, known, number, value in days:
        at = dt.datetime.combine(FIRST + DAY * (known + 1), dt.time())
        own = (FIRST + DAY * day, "FR/Lyon" if day % 2 else "FR/Paris", value, at, None)
        for name, each in zip(columns, own, strict=True):
            columns[name] += [each] * number
    kinds = [pa.date32(), pa.string(), pa.float64(), pa.timestamp("us"), pa.timestamp("us")]
    return pa.table({name: pa.array(columns[name], kind) for name, kind in zip(columns, kinds, strict=True)})


def verdict_on_labels(
    table: pa.Table, day: int, through: int = 99, model: ReleasedModel | None = None, seen: int = 500
) -> dict[str, Drift]:
    """Node -> the verdict on its labels. seen: rows of the window."""
    rng = np.random.default_rng(6)
    examples = pa.table(
        {
            "amount": rng.normal(size=seen),
            "leaf": ["FR/Lyon"] * seen,
            "ds": pa.array([FIRST + DAY * day] * seen, pa.date32()),
        }
    )

    def read(first: dt.date, last: dt.date) -> pa.Table:
        days = table["ds"].to_numpy().astype("datetime64[D]")
        return table.filter(pa.array((days >= np.datetime64(first)) & (days <= np.datetime64(last))))

    labels = LabelDays(read, Due(horizon=2, window=7), FIRST + DAY * through)
    watched = DriftDays(lambda first, last: examples, lambda _: model or a_model(), Monitor(), labels)
    found = watched.judge(FIRST + DAY * day, {"FR": "one", "FR/Lyon": "two"})
    return {node: one for node, _, one in found if one.column == "label"}


WEEK = tuple((day, day + 2, 30, float(day == 8)) for day in range(4, 11))


def test_labels_of_the_newest_days_whose_labels_are_due_are_judged_and_the_days_are_told() -> None:
    found = verdict_on_labels(labels_of(*WEEK, (3, 5, 500, 1.0), (11, 13, 500, 1.0)), 12)
    assert {node: one.rows for node, one in found.items()} == {"FR": 210, "FR/Lyon": 90}
    assert found["FR"].verdict == "stable"
    assert found["FR"].reason.endswith("; labels of 2026-01-05 to 2026-01-11")
    assert found["FR/Lyon"].reason.startswith("90 current rows, fewer than the 100")


def test_what_becomes_known_after_the_close_of_the_day_is_not_seen_whenever_the_day_is_judged() -> None:
    late = labels_of(*WEEK, (9, 13, 300, 1.0))
    assert verdict_on_labels(late, 12) == verdict_on_labels(labels_of(*WEEK), 12)
    assert verdict_on_labels(late, 13)["FR"].verdict == "drifted"


def test_without_labels_without_a_profile_of_them_or_before_they_are_in_no_verdict_is_given_and_says_why() -> None:
    table = labels_of(*WEEK)
    older = verdict_on_labels(table, 12, model=a_model(with_labels=False))["FR"]
    assert (older.verdict, older.rows) == ("no verdict", 210) and "kept no labels to compare with" in older.reason
    early = verdict_on_labels(table, 12, through=11)["FR"]
    assert early.verdict == "no verdict" and early.reason.startswith("not all of them are in yet")
    none = verdict_on_labels(table.slice(0, 0), 12)
    assert {one.verdict for one in none.values()} == {"no verdict"} and none["FR"].rows == 0


def test_a_node_with_labels_and_too_few_rows_now_is_judged_by_its_labels_alone() -> None:
    found = verdict_on_labels(labels_of(*WEEK), 12, seen=50)
    assert {node: one.verdict for node, one in found.items()} == {"FR": "stable"}


def test_a_day_is_another_when_its_labels_are_in() -> None:
    days = [FIRST + DAY * at for at in range(3)]
    assert state(days, FIRST + DAY) == {days[0]: IN, days[1]: IN, days[2]: AWAITED}
