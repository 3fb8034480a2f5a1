"""Is nothing trained, promoted or scored on examples that hold something of the future; and does all go on once it is mended?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.governor.executor import Deployment
from factory_assets.governor.sensors import UPKEEP, retrain_name
from tests.governor.world import SMALL, World, by_command, by_daemon, day, orders_of, worlds

pytestmark = pytest.mark.slow

DAYS = 14
#: Days that a line has lived when its view begins to leak.
TRAINED = 12
Keep = Callable[[World], None]
#: Trained every three days: when it leaks, a training is due as well.
OFTEN = SMALL.replace("every: 30d", "every: 3d")
#: The label is y, and known a day later.
SOUND, LEAKY, MENDED = "mean_x: mean(x)}", "mean_x: mean(y)}", "mean_x: mean(y)}\n  delay: 1d"
#: Declaration of the view -> what a world holds that has had it from the start.
Never = Callable[[str], Mapping[str, object]]
#: What each of them is told of, and what it does, is the same plan's.
KEEPERS = [by_command, pytest.param(by_daemon, marks=pytest.mark.longest)]
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


@pytest.fixture(scope="module")
def never(tmp_path_factory: pytest.TempPathFactory) -> Never:
    @cache
    def holds(view: str) -> Mapping[str, object]:
        with worlds(tmp_path_factory.mktemp("never"), ["world"], OFTEN) as made:
            made["world"].replace("defs.yaml", SOUND, view)
            deliver(made["world"], 0, DAYS)
            by_command(made["world"])
            return held(made["world"])

    return holds


@pytest.mark.parametrize("keep", KEEPERS)
def test_a_view_that_leaks_from_the_start_has_nothing_trained_until_it_knows_later(
    tmp_path: Path, keep: Keep, never: Never
) -> None:
    with worlds(tmp_path, ["leaking"], OFTEN) as made:
        world = made["leaking"]
        world.replace("defs.yaml", SOUND, LEAKY)
        deliver(world, 0, DAYS)
        keep(world)
        said = told(world)
        assert said.count("not trained as of 2026-01-10: no_leak blocks the day") == 2 and " computed" not in said
        assert world.decisions() == [] and world.archived() == [] and not world.lake.days("guess/predictions")
        world.replace("defs.yaml", LEAKY, MENDED)
        keep(world)
        assert command(world, "run")[0] == command(world, "due")[0] == 0
        assert differing(held(world), never(MENDED)) == {} and world.decisions()


@pytest.mark.parametrize("keep", [pytest.param(by_command, marks=pytest.mark.longest), by_daemon])
def test_a_view_that_begins_to_leak_stops_what_follows_and_leaves_what_was_made(
    tmp_path: Path, keep: Keep, never: Never
) -> None:
    with worlds(tmp_path, ["leaking"], OFTEN) as made:
        world = made["leaking"]
        world.load()
        deliver(world, 0, TRAINED)
        keep(world)
        before = held(world)
        decided = world.decisions()
        assert decided and world.lake.days("guess/predictions")
        world.replace("defs.yaml", SOUND, LEAKY)
        deliver(world, TRAINED, DAYS)
        keep(world)
        said = told(world)
        assert said.count("guess/model: not trained as of") == 2 and " computed" not in said
        after = held(world)
        assert world.decisions() == decided and after["archive"] == before["archive"]
        assert after["guess/predictions"] == before["guess/predictions"]
        world.replace("defs.yaml", LEAKY, SOUND)
        keep(world)
        assert command(world, "run")[0] == command(world, "due")[0] == 0
        assert differing(held(world), never(SOUND)) == {} and len(world.decisions()) > len(decided)
