"""Are the files of deploy/ what Dagster and compose accept, and do they agree with each other?"""

import shutil
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_dagster_accepts_the_instance_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_HOST", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
        monkeypatch.setenv(name, "factory")
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    instance = InstanceRef.from_dir(str(tmp_path))
    assert instance.settings["telemetry"] == {"enabled": False}
    assert instance.storage_data.class_name == "PostgresStorage"
    assert "postgresql+psycopg2" in instance.storage_data.config_yaml


def test_every_service_has_a_health_check_and_waits_for_what_it_needs(compose: dict) -> None:
    assert set(compose["services"]) == {"postgres", "code-server", "webserver", "daemon"}
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        for needed in service.get("depends_on", {}).values():
            assert needed == {"condition": "service_healthy"}, name


def test_no_port_is_published_beyond_this_machine_and_no_secret_is_written_down(compose: dict) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]
    assert "${POSTGRES_PASSWORD:?" in (DEPLOY / "compose.yaml").read_text()


def test_the_code_server_serves_what_the_workspace_asks_for(compose: dict) -> None:
    server = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    command = compose["services"][server["host"]]["command"]
    assert f"-p {server['port']}" in command and f"--location-name {server['location_name']}" in command


def test_the_workflow_materialises_the_demo_and_its_commands_exist() -> None:
    workflow = yaml.safe_load((DEPLOY / "ci" / "github-actions.yaml").read_text())
    commands = [step.get("run", "") for step in workflow["jobs"]["line"]["steps"]]
    assert any("dagster asset materialize -m factory_assets.definitions" in command for command in commands)
    assert any(command == "factory run" for command in commands)
