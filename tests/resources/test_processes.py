"""Is a run whose process is gone told from one that is still at it?"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from factory_resources import processes
from factory_resources.processes import PROCESS, close_gone_runs, is_gone, this_process

ROOT = Path(__file__).parents[2]
COMMAND = [str(Path(sys.executable).parent / "dagster"), "asset", "materialize", "-m", "tests.resources.long_runs"]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as made:
        yield made


def until_slow(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Process of the second step, when it is at work."""
    end = time.monotonic() + 120
    while not (folder / "slow").exists() or not (told := (folder / "slow").read_text()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    return int(told)


@pytest.mark.parametrize("executor", ["one process", "many processes"])
@pytest.mark.slow
def test_a_run_that_nobody_launched_is_gone_with_its_process_and_not_before(
    tmp_path: Path, instance: dg.DagsterInstance, executor: str
) -> None:
    environment = os.environ | {
        "DAGSTER_HOME": str(tmp_path / "dagster"), "LONG_RUNS": str(tmp_path), "LONG_RUNS_EXECUTOR": executor
    }  # fmt: skip
    process = subprocess.Popen([*COMMAND, "--select", "*"], env=environment, cwd=ROOT)
    step = until_slow(tmp_path, process)
    try:
        [record] = instance.get_run_records()
        assert PROCESS in record.dagster_run.tags
        # The process of the first step has ended by now, where each has one of its own.
        assert not is_gone(instance, record)
        close_gone_runs(instance)
        assert instance.get_run_records()[0].dagster_run.status == dg.DagsterRunStatus.STARTED
    finally:
        process.kill()
        process.wait()
        if step != process.pid:
            os.kill(step, signal.SIGKILL)
    end = time.monotonic() + 10
    while not is_gone(instance, instance.get_run_records()[0]):  # a killed process may take a moment
        assert time.monotonic() < end
        time.sleep(0.05)
    close_gone_runs(instance)
    [record] = instance.get_run_records()
    assert record.dagster_run.status == dg.DagsterRunStatus.FAILURE
    told = [each.message for each in instance.all_logs(record.dagster_run.run_id)]
    assert any("that executed this run is gone" in each for each in told)


@pytest.mark.parametrize(
    ("process", "gone"),
    [
        (this_process(), False),
        (this_process() + "0", True),  # the number has been given to a later process
        ("another-machine:1:1", False),
        ("nonsense", False),
    ],
    ids=["this one", "a later one", "another machine's", "not one"],
)
def test_a_process_is_known_by_machine_number_and_start(instance: dg.DagsterInstance, process: str, gone: bool) -> None:
    record = open_run(instance, dg.DagsterRunStatus.STARTED, {PROCESS: process})
    assert is_gone(instance, record) == gone


def test_a_run_that_nobody_named_is_given_ten_minutes(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    records = [open_run(instance, status, {}) for status in statuses]
    assert [is_gone(instance, record) for record in records] == [False, False]
    monkeypatch.setattr(processes, "NAMED_WITHIN", dt.timedelta(0))
    # One that waits for a process is the launcher's.
    assert [is_gone(instance, record) for record in records] == [False, True]
    close_gone_runs(instance)
    assert records[-1].dagster_run.run_id in {
        run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[statuses[-1]]))
    }


def test_a_run_that_somebody_launched_is_the_launcher_s_however_long_it_says_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "NAMED_WITHIN", dt.timedelta(0))
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("elsewhere"), "__repository__")
    record = open_run(instance, dg.DagsterRunStatus.STARTED, {}, remote_job_origin=RemoteJobOrigin(place, "nothing"))
    assert not is_gone(instance, record)


@pytest.mark.parametrize("server", [{"host": "127.0.0.1", "port": 1}, {"socket": "/tmp/one"}, {"host": "code"}, {}])
def test_a_run_launched_here_is_gone_with_the_process_that_its_events_name_though_it_never_named_itself(
    instance: dg.DagsterInstance, server: dict[str, Any]
) -> None:
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    tags = {".dagster/grpc_info": json.dumps(server)} if server else {}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid, is_over in ((os.getpid(), False), (ended.pid, True)):
        record = open_run(
            instance, dg.DagsterRunStatus.STARTED, tags, remote_job_origin=RemoteJobOrigin(place, "nothing")
        )
        assert not is_gone(instance, record), "before its process is told"
        data = EngineEventData({"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event("Started process for run", record.dagster_run, data)
        here = "port" in server or "socket" in server
        assert is_gone(instance, record) == (is_over and here)
        close_gone_runs(instance)
        run = instance.get_run_by_id(record.dagster_run.run_id)
        assert run is not None and run.is_failure == (is_over and here)


def open_run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str], **more: Any
) -> dg.RunRecord:
    @dg.job
    def nothing() -> None: ...

    run = instance.create_run_for_job(nothing, status=status, tags=tags, **more)
    return instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0]
