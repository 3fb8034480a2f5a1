"""Does a program that asks a command for JSON get one object, also where the command has no answer?"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import typing
from pathlib import Path
from typing import Any

import pytest

from factory_assets.commands.programs import plain
from tests import forked
from tests.commands.test_text import ONES

#: Those that are asked for a line, or a stream, alone.
ASKED_OF = (
    *("champion", "history", "tags", "trials", "issue list", "quarantine show"),
    *("decay", "backtest", "calibrate"),
)
#: Commands that take --json -> arguments with which each asks for a line, or a stream, that there is not.
ASKED = {
    "check": [],
    "due": [],
    "plan": [],
    "verify": [],
    "features": ["--line", "no_line"],
    "latency": [],
    "status": ["--line", "no_line"],
    "explain": ["no_line", "1"],
    "compare": ["no_line"],
} | {name: ["no_line"] for name in ASKED_OF}
#: Those that have no answer without declarations.
READING = (
    *("due", "status", "explain", "compare", "check", "plan", "verify", "features"),
    *("decay", "backtest", "calibrate"),
)
#: What a name is not, and which there are: for lines that are declared, lines that were decided on, and streams.
IS_NOT = (
    dict.fromkeys(
        ("status", "explain", "compare", "trials", "features", "decay", "backtest", "calibrate"),
        "line; lines here: none",
    )
    | dict.fromkeys(("champion", "history", "tags"), "line with decisions; lines with decisions here: none")
    | dict.fromkeys(("issue list", "quarantine show"), "stream; streams here: orders")
)
DECLARED = """
type: factory_assets.components.EventStream
attributes: {name: orders, owner: team:x, description: Orders., source: {kind: csv, uri: 'feed/*.csv'}, id: order_id,
  event_time: placed_at, start: 2024-03-01}
"""


def asked(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    homes = {"FACTORY_HOME": str(folder / "home"), "DAGSTER_HOME": str(folder / "home" / "dagster")}
    variables = homes | {"FACTORY_DEFS": str(folder / "defs")} | environment
    return forked.factory(*name.split(), *ASKED[name], "--json", env=forked.environment(**variables), cwd=folder)


def declare(folder: Path, text: str) -> None:
    (folder / "defs").mkdir()
    (folder / "defs" / "defs.yaml").write_text(text)
    contract = "columns: {order_id: {type: integer}, placed_at: {type: timestamp}}\n"
    (folder / "defs" / "contract.yaml").write_text(contract)


def answer(done: subprocess.CompletedProcess[str], code: int) -> dict[str, Any]:
    """The object; what else is printed would be no JSON, and constants that JSON lacks are refused."""
    assert done.returncode == code, done.stdout + done.stderr
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no number of JSON"))
    assert isinstance(found, dict)
    return found


def test_those_that_take_json_are_all_asked_here() -> None:
    assert set(ASKED) == {name for name in ONES if "as_json" in typing.get_type_hints(ONES[name])}


@pytest.mark.parametrize("name", READING)
def test_refused_declarations_are_an_object_with_the_place_of_each_problem(name: str, tmp_path: Path) -> None:
    declare(tmp_path, DECLARED.replace("id: order_id", "id: no_column").replace("owner: team:x, ", ""))
    found = answer(asked(name, tmp_path), 1)
    assert {each["file"] for each in found["problems"]} == {str(tmp_path / "defs" / "defs.yaml")}
    assert all(each["line"] >= 1 and each["where"] and each["message"] for each in found["problems"])
    assert "owner" in found["error"]


@pytest.mark.parametrize("name", IS_NOT)
def test_a_line_that_there_is_not_is_an_object(name: str, tmp_path: Path) -> None:
    declare(tmp_path, DECLARED)
    assert answer(asked(name, tmp_path), 1) == {"error": f"'no_line' is not a {IS_NOT[name]}", "problems": []}


def test_a_ledger_that_cannot_be_used_is_an_object(tmp_path: Path) -> None:
    declare(tmp_path, DECLARED)
    (tmp_path / "ledger.db").write_text("to whom it may concern " * 100)
    done = asked("due", tmp_path, FACTORY_LEDGER=f"sqlite:///{tmp_path}/ledger.db")
    assert "cannot be used: file is not a database" in answer(done, 3)["error"]


def test_without_json_the_same_are_texts_for_people(tmp_path: Path) -> None:
    declare(tmp_path, DECLARED)
    homes = forked.environment(FACTORY_HOME=str(tmp_path / "home"), FACTORY_DEFS=str(tmp_path / "defs"))
    done = forked.factory("status", "--line", "no_line", env=homes, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "") and "is not a line" in done.stderr


def test_numbers_that_json_lacks_are_null_and_times_are_texts() -> None:
    found = {
        "a": float("nan"),
        "b": [float("inf"), 1.5, True, None],
        dt.date(2026, 3, 1): (dt.date(2026, 3, 1), Path("x")),
    }
    assert plain(found) == {"a": None, "b": [None, 1.5, True, None], "2026-03-01": ["2026-03-01", "x"]}
