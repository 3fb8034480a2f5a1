"""Does an MLflow server come to say what the ledger says, whatever became of either in the meantime?

The tests marked slow speak to a real server: `make test-mlflow` installs one, beside the environment, and runs them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.release.jobs import mirror_job, mirror_often
from factory_resources.ledger import Decision, Ledger
from factory_resources.mlflow_mirror import MirrorFailed, MlflowMirror, _mirror, model_name
from factory_resources.records.tags import Tagging
from tests.resources.test_ledger import DAY, LINE, NEXT_DAY, a_decision, a_version, an_evaluation

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPOSITORY = Path(__file__).parents[2]
#: A Python that has the whole of MLflow, which does not go with our own pyarrow.
PYTHON = Path(os.environ.get("MLFLOW_PYTHON", REPOSITORY / ".venv-mlflow" / "bin" / "python"))
LYON = "FR/Lyon"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """`mlflow server` on a port of this machine, with SQLite and files in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not PYTHON.exists():
            pytest.fail(f"there is no MLflow server at {PYTHON}: `make test-mlflow` installs it and runs these tests")
        own = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination",
            f"{self.folder}/files",
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(PYTHON), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", *own],
                env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health") as answer:
                assert answer.read() == b"OK"
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.2)
        pytest.fail((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            # The server is several processes, of one session of their own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def wipe(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
        self.start()

    @property
    def client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self.uri, self.uri)

    def runs(self, line: str = LINE) -> list[Any]:
        from mlflow.entities import ViewType

        experiment = self.client.get_experiment_by_name(line)
        return self.client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)

    def champion(self, node: str) -> str | None:
        """The version that the alias is at, by its tag."""
        model = self.client.get_registered_model(model_name(LINE, node))
        if "champion" not in model.aliases:
            return None
        return str(self.client.get_model_version_by_alias(model.name, "champion").tags["factory.version"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow") / "server")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    """A server that knows of nothing yet. To start another takes half a minute, so what it knew of goes out of the way."""
    client = running.client
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    if experiment := client.get_experiment_by_name(LINE):
        client.rename_experiment(experiment.experiment_id, f"past {uuid.uuid4()}")
    return running


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two versions at the root and one at FR/Lyon, all measured; the second and Lyon's are champions."""
    ledger = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}")
    for version, node, as_of in (("v1", "global", DAY), ("v2", "global", NEXT_DAY), ("l1", LYON, NEXT_DAY)):
        configuration = a_version().configuration | {
            "made_from": f"m-{version}",
            "code": "c0de",
            "id": "d3cl",
            "seed": 7,
        }
        ledger.register(a_version(version, node=node, as_of=as_of, configuration=configuration))
        ledger.record_evaluation(an_evaluation(version, node=node, as_of=as_of))
        ledger.decide(a_decision("promote", version, version, node=node, as_of=as_of))
    return ledger


def mirror(server: Server, ledger: Ledger) -> tuple[int, int, int]:
    """New runs, versions and aliases."""
    (told,) = MlflowMirror(uri=server.uri).bring_up_to_date(ledger)
    assert told.line == LINE
    return told.runs, told.versions, told.aliases


@pytest.mark.slow
def test_a_version_is_a_run_and_a_model_version_with_all_that_its_record_says(server: Server, ledger: Ledger) -> None:
    assert mirror(server, ledger) == (3, 3, 2)
    runs = {run.data.tags["factory.version"]: run for run in server.runs()}
    run, record = runs["v1"], ledger.version(LINE, "v1")
    assert (run.info.status, run.info.run_name) == ("FINISHED", f"global {DAY}")
    assert run.info.start_time == 1527811800123 and run.info.end_time == record.ended_at.timestamp() * 1000
    expected = {"num_leaves": "31", "learning_rate": "0.05", "seed": "7", "estimator": "lightgbm", "rows": "268000"}
    expected |= {"train_from": "2018-04-20", "features": '["TX_AMOUNT"]'}
    assert expected.items() <= run.data.params.items()
    assert run.data.metrics["validation.average_precision"] == 0.61 == run.data.metrics["holdout.average_precision"]
    assert (
        run.data.metrics["train.average_precision"] == 0.66
        and run.data.metrics["holdout.naive.average_precision"] == 0.008
    )
    tags = {
        "node": "global",
        "made_from": "m-v1",
        "code": "c0de",
        "owner": "team:payments",
        "archive": "file:///archive/v1",
    }
    assert {f"factory.{name}": value for name, value in tags.items()}.items() <= run.data.tags.items()
    (held,) = server.client.search_model_versions(f"run_id = '{runs['l1'].info.run_id}'")
    assert (held.name, held.version, held.tags["factory.version"]) == ("card_fraud.FR.Lyon", "1", "l1")
    assert (server.champion("global"), server.champion(LYON)) == ("v2", "l1")
    assert mirror(server, ledger) == (0, 0, 0), "the server has it all"
    assert len(server.runs()) == 3


@pytest.mark.slow
def test_the_alias_follows_promotions_rollbacks_and_those_who_step_down(server: Server, ledger: Ledger) -> None:
    mirror(server, ledger)
    later = NEXT_DAY + dt.timedelta(days=1)
    ledger.roll_back(Decision(LINE, "global", later, "rollback", "v2", "v1", "complaints", "ana", {}))
    ledger.decide(Decision(LINE, LYON, later, "fallback", None, None, "steps down", "gate", {}))
    assert mirror(server, ledger) == (0, 0, 2)
    assert (server.champion("global"), server.champion(LYON)) == ("v1", None)
    told = server.client.get_registered_model("card_fraud.global").tags["factory.decided"]
    assert told.startswith("v2 was rolled back to v1 by ana") and told.endswith("complaints")
    third = later + dt.timedelta(days=1)
    ledger.register(a_version("v3", as_of=third))
    ledger.decide(a_decision("promote", "v3", "v3", as_of=third))
    assert mirror(server, ledger) == (1, 1, 1) and server.champion("global") == "v3"


@pytest.mark.slow
def test_tags_are_aliases_and_those_that_others_put_stay(server: Server, ledger: Ledger) -> None:
    def aliases() -> dict[str, str]:
        model = server.client.get_registered_model("card_fraud.global")
        return {alias: numbers[number] for alias, number in model.aliases.items()}

    ledger.tag(Tagging(LINE, "global", "stable", "v1", "works", "ana"))
    assert mirror(server, ledger) == (3, 3, 3)
    held = server.client.search_model_versions("name = 'card_fraud.global'")
    numbers = {each.version: each.tags["factory.version"] for each in held}
    (ours,) = (number for number, version in numbers.items() if version == "v1")
    server.client.set_registered_model_alias("card_fraud.global", "theirs", ours)
    assert aliases() == {"champion": "v2", "stable": "v1", "theirs": "v1"}
    ledger.tag(Tagging(LINE, "global", "stable", "v2", "better", "ana"))
    assert mirror(server, ledger) == (0, 0, 1) and aliases()["stable"] == "v2"
    ledger.tag(Tagging(LINE, "global", "stable", None, "gone", "ana"))
    assert mirror(server, ledger) == (0, 0, 1) and aliases() == {"champion": "v2", "theirs": "v1"}
    assert mirror(server, ledger) == (0, 0, 0)


@pytest.mark.slow
def test_a_later_evaluation_of_a_version_is_a_further_point_of_its_metrics(server: Server, ledger: Ledger) -> None:
    mirror(server, ledger)
    ledger.record_evaluation(
        an_evaluation("v1", as_of=DAY + dt.timedelta(days=7), challenger={"average_precision": 0.5})
    )
    assert mirror(server, ledger) == (1, 0, 0)
    (run,) = (run for run in server.runs() if run.data.tags["factory.version"] == "v1")
    points = server.client.get_metric_history(run.info.run_id, "holdout.average_precision")
    assert [(point.step, point.value) for point in points] == [(0, 0.61), (7, 0.5)]
    assert run.data.metrics["holdout.average_precision"] == 0.5


@pytest.mark.slow
def test_a_server_that_was_down_is_caught_up_with_and_one_that_was_wiped_is_filled_again(
    server: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    run_job = {"resources": {"ledger": ledger, "mirror": MlflowMirror(uri=server.uri)}}
    server.stop()
    down = CliRunner().invoke(app, ["mirror", "--to", server.uri])
    assert down.exit_code == 1 and server.uri in down.stderr and ledger.champions(LINE)["global"].champion == "v2"
    server.start()
    up = CliRunner().invoke(app, ["mirror", "--to", server.uri])
    assert up.exit_code == 0 and f"{LINE}: 3 runs, 3 versions, 2 aliases written to {server.uri}" in up.output
    server.wipe()
    assert mirror_job.execute_in_process(**run_job).success
    assert len(server.runs()) == 3 and server.champion("global") == "v2"


@pytest.mark.slow
def test_what_was_deleted_there_comes_back_and_what_is_of_others_stays(server: Server, ledger: Ledger) -> None:
    mirror(server, ledger)
    client = server.client
    other = client.create_run(client.get_experiment_by_name(LINE).experiment_id)
    client.create_registered_model("cardXfraud.global")
    client.create_model_version("cardXfraud.global", "factory:///of/others", tags={"factory.version": "l1"})
    (gone,) = (run for run in server.runs() if run.data.tags.get("factory.version") == "v1")
    client.delete_run(gone.info.run_id)
    client.delete_registered_model("card_fraud.FR.Lyon")
    assert mirror(server, ledger) == (1, 1, 1)
    assert {run.info.lifecycle_stage for run in server.runs()} == {"active"} and len(server.runs()) == 4
    assert server.champion(LYON) == "l1"
    assert client.get_run(other.info.run_id).info.status == "RUNNING"
    assert client.get_registered_model("cardXfraud.global").aliases == {}


@pytest.mark.slow
def test_a_mirror_that_was_killed_is_finished_by_the_next_one_without_doublets(
    server: Server, ledger: Ledger, tmp_path: Path
) -> None:
    for number in range(60):
        ledger.register(a_version(f"w{number}", node=f"DE/{number % 5}"))
    command = [str(Path(sys.executable).parent / "factory"), "mirror", "--to", server.uri]
    killed = subprocess.Popen(command, env=os.environ | {"FACTORY_HOME": str(tmp_path)}, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if server.client.get_experiment_by_name(LINE) and len(server.runs()) > 8:
            break
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    begun = len(server.runs())
    assert 8 < begun < 63
    mirror(server, ledger)
    runs = server.runs()
    assert len({run.data.tags["factory.version"] for run in runs}) == len(runs) == 63
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(server.client.search_model_versions("name LIKE 'card_fraud.%'")) == 63
    assert mirror(server, ledger) == (0, 0, 0)


@pytest.mark.slow
def test_only_records_that_the_server_lacks_are_read(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)  # a store in files keeps a database in the working folder beside
    from mlflow import MlflowClient

    # The client's own store in files says the same as a server, and starts at once.
    client, read = MlflowClient(f"file://{tmp_path}/runs", f"file://{tmp_path}/runs"), list[str]()
    whole = Ledger.version
    monkeypatch.setattr(
        Ledger, "version", lambda self, line, version: read.append(version) or whole(self, line, version)
    )
    monkeypatch.setattr(Ledger, "versions", None)
    told = _mirror(client, ledger, LINE)
    assert (told.runs, told.versions, told.aliases) == (3, 3, 2) and set(read) == {"v1", "v2", "l1"}
    read.clear()
    told = _mirror(client, ledger, LINE)
    assert (told.runs, told.versions, told.aliases) == (0, 0, 0) and read == []
    ledger.record_evaluation(an_evaluation("v1", as_of=NEXT_DAY, challenger={"average_precision": 0.5}))
    (run,) = client.search_runs([client.get_experiment_by_name(LINE).experiment_id], "tags.factory.version = 'l1'")
    client.delete_run(run.info.run_id)
    told = _mirror(client, ledger, LINE)
    assert (told.runs, told.versions, told.aliases) == (2, 0, 0) and set(read) == {"v1", "l1"}


def test_a_server_that_does_not_answer_fails_the_mirror_and_nothing_else(ledger: Ledger) -> None:
    address = f"127.0.0.1:{free_port()}"
    server = MlflowMirror(uri=f"http://ana:secret@{address}/base")
    with pytest.raises(MirrorFailed, match=f"MLflow at http://{address}/base was not brought up to date") as failed:
        list(server.bring_up_to_date(ledger))
    assert "secret" not in str(failed.value) and str(failed.value).endswith("Connection refused")
    done = mirror_job.execute_in_process(resources={"ledger": ledger, "mirror": server}, raise_on_error=False)
    (event,) = done.get_step_failure_events()
    assert address in str(event.step_failure_data.user_failure_data.description)


def test_what_answers_and_is_no_mlflow_is_told_too(ledger: Ledger) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(MirrorFailed, match=f"http://127.0.0.1:{other.server_port}"):
            list(MlflowMirror(uri=f"http://127.0.0.1:{other.server_port}").bring_up_to_date(ledger))
        other.shutdown()


def test_without_the_extra_or_an_address_one_line_says_what_is_missing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    monkeypatch.delenv("FACTORY_MLFLOW", raising=False)
    nowhere = CliRunner().invoke(app, ["mirror"])
    assert nowhere.exit_code == 1 and nowhere.stderr.count("\n") == 1 and "http://host:5000" in nowhere.stderr
    monkeypatch.setitem(sys.modules, "mlflow", None)
    without = CliRunner().invoke(app, ["mirror", "--to", "http://127.0.0.1:1"])
    assert without.exit_code == 1 and without.stderr.count("\n") == 1 and "pip install -e '.[mlflow]'" in without.stderr


def test_no_two_nodes_share_a_registered_model() -> None:
    nodes = ["global", "FR", "FR/Lyon", "FR.Lyon", "FR:Lyon", "FR/Lyon.2", "FR%2ELyon".replace("%", "%25"), "%67lobal"]
    names = [model_name("eta", node) for node in nodes]
    assert len(set(names)) == len(nodes) and names[2] == "eta.FR.Lyon"
    assert not [name for name in names if "/" in name or ":" in name]


def test_the_schedule_waits_for_a_mirror_that_is_not_done(tmp_path: Path) -> None:
    # The context opens an instance of its own. Left open, it would become the current one of a later test, and be gone.
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.build_schedule_context(instance) as context,
    ):
        assert isinstance(mirror_often(context, mirror=MlflowMirror(uri="http://h:5000")), dg.RunRequest)
        run = instance.create_run_for_job(mirror_job, status=dg.DagsterRunStatus.STARTED)
        assert run.run_id in str(mirror_often(context, mirror=MlflowMirror(uri="http://h:5000")).skip_message)
        nowhere = mirror_often(context, mirror=MlflowMirror(uri=""))
        assert isinstance(nowhere, dg.SkipReason) and "FACTORY_MLFLOW is not set" in str(nowhere.skip_message)
