"""Can a person see what was set aside or blocked, decide, and have the rows back, by the commands that docs/events.md names?"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from factory_assets.events import stations
from factory_assets.events.stations import Admitted
from factory_assets.governor.executor import catch_up_stream
from factory_resources.engine import Engine
from factory_resources.people import process_user
from tests import forked
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


def catch_up(station: Station, days: list[dt.date] = DAYS) -> dict[str, int]:
    station.deployment.failures.clear()
    stream = station.deployment.catalogue.streams["orders"]
    steps = catch_up_stream(station.deployment, stream, days, lambda station, what: None)
    return {step.asset: step.days for step in steps}


def factory(station: Station, *arguments: str) -> str:
    """The command in a process of its own, on the station's tables; its output, and FAILED where it failed."""
    environment = {
        **os.environ, "FACTORY_DEFS": str(station.folder / "defs"), "FACTORY_HOME": str(station.folder),
        "DAGSTER_HOME": str(station.folder / "dagster"), "COLUMNS": "200",
    }  # fmt: skip
    ran = forked.factory(*arguments, env=environment, timeout=120)
    assert "Traceback" not in ran.stderr + ran.stdout, ran.stderr
    return ran.stdout + ran.stderr + ("FAILED" if ran.returncode else "")


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_issue_is_fixed_by_a_delivery_that_breaks_nothing(feed):
    catch_up(feed)
    feed.deliver(STRANGE, [row(5000 + number, STRANGE) for number in range(9)])
    catch_up(feed)
    assert len(feed.ids(STRANGE)) == 9
    assert "no open issues" in factory(feed, "issue", "list")
    assert "fixed" in factory(feed, "issue", "list", "--all")


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_stream_or_rule_that_is_not_there_is_told_with_those_that_are(feed):
    catch_up(feed)
    assert "'order' is not a stream; streams here: orders" in factory(feed, "quarantine", "show", "order")
    refused = factory(feed, "issue", "accept", "orders", "rows", "--why", "so")
    assert "issues there: 'number of rows'" in refused and refused.endswith("FAILED")


@pytest.mark.slow
def test_a_run_says_how_many_rows_it_set_aside_and_why_and_what_can_be_done_about_a_blocked_day(feed: Station) -> None:
    stream = feed.deployment.catalogue.streams["orders"]
    steps = {step.asset: step for step in catch_up_stream(feed.deployment, stream, DAYS, lambda station, what: None)}
    said = "15 computed; 1 held back; 1 row of 1 day set aside: city is one of the allowed (1)"
    assert (steps["orders/events"].days, steps["orders/events"].detail) == (15, said)
    assert feed.deployment.judged["orders"] == {*DAYS}
    printed = factory(feed, "run")
    (issue,) = (each for each in feed.issues.issues("orders") if each.kind == "volume")
    rule, days = issue.rule, len(issue.days)
    command = f"factory issue accept orders '{rule}' --why REASON"
    assert (
        f"orders: '{rule}' blocks {days} days: team:marketplace has the data delivered again, or lets them pass: {command}"
        in printed
    )


@pytest.mark.slow
def test_days_judged_one_by_one_are_judged_as_together_also_after_weeks_that_were_blocked(tmp_path: Path) -> None:
    """No recent day is fit: the last ones that were are looked up, from before the range."""
    days, bad = [day(offset) for offset in range(21)], {day(offset) for offset in range(8, 20)}
    by_way = {}
    for way, ranges in {
        "together": [days],
        "one by one": [[each] for each in days],
        "in parts": [days[:10], days[10:]],
    }.items():
        (tmp_path / way).mkdir()
        station = Station(tmp_path / way, contract=CONTRACT + "past: 7d\nvolume: {max_change: 0.5}\n")
        for place, on in enumerate(days):
            rows = [row(1000 * place + number, on) for number in range(10)]
            station.deliver(on, rows[:3] if on in bad else rows)
        told = {}
        for asked in ranges:
            admitted = admit(station, asked)
            told |= {verdict.day: verdict.blocked for verdict in admitted.verdicts}
        by_way[way] = told
    assert by_way["together"] == by_way["one by one"] == by_way["in parts"]
    assert {on for on, why in by_way["together"].items() if why} == bad
    assert by_way["together"][day(19)] == (
        f"number of rows is 3, expected at least 5 and at most 15, as on the 7 days up to {day(7)}, the last that were fit for use",
    )


def test_a_row_stands_in_quarantine_with_every_rule_that_it_breaks(tmp_path: Path) -> None:
    station = Station(tmp_path, contract=CONTRACT)
    rows = [row(number, day(0)) for number in range(200)]
    rows[5] |= {"city": "Rome", "amount": -1}
    rows[6] |= {"city": "Rome"}
    station.deliver(day(0), rows)
    admit(station, [day(0)])
    first, second = sorted(station.table("quarantine", day(0)), key=lambda each: -len(each["rules"]))
    assert len(first["rules"]) == 2 and first["rule"] == first["rules"][0]
    assert second["rules"] == [second["rule"]] and second["rule"] in first["rules"]
    shown = factory(station, "quarantine", "show", "orders", "--rule", first["rules"][1])
    assert "orders: 1 row set aside" in shown and "; ".join(first["rules"]) in shown


def test_columns_that_go_empty_in_the_same_rows_are_one_issue_and_one_decision(tmp_path: Path) -> None:
    contract = CONTRACT.replace("  ref:", "  shop: {type: string}\n  till: {type: string}\n  ref:")
    station = Station(tmp_path, contract=contract)
    days, together, apart = [day(offset) for offset in range(4)], day(1), day(2)
    for place, on in enumerate(days):
        rows = [row(100 * place + number, on, shop="a", till="b") for number in range(20)]
        for each in rows[:10] if on == together else ():
            each |= dict.fromkeys(("city", "shop", "till"), "")
        for each in rows[:10] if on == apart else ():
            each["shop"] = ""
        for each in rows[5:15] if on == apart else ():
            each["till"] = ""
        station.deliver(on, rows)
    catch_up(station, days)
    told = {(issue.rule, *issue.days): list(issue.days.values())[-1] for issue in station.issues.issues("orders")}
    alike = "city is not null: not so for 10 rows, 50.0%; the same rows break: shop is not null, till is not null"
    assert told == {
        ("city is not null", together): alike,
        ("shop is not null", apart): "shop is not null: not so for 10 rows, 50.0%",
        ("till is not null", apart): "till is not null: not so for 10 rows, 50.0%",
    }
    station.issues.decide("orders", "city is not null", "accepted", "ana", "the tills were down")
    catch_up(station, days)
    assert len(station.ids(together)) == 10 and station.ids(apart) == [], "all three columns, in that day's rows"
    assert {(issue.rule, issue.state) for issue in station.issues.issues("orders")} == {
        ("city is not null", "accepted"), ("shop is not null", "open"), ("till is not null", "open"),
    }  # fmt: skip
    assert len(station.deployment.failures) == 1 and str(apart) in station.deployment.failures[0]


def admit(station: Station, days: list[dt.date]) -> Admitted:
    """Read and judge days, as their assets do."""
    declared = station.deployment.catalogue.streams["orders"]
    stations.deliver(station.lake, Engine(threads=1), declared, days, days[-1] + dt.timedelta(days=1))
    return stations.admit(station.lake, Engine(threads=1), declared, days)
