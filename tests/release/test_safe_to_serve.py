"""Does a challenger that is better, and would harm a server, stay out, with the reason, and everyone below it meet who answers?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.line import Gate
from factory_assets.governor.executor import execute
from factory_assets.governor.runs import training_assets, training_tags
from factory_assets.release.approval import waiting
from factory_resources.records.decisions import newest
from tests.line.world import declare
from tests.release.weekly import FIRST, LINE, WEEK, World
from tests.stations import Station, day
from tests.training.greetings import NODES, delivered

CRASH = "its process ended, killed by SIGSEGV, while it answers malformed rows"


def a_world(folder: Path, **gate: Any) -> World:
    catalogue = load(declare(folder / "declared"))
    declared = catalogue.resolve(catalogue.lines[LINE])
    asked = Gate(certainty=0.5, **gate)
    return World(folder, replace(declared, line=declared.line.model_copy(update={"gate": asked})))


def test_one_that_is_better_and_not_safe_is_kept_out_with_the_reason(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.train("global", 0, 9.0)
    world.unsafe["global-1"] = CRASH
    world.train("global", 1, 5.0)
    made = newest(world.ledger.decisions(LINE, "global"))
    assert made is not None and (made.verdict, made.version, made.champion) == ("keep", "global-1", "global-0")
    assert (
        made.reason == f"mae 5, better than 9 of the champion with a certainty of 1.00, but not safe to serve: {CRASH}"
    )
    assert [kept.unsafe for kept in world.ledger.evaluations(LINE, FIRST + WEEK)] == [None, CRASH]
    # The next one is judged for itself.
    world.train("global", 2, 4.0)
    assert world.champion() == "global-2"


def test_one_that_is_not_good_enough_is_not_tried(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.train("global", 0, 9.0)
    world.unsafe["global-1"] = CRASH
    world.train("global", 1, 9.5)
    made = newest(world.ledger.decisions(LINE, "global"))
    assert made is not None and "safe" not in made.reason
    assert {kept.unsafe for kept in world.ledger.evaluations(LINE)} == {None}


def test_where_nobody_answers_nobody_does_and_a_champion_that_is_overtaken_steps_down(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.unsafe |= {"global-0": CRASH, "FR-2": CRASH}
    world.train("global", 0, 9.0)
    assert world.champion() is None
    world.train("FR", 0, 8.0)
    world.evaluate(2, {"global": 5.0, "FR": 4.0})
    assert world.decide(2, ["global", "FR"]).success
    made = newest(world.ledger.decisions(LINE, "FR"))
    assert made is not None and made.verdict == "fallback" and made.champion is None
    assert f"not safe to serve: {CRASH}; the champion steps down: mae 8" in made.reason


def test_the_nodes_below_meet_who_answers_and_not_the_one_that_was_kept_out(tmp_path: Path) -> None:
    """In one training: what decides finds the rivals that were measured."""
    world = a_world(tmp_path)
    world.train("global", 0, 9.0)
    world.unsafe["global-1"] = CRASH
    world.evaluate(1, {"global": 5.0, "FR": 7.0})
    assert world.decide(1, ["global", "FR"]).success
    assert world.champion() == "global-0" and world.champion("FR") == "FR-1"
    made = newest(world.ledger.decisions(LINE, "FR"))
    assert made is not None and "better than 9 of the champion of global" in made.reason


def test_one_that_is_not_safe_does_not_wait_for_approval(tmp_path: Path) -> None:
    world = a_world(tmp_path, approval=True)
    world.unsafe["global-0"] = CRASH
    world.train("global", 0, 9.0)
    assert waiting(world.ledger, LINE) == {}
    world.train("global", 1, 9.0)
    assert list(waiting(world.ledger, LINE)) == ["global"]


CANDIDATES = """
    boosted: {estimator: lightgbm, params: {num_boost_round: 20, min_data_in_leaf: 10}}
  gate: {metric: log_loss, certainty: 0.5, size: 1kB}
"""


def trained(station: Station, as_of: Any) -> dict[str, tuple[str, str]]:
    """Node -> verdict and reason of a training."""
    tags = training_tags("greeted", list(NODES), str(as_of), "test", "a test")
    assert execute(station.deployment, training_assets("greeted"), tags) == []
    ledger = station.deployment.ledger
    return {
        made.node: (made.verdict, made.reason)
        for node in NODES
        for made in ledger.decisions("greeted", node)
        if made.as_of == as_of
    }


@pytest.mark.slow
def test_a_training_tries_what_it_would_release_and_holds_it_to_what_is_declared(tmp_path: Path) -> None:
    station = delivered(tmp_path / "station", CANDIDATES, 14)
    for verdict, reason in trained(station, day(12)).values():
        assert verdict in ("keep", "fallback") and "better than" in reason
        assert "not safe to serve: its archive has" in reason and reason.endswith("bytes, 1,000 at most are declared")
    declared = station.folder / "defs" / "defs.yaml"
    before = {version.version for version in station.deployment.ledger.versions("greeted")}
    declared.write_text(declared.read_text().replace("size: 1kB", "size: 10MB, latency: 60s"))
    station.load()
    again = trained(station, day(12))
    assert again["global"][0] == "promote" and "safe" not in again["global"][1]
    assert {version.version for version in station.deployment.ledger.versions("greeted")} == before
