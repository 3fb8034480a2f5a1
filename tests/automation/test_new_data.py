"""Does the sensor of a stream have read what is new, once, and nothing else?"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.governor.runs import RANGE_END, RANGE_START, REASON
from tests.stations import Station, day, row

DAYS = [day(offset) for offset in range(10)]
RAW = dg.AssetKey(["orders", "raw"])


@pytest.fixture
def feed(tmp_path: Path) -> Station:
    """Ten days, the last of which has not come."""
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


def tick(station: Station, cursor: str | None = None) -> dg.SensorResult:
    declared = station.deployment.catalogue.streams["orders"]
    context = dg.build_sensor_context(instance=station.instance, cursor=cursor)
    result = new_data_sensor(declared, station.deployment.specs[RAW])(context)
    assert isinstance(result, dg.SensorResult)
    for event in result.asset_events:
        station.instance.report_runless_asset_event(event)
    return result


def asked(result: dg.SensorResult) -> list[tuple[str, str]]:
    """First and last day of each run that the tick requests."""
    return [
        (request.tags[RANGE_START], request.tags[RANGE_END])
        if RANGE_START in request.tags
        else (request.partition_key,) * 2
        for request in result.run_requests or []
    ]


def read(station: Station, days: Sequence[dt.date] = DAYS[:-1]) -> None:
    assert station.run(days[0], days[-1] if len(days) > 1 else None, ("raw",)).success


def test_new_days_are_read_in_one_run_and_what_has_not_come_is_awaited(feed):
    first = tick(feed)
    assert asked(first) == [(str(DAYS[0]), str(DAYS[8]))]
    (request,) = first.run_requests
    assert request.tags[REASON] == f"{DAYS[0]} to {DAYS[8]}: 9 new"
    assert [key.path[-1] for key in request.asset_selection] == ["raw", "events", "statistics"]
    assert {event.partition for event in first.asset_events} == set(map(str, DAYS[:-1]))
    read(feed)
    second = tick(feed)
    assert not second.run_requests and not second.asset_events
    assert f"nothing has come for {DAYS[9]}" in second.skip_reason.skip_message


def test_the_same_bytes_cause_no_run_whenever_they_are_written_and_wherever_they_lie(feed, tmp_path):
    read(feed)
    for file in feed.feed.iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        os.utime(file, (1, 1))
    assert asked(tick(feed)) == []
    moved = tmp_path / "elsewhere"
    shutil.move(feed.feed, moved)
    declare(feed, str(feed.feed), str(moved))
    assert asked(tick(feed)) == []


def test_a_moved_start_reads_nothing_again(feed):
    read(feed)
    declare(feed, "start: 2024-03-01", f"start: {DAYS[3]}")
    assert asked(tick(feed)) == []
    declare(feed, f"start: {DAYS[3]}", f"start: {DAYS[0] - dt.timedelta(days=2)}")
    assert asked(tick(feed)) == []


def test_days_whose_content_is_another_are_read_again_and_no_others(feed):
    read(feed)
    feed.deliver(DAYS[2], [row(700, DAYS[2])])
    feed.deliver(DAYS[5], [row(701, DAYS[5])], part="-late")
    result = tick(feed)
    assert asked(result) == [(str(DAYS[2]),) * 2, (str(DAYS[5]),) * 2]
    assert "1 changed since the source" in result.run_requests[0].tags[REASON]
    assert {event.partition for event in result.asset_events} == {str(DAYS[2]), str(DAYS[5])}
    read(feed, [DAYS[2]])
    read(feed, [DAYS[5]])
    assert asked(tick(feed)) == []


def test_an_observation_is_said_once_and_a_run_that_failed_is_not_repeated_until_the_source_changes(feed):
    (request,) = tick(feed).run_requests
    run = feed.instance.create_run_for_job(
        feed.deployment.job, tags={"dagster/run_key": request.run_key}, status=dg.DagsterRunStatus.FAILURE
    )
    again = tick(feed)
    assert not again.run_requests and not again.asset_events
    assert f"run {run.run_id} could not read {DAYS[0]} to {DAYS[8]}" in again.skip_reason.skip_message
    feed.deliver(DAYS[2], [row(700, DAYS[2])])
    changed = tick(feed)
    assert asked(changed) == [(str(DAYS[0]), str(DAYS[8]))]
    assert [event.partition for event in changed.asset_events] == [str(DAYS[2])]


def test_while_a_run_reads_the_stream_no_other_is_asked_for(feed):
    run = feed.instance.create_run_for_job(
        feed.deployment.job, asset_selection=frozenset({RAW}), status=dg.DagsterRunStatus.STARTED
    )
    declared = feed.deployment.catalogue.streams["orders"]
    context = dg.build_sensor_context(instance=feed.instance)
    skipped = new_data_sensor(declared, feed.deployment.specs[RAW])(context)
    assert isinstance(skipped, dg.SkipReason) and run.run_id in str(skipped.skip_message)


def test_a_tick_that_cannot_look_fails_with_the_reason_and_without_the_password(feed):
    csv = f"{{kind: csv, uri: '{feed.feed}/orders-{{day}}*.csv'}}"
    declare(feed, csv, "{kind: postgres, url: 'postgresql://ana:hunter2@127.0.0.1:1/shop', table: orders}")
    with pytest.raises(dg.Failure, match="orders: postgresql://ana:") as raised:
        tick(feed)
    assert "hunter2" not in str(raised.value)


def test_a_long_past_is_looked_at_in_stretches_that_come_round():
    days = [DAYS[0] + dt.timedelta(days=offset) for offset in range(100)]
    seen, cursor, ticks = set(), None, 0
    while not set(days) <= seen:
        looked, cursor = chosen(days, {days[1]}, cursor)
        assert set(days[-NEWEST:]) <= set(looked) and days[1] in looked and len(looked) <= NEWEST + PAST + 1
        seen |= set(looked)
        ticks += 1
    assert ticks == -(-(100 - NEWEST) // PAST)
