"""Is a launch that asks for a day or a node that there is not refused, instead of doing nothing or what nobody meant?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.release.assets import champion_asset
from factory_assets.training.run_config import AS_OF
from factory_resources import clock
from tests.line.world import declare
from tests.release.weekly import FIRST, LINE, World, keys


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return catalogue.resolve(catalogue.lines[LINE])


@pytest.fixture
def world(tmp_path: Path, declared: DeclaredLine) -> World:
    made = World(tmp_path, declared)
    made.evaluate(0, {"global": 9.0, "FR": 8.0})
    return made


def refused(world: World, config: dict[str, object], tags: dict[str, str]) -> str:
    """Why a run over global and FR does nothing."""
    result = dg.materialize(
        [champion_asset(world.declared)], instance=world.instance, raise_on_error=False,
        resources={"ledger": world.ledger, "lake": world.lake}, tags=keys(["global", "FR"]) | tags,
        run_config={"ops": {f"{LINE}__champion": {"config": config}}},
    )  # fmt: skip
    assert world.ledger.decisions(LINE) == []
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data
    assert data.user_failure_data is not None, data.error
    return str(data.user_failure_data.description)


@pytest.mark.parametrize("said", ["tomorrow", "2026-02-30", "03/01/2026"])
def test_what_is_no_day_is_refused(world: World, said: str) -> None:
    told = f"as_of: {said!r} is no day; give one such as 2026-03-11"
    assert refused(world, {"as_of": said}, {}) == refused(world, {}, {AS_OF: said}) == told


@pytest.mark.parametrize("days", [0, 1, 1461])
def test_a_day_that_is_not_over_is_refused_since_later_decisions_would_change_nothing(world: World, days: int) -> None:
    to_come = str(clock.today() + dt.timedelta(days=days))
    told = f"as_of: {to_come} is not over; it is {clock.today()} in UTC"
    assert refused(world, {"as_of": to_come}, {}) == refused(world, {}, {AS_OF: to_come}) == told


def test_a_node_that_the_run_does_not_span_is_refused(world: World) -> None:
    told = refused(world, {"nodes": ["global", "FR/Lyom"]}, {AS_OF: str(FIRST)})
    assert told == "nodes: this run does not span FR/Lyom; it spans global; FR"
