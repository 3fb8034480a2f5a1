"""Does a tick ask for what is due, once, and for nothing else; and does it always say why, or why not?"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepFailureData

from factory_assets.governor.runs import RANGE_END, RANGE_START, REASON, STATES
from factory_assets.governor.sensors import NEWEST, PAST, Look
from factory_assets.identity.inputs import Asset, Recorded, stamps
from factory_resources.engine import Engine
from tests.governor.ticks import Ticker
from tests.stations import Station, day, row

DAYS = [day(offset) for offset in range(10)]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.datetime], None]:
    """Set the clock."""
    file = tmp_path / "clock"
    monkeypatch.setenv("FACTORY_CLOCK", str(file))

    def move(moment: dt.datetime) -> None:
        file.write_text(moment.isoformat())

    move(dt.datetime.combine(DAYS[-1] + dt.timedelta(days=1), dt.time(0, 30), dt.UTC))
    return move


@pytest.fixture
def feed(tmp_path: Path, at: Callable[[dt.datetime], None]) -> Station:
    """Ten days, the last of which is over and has not come."""
    station = Station(tmp_path)
    declare(station, "end: 2024-05-31", f"end: {DAYS[-1]}")
    for place, on in enumerate(DAYS[:-1]):
        station.deliver(on, [row(100 * place + number, on) for number in range(5)])
    return station


def declare(station: Station, found: str, replacement: str) -> None:
    file = station.folder / "defs" / "defs.yaml"
    assert found in file.read_text()
    file.write_text(file.read_text().replace(found, replacement))
    station.load()


def ticker(station: Station) -> Ticker:
    deployment = station.deployment
    resources = {
        "lake": station.lake, "engine": Engine(threads=1, memory_limit="1GB"), "ledger": deployment.ledger,
        "issues": station.issues, "verdicts": deployment.verdicts, "archive": deployment.archive,
    }  # fmt: skip
    return Ticker(deployment, resources)


def asked(requests: list[dg.RunRequest]) -> list[tuple[str, str, str]]:
    """First asset, first and last day of each run."""
    return [
        (
            request.asset_selection[0].to_user_string() if request.asset_selection else "",
            request.tags.get(RANGE_START, str(request.partition_key)),
            request.tags.get(RANGE_END, str(request.partition_key)),
        )
        for request in requests
    ]


def test_new_days_are_read_in_one_run_and_what_has_not_come_is_awaited(feed: Station) -> None:
    daemon = ticker(feed)
    (request,) = daemon.tick()
    assert asked([request]) == [("orders/raw", str(DAYS[0]), str(DAYS[8]))]
    assert request.tags[REASON] == "9 new"
    daemon.execute(request)
    daemon.until_quiet()
    assert {on for on in DAYS if feed.ids(on)} == set(DAYS[:-1])
    assert daemon.tick() == []
    assert (
        f"orders/raw {DAYS[-1]}: nothing has come yet; a day's file is waited for until 1d after its close"
        in daemon.skipped["upkeep"]
    )
    observed = feed.instance.fetch_observations(dg.AssetKey(["orders", "source"]), limit=100).records
    assert len(observed) == len({each.asset_observation.partition for each in observed if each.asset_observation}) == 10


@pytest.mark.slow
def test_a_day_that_never_comes_is_an_issue_once_its_time_of_grace_has_passed(
    feed: Station, at: Callable[[dt.datetime], None]
) -> None:
    daemon = ticker(feed)
    daemon.until_quiet()
    assert [issue.rule for issue in feed.issues.issues()] == []
    at(dt.datetime.combine(DAYS[-1] + dt.timedelta(days=2), dt.time(0, 30), dt.UTC))
    daemon.until_quiet()
    (issue,) = feed.issues.issues()
    assert issue.kind == "delivery" and list(issue.days) == [DAYS[-1]]
    assert "orders/raw 2024-03-10: schema blocks the day" in daemon.skipped["upkeep"]
    feed.deliver(DAYS[-1], [row(900 + number, DAYS[-1]) for number in range(5)])
    daemon.until_quiet()
    assert feed.ids(DAYS[-1]) and feed.issues.issues()[0].state == "fixed"


@pytest.mark.slow
def test_the_same_bytes_cause_no_run_whenever_they_are_written_and_wherever_they_lie(
    feed: Station, tmp_path: Path
) -> None:
    ticker(feed).until_quiet()
    for file in feed.feed.iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        os.utime(file, (1, 1))
    assert ticker(feed).tick() == []
    moved = tmp_path / "elsewhere"
    shutil.move(feed.feed, moved)
    declare(feed, str(feed.feed), str(moved))
    assert ticker(feed).tick() == []


@pytest.mark.slow
def test_days_whose_content_is_another_are_read_again_with_all_that_stands_on_them(feed: Station) -> None:
    daemon = ticker(feed)
    daemon.until_quiet()
    feed.deliver(DAYS[2], [row(700, DAYS[2])])
    feed.deliver(DAYS[5], [row(701, DAYS[5])], part="-late")
    requests = daemon.tick()
    assert asked(requests) == [("orders/raw", str(on), str(on)) for on in (DAYS[2], DAYS[5])]
    assert requests[0].tags[REASON] == "changed: its source"
    for request in requests:
        daemon.execute(request)
    daemon.until_quiet()
    made = [(name, first) for name, first, _ in asked(daemon.requested[-4:])]
    assert made == [("orders/events", str(DAYS[2])), ("orders/events", str(DAYS[5])),
                    ("orders/statistics", str(DAYS[2])), ("orders/statistics", str(DAYS[5]))]  # fmt: skip
    assert feed.ids(DAYS[2]) == [700] and 701 in feed.ids(DAYS[5])


def test_a_lost_cursor_and_the_same_tick_twice_start_nothing_twice(feed: Station) -> None:
    daemon = ticker(feed)
    (first,) = daemon.tick()
    daemon.cursors, daemon.keys = {}, set()
    (again,) = daemon.tick()
    assert first.run_key == again.run_key, "Dagster starts a key once"
    daemon.execute(again)
    daemon.cursors = {}
    daemon.until_quiet()
    daemon.cursors, daemon.keys = {}, set()
    assert daemon.tick() == []


def test_a_run_that_failed_is_not_repeated_until_what_it_reads_changes(feed: Station) -> None:
    daemon = ticker(feed)
    (request,) = daemon.tick()
    run = failed(feed, request, step=True)
    assert (
        daemon.tick() == []
        and f"run {run} failed; it is tried again when what it reads changes" in daemon.skipped["upkeep"]
    )
    feed.deliver(DAYS[2], [row(700, DAYS[2])])
    assert asked(daemon.tick()) == [("orders/raw", str(DAYS[0]), str(DAYS[8]))]


def test_a_run_whose_process_died_is_tried_again_a_few_times(feed: Station) -> None:
    daemon = ticker(feed)
    for _ in range(3):
        (request,) = daemon.tick()
        assert request.tags["dagster/max_retries"] == "0", "not by Dagster beside"
        failed(feed, request, step=False)
    assert daemon.tick() == [] and "died again" in daemon.skipped["upkeep"]


def failed(station: Station, request: dg.RunRequest, step: bool) -> str:
    """A run of the request that ended badly: by the failure of a step, or with its process."""
    job = station.deployment.job
    run = station.instance.create_run_for_job(job, tags={STATES: request.tags[STATES]})
    if step:
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.STEP_FAILURE.value,
            job_name=job.name,
            step_key="orders__raw",
            event_specific_data=StepFailureData(error=None, user_failure_data=None),
        )
        station.instance.report_dagster_event(event, run.run_id)
    station.instance.report_run_failed(run, "for a test")
    return run.run_id


def test_while_a_run_is_at_it_no_other_is_asked_for_nor_what_stands_on_it(feed: Station) -> None:
    daemon = ticker(feed)
    (request,) = daemon.tick()
    assert request.asset_selection is not None
    run = feed.instance.create_run_for_job(
        feed.deployment.job, asset_selection=frozenset(request.asset_selection), tags=dict(request.tags),
        status=dg.DagsterRunStatus.STARTED,
    )  # fmt: skip
    assert daemon.tick() == []
    assert f"orders/raw {DAYS[0]} to {DAYS[8]}: run {run.run_id} is making them now" in daemon.skipped["upkeep"]
    feed.instance.report_run_canceled(run)
    assert daemon.tick() == [] and "was stopped" in daemon.skipped["upkeep"], "somebody did not want it"


@pytest.fixture
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick asks the sources of three days."""
    monkeypatch.setattr("factory_assets.governor.sensors.NEWEST", 1)
    monkeypatch.setattr("factory_assets.governor.sensors.PAST", 2)


@pytest.mark.usefixtures("short_look")
def test_nothing_is_built_on_days_that_a_run_is_at_whatever_days_the_tick_looks_at(feed: Station) -> None:
    daemon = ticker(feed)
    (request,) = daemon.tick()
    raw = dg.AssetKey(["orders", "raw"])
    feed.run(DAYS[0], DAYS[8], ["raw"])
    run = feed.instance.create_run_for_job(
        feed.deployment.job,
        asset_selection=frozenset([raw]),
        tags=dict(request.tags),
        status=dg.DagsterRunStatus.STARTED,
    )
    assert daemon.tick() == [] and "orders/events, 9 days waits for orders/raw" in daemon.skipped["upkeep"]
    feed.instance.report_run_canceled(run)
    assert asked(daemon.tick()) == [("orders/events", str(DAYS[0]), str(DAYS[8]))]


@pytest.mark.usefixtures("short_look")
def test_days_whose_run_died_before_it_judged_them_are_judged_before_anything_is_built_on_them(
    feed: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr("factory_resources.records.verdicts.Verdicts.note", lambda *_: None)
        feed.run(DAYS[0], DAYS[8], ["raw"])
    assert asked(ticker(feed).tick()) == [("orders/raw", str(DAYS[0]), str(DAYS[8]))]


def test_a_tick_that_cannot_look_says_why_without_the_password_and_the_rest_goes_on(feed: Station) -> None:
    ticker(feed).until_quiet()
    csv = f"{{kind: csv, uri: '{feed.feed}/orders-{{day}}*.csv'}}"
    declare(feed, csv, "{kind: postgres, url: 'postgresql://ana:hunter2@127.0.0.1:1/shop', table: orders}")
    daemon = ticker(feed)
    daemon.tick()
    assert "orders: postgresql://ana:" in daemon.skipped["upkeep"]
    assert "hunter2" not in daemon.skipped["upkeep"]


def test_a_long_past_is_looked_at_in_stretches_that_come_round(feed: Station) -> None:
    days = [DAYS[0] + dt.timedelta(days=offset) for offset in range(100)]
    declared = feed.deployment.catalogue.streams["orders"]
    raw = Asset("orders/raw", "v1")
    held = {on: Recorded("1-0", stamp) for on, stamp in stamps(raw, {}, days).items()}
    seen, cursor, ticks = set[dt.date](), None, 0
    while not set(days) <= seen:
        look = Look(cursor)
        looked = look.chosen(declared, days, held, raw)
        cursor = look.cursor
        assert set(days[-NEWEST:]) <= set(looked) and len(looked) <= NEWEST + PAST
        seen |= set(looked)
        ticks += 1
    assert ticks == -(-(100 - NEWEST) // PAST)
    assert Look(cursor).chosen(declared, days, held, Asset("orders/raw", "v2")) == days, "of another declaration, all"
    assert set(days[:3]) <= set(Look(None).chosen(declared, days, {on: held[on] for on in days[3:]}, raw))
