"""What follows from days that are held back, soon or after weeks, and from what is decided about them? By every executor alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factory_assets.governor.executor import catch_up
from factory_assets.governor.plan import plan
from factory_assets.governor.sensors import UPKEEP, retrain_name
from tests.governor.test_leaking_views import differing, held
from tests.governor.world import DEFS, SMALL, World, by_command, by_daemon, day, orders_of, visits_of, worlds

#: Minutes together: weeks of days, kept twice.
pytestmark = pytest.mark.longest
Keep = Callable[[World], None]
EXECUTORS: dict[str, Keep] = {"command": by_command, "daemon": by_daemon}
DAYS, BAD = 13, 11
BLOCKED = f"orders/raw {day(BAD)}: ranges blocks the day: x >= 0: not so for 40 rows, 66.7%"
#: The line over orders alone, with the view of visits.
TWO_STREAMS = DEFS[: DEFS.rindex("---")].replace("{window: 7d, holdout: 3d}", "{window: 4d, holdout: 2d}")


def rows(offset: int, broken: int = 0) -> list[dict[str, Any]]:
    """A day's sixty orders, of which so many break the contract."""
    return [row | ({"x": -5} if place < broken else {}) for place, row in enumerate(orders_of(day(offset))[:60])]


def deliver(world: World, days: Sequence[int], broken: Sequence[int] = (BAD,)) -> None:
    for offset in days:
        world.deliver("orders", day(offset), rows(offset, 40 if offset in broken else 0))
    world.at(day(days[-1] + 1), 1)


def blocked(world: World) -> list[str]:
    """What is held back, as the command tells it at its end, and `factory due`."""
    return [str(notice) for notice in plan(world.deployment.book()).notices_of("blocked", "failed")]


def dates(world: World) -> list[dt.date]:
    """The days as of which the line was trained."""
    return [each.as_of for each in world.ledger.decisions("guess") if each.node == "global"]


def quiet(world: World) -> None:
    """Neither the command nor a sensor finds anything to do."""
    found = plan(world.deployment.book())
    assert found.work == [], found.work
    assert [request for sensor in world.ticker.sensors for request in world.ticker.tick(sensor)] == []


@contextmanager
def kept(folder: Path, defs: str, *others: str) -> Iterator[dict[str, World]]:
    """A world for each executor, and others."""
    with worlds(folder, [*EXECUTORS, *others], defs) as made:
        yield made


def in_each(made: dict[str, World], happens: Callable[[World], None]) -> None:
    """Something happens in each executor's world, which then is kept up; all hold the same."""
    for name, keep in EXECUTORS.items():
        made[name].load()
        happens(made[name])
        keep(made[name])
        quiet(made[name])
    assert differing(held(made["command"]), held(made["daemon"])) == {}


def decide(state: Any) -> Callable[[World], None]:
    return lambda world: world.issues.decide("orders", "x >= 0", state, "ana", "a test of the gauge")


def test_six_weeks_that_are_held_back_are_not_trained_on_until_somebody_lets_them_through(tmp_path: Path) -> None:
    """A training window of a week and a holdout of three days; labels come a day later."""
    defs = SMALL.replace("{window: 4d, holdout: 2d}", "{window: 7d, holdout: 3d}").replace("every: 30d", "every: 7d")
    first, hole, after = range(16), range(16, 58), range(58, 72)
    with kept(tmp_path, defs) as made:
        command = made["command"]
        in_each(made, lambda world: deliver(world, first, ()))
        trained = dates(command)
        assert len(trained) == 1

        in_each(made, lambda world: deliver(world, hole, hole))
        held_back = f"orders/raw {day(16)} to {day(57)}: {BLOCKED.partition(': ')[2]}"
        assert blocked(command) == [held_back]
        in_each(made, lambda world: deliver(world, after[:8], ()))
        for world in made.values():
            (idle,) = plan(world.deployment.book()).notices_of("idle")
            assert "4 of the 7 days of the training window as of" in idle.reason and f"to {day(57)}" in idle.reason, (
                idle
            )
        assert idle.reason in made["daemon"].ticker.skipped[retrain_name("guess")]
        assert dates(command) == trained

        in_each(made, lambda world: deliver(world, after[8:], ()))
        assert dates(command)[:-1] == trained and dates(command)[-1] > day(57)
        trained = dates(command)
        assert not {*map(day, hole)} & {*command.lake.days("guess/predictions")}

        in_each(made, decide("accepted"))
        assert blocked(command) == []
        assert {*map(day, hole)} <= {*command.lake.days("guess/predictions")}
        assert dates(command) == trained, "of what is past, none is repeated"


def test_a_day_that_is_delivered_well_after_all_leaves_no_trace_of_the_bad_one(tmp_path: Path) -> None:
    with kept(tmp_path, SMALL, "never") as made:
        in_each(made, lambda world: deliver(world, range(DAYS)))
        for world in made.values():
            if world is not made["never"]:
                assert blocked(world) == [BLOCKED] and BLOCKED in world.ticker.skipped[UPKEEP]
        in_each(made, lambda world: deliver(world, range(DAYS), ()))
        assert blocked(made["command"]) == []
        never = made["never"]
        never.load()
        deliver(never, range(DAYS), ())
        by_command(never)
        left = differing(held(made["command"]), held(never))
        assert left == {"issues": ([("orders", "x >= 0", "fixed", ())], [])}


def test_an_acceptance_that_is_taken_back_blocks_the_day_again_and_leaves_what_it_served(tmp_path: Path) -> None:
    with kept(tmp_path, SMALL) as made:
        in_each(made, lambda world: deliver(world, range(DAYS)))
        in_each(made, decide("accepted"))
        command = made["command"]
        served = held(command)
        assert blocked(command) == [] and day(BAD) in command.lake.days("guess/predictions")
        in_each(made, decide("open"))
        for world in made.values():
            assert blocked(world) == [BLOCKED] and BLOCKED in world.ticker.skipped[UPKEEP]
        assert differing(held(command), served).keys() == {"issues"}


def test_a_bad_day_of_another_stream_holds_back_what_reads_it_and_nothing_else(tmp_path: Path) -> None:
    def begin(world: World) -> None:
        deliver(world, range(DAYS), ())
        for offset in range(DAYS):
            bad = {"cust": "nobody"} if offset == BAD else {}
            world.deliver("visits", day(offset), [visit | bad for visit in visits_of(day(offset))])

    with kept(tmp_path, TWO_STREAMS, "never") as made:
        in_each(made, begin)
        command, never = made["command"], made["never"]
        (told,) = blocked(command)
        assert told.startswith(f"visits/raw {day(BAD)}: schema blocks the day: ")
        assert told in made["daemon"].ticker.skipped[UPKEEP]
        assert day(BAD) in command.lake.days("orders/events") and day(BAD) in command.lake.days("guess/labels")
        in_each(made, lambda world: world.deliver("visits", day(BAD)))
        assert blocked(command) == []

        never.load()
        begin(never)
        never.deliver("visits", day(BAD))
        by_command(never)
        assert differing(held(command), held(never)).keys() == {"issues"}


def test_until_the_day_before_a_bad_one_nothing_is_amiss(tmp_path: Path) -> None:
    with worlds(tmp_path, ["until"], SMALL) as made:
        world = made["until"]
        deliver(world, range(DAYS))
        for last, told in ((BAD - 1, []), (DAYS - 1, [BLOCKED]), (BAD - 1, [])):
            world.deployment.failures.clear()
            made_days = sum(step.days for step in catch_up(world.deployment, day(last), lambda station, what: None))
            assert world.deployment.failures == told
        assert made_days == 0
