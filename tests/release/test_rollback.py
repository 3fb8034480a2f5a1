"""Does one action bring the champion before back, is it told who and why, and does no run undo it?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.release.jobs import rollback_job_of, tag_job_of
from factory_assets.release.resolver import state_of
from factory_assets.release.rollback import ANCESTOR, RollbackRefused
from factory_assets.release.standing import standing
from factory_resources.dagster_private.reading import INPUTS
from factory_resources.people import process_user
from tests.line.world import declare
from tests.release.weekly import FIRST, LINE, WEEK, World


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return catalogue.resolve(catalogue.lines[LINE])


@pytest.fixture
def world(tmp_path: Path, declared: DeclaredLine) -> World:
    return World(tmp_path, declared)


def test_rollbacks_go_back_one_champion_after_the_other_until_there_is_none(world: World) -> None:
    for week, error in enumerate([9.0, 8.0, 8.5, 7.0]):
        world.train("global", week, error)
    assert world.champion() == "global-3"
    world.back()
    assert world.champion() == "global-1", "the champion of week 1 was kept in week 2"
    world.back()
    assert world.champion() == "global-0"
    with pytest.raises(RollbackRefused, match="nobody would answer for 'global'"):
        world.back()
    world.train("global", 4, 6.0)
    assert world.champion() == "global-4", "the next training may win"
    world.back()
    assert world.champion() == "global-0", "and what was gone back over is not returned to"


def test_a_rollback_leaves_the_days_that_were_scored_to_who_scored_them(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    scored = FIRST + WEEK + dt.timedelta(days=3)
    world.score(scored)
    world.back()
    assert world.champion(before=scored) == "global-1"
    assert world.champion(before=scored + dt.timedelta(days=1)) == "global-0"


def test_a_child_falls_back_to_its_ancestor_and_has_then_nothing_to_go_back_to(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("FR", 0, 8.0)
    world.back("FR")
    assert world.champion("FR") is None
    (found,) = standing(world.ledger, LINE, node="FR")
    assert (found.answers, found.version) == ("global", "global-0")
    assert found.by is not None and (found.by.verdict, found.by.reason) == ("rollback", "complaints")
    with pytest.raises(RollbackRefused, match="'FR' has no champion of its own"):
        world.back("FR")
    world.back("FR", to="FR-0")
    assert world.champion("FR") == "FR-0"
    world.back("FR", to=ANCESTOR)
    assert world.champion("FR") is None


def test_a_version_is_named_by_the_beginning_of_its_id_and_must_be_the_nodes_own(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("FR", 0, 8.0)
    world.train("global", 1, 7.0)
    world.evaluate(2, {"global": 6.0}, "odd")
    for to, told in (("FR-0", "no version 'FR-0'; its newest: odd, global-1"), ("global-", "more than one version")):
        with pytest.raises(RollbackRefused, match=told):
            world.back(to=to)
    with pytest.raises(RollbackRefused, match="global-1 answers for 'global' already"):
        world.back(to="global-1")
    with pytest.raises(RollbackRefused, match=r"'DE' of line 'delivery_time'; nodes: FR, global"):
        world.back("DE")
    world.back(to="od")
    assert world.champion() == "odd"


def test_of_two_who_see_the_same_bad_champion_the_second_is_told_and_goes_back_no_further(world: World) -> None:
    for week, error in enumerate([9.0, 8.0, 7.0]):
        world.train("global", week, error)
    assert factory(world, "rollback", LINE, "global", "--why", "complaints", "--version", "global-2").startswith(LINE)
    second = factory(world, "rollback", LINE, "global", "--why", "complaints too", "--version", "global-2")
    assert second.startswith(
        "global-2 is not what answers for 'global', but global-1: global-2 was rolled back to global-1"
    )
    assert "by ben at" in second and second.endswith("FAILED")
    (refused,) = launch(world, node="global", why="complaints too", version="global-2").get_step_failure_events()
    assert "global-2 is not what answers for 'global'" in str(refused.step_failure_data.user_failure_data)
    assert world.champion() == "global-1"
    unknown = factory(world, "rollback", LINE, "global", "--why", "complaints", "--version", "global-9")
    assert "'global' has no version 'global-9'" in unknown and unknown.endswith("FAILED")
    assert world.champion() == "global-1"


def test_running_the_day_of_a_version_taken_back_again_keeps_the_one_before_and_says_why(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    world.back()
    for _ in range(2):
        assert world.decide(1).success
        assert world.champion() == "global-0"
    last = world.ledger.decisions(LINE)[-1]
    assert last.verdict == "keep" and "rolled back to global-0 by ana" in last.reason
    assert len(world.ledger.decisions(LINE)) == 4, "promote, promote, rollback, keep"


def test_what_was_measured_against_a_champion_taken_back_since_decides_nothing_and_the_run_says_so(
    world: World,
) -> None:
    world.train("global", 0, 9.5)
    world.train("FR", 0, 9.0)
    world.train("FR", 1, 8.0)
    world.evaluate(2, {"global": 5.0, "FR": 4.0, "FR/Lyon": 4.0})
    world.back("FR")
    before = {node: world.champion(node) for node in ("FR", "global")}
    result = world.decide(2, ["global", "FR"])
    (failed,) = result.get_step_failure_events()
    assert failed.step_failure_data.user_failure_data is not None
    told = str(failed.step_failure_data.user_failure_data.description)
    assert "FR-2 for 'FR' was not measured against FR-0, its champion by now" in told and "evaluate" in told
    assert world.champion("FR") == before["FR"] == "FR-0"
    assert world.champion("global") == "global-2", "the others are decided on"
    world.evaluate(2, {"FR": 4.0})
    assert world.decide(2, ["FR"]).success
    assert world.champion("FR") == "FR-2"


def test_a_training_killed_between_two_nodes_is_finished_by_running_it_again(world: World) -> None:
    challengers = {"global": 8.0, "FR": 7.0}
    world.train("global", 0, 9.5)
    world.train("FR", 0, 9.0)
    world.evaluate(1, challengers)
    measured = len(world.ledger.evaluations(LINE))
    assert world.decide(1, ["global"]).success
    world.evaluate(1, challengers)
    assert world.decide(1, ["global", "FR"]).success
    assert (world.champion("global"), world.champion("FR")) == ("global-1", "FR-1")
    assert len(world.ledger.decisions(LINE)) == 4 and len(world.ledger.evaluations(LINE)) == measured


def test_the_table_of_champions_tells_who_made_each_and_since_when(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 9.5)
    world.train("FR", 1, 8.0)
    made = world.ledger.decisions(LINE)
    by_node = {each.node: each for each in standing(world.ledger, LINE)}
    assert list(by_node) == ["global", "FR"]
    assert by_node["global"].by == made[0], "kept in week 1, champion since week 0"
    world.back("FR")
    then = {each.node: each.answers for each in standing(world.ledger, LINE, at=made[-1].decided_at)}
    now = {each.node: each.answers for each in standing(world.ledger, LINE)}
    assert (then["FR"], now["FR"]) == ("FR", "global")
    world.train("FR", 2, 12.0)
    (lyon,) = standing(world.ledger, LINE, node="FR")
    refused = world.ledger.decisions(LINE, "FR")[-1]
    assert (lyon.answers, lyon.own) == ("global", refused) and refused.verdict != "rollback", (
        "its own reason, not that of global"
    )
    early = made[0].decided_at - dt.timedelta(microseconds=1)
    assert [(each.node, each.answers) for each in standing(world.ledger, LINE, at=early)] == [("global", None)]


def launch(world: World, **config: str) -> dg.ExecuteInProcessResult:
    return rollback_job_of(world.catalogue).execute_in_process(
        instance=world.instance,
        resources=world.resources,
        run_config={"ops": {"roll_champion_back": {"config": {"line": LINE, "by": "ana", **config}}}},
        raise_on_error=False,
    )


def test_the_job_rolls_back_and_shows_it_on_the_page_of_the_champions(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    assert launch(world, node="global", why="complaints").success
    assert world.champion() == "global-0"
    (record,) = world.instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=9).records
    seen = record.asset_observation
    assert seen is not None and seen.partition == "global"
    told = {name: value.value for name, value in seen.metadata.items()}
    assert (told["champion"], told["taken_back"]) == ("global-0", "global-1")
    assert (told["decided_by"], told["claimed_by"]) == (process_user(), "ana")
    refused = launch(world, node="global", why="more complaints")
    (failed,) = refused.get_step_failure_events()
    said = failed.step_failure_data.user_failure_data.description
    assert said.startswith("refused: nobody would answer"), said
    assert "Traceback" not in str(failed.step_failure_data.error), "a rule is no fault of the program"


def test_the_leaderboard_follows_a_decision_at_once(world: World) -> None:
    """By the job and by the command: no run of the line comes in between."""
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    assert launch(world, node="global", why="complaints").success
    assert world.board()["global"] == "global-0"
    key = dg.AssetKey([LINE, "leaderboard"])
    (drawn,) = world.instance.fetch_materializations(key, limit=9).records
    state, _ = state_of(world.ledger.standing(LINE), world.ledger.tags(LINE))
    assert drawn.asset_materialization.tags[INPUTS] == state, "the plan knows that nothing is left to be drawn"
    world.train("global", 2, 7.0)
    assert not factory(world, "rollback", LINE, "global", "--why", "complaints again").endswith("FAILED")
    assert world.board()["global"] == "global-0"


def test_a_tag_is_put_moved_and_taken_off_by_a_job(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)

    def tag(**config: object) -> dg.ExecuteInProcessResult:
        told = {"line": LINE, "tag": "stable", "why": "clients know it", "by": "ana", **config}
        return tag_job_of(world.catalogue).execute_in_process(
            instance=world.instance, resources=world.resources, raise_on_error=False,
            run_config={"ops": {"tag_version": {"config": told}}},
        )  # fmt: skip

    assert tag(version="global-0").success and tag().success
    assert [(each.tag, each.version) for each in world.ledger.tags(LINE)] == [("stable", "global-1")]
    (refused,) = tag(version="global-9").get_step_failure_events()
    assert "refused: 'global' has no version 'global-9'" in refused.step_failure_data.user_failure_data.description
    assert tag(remove=True).success and world.ledger.tags(LINE) == []


def test_the_page_of_a_champion_links_to_what_may_be_decided_about_it(world: World) -> None:
    world.train("global", 0, 9.0)
    (record,) = world.instance.fetch_materializations(dg.AssetKey([LINE, "champion"]), limit=9).records
    link = record.asset_materialization.metadata["to_take_back"].value
    assert (
        "/jobs/rollback/playground/setup?config=" in link
        and "global-0" in link
        and "to_approve" not in (record.asset_materialization.metadata)
    )


def test_a_launch_is_offered_the_lines_that_there_are(world: World) -> None:
    job = rollback_job_of(world.catalogue)
    (op,) = job.nodes
    offered = op.definition.config_field.config_type.fields["line"].config_type.config_values
    assert offered == ["delivery_time", "repeat_order"]
    told = {"line": "delivery_tme", "node": "global", "why": "x", "by": "ana"}
    with pytest.raises(
        dg.DagsterInvalidConfigError, match=r"line not in enum type LineName_[0-9a-f]{8} got delivery_tme"
    ):
        dg.validate_run_config(job, {"ops": {"roll_champion_back": {"config": told}}})


def factory(world: World, *arguments: str, columns: int = 200) -> str:
    """What the command prints, and FAILED where it failed."""
    environment = {
        "FACTORY_HOME": str(world.folder), "DAGSTER_HOME": str(world.folder / "dagster"), "FACTORY_USER": "ben",
        "COLUMNS": str(columns),
    }  # fmt: skip
    ran = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    return ran.output + ("FAILED" if ran.exit_code else "")


def observed(world: World, *leaves: str) -> None:
    """Leaves that the line has seen, whatever was decided."""
    rows = pa.table({"example_id": list(leaves), "leaf": list(leaves), "ds": [FIRST] * len(leaves)})
    world.lake.replace(f"{LINE}/examples", rows, [FIRST])


def test_a_node_that_an_ancestor_answers_for_shows_its_own_decision_beside_that_one(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("FR", 0, 12.0)
    world.train("global", 1, 8.0)
    (own,), (*_, above) = (world.ledger.decisions(LINE, node) for node in ("FR", "global"))
    shown = " ".join(factory(world, "champion", LINE, "FR", columns=600).replace("│", " ").split())
    assert own.verdict != "promote" and f" {own.verdict} gate " in shown and own.reason in shown
    assert f"global answers, by what gate decided on global: {above.reason}" in shown
    shown = factory(world, "champion", LINE, "global")
    assert " promote " in shown and "answers, by" not in shown, "the node itself answers"


def test_the_commands_show_champions_go_back_and_tell_the_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    told = factory(world, "rollback", LINE, "global", "--why", "complaints")
    assert told.strip() == (
        f"{LINE} global: global-0 answers instead of global-1 for the days after {FIRST + WEEK}, by ben: complaints"
    )
    shown = factory(world, "champion", LINE)
    assert "global-0" in shown and "rollback" in shown and "ben" in shown and "complaints" in shown
    observed(world, "FR/Lyon")
    when = world.ledger.decisions(LINE)[1].decided_at
    assert "global-1" in factory(world, "champion", LINE, "FR/Lyon", "--at", when.isoformat())
    history = factory(world, "history", LINE, "global")
    assert [verdict in history for verdict in ("promote", "rollback", "gate", "ben")] == [True] * 4
    refused = factory(world, "rollback", LINE, "global", "--why", "again")
    assert "nobody would answer" in refused and refused.endswith("FAILED")
    assert "lines with decisions here: delivery_time" in factory(world, "champion", "deliveries")
    monkeypatch.setenv("DAGSTER_HOME", str(world.folder / "dagster"))
    with dg.DagsterInstance.get() as instance:
        (record,) = instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=9).records
    assert record.asset_observation is not None and record.asset_observation.description == "complaints"


def test_a_decision_as_of_an_earlier_day_is_not_told_as_what_holds(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    world.train("FR", 1, 8.5)
    world.train("FR", 0, 5.0)
    (told,) = standing(world.ledger, LINE, node="FR")
    assert told.own == world.ledger.last_decisions(LINE)["FR"] and told.own.verdict == "fallback"
    assert (told.answers, told.version) == ("global", "global-1")


def test_of_a_node_that_nothing_was_decided_about_the_command_names_whose_decision_it_tells(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("FR", 0, 8.0)
    world.back("FR")
    observed(world, "FR/Lyon", "ES")
    shown = " ".join(factory(world, "champion", LINE, "FR/Lyon", columns=600).split())
    assert "nothing was decided about it. global answers, by what ana decided on FR: complaints" in shown
    shown = " ".join(factory(world, "champion", LINE, "ES", columns=600).split())
    assert "nothing was decided about it. global answers, by what gate decided on global: mae 9, better" in shown


def test_where_nobody_answers_no_command_says_that_an_ancestor_does(world: World) -> None:
    for node in ("global", "FR"):
        world.train(node, 0, 200.0)
    assert world.champion() is None
    for command in ("champion", "history", "approve"):
        assert "ancestor" not in factory(world, command, LINE), command
    with pytest.raises(RollbackRefused, match="'global' has no champion of its own: nobody answers for it"):
        world.back()
    world.train("global", 1, 9.0)
    with pytest.raises(
        RollbackRefused, match="'FR' has no champion of its own: roll back global, which answers for it"
    ):
        world.back("FR")
