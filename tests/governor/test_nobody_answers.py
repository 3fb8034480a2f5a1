"""Does a line of which no model passes the gate live on without an error, and say so, whoever keeps it?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from factory_assets.release.approval import approve, waiting
from factory_assets.release.request import Request
from tests.governor.test_leaking_views import command, deliver
from tests.governor.world import SMALL, World, by_ci, by_command, by_daemon, worlds

pytestmark = pytest.mark.slow

DAYS = 12
OUT_OF_REACH = SMALL.replace("floor: 15", "floor: 0.0001")
EXECUTORS: dict[str, Callable[[World], None]] = {"command": by_command, "daemon": by_daemon, "ci": by_ci}


def test_nobody_answers_and_nothing_fails_whoever_keeps_the_line(tmp_path: Path) -> None:
    with worlds(tmp_path, list(EXECUTORS), OUT_OF_REACH) as made:
        for executor, keep in EXECUTORS.items():
            world = made[executor]
            world.load()
            deliver(world, 0, DAYS)
            keep(world)
            assert world.decisions() and all("at most 0.0001 needed" in reason for *_, reason in world.decisions())
            assert {champion for *_, champion, _ in world.decisions()} == {"None"}
            for table in ("predictions", "performance"):
                assert world.lake.read(f"guess/{table}", empty_if_absent=True).num_rows == 0
            code, printed = command(world, "run")
            assert code == 0 and "everything else is up to date" in printed and "nobody" in printed, printed
        first, *others = made.values()
        assert all(other.contents() == first.contents() for other in others)
        assert all(other.decisions() == first.decisions() for other in others)
        assert all(other.archived() == first.archived() for other in others)


def test_every_run_tells_of_challengers_that_wait_for_approval_until_they_have_it(tmp_path: Path) -> None:
    with worlds(tmp_path, ["command"], SMALL.replace("floor: 15", "floor: 15, approval: true")) as made:
        world = made["command"]
        world.load()
        deliver(world, 0, DAYS)
        by_command(world)
        told = "passed the gate, waiting for approval. Look at them: factory approve guess"
        for _ in range(2):
            code, printed = command(world, "run")
            assert code == 0 and told in " ".join(printed.split()), printed
        for node in waiting(world.ledger, "guess"):
            approve(world.ledger, world.lake, Request("guess", node, "looked at it", "ana"))
        code, printed = command(world, "run")
        assert code == 0 and "waiting for approval" not in printed and "predictions" in printed, printed
