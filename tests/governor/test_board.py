"""What people decide is on the leaderboard with the next look of whoever carries out the plan."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from factory_assets.governor.plan import plan
from factory_assets.release.request import Request
from factory_assets.release.rollback import ANCESTOR, roll_back
from factory_resources.records.tags import Tagging
from tests.governor.world import SMALL, World, by_command, by_daemon, day, worlds

pytestmark = pytest.mark.slow

#: A root that is better than a guess, and nodes below it that may be better still.
DEEP = SMALL.replace("features: [x, habit.*]", "features: [x, seg, habit.*]").replace(
    "linear: {estimator: ridge}", "boosted: {estimator: lightgbm, params: {num_boost_round: 60, num_leaves: 7}}"
)


def answers(world: World) -> dict[str, str]:
    """Node -> who answers for it, by the newest board."""
    newest = world.lake.days("guess/leaderboard")[-1]
    return {row["node"]: row["answers"] for row in world.lake.read("guess/leaderboard", newest, newest).to_pylist()}


def tagged(world: World) -> list[str]:
    """Versions that the leaderboard's page says are tagged."""
    drawn = world.instance.get_latest_materialization_event(dg.AssetKey(["guess", "leaderboard"]))
    assert drawn is not None and drawn.asset_materialization is not None
    shown = drawn.asset_materialization.metadata.get("tags")
    return [str(row.data["version"]) for row in shown.records] if isinstance(shown, dg.TableMetadataValue) else []


def test_a_champion_that_is_taken_back_answers_no_more_on_the_leaderboard(tmp_path: Path) -> None:
    with worlds(tmp_path, ["one"], DEEP) as made:
        world = made["one"]
        for offset in range(11):
            world.deliver("orders", day(offset))
        world.at(day(11), 1)
        by_command(world)
        assert world.deployment.failures == [] and plan(world.deployment.book()).work == []
        assert answers(world)["global"] == "global"
        first, second = [node for node, who in answers(world).items() if node == who != "global"][:2]

        roll_back(world.ledger, world.lake, Request("guess", first, "it fits nobody", "ana"), ANCESTOR)
        (work,) = plan(world.deployment.book()).ready
        assert (
            work.assets == ("guess/leaderboard",) and work.reason == "decisions or tags that no leaderboard tells yet"
        )
        by_daemon(world)
        assert answers(world)[first] == "global" and answers(world)[second] == second
        assert plan(world.deployment.book()).work == []
        # Another on the same day is another decision.
        roll_back(world.ledger, world.lake, Request("guess", second, "nor does this one", "ana"), ANCESTOR)
        by_command(world)
        assert answers(world)[second] == "global" and plan(world.deployment.book()).work == []
        # So is a tag, and that it is taken off.
        version = str(world.ledger.standing("guess")["global"].champion)
        for on, keep in ((version, by_daemon), (None, by_command)):
            world.ledger.tag(Tagging("guess", "global", "stable", on, "audited", "ana"))
            assert plan(world.deployment.book()).ready[0].assets == ("guess/leaderboard",)
            keep(world)
            assert plan(world.deployment.book()).work == [] and tagged(world) == ([on] if on else [])
