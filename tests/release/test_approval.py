"""Does a challenger that passed wait until somebody approves it, and does everyone learn who that was?"""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import load
from factory_assets.declarations.line import Gate
from factory_assets.release.approval import ApprovalRefused, approve, waiting
from factory_assets.release.jobs import approve_job_of
from factory_assets.release.request import Request
from factory_assets.release.standing import standing
from factory_resources.ledger import Decision
from factory_resources.records.decisions import ChampionChanged
from tests.line.world import declare
from tests.release.weekly import FIRST, LINE, WEEK, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    catalogue = load(declare(tmp_path / "declared"))
    declared = catalogue.resolve(catalogue.lines[LINE])
    gate = Gate(certainty=0.5, approval=True)
    return World(tmp_path, replace(declared, line=declared.line.model_copy(update={"gate": gate})))


def say_yes(world: World, node: str = "global", version: str | None = None) -> Decision:
    return approve(world.ledger, world.lake, Request(LINE, node, "looks right", "ana", version))


def test_who_passes_waits_and_answers_from_the_next_day_that_is_scored_once_somebody_approves(world: World) -> None:
    world.train("global", 0, 9.0)
    assert world.champion() is None and list(waiting(world.ledger, LINE)) == ["global"]
    world.score(FIRST + WEEK)
    made = say_yes(world)
    assert (made.as_of, made.decided_by, made.reason) == (FIRST + WEEK, "ana", "looks right")
    assert world.champion() == "global-0" and waiting(world.ledger, LINE) == {}
    assert world.champion(before=FIRST + WEEK) is None, "a day that was scored keeps who scored it"
    assert made.evidence["challenger"]["mae"] == 9.0
    (stands,) = standing(world.ledger, LINE, node="global")
    assert stands.by is not None and stands.by.verdict == "approve"


def test_a_champion_goes_on_until_its_challenger_is_approved(world: World) -> None:
    world.train("global", 0, 9.0)
    say_yes(world)
    world.train("global", 1, 8.0)
    assert world.champion() == "global-0"
    assert "better than 9 of the champion" in waiting(world.ledger, LINE)["global"].reason
    say_yes(world, version=world.ledger.version(LINE, "global-1").uuid)
    assert world.champion() == "global-1"


def test_children_meet_the_parent_that_answers_and_not_the_one_that_waits(world: World) -> None:
    world.train("global", 0, 9.0)
    say_yes(world)
    world.evaluate(1, {"global": 5.0, "FR": 7.0})
    assert world.decide(1, ["global", "FR"]).success
    waits = waiting(world.ledger, LINE)
    assert set(waits) == {"global", "FR"} and "better than 9 of the champion of global" in waits["FR"].reason


def test_only_what_waits_can_be_approved_and_the_refusal_says_what_does(world: World) -> None:
    world.train("global", 0, 9.0)
    with pytest.raises(ApprovalRefused, match=r"no challenger of 'FR' waits.*global \(global-0\)"):
        say_yes(world, "FR")
    with pytest.raises(ApprovalRefused, match="'global-9' does not wait for approval at 'global'; global-0 does"):
        say_yes(world, version="global-9")
    with pytest.raises(ApprovalRefused, match="a reason"):
        approve(world.ledger, world.lake, Request(LINE, "global", " ", "ana"))
    with pytest.raises(ApprovalRefused, match="'@champion' does not wait"):
        say_yes(world, version="@champion")
    say_yes(world, version="global-")
    world.train("global", 1, 9.5)
    with pytest.raises(ApprovalRefused, match="no better than 9 of the champion"):
        say_yes(world)


def test_a_newer_training_takes_the_place_of_what_waits(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    assert waiting(world.ledger, LINE)["global"].version == "global-1"
    with pytest.raises(ApprovalRefused, match="global-1 does"):
        say_yes(world, version="global-0")


def test_judging_the_day_again_leaves_the_approval_and_no_training_is_missing_for_it(world: World) -> None:
    world.train("global", 0, 9.0)
    say_yes(world)
    assert world.decide(0).success and world.champion() == "global-0"
    assert world.ledger.trained_as_of(LINE) == [FIRST], "an approval is no training"
    assert world.ledger.standing(LINE)["global"].trained_as_of == FIRST


def test_what_was_approved_and_taken_back_is_not_approved_again(world: World) -> None:
    world.train("global", 0, 9.0)
    say_yes(world)
    world.train("global", 1, 8.0)
    say_yes(world)
    world.back()
    assert world.champion() == "global-0"
    refused = Decision(LINE, "global", FIRST + WEEK, "approve", "global-1", "global-1", "again", "ana", {})
    with pytest.raises(ChampionChanged, match="cannot be promoted"):
        world.ledger.decide(refused, against="global-0")


def test_the_job_and_the_command_approve_and_show_what_waits(world: World) -> None:
    def factory(*arguments: str) -> str:
        home = {"FACTORY_HOME": str(world.folder), "DAGSTER_HOME": str(world.folder / "dagster"), "FACTORY_USER": "ben"}
        ran = CliRunner().invoke(app, arguments, env=home | {"COLUMNS": "200"}, catch_exceptions=False)
        return ran.output + ("FAILED" if ran.exit_code else "")

    world.train("global", 0, 9.0)
    assert "global-0" in factory("approve", LINE) and "none of its own" in factory("approve", LINE)
    assert factory("approve", LINE, "global").endswith("FAILED"), "no reason was given"
    told = factory("approve", LINE, "global", "--why", "fine")
    assert told.strip() == f"{LINE} global: global-0 answers for the days after {FIRST}, approved by ben: fine"
    assert "waits for approval" in factory("approve", LINE) and "no challenger" in factory("approve", LINE)
    world.train("global", 1, 8.0)
    done = approve_job_of(world.catalogue).execute_in_process(
        run_config={
            "ops": {"approve_challenger": {"config": {"line": LINE, "node": "global", "why": "fine", "by": "ana"}}}
        },
        resources=world.resources,
        instance=world.instance,
    )
    assert done.success and world.champion() == "global-1"
    (record,) = world.instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=9).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["approved"].value == "global-1"
