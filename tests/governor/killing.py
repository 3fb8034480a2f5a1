"""A line with a bad day, brought up to date by `factory run` in processes that die, and what is left of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from tests.governor.forked import Forked
from tests.governor.world import day
from tests.line.world import Home

DAYS, BAD, ROWS = 14, 12, 60
TOLD = f"orders/raw {day(BAD)}: ranges blocks the day: x >= 0: not so for {ROWS} rows, 100.0%"


class Death(NamedTuple):
    """Where a process dies: before or after the how many-th event of a type and step is stored."""

    when: str
    event: str
    step: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.event.lower()} {self.number} of {self.step or 'run'}"


#: Kinds of events at which a step's work is done and not known yet; and those after which it is known, and what follows is not done.
MARKS = {
    "before": ("STEP_SUCCESS", "STEP_FAILURE", "ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION"),
    "after": ("STEP_START", "ASSET_MATERIALIZATION"),
}


class Factory(Forked):
    """Runs `factory run` over the line's declarations, each time in a process that may die, and looks at what it left."""

    def __init__(self, folder: Path):
        super().__init__(folder, "tests.governor.killable", DAYS, BAD, ROWS)

    def run(self, home: str, *arguments: str, **how: Any) -> tuple[int, str]:
        """Exit code, and what was printed. how: as `tests.governor.killable` takes it."""
        code, printed = self.ask(self.folder / home, *arguments, **how)
        return code, printed.replace(str(self.folder / home), "HOME")

    def state(self, home: str) -> dict[str, Any]:
        """All that a person, or the next run, finds there."""
        folder = self.folder / home
        url = f"sqlite:///{folder / 'ledger.db'}"
        issues = [(each.rule, each.state, sorted(each.days.items())) for each in Issues(url=url).issues()]
        decisions = [
            (str(each.as_of), each.node, each.verdict, each.version, each.champion, each.reason)
            for each in Ledger(url=url).decisions("guess")
        ]
        tables = Home(folder, self.folder / "defs", {}).contents()
        archived = sorted(each.name for each in (folder / "archive" / "guess").iterdir())
        return {
            # Tiles name the files that they were made from, and are made anew when a snapshot needs them.
            "tables": {name: held for name, held in tables.items() if not name.startswith("tiles/")},
            "issues": issues, "checks": checks(folder),
            "decisions": sorted(decisions), "archive": archived,
            "under way": in_file(folder / "dagster" / "history" / "runs.db", UNDER_WAY),
        }  # fmt: skip


UNDER_WAY = "SELECT run_id, status FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
NEWEST = """SELECT asset_key, check_name, coalesce(partition, ''), execution_status, evaluation_event
            FROM asset_check_executions ORDER BY id"""


def in_file(file: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def checks(folder: Path) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """Asset, check and partition -> the newest evaluation; or that one was planned, and did not come."""
    found = {}
    for asset, check, partition, status, event in in_file(folder / "dagster" / "history" / "runs" / "index.db", NEWEST):
        told = json.loads(event)["dagster_event"]["event_specific_data"] if event else {}
        found[asset, check, partition] = (status, told.get("severity"), told.get("description"))
    return found


def ending(printed: str) -> str:
    """The table of segments, where to look, and what is not as it should be: all that follows the steps."""
    assert "\nguess " in printed, printed
    return printed[printed.index("\nguess ") :]


class Clean(NamedTuple):
    """A home that was brought up to date in one run, which was left alone."""

    state: dict[str, Any]
    printed: str
    met: list[tuple[str, str, int]]


def as_if_never_killed(factory: Factory, home: str, clean: Clean, twice: bool = True) -> None:
    """The next run reaches the clean state, tells the same and ends with the same code; the one after finds nothing to do.

    twice: whether there is one after.
    """
    code, printed = factory.run(home)
    assert (code, ending(printed)) == (1, clean.printed)
    state = factory.state(home)
    for what, expected in clean.state.items():
        assert state[what] == expected, what
    if not twice:
        return
    code, printed = factory.run(home)
    assert (code, ending(printed)) == (1, clean.printed)
    assert " computed" not in printed and "everything else is up to date" in printed
    assert factory.state(home) == state


def killed_everywhere(factory: Factory, clean: Clean, when: str) -> None:
    """Kill a run before, or after, each event that says that work was done, each time in a home of its own."""
    for number, death in enumerate(boundaries(clean.met, when)):
        home = f"{when}-{number}"
        assert factory.run(home, die=death)[0] == -9, str(death)
        try:
            # A second run more finds nothing to do: that is so whatever was killed, and looked at now and then.
            as_if_never_killed(factory, home, clean, twice=number % 10 == 0)
        except AssertionError as error:
            raise AssertionError(f"killed {death}") from error
        shutil.rmtree(factory.folder / home)


def boundaries(met: list[tuple[str, str, int]], when: str) -> list[Death]:
    """The first and the last of each kind of event that each step of a run has."""
    last: dict[tuple[str, str], int] = {}
    for event, step, number in met:
        last[event, step] = number
    return [
        Death(when, event, step, number)
        for event, step, number in met
        if event in MARKS[when] and number in (1, last[event, step])
    ]
