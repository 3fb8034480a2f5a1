"""Do earlier meetings tell how much a day is like the day before, so that a week takes it for neither more nor less?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Look
from factory_assets.evaluation.likeness import likeness
from factory_assets.evaluation.met import Met
from factory_assets.measures.certainty import LEFT, Alike, Groups, _comes_out, judge
from factory_assets.training.timeline import Timeline
from factory_resources.ledger import Ledger
from tests.features.lines import DAY, OF_EVENTS, declared_line
from tests.resources.test_ledger import a_version

ON = dt.date(2026, 3, 1)
WEEK, PAST = 7, 12


def differences(rng: np.random.Generator, follows: float, tries: int) -> np.ndarray:
    """Daily differences of two models, each like the day before by so much; shape (tries, a week)."""
    drawn = rng.normal(size=(tries, WEEK))
    for at in range(1, WEEK):
        drawn[:, at] = follows * drawn[:, at - 1] + drawn[:, at] * np.sqrt(1 - follows**2)
    return drawn


def weeks(by_day: np.ndarray, past: tuple[Alike, ...] = ()) -> list[Any]:
    """Verdicts on weeks in which we are better by so much, day by day."""
    y, ours, groups = np.zeros(WEEK), np.full(WEEK, 9.0), [Groups(np.arange(WEEK), past=past)]
    return [judge("regression", "mae", y, ours, 9 + each, groups) for each in by_day]


def called(by_day: np.ndarray, past: np.ndarray | None = None) -> float:
    """The share of weeks that are called better. past: earlier ones, some of which each of them has had; none if absent."""
    if past is None:
        found = weeks(by_day)
    else:
        likes, rng = np.array([one.alike.like for one in weeks(past)]), np.random.default_rng(2)
        told = rng.choice(likes, (len(by_day), PAST)).mean(axis=1)
        found = [weeks(day[None], (Alike(like, WEEK, PAST),))[0] for day, like in zip(by_day, told, strict=True)]
    return float(np.mean([one.sure >= 0.95 for one in found]))


def test_a_week_with_a_past_is_wrong_as_often_as_is_stated_and_finds_nearly_as_much() -> None:
    """Of 1000 tries at .05, .075 and more come by chance once in 2000."""
    rng, tries = np.random.default_rng(4), 1000
    alike = differences(rng, 0.4, tries)
    assert called(alike) > 0.1 and called(alike, differences(rng, 0.4, tries)) < 0.075
    apart, past = differences(rng, 0.0, tries), differences(rng, 0.0, tries)
    assert called(apart, past) < 0.075
    assert called(apart + 1) - 0.09 < called(apart + 1, past)


def test_meetings_tell_how_much_days_are_alike_however_few_days_they_have() -> None:
    rng = np.random.default_rng(6)
    means = [float(np.mean([one.alike.like for one in weeks(differences(rng, f, 1500))])) for f in (0.0, 0.4, 0.7)]
    # As it comes out of weeks, whose own mean is taken from them: a seventh too low where days are independent.
    assert means == pytest.approx([np.interp(f, LEFT, _comes_out(WEEK)) for f in (0.0, 0.4, 0.7)], abs=0.025)
    assert means[0] == pytest.approx(-1 / 7, abs=0.025)
    week = differences(rng, 0.0, 1) + 0.9
    sure = [weeks(week, (Alike(mean, WEEK, 1000),))[0].sure for mean in means]
    assert sure == sorted(sure, reverse=True) and len(set(sure)) == 3
    assert weeks(week, (Alike(-0.9, WEEK, 1000),))[0].sure == weeks(week)[0].sure, "days that alternate say no more"


def met(node: str, by_day: np.ndarray, ledger: Ledger | None = None, day: dt.date = ON) -> Met:
    """The meeting of a challenger and a champion of a node, with what a ledger has of earlier ones."""
    since = day - WEEK * DAY
    ds = pa.array([since + at * DAY for at in range(WEEK)])
    about = {"example_id": list(range(WEEK)), "observed_at": ds.cast(pa.timestamp("us")), "leaf": [node] * WEEK}
    rows = pa.table({"label": np.zeros(WEEK), "ds": ds} | about)

    def model(version: str) -> Any:
        values = np.full(WEEK, 9.0) if version.startswith("new") else 9 + by_day
        naive = lambda rows, task: np.full(rows, 9.0) + 3 * by_day  # noqa: E731
        return SimpleNamespace(predict=lambda rows, task: values, naive=naive, unlearnt_from=since)

    declared = declared_line(**OF_EVENTS | {"task": "regression"})
    alike = likeness(ledger, declared.line.name, "mae", day) if ledger else {}
    up = {node: Challenger(f"new {node} {day}", Look(0.95))}
    (found,) = walk(
        declared, "mae", [node], Contestants({node: f"old {node}"}, up, model, lambda _: None, alike), lambda _: rows
    )
    return found


def test_meetings_leave_what_they_found_to_later_ones_of_their_level(tmp_path: Path) -> None:
    ledger, rng, name = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}"), np.random.default_rng(1), "question"
    drawn, found = differences(rng, 0.7, 5), []
    for number, by_day in enumerate(drawn):
        day = ON + number * 7 * DAY
        for node in ("FR", "DE"):
            meeting = met(node, by_day, ledger, day)
            for version in meeting.versions.values():
                ledger.register(a_version(version, line=name, node=node, as_of=day, task="regression"))
            for record in meeting.records(name, Timeline(day, *[day] * 4), "mae"):
                # A second time the same: it counts once.
                ledger.record_evaluation(record)
                ledger.record_evaluation(record)
            found.append(meeting.alike["challenger"])
    later = ON + 35 * DAY
    (of_level,) = likeness(ledger, name, "mae", later)[1]
    assert of_level.meetings == 10 and of_level.groups == WEEK
    assert of_level.like == pytest.approx(np.mean([each.like for each in found]))
    assert set(likeness(ledger, name, "mae", later)) == {1} and likeness(ledger, name, "rmse", later) == {}
    assert likeness(ledger, name, "mae", ON) == {}, "of a day, only what was before it"
    assert likeness(ledger, name, "mae", ON + 500 * DAY) == {}, "a past of long ago"

    by_day = differences(rng, 0.0, 1)[0] + 1
    first, with_past = met("FR", by_day, day=later), met("FR", by_day, ledger, later)
    root = met("global", by_day, ledger, later)
    assert with_past.certainty["challenger"] < first.certainty["challenger"] == root.certainty["challenger"]
    assert with_past.certainty["naive"] == first.certainty["naive"], "those were meetings of models"
