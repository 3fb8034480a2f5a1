"""Streams that begin on different days: Dagster runs only assets of the same partitions together, and each day is made."""

from pathlib import Path

from factory_assets.governor.executor import catch_up
from factory_assets.governor.grouping import grouped
from factory_assets.governor.work import Work
from tests.stations import START, STREAM, Station, csv, day, row

LATER = 2


def test_streams_that_begin_on_different_days_are_made_day_by_day(tmp_path: Path) -> None:
    source = f"{{kind: csv, uri: '{tmp_path}/feed/visits-{{day}}*.csv'}}"
    visits = STREAM.format(source=source).replace("name: orders", "name: visits")
    station = Station(tmp_path, more="---" + visits.replace(f"start: {START}", f"start: {day(LATER)}"))
    for offset in range(5):
        on = day(offset)
        station.deliver(on, [row(100 * offset + each, on) for each in range(5)])
        (station.feed / f"visits-{on}.csv").write_text(csv([row(100 * offset + each, on) for each in range(5)]))
    # The past in a range, and then a day alone, whose work on both streams is of the same day.
    for until in (day(3), day(4)):
        list(catch_up(station.deployment, until, lambda *_: None))
        assert not station.deployment.failures
    for name, first in (("orders", 0), ("visits", LATER)):
        held = station.lake.held(f"{name}/events")
        assert [held.rows(day(at)) for at in range(5)] == [0] * first + [5] * (5 - first)


def test_work_of_a_day_is_one_run_where_the_assets_have_the_same_days() -> None:
    work = [Work((name,), "new", (day(4),), span=span) for name, span in (("a", "1"), ("b", "2"), ("c", "1"))]
    assert [run.assets for run in grouped(work, {})] == [("a", "c"), ("b",)]
