"""Does a decision name who the proxy let in, or the process's user, whatever a launch or a command claims?"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster_webserver.webserver import DagsterWebserver
from starlette.testclient import TestClient
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import load
from factory_assets.release.jobs import rollback_job_of
from factory_resources.asked_by import ASKED_BY, AskedByCoordinator, asked_by
from factory_resources.people import process_user
from tests.line.world import declare
from tests.release.weekly import LINE, World

CODE = """\
import dagster as dg

@dg.op
def nothing():
    pass

@dg.job
def idle():
    nothing()

defs = dg.Definitions(jobs=[idle])
"""
LAUNCH = """mutation L($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
SETTINGS = {
    "run_coordinator": {
        "module": "factory_resources.asked_by", "class": "AskedByCoordinator",
        "config": {"header": "X-Forwarded-User", "max_concurrent_runs": 3},
    }
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    catalogue = load(declare(tmp_path / "declared"))
    return World(tmp_path, catalogue.resolve(catalogue.lines[LINE]))


@pytest.fixture(scope="module")
def with_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance whose dagster.yaml names the header of a proxy."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text(json.dumps(SETTINGS | {"telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture(scope="module")
def browser(with_proxy: dg.DagsterInstance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Dagster's web server on that instance."""
    code = tmp_path_factory.mktemp("code") / "idle.py"
    code.write_text(CODE)
    target = PythonFileTarget(str(code), attribute=None, working_directory=None, location_name="code")
    with WorkspaceProcessContext(with_proxy, target) as context:
        yield TestClient(DagsterWebserver(context).create_asgi_app())


def launched(browser: TestClient, instance: dg.DagsterInstance, headers: dict[str, str], tags: dict[str, str]) -> Any:
    selector = {"repositoryLocationName": "code", "repositoryName": "__repository__", "pipelineName": "idle"}
    given = [{"key": key, "value": value} for key, value in tags.items()]
    asked = {"selector": selector, "mode": "default", "executionMetadata": {"tags": given}}
    answer = browser.post("/graphql", json={"query": LAUNCH, "variables": {"p": asked}}, headers=headers).json()
    run = answer["data"]["launchPipelineExecution"]
    assert run["__typename"] == "LaunchRunSuccess", run
    return instance.get_run_by_id(run["run"]["runId"])


def test_a_run_keeps_who_the_proxy_let_in_whatever_the_launch_says(
    browser: TestClient, with_proxy: dg.DagsterInstance
) -> None:
    assert isinstance(with_proxy.run_coordinator, AskedByCoordinator)
    for headers, tags, who in (
        ({"X-Forwarded-User": "ana@example.com"}, {}, "ana@example.com"),
        ({"x-forwarded-user": "ana@example.com"}, {ASKED_BY: "ceo@example.com"}, "ana@example.com"),
        ({}, {ASKED_BY: "ceo@example.com"}, process_user()),
        ({"X-Forwarded-User": "  "}, {ASKED_BY: "ceo@example.com"}, process_user()),
        ({"X-Remote-User": "ceo@example.com"}, {}, process_user()),
    ):
        run = launched(browser, with_proxy, headers, tags)
        assert run.status == dg.DagsterRunStatus.QUEUED
        assert asked_by(with_proxy, run) == who


def decided(world: World, instance: dg.DagsterInstance, job: dg.JobDefinition, tags: dict[str, str]) -> Any:
    (op,) = job.nodes
    config = {"line": LINE, "node": "global", "why": "fine", "by": "ceo@example.com"}
    done = job.execute_in_process(
        run_config={"ops": {op.name: {"config": config}}}, tags=tags, instance=instance,
        resources=world.resources,
    )  # fmt: skip
    assert done.success
    made = world.ledger.decisions(LINE, "global")[-1]
    (record,) = instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=1).records
    assert record.asset_observation is not None
    shown = {name: value.value for name, value in record.asset_observation.metadata.items()}
    assert (shown["decided_by"], shown["claimed_by"]) == (made.decided_by, made.evidence["claimed_by"])
    return made


def test_a_decision_of_the_web_ui_is_by_whom_the_proxy_let_in(world: World, with_proxy: dg.DagsterInstance) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    made = decided(world, with_proxy, rollback_job_of(world.catalogue), {ASKED_BY: "ana@example.com"})
    assert (made.decided_by, made.evidence) == ("ana@example.com", {"claimed_by": "ceo@example.com"})
    assert made.who == "ana@example.com (claims: ceo@example.com)"


def test_a_tag_of_a_launch_is_nobody_where_no_proxy_is_named(world: World) -> None:
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    made = decided(world, world.instance, rollback_job_of(world.catalogue), {ASKED_BY: "ceo@example.com"})
    assert (made.decided_by, made.evidence["claimed_by"]) == (process_user(), "ceo@example.com")


def test_a_command_is_of_the_process_s_user_and_keeps_the_name_that_was_claimed(world: World) -> None:
    def factory(*arguments: str) -> str:
        home = {"FACTORY_HOME": str(world.folder), "DAGSTER_HOME": str(world.folder / "dagster"), "FACTORY_USER": "ben"}
        return CliRunner().invoke(app, arguments, env=home | {"COLUMNS": "200"}, catch_exceptions=False).output

    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    told = factory("rollback", LINE, "global", "--why", "fine", "--by", "the head of risk")
    assert told.strip().endswith("by ben (claims: the head of risk): fine")
    made = world.ledger.decisions(LINE, "global")[-1]
    assert (made.decided_by, made.evidence) == ("ben", {"claimed_by": "the head of risk"})
    for command in ("champion", "history"):
        assert "ben (claims: the head of risk)" in factory(command, LINE)


def test_the_user_of_a_process_is_not_what_its_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACTORY_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ceo")
    assert process_user() == "ceo", "the deployment names its processes"
    monkeypatch.delenv("FACTORY_USER")
    assert process_user() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert process_user() == "uid 3999999999"
