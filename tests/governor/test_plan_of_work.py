"""Does the plan hold back what is not all there, make again what stands on what changed, and put together what can be?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory_assets.governor.plan import plan
from factory_assets.governor.work import Plan
from tests.governor.world import World, by_command, day, orders_of, worlds

CAUSE = "changed: what was accepted of its issues, or moved to another day"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Four days of both streams, of which nothing is made yet."""
    with worlds(tmp_path, ["world"]) as made:
        world = made["world"]
        for offset in range(4):
            for stream in ("orders", "visits"):
                world.deliver(stream, day(offset))
        world.at(day(4), 1)
        yield world


def planned(world: World) -> Plan:
    return plan(world.deployment.book())


def made(world: World, table: str, offset: int) -> int:
    return world.lake.read(table, day(offset), day(offset), empty_if_absent=True).num_rows


def test_what_is_due_is_listed_in_order_with_what_it_comes_after(world: World) -> None:
    found = planned(world)
    listed = {name: work for work in found.work for name in work.assets}
    assert [work.assets for work in found.ready] == [("orders/raw",), ("visits/raw",)]
    days: dict[tuple[str, ...], list[dt.date]] = {}
    for work in found.work:
        days.setdefault(work.assets, []).extend(() if work.is_page else work.days)
    assert all(of == [day(0), day(1), day(2), day(3)] for of in days.values() if of)
    assert listed["guess/examples"].after == ("orders/events", "visits/events", "features/habit", "features/traffic")
    # Nobody answers before the first training, which is what these days will say.
    assert listed["guess/predictions"].after == ("guess/examples",)
    assert any("training is possible from" in str(notice) for notice in found.notices_of("idle"))


def test_a_new_day_is_one_run_down_the_line_of_its_stream(world: World) -> None:
    by_command(world)
    for stream in ("orders", "visits"):
        world.deliver(stream, day(4))
    world.at(day(5), 1)
    visits, orders = sorted(planned(world).ready, key=lambda work: len(work.days))
    assert set(visits.assets) == {"visits/raw", "visits/events", "visits/statistics", "features/traffic"}
    assert visits.days == (day(4),) and visits.reason == "new"
    # Files of this stream may bring rows of three days before.
    assert orders.assets == ("orders/raw",) and orders.days == (day(1), day(2), day(3), day(4))
    assert orders.reason == "3 changed: its source, 1 new"


@pytest.mark.slow
def test_a_day_waits_for_every_stream_that_it_reads_and_is_never_made_of_a_part(world: World) -> None:
    by_command(world)
    world.deliver("orders", day(4))
    world.at(day(5), 1)
    by_command(world)
    assert made(world, "orders/events", 4) and made(world, "features/habit", 4), "what stands on orders alone goes on"
    assert not made(world, "guess/examples", 4) and not made(world, "features/traffic", 4)
    assert any(
        "visits/raw 2026-01-05: nothing has come yet" in str(notice) for notice in planned(world).notices_of("waiting")
    )
    world.deliver("visits", day(4))
    by_command(world)
    rows = world.lake.read("guess/examples", day(4), day(4)).to_pylist()
    assert rows and any(row["traffic.n_1d"] for row in rows)
    # A feed that is lost for good holds up its own days alone.
    for offset in (5, 6):
        world.deliver("orders", day(offset))
    world.deliver("visits", day(6))
    world.at(day(8), 1)
    by_command(world)
    assert not made(world, "guess/examples", 5) and made(world, "guess/examples", 6)
    assert any("visits/raw 2026-01-06: schema blocks the day" in failure for failure in world.deployment.failures)


@pytest.mark.slow
def test_a_day_delivered_again_makes_again_just_what_reads_it(world: World) -> None:
    by_command(world)
    before = {
        name: world.deployment.book().recorded(name) for name in ("features/habit", "guess/examples", "visits/events")
    }
    rows = orders_of(day(1))
    rows[0]["x"] = 500.0
    world.deliver("orders", day(1), rows)
    by_command(world)
    after = {name: world.deployment.book().recorded(name) for name in before}
    renewed = {name: {on for on in after[name] if after[name][on].number != before[name][on].number} for name in before}
    assert renewed["features/habit"] == {day(1), day(2), day(3)} and renewed["visits/events"] == set()
    assert renewed["guess/examples"] == {day(1), day(2), day(3)}
    assert world.deployment.failures == [] and planned(world).work == []


@pytest.mark.slow
def test_an_issue_that_is_accepted_makes_the_day_and_what_stands_on_it(world: World) -> None:
    rows = orders_of(day(2))
    for row in rows:
        row["x"] = -1
    world.deliver("orders", day(2), rows)
    by_command(world)
    assert not made(world, "guess/examples", 2) and made(world, "guess/examples", 3)
    assert made(world, "orders/quarantine", 2) == len(rows), "also rows of a blocked day stand aside with their reasons"
    (told,) = world.deployment.failures
    assert told.startswith("orders/raw 2026-01-03: ranges blocks the day: x >= 0")
    by_command(world)
    assert world.deployment.failures == [told] and planned(world).work == []
    world.issues.decide("orders", "x >= 0", "accepted", "ana", "a broken gauge")
    (work,) = planned(world).ready
    assert work.assets == ("orders/events",) and work.reason == CAUSE
    by_command(world)
    assert world.deployment.failures == [] and world.lake.version("guess/examples") is not None
    world.issues.decide("orders", "x >= 0", "open", "ana", "it was not")
    by_command(world)
    assert [failure.partition(":")[0] for failure in world.deployment.failures] == ["orders/raw 2026-01-03"]


@pytest.mark.slow
def test_labels_come_as_their_events_become_known_and_not_where_a_day_that_they_ask_is_missing(world: World) -> None:
    """An order that is known a day after the label's own delay; and a day without which nobody knows who came again."""
    rows = orders_of(day(1))
    rows[0]["known"] = f"{day(4)}T06:00:00"
    world.deliver("orders", day(1), rows)
    world.deliver("orders", day(3), [row | {"x": -1} for row in orders_of(day(3))])
    by_command(world)
    late = str(rows[0]["id"])
    known = {str(row["example_id"]) for row in world.lake.read("guess/labels", day(1), day(1)).to_pylist()}
    assert late not in known and len(known) == len(rows) - 1
    assert made(world, "again/labels", 0) and not made(world, "again/labels", 1) and not made(world, "again/labels", 2)
    for offset in (4, 5, 6):
        for stream in ("orders", "visits"):
            world.deliver(stream, day(offset))
    world.at(day(7), 1)
    by_command(world)
    known = {str(row["example_id"]) for row in world.lake.read("guess/labels", day(1), day(1)).to_pylist()}
    assert late in known, "although nothing but time has passed"
    assert not made(world, "again/labels", 1) and made(world, "again/labels", 4)
    world.issues.decide("orders", "x >= 0", "accepted", "ana", "a broken gauge")
    by_command(world)
    assert made(world, "again/labels", 1), "the rows stay aside, and somebody has said that the day may be built on"
