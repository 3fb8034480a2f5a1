"""Does a node's health follow from what the ledger and the monitors say of it, by the rule that the pages state?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory_assets.monitoring.monitors import SCHEMA
from factory_assets.pages.fleet import Stand, fleet
from factory_assets.release.request import Request
from factory_assets.release.rollback import roll_back
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import WAITS, Decision, Verdict
from tests.features.lines import OF_EVENTS, declared_line
from tests.resources.test_ledger import a_version

FIRST = dt.date(2026, 3, 2)


def on(offset: int) -> dt.date:
    return FIRST + dt.timedelta(days=offset)


LINE = "question"


def lake_of(folder: Path, *courses: tuple[str, str, Sequence[str | None]]) -> Lake:
    """Verdicts of a node's monitors, one a day from the first on; None where nobody looked."""
    rows = [
        {"line": LINE, "node": node, "monitor": monitor, "column": "x", "verdict": verdict, "n": 100, "value": 1.0 + at,
         "reason": f"{monitor} on {on(at)}", "ds": on(at)}
        for node, monitor, course in courses for at, verdict in enumerate(course) if verdict
    ]  # fmt: skip
    lake, length = Lake(root=str(folder / "lake")), max((len(course) for *_, course in courses), default=0)
    if rows:
        lake.replace(f"{LINE}/monitors", pa.Table.from_pylist(rows, schema=SCHEMA), list(map(on, range(length))))
    return lake


def decide(ledger: Ledger, node: str, verdict: Verdict, **evidence: Any) -> None:
    version = None
    if verdict != "fallback":
        version = f"{verdict} {node}"
        ledger.register(a_version(version, line=LINE, node=node, as_of=FIRST))
    champion = version if verdict == "promote" else None
    ledger.decide(Decision(LINE, node, FIRST, verdict, version, champion, f"{verdict} of {node}", "gate", evidence))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def stands(lake: Lake, ledger: Ledger) -> dict[str, Stand]:
    return {each.node: each for each in fleet([declared_line(**OF_EVENTS)], lake, ledger)}


def test_every_health_has_its_reason_and_what_needs_somebody_comes_first(tmp_path: Path, ledger: Ledger) -> None:
    for node in ("DE", "FR", "FR/Lyon", "IT"):
        decide(ledger, node, "promote")
    decide(ledger, "ES", "fallback")
    decide(ledger, "DE/Bonn", "keep", **{WAITS: True})
    lake = lake_of(
        tmp_path,
        ("DE", "drift", ["stable"] * 4),
        ("FR", "drift", ["stable", "alarm", "alarm", "alarm"]),
        ("FR", "rows", ["stable"] * 4),
        ("FR/Lyon", "drift", [None, None, None, "watched by FR"]),
        ("DE/Bonn", "rows", ["stable"] * 4),
        ("IT", "drift", ["no verdict"] * 4),
    )
    found = stands(lake, ledger)
    assert {node: (each.health, each.since) for node, each in found.items()} == {
        "global": ("unanswered", None), "ES": ("unanswered", None), "FR": ("alarm", on(1)), "DE/Bonn": ("waits", FIRST),
        "IT": ("unwatched", None), "DE": ("well", None), "FR/Lyon": ("well", None),
    }  # fmt: skip
    assert [each.urgency for each in found.values()] == sorted(each.urgency for each in found.values())
    assert found["ES"].why == "nobody answers: fallback of ES" and found["ES"].answers is None
    assert found["FR"].why == f"drift of x: drift on {on(3)}" and found["FR"].drifted == ("x",)
    assert found["DE/Bonn"].why == "keep DE/Bonn waits for approval: keep of DE/Bonn"
    assert (found["DE/Bonn"].answers, found["DE/Bonn"].version) == ("DE", "promote DE")
    assert found["FR/Lyon"].why == "0 series stable; its drift is watched by FR"
    assert (found["DE"].trained, found["DE"].decided_by, found["DE"].reason) == (FIRST, "gate", "promote of DE")


def test_an_alarm_lasts_until_a_look_finds_nothing_and_no_verdict_ends_none(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "global", "promote")
    ends = lake_of(tmp_path / "ends", ("global", "performance", ["alarm", "alarm", "stable", "no verdict"]))
    assert stands(ends, ledger)["global"].health == "well"
    lasts = lake_of(
        tmp_path / "lasts", ("global", "performance", ["stable", "alarm", "no verdict", None, "no verdict"])
    )
    assert [(each.health, each.since) for each in stands(lasts, ledger).values()] == [("alarm", on(1))]


def test_labels_that_are_not_in_yet_hide_no_alarm_of_the_newest_days_that_have_theirs(
    tmp_path: Path, ledger: Ledger
) -> None:
    """The horizon is a day; performance of the days that wait for labels has no verdict."""
    decide(ledger, "global", "promote")
    lake = lake_of(
        tmp_path, ("global", "performance", ["alarm", "no verdict"]), ("global", "drift", ["stable", "stable"])
    )
    found = stands(lake, ledger)["global"]
    assert (found.health, found.why) == ("alarm", f"performance of x: performance on {FIRST}")


def test_what_has_become_worse_is_named_before_what_may_be_why(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "global", "promote")
    names = ["rows", "drift", "estimates", "performance", "floor"]
    lake = lake_of(tmp_path, *(("global", name, ["alarm"]) for name in names))
    named = "; ".join(f"{name} of x: {name} on {FIRST}" for name in ("performance", "floor", "estimates"))
    assert stands(lake, ledger)["global"].why == f"{named}; and 2 alarms more"


def test_the_newest_day_that_could_be_measured_tells_metric_guess_and_labels(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "global", "promote")
    lake = lake_of(tmp_path, ("global", "estimates", ["stable", "no verdict"]))
    metric = stands(lake, ledger)["global"].metric
    rows = [
        {"node": "global", "predicted": 40, "labelled": labelled, metric: value, f"naive_{metric}": 0.3, "ds": day}
        for day, labelled, value in ((FIRST, 30, 0.7), (on(1), 0, None))
    ]
    lake.replace(f"{LINE}/performance", pa.Table.from_pylist(rows), [FIRST, on(1)])
    found = stands(lake, ledger)["global"]
    assert (found.measured, found.value, found.naive, found.labelled) == (FIRST, 0.7, 0.3, 0.75)
    assert found.estimate == 2.0


def test_a_line_that_was_never_trained_has_a_node_without_an_answer(tmp_path: Path, ledger: Ledger) -> None:
    found = stands(lake_of(tmp_path), ledger)
    assert [(each.node, each.health, each.version) for each in found.values()] == [("global", "unanswered", None)]


def test_who_answers_after_a_rollback_shows_at_once(tmp_path: Path, ledger: Ledger) -> None:
    for node in ("global", "FR"):
        decide(ledger, node, "promote")
    lake = lake_of(tmp_path, ("FR", "drift", ["stable"]))
    before = stands(lake, ledger)["FR"]
    roll_back(ledger, lake, Request(LINE, "FR", "too many complaints", "ana"), "ancestor")
    after = stands(lake, ledger)["FR"]
    assert (before.answers, after.answers, after.version) == ("FR", "global", "promote global")
    assert (after.verdict, after.reason, after.decided_by) == ("rollback", "too many complaints", "ana")
