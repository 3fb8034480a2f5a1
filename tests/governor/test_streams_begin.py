"""Streams that begin on different days: Dagster runs only assets of the same partitions together, and each day is made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory_assets.governor.executor import catch_up
from factory_assets.governor.grouping import grouped
from factory_assets.governor.work import Work
from tests.governor.ticks import Ticker
from tests.stations import START, STREAM, Station, csv, day, row

DAYS, LATER = 5, 2


def by_command(station: Station, until: int) -> None:
    list(catch_up(station.deployment, day(until), lambda *_: None))
    assert not station.deployment.failures


def by_daemon(station: Station, until: int) -> None:
    definitions = station.deployment.definitions
    Ticker(station.deployment, definitions.resources or {}).until_quiet()


@pytest.mark.parametrize("run", [by_command, by_daemon])
def test_streams_that_begin_on_different_days_are_made_day_by_day(
    tmp_path: Path, run: Callable[[Station, int], None]
) -> None:
    source = f"{{kind: csv, uri: '{tmp_path}/feed/visits-{{day}}*.csv'}}"
    visits = STREAM.format(source=source).replace("name: orders", "name: visits")
    station = Station(tmp_path, more="---" + visits.replace(f"start: {START}", f"start: {day(LATER)}"))
    declarations = tmp_path / "defs" / "defs.yaml"
    declarations.write_text(declarations.read_text().replace("end: 2024-05-31", f"end: {day(DAYS - 1)}"))
    station.load()
    # The past in a range, and then a day alone, whose work on both streams is of the same day.
    for offset in range(DAYS):
        on = day(offset)
        station.deliver(on, [row(100 * offset + each, on) for each in range(5)])
        (station.feed / f"visits-{on}.csv").write_text(csv([row(100 * offset + each, on) for each in range(5)]))
        if offset >= DAYS - 2:
            run(station, offset)
    for name, first in (("orders", 0), ("visits", LATER)):
        held = station.lake.held(f"{name}/events")
        assert [held.rows(day(at)) for at in range(DAYS)] == [0] * first + [5] * (DAYS - first)


def test_work_of_a_day_is_one_run_where_the_assets_have_the_same_days() -> None:
    work = [Work((name,), "new", (day(4),), span=span) for name, span in (("a", "1"), ("b", "2"), ("c", "1"))]
    assert [run.assets for run in grouped(work, {})] == [("a", "c"), ("b",)]
