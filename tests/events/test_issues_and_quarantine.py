"""Can a person see what was set aside or blocked, decide, and have the rows back, by the commands that docs/events.md names?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory_assets.governor.executor import catch_up_stream
from factory_resources.people import process_user
from tests.stations import CONTRACT, Station, day, row

STRANGE = day(12)
LAST = day(15)
DAYS = [day(offset) for offset in range(16)]


@pytest.fixture
def feed(tmp_path: Path) -> Station:
    """Two weeks and a day of ten orders each, of which one costs a hundred times as much as ever; one is of Rome."""
    station = Station(tmp_path, contract=CONTRACT + "volume: {max_change: 0.5}\n")
    for place, on in enumerate(DAYS):
        rows = [row(1000 * place + number, on) for number in range(10)]
        rows[3]["city"] = "Rome" if on == day(2) else "Lyon"
        station.deliver(on, rows[:3] if on == STRANGE else rows)
    return station


def catch_up(station: Station) -> dict[str, int]:
    station.deployment.failures.clear()
    stream = station.deployment.catalogue.streams["orders"]
    steps = catch_up_stream(station.deployment, stream, DAYS, lambda station, what: None)
    return {step.asset: step.days for step in steps}


def factory(station: Station, *arguments: str) -> str:
    """The command in a process of its own, on the station's tables; its output, and FAILED where it failed."""
    environment = {
        **os.environ, "FACTORY_DEFS": str(station.folder / "defs"), "FACTORY_HOME": str(station.folder),
        "DAGSTER_HOME": str(station.folder / "dagster"), "COLUMNS": "200",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", "from factory_assets.cli import main; main()", *arguments],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr + ran.stdout, ran.stderr
    return ran.stdout + ran.stderr + ("FAILED" if ran.returncode else "")


def test_a_blocked_day_is_an_issue_until_somebody_accepts_it_and_then_that_day_alone_is_made(feed):
    catch_up(feed)
    told = f"orders/raw {STRANGE}: volume blocks the day: number of rows is 3, expected at least 5 and at most 15"
    assert feed.deployment.failures == [told]
    assert catch_up(feed) == {} and feed.deployment.failures == [told], (
        "told by every run, until it passes or is accepted"
    )
    assert feed.ids(STRANGE) == [] and len(feed.ids(LAST)) == 10
    listed = factory(feed, "issue", "list")
    assert "number of rows" in listed and "open" in listed and "team:marketplace" in listed
    assert "expected at least 5" in listed

    told = factory(feed, "issue", "accept", "orders", "number of rows", "--why", "a strike", "--who", "ana")
    assert told.strip() == f"orders: 'number of rows' is accepted, by {process_user()} (claims: ana): a strike"
    (issue,) = feed.issues.issues("orders")
    assert issue.who == f"{process_user()} (claims: ana)"
    assert catch_up(feed) == {"orders/events": 1, "orders/statistics": 1}
    assert feed.deployment.failures == [] and len(feed.ids(STRANGE)) == 3
    assert "a strike" in factory(feed, "issue", "list")

    factory(feed, "issue", "reopen", "orders", "number of rows", "--why", "it was not")
    catch_up(feed)
    assert len(feed.deployment.failures) == 1


def test_an_issue_is_fixed_by_a_delivery_that_breaks_nothing(feed):
    catch_up(feed)
    feed.deliver(STRANGE, [row(5000 + number, STRANGE) for number in range(9)])
    catch_up(feed)
    assert len(feed.ids(STRANGE)) == 9
    assert "no open issues" in factory(feed, "issue", "list")
    assert "fixed" in factory(feed, "issue", "list", "--all")


def test_the_check_shows_that_a_failure_is_accepted_and_blocks_nothing(feed):
    catch_up(feed)
    feed.issues.decide("orders", "number of rows", "accepted", "ana", "a strike")
    assert feed.run(STRANGE).success
    check = feed.check("volume", STRANGE)
    assert not check.passed and check.severity.value == "WARN"
    assert check.metadata["failures"].records[0].data["verdict"] == "accepted"


@pytest.mark.slow
def test_rows_set_aside_are_shown_and_come_back_when_the_contract_allows_them(feed):
    assert "volume blocks the day" in factory(feed, "run")
    shown = factory(feed, "quarantine", "show", "orders")
    assert "city is one of the allowed" in shown and "city='Rome'" in shown and "orders-2024-03-03.csv" in shown
    assert "nothing to release" in factory(feed, "quarantine", "release", "orders")

    patched = factory(feed, "contract", "patch", "orders", "--day", str(day(2)), "--apply")
    assert "columns: {city: {allowed: [Paris, Lyon, Rome]}}" in patched and "1 patch, version 2" in patched
    assert "1 released, 0 still aside  city is one of the allowed" in factory(feed, "quarantine", "release", "orders")
    assert len(feed.ids(day(2))) == 10 and feed.table("quarantine", day(2)) == []
    assert "no rows are set aside" in factory(feed, "quarantine", "release", "orders")


def test_a_stream_or_rule_that_is_not_there_is_told_with_those_that_are(feed):
    catch_up(feed)
    assert "'order' is not a stream; streams here: orders" in factory(feed, "quarantine", "show", "order")
    refused = factory(feed, "issue", "accept", "orders", "rows", "--why", "so")
    assert "issues there: 'number of rows'" in refused and refused.endswith("FAILED")
