"""Is nothing trained, promoted or scored on examples that hold something of the future; and does all go on once it is mended?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.governor.executor import Deployment
from factory_assets.governor.sensors import UPKEEP, retrain_name
from tests.governor.world import SMALL, World, by_command, by_daemon, day, orders_of, worlds

DAYS = 14
#: Days that a line has lived when its view begins to leak.
TRAINED = 12
Keep = Callable[[World], None]
#: Trained every three days: when it leaks, a training is due as well.
OFTEN = SMALL.replace("every: 30d", "every: 3d")
#: The label is y, and known a day later.
LEAKY, MENDED = "mean_x: mean(y)}", "mean_x: mean(y)}\n  delay: 1d"
BLOCKS = "no_leak blocks the day: habit.mean_x_2d of "


def deliver(world: World, first: int, days: int) -> None:
    for offset in range(first, days):
        world.deliver("orders", day(offset), orders_of(day(offset))[:60])
    world.at(day(days), 1)


def command(world: World, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command of `factory` in this deployment."""

    @contextmanager
    def deployed() -> Iterator[Deployment]:
        world.deployment.failures.clear()
        yield world.deployment

    ends = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory_assets.commands.deployed.deployed", deployed)
        ran = CliRunner().invoke(app, list(arguments))
    signal.signal(signal.SIGTERM, ends)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.output


def told(world: World) -> str:
    """Everything that a look of the command's and a tick of each sensor say."""
    code, printed = command(world, "run")
    due = command(world, "due")
    assert code == due[0] == 1 and BLOCKS in due[1]
    assert [request for sensor in world.ticker.sensors for request in world.ticker.tick(sensor)] == []
    assert BLOCKS in world.ticker.skipped[UPKEEP]
    return printed + world.ticker.skipped[retrain_name("guess")]


def held(world: World) -> dict[str, object]:
    """What worlds are compared by, but for tables that name the files which their rows lie in."""
    named = ("raw", "deliveries", "quarantine")
    tables = {
        name: rows for name, rows in world.contents().items() if not (name.startswith("tiles/") or name.endswith(named))
    }
    return tables | {"decisions": world.decisions(), "archive": world.archived(), "issues": world.told_issues()}


def differing(one: Mapping[str, object], two: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    return {what: (one.get(what), two.get(what)) for what in {*one, *two} if one.get(what) != two.get(what)}


@pytest.mark.parametrize("keep", [by_command, by_daemon])
def test_a_view_that_leaks_from_the_start_has_nothing_trained_until_it_knows_later(tmp_path: Path, keep: Keep) -> None:
    with worlds(tmp_path, ["leaking", "never"], OFTEN) as made:
        world, never = made["leaking"], made["never"]
        world.replace("defs.yaml", "mean_x: mean(x)}", LEAKY)
        deliver(world, 0, DAYS)
        keep(world)
        for _ in range(2):
            said = told(world)
            assert said.count("not trained as of 2026-01-10: no_leak blocks the day") == 2
            assert " computed" not in said
        assert world.decisions() == [] and world.archived() == [] and not world.lake.days("guess/predictions")
        world.replace("defs.yaml", LEAKY, MENDED)
        keep(world)
        assert command(world, "run")[0] == command(world, "due")[0] == 0

        never.replace("defs.yaml", "mean_x: mean(x)}", MENDED)
        deliver(never, 0, DAYS)
        by_command(never)
        assert differing(held(world), held(never)) == {} and never.decisions()


@pytest.mark.parametrize("keep", [by_command, by_daemon])
def test_a_view_that_begins_to_leak_stops_what_follows_and_leaves_what_was_made(tmp_path: Path, keep: Keep) -> None:
    with worlds(tmp_path, ["leaking", "never"], OFTEN) as made:
        world, never = made["leaking"], made["never"]
        world.load()
        deliver(world, 0, TRAINED)
        keep(world)
        before = held(world)
        assert before["decisions"] and world.lake.days("guess/predictions")
        world.replace("defs.yaml", "mean_x: mean(x)}", LEAKY)
        deliver(world, TRAINED, DAYS)
        keep(world)
        for _ in range(2):
            said = told(world)
            assert said.count("guess/model: not trained as of") == 2 and " computed" not in said
        after = held(world)
        assert after["decisions"] == before["decisions"] and after["archive"] == before["archive"]
        assert after["guess/predictions"] == before["guess/predictions"]
        world.replace("defs.yaml", LEAKY, "mean_x: mean(x)}")
        keep(world)
        assert command(world, "run")[0] == command(world, "due")[0] == 0

        never.load()
        deliver(never, 0, DAYS)
        by_command(never)
        assert differing(held(world), held(never)) == {} and len(never.decisions()) > len(before["decisions"])  # type: ignore[arg-type]
