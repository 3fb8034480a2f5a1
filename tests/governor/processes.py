"""A deployment as deploy/ describes it, in processes of this machine: a code server, the daemon, a PostgreSQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import dagster as dg
import sqlalchemy as sa
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from factory_assets.governor.runs import open_runs
from tests.line.world import Home

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: Served in place of factory_assets.definitions.
SERVED = "tests.governor.served"


def declare_instance(folder: Path, url: str) -> None:
    """Write deploy/dagster.yaml for a database of the test's, which is asked for queued runs every second."""
    settings = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    settings["storage"]["custom"]["config"] = {"postgres_url": url}
    settings["run_coordinator"]["config"] = {"dequeue_interval_seconds": 1}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))


def database(server: str, name: str) -> str:
    """URL of a new database of a server."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.replace("/factory?", f"/{name}?")


def until(condition: Callable[[], T], seconds: float, what: str, every: float = 0.5) -> T:
    """Wait until the condition holds; what it says then."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not after {seconds} seconds: {what}"
        time.sleep(every)
    return found


@dataclass
class Daemon:
    """The processes that keep a home whose instance is declared, all sensors switched on."""

    home: Home
    instance: dg.DagsterInstance
    port: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    #: From when to when there was no code server to ask.
    down: tuple[float, float] = (0, 0)

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        where = {"host": "127.0.0.1", "port": self.port, "location_name": "model_factory"}
        self.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": where}]}))
        self.start_code_server()
        self.command("dagster", "sensor", "start", "--start-all")
        self.start_daemon()

    def start_code_server(self) -> None:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-m", SERVED, "--location-name", "model_factory"]
        self.spawn("code-server", "dagster", "code-server", "start", *address)
        health = [str(BIN / "dagster"), "api", "grpc-health-check", "-p", str(self.port)]
        answers = lambda: not subprocess.run(health, env=self.home.environment, capture_output=True).returncode  # noqa: E731
        until(answers, 120, "the code server answers")

    def start_daemon(self) -> None:
        self.spawn("daemon", "dagster-daemon", "run", "-w", str(self.workspace))

    @property
    def workspace(self) -> Path:
        return self.home.folder / "workspace.yaml"

    def spawn(self, name: str, *command: str) -> None:
        with (self.home.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], env=self.home.environment, cwd=ROOT, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def command(self, *words: str) -> str:
        """A command of Dagster's, on this workspace."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:], "-w", str(self.workspace)], env=self.home.environment, cwd=ROOT,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill(self, name: str) -> None:
        """Kill a process with all that it started, as a container's end would."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart_code_server(self) -> None:
        """Kill it, with the runs that it has started, and start another."""
        began = time.time()
        self.kill("code-server")
        self.start_code_server()
        # The daemon asks for the new one within a minute, and takes a while where others work as well.
        self.down = began, time.time() + 90

    def was_down(self, first: float, last: float | None) -> bool:
        """Whether the code server was down at any time between two moments."""
        return first <= self.down[1] and (last or first) >= self.down[0]

    def stop(self) -> None:
        stopped = [*reversed(self.running.values())]
        self.running.clear()
        for process in stopped:
            process.terminate()
        for process in stopped:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill_a_run(self) -> None:
        """Kill the process of a run that is at a step."""
        os.kill(self.until_a_run(), signal.SIGKILL)

    def until_a_run(self) -> int:
        """Wait until a run is at a step; its process."""
        return until(self._executing, 120, "a run is at a step", every=0.1)[0]

    def _executing(self) -> list[int]:
        return [
            int(str(pid.value))
            for run in open_runs(self.instance)
            for event in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if "Executing steps" in event.message
            and (pid := event.get_dagster_event().engine_event_data.metadata.get("pid")) is not None
        ]

    def runs(self) -> list[dg.DagsterRun]:
        """All runs, oldest first."""
        return [record.dagster_run for record in self.instance.get_run_records(ascending=True)]

    def ticks(self, most: int = 1) -> dict[str, list[InstigatorTick]]:
        """Newest ticks of each sensor, newest first."""
        return {
            state.instigator_name: list(
                self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=most)
            )
            for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        }

    def until_quiet(self, seconds: float = 900) -> None:
        """Wait until every sensor has looked after the last run ended, and had nothing to ask for."""
        since = time.time()
        until(lambda: self._quiet(since), seconds, "the daemon is quiet")

    def _quiet(self, since: float) -> bool:
        if open_runs(self.instance):
            return False
        newest = self.instance.get_run_records(limit=1, order_by="update_timestamp", ascending=False)
        since = max([since, *(record.end_time or 0 for record in newest)])
        # All of them looked at the same state of things, so what one would ask for next, it would have asked for now.
        return all(
            ticks and ticks[0].status == TickStatus.SKIPPED and ticks[0].timestamp > since
            for ticks in self.ticks().values()
        )
