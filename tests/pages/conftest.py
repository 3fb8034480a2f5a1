"""A line on its own, as the tests of what is shown of it find it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.governor.world import SMALL, World, by_command, day, worlds
from tests.pages.lived import DAYS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A line that was trained twice, and scores, and whose retraining is switched off from then on."""
    defs = SMALL.replace("every: 30d", "every: 5d")
    with worlds(tmp_path_factory.mktemp("pages"), ["one"], defs, kept=True) as made:
        world = made["one"]
        for offset in range(DAYS):
            world.deliver("orders", day(offset))
        world.at(day(DAYS), 1)
        by_command(world)
        yield world
