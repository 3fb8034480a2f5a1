"""Do `factory run`, the daemon in its own processes, and CI by `factory due` keep the same world?"""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from factory_assets.governor.runs import REASON, states_of
from factory_assets.governor.work import FLEET, PAGE
from factory_resources.ledger import Ledger
from tests.governor.processes import BIN, ROOT, Daemon, database, declare_instance
from tests.line.world import Home, declare

pytestmark = pytest.mark.longest

START = dt.date(2026, 1, 5)
#: Days that the stream has in the end; those before the daemon begins; and those that it then sees one by one.
DAYS, OUTAGE, SINGLE = 60, 47, 3
#: Trainings of both lines in these days; the most runs in which the outage may be caught up, and those that write pages meanwhile,
#: each time that a line comes to rest.
TRAININGS, MOST_RUNS, MOST_PAGES = 7, 15, 10
LINES = ("delivery_time", "repeat_order")
#: Shorter windows, so that sixty days hold several trainings of both lines.
SHORTER = {
    "windows: [1d, 7d, 28d]": "windows: [1d, 7d]",
    "windows: [3d, 7d, 28d]": "windows: [3d, 7d]",
    "active: 28d": "active: 7d",
    "window: 28d, holdout: 7d": "window: 14d, holdout: 5d",
    "every: 14d": "every: 10d",
}


@dataclass
class Kept:
    """A home with its clock, and what was made in it."""

    home: Home

    def days_are_over(self, days: int) -> None:
        """It is half past midnight after so many days of the stream."""
        moment = dt.datetime.combine(START + dt.timedelta(days=days), dt.time(0, 30), dt.UTC)
        Path(self.home.extra["FACTORY_CLOCK"]).write_text(moment.isoformat())

    def command(self, text: str) -> str:
        """What a command prints."""
        environment = self.home.environment
        done = subprocess.run(shlex.split(text), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.returncode}: {done.stdout + done.stderr}"
        return done.stdout

    def kill(self, text: str, at: str) -> None:
        """Kill a command when it has printed this."""
        with subprocess.Popen(
            shlex.split(text), env=self.home.environment, cwd=ROOT, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
        ) as process:  # fmt: skip
            assert process.stdout and any(at in line for line in process.stdout)
            process.kill()

    def due(self) -> list[dict[str, Any]]:
        return json.loads(self.command("factory due --json"))["work"]

    def decisions(self) -> list[tuple[Any, ...]]:
        ledger = Ledger(url=self.home.extra["FACTORY_LEDGER"])
        return sorted(
            (line, str(each.as_of), each.node, each.verdict, str(each.version), str(each.champion), each.reason)
            for line in LINES
            for each in ledger.decisions(line)
        )

    def contents(self) -> dict[str, tuple[int, int]]:
        """Of all tables but tiles and totals, which are no assets: they are kept where few days are made at once."""
        return {
            table: held for table, held in self.home.contents().items() if not table.startswith(("tiles/", "totals/"))
        }

    def archived(self) -> list[str]:
        """Ids of all archived models; they are hashes of what the models hold."""
        return sorted(path.name for line in LINES for path in (self.home.folder / "archive" / line).glob("*"))


@pytest.fixture(scope="module")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = declare(tmp_path_factory.mktemp("declarations") / "marketplace")
    text = (folder / "defs.yaml").read_text()
    for found, shorter in SHORTER.items():
        assert found in text
        text = text.replace(found, shorter)
    (folder / "defs.yaml").write_text(text)
    return folder


def made(folder: Path, declarations: Path, ledger: str | None = None) -> Kept:
    (folder / "dagster").mkdir(parents=True)
    extra = {
        "FACTORY_DEFS": str(declarations), "FACTORY_CLOCK": str(folder / "clock"),
        "FACTORY_LEDGER": ledger or f"sqlite:///{folder / 'ledger.db'}", "FACTORY_THREADS": "1",
        "DAGSTER_HOME": str(folder / "dagster"), "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip
    return Kept(Home(folder, declarations, extra))


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory, declarations: Path) -> Kept:
    """`factory run`, once, at the end."""
    kept = made(tmp_path_factory.mktemp("command"), declarations)
    kept.days_are_over(DAYS)
    kept.home.run()
    return kept


@pytest.fixture(scope="module")
def by_days(tmp_path_factory: pytest.TempPathFactory, declarations: Path) -> Kept:
    """`factory run`, each morning, after an outage."""
    kept = made(tmp_path_factory.mktemp("days"), declarations)
    for days in range(OUTAGE, DAYS + 1):
        kept.days_are_over(days)
        kept.home.run()
    return kept


@pytest.fixture(scope="module")
def by_ci(tmp_path_factory: pytest.TempPathFactory, declarations: Path) -> Kept:
    """What `factory due --json` prints for ready work, typed as it is printed, until nothing is due; at two moments.

    The first training is killed when its models are there, and not yet judged.
    """
    kept, killed = made(tmp_path_factory.mktemp("ci"), declarations), False
    for days in (OUTAGE, DAYS):
        kept.days_are_over(days)
        while work := kept.due():
            for each in [each for each in work if not each["after"]]:
                if "as_of" in each and not killed:
                    kept.kill(each["command"], f"{each['assets'][0].replace('/', '__')} - STEP_SUCCESS")
                    killed = True
                    break
                kept.command(each["command"])
    assert killed
    return kept


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, declarations: Path, postgres_url: str
) -> Iterator[tuple[Kept, Daemon]]:
    """A home that is kept by a daemon, for so many days already that nobody has kept it before."""
    home, url = tmp_path_factory.mktemp("daemon") / "home", database(postgres_url, "daemon")
    kept = made(home, declarations, url)
    declare_instance(home / "dagster", url)
    kept.days_are_over(OUTAGE)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        processes = Daemon(kept.home, instance)
        try:
            processes.start()
            processes.until_quiet()
            yield kept, processes
        finally:
            processes.stop()


@pytest.fixture(scope="module")
def caught_up(daemon: tuple[Kept, Daemon]) -> list[dg.DagsterRun]:
    """The runs that caught up with the outage."""
    return daemon[1].runs()


@pytest.fixture(scope="module")
def by_daemon(daemon: tuple[Kept, Daemon], caught_up: list[dg.DagsterRun]) -> Kept:
    """Day by day; then the cursors are lost; then the rest at once: a run is killed in the middle of it, and the daemon,
    and then the code server with the run that it was at."""
    kept, processes = daemon
    for days in range(OUTAGE + 1, OUTAGE + SINGLE + 1):
        kept.days_are_over(days)
        processes.until_quiet()
    for sensor in processes.ticks():
        processes.command("dagster", "sensor", "cursor", sensor, "--delete")
    processes.until_quiet()
    kept.days_are_over(DAYS)
    processes.kill_a_run()
    processes.kill("daemon")
    processes.start_daemon()
    processes.until_a_run()
    processes.restart_code_server()
    processes.until_quiet()
    processes.stop()
    return kept


def test_a_long_outage_of_the_daemon_is_caught_up_in_few_runs(caught_up: list[dg.DagsterRun]) -> None:
    made = [{key.path[-1] for key in run.asset_selection or ()} for run in caught_up]
    pages = [each for each in made if each <= {PAGE, FLEET}]
    assert len(made) - len(pages) <= MOST_RUNS and len(pages) <= MOST_PAGES, made


@pytest.mark.parametrize("other", ["by_daemon", "by_days", "by_ci"])
def test_tables_decisions_and_models_are_those_of_one_run_of_the_command(
    by_command: Kept, other: str, request: pytest.FixtureRequest
) -> None:
    kept: Kept = request.getfixturevalue(other)
    assert kept.due() == by_command.due() == []
    assert kept.decisions() == by_command.decisions() and len({each[:2] for each in kept.decisions()}) == TRAININGS
    assert kept.contents() == by_command.contents() and kept.contents()
    assert kept.archived() == by_command.archived() and kept.archived()


@pytest.mark.usefixtures("by_daemon")
def test_every_run_says_why_and_the_same_work_is_done_once(daemon: tuple[Kept, Daemon]) -> None:
    """Whatever was forgotten or killed."""
    runs = daemon[1].runs()
    killed = [run for run in runs if run.status == dg.DagsterRunStatus.FAILURE]
    done = [state for run in runs if run not in killed for state in states_of(run)]
    assert len(killed) == 2 and len(done) == len(set(done))
    assert all(run.tags[REASON] for run in runs)
    assert {run.status for run in runs if run not in killed} == {dg.DagsterRunStatus.SUCCESS}


@pytest.mark.usefixtures("by_daemon")
def test_every_tick_asks_for_a_run_or_says_why_not(daemon: tuple[Kept, Daemon]) -> None:
    for sensor, ticks in daemon[1].ticks(most=1000).items():
        failed = [tick for tick in ticks if tick.error and not daemon[1].was_down(tick.timestamp, tick.end_timestamp)]
        assert not [tick.error for tick in failed], sensor
        ended = [tick for tick in ticks if tick.status != TickStatus.STARTED]
        silent = [tick for tick in ended if not tick.run_ids and not tick.skip_reason and not tick.error]
        assert len(silent) <= 1, (sensor, silent)  # the one in which the daemon was killed
