"""Does the terminal help who mistypes, and do programs get what people see?"""

import datetime as dt
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from factory_assets import cli
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger
from factory_resources.records.issues import BrokenRule, Issues
from tests.commands.test_text import a_version

LINE, DAY = "delivery_time", dt.date(2026, 1, 5)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line whose FR has a champion, and whose FR/Lyon was left to it."""
    for name in ("FACTORY_DEFS", "FACTORY_LEDGER", "FACTORY_LAKE", "FACTORY_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    ledger = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}")
    for node, verdict, champion, why in (
        ("global", "promote", "aaaa000011112222", "better than a naive guess"),
        ("FR", "promote", "bbbb000011112222", "better than global"),
        ("FR/Lyon", "fallback", None, "not surely better than FR"),
    ):
        challenger = champion or "cccc000011112222"
        ledger.register(a_version(challenger, node))
        ledger.decide(Decision(LINE, node, DAY, verdict, challenger, champion, why, "gate", {}))
    row = {
        "ds": DAY,
        "rule": "amount >= 0",
        "source": "a.csv",
        "line": None,
        "raw_row": '{"amount": "-1"}',
        "unparsed": "{}",
    }
    schema = pa.schema([(name, pa.date32() if name == "ds" else pa.string()) for name in row])
    Lake(root=str(tmp_path / "lake")).replace("orders/quarantine", pa.Table.from_pylist([row], schema=schema), [DAY])
    Issues(url=ledger.url).note("orders", "team:x", [DAY], {DAY: [BrokenRule("number of rows", "row", "3 rows")]})
    return tmp_path


def ran(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_node_that_a_line_does_not_have_is_an_error_which_names_the_one_that_was_meant(home: Path) -> None:
    for command in ("champion", "history", "tags"):
        asked = ran(command, LINE, "FR/Lyn")
        assert asked.exit_code == 1, command
        assert "'FR/Lyn' is not a node of delivery_time" in asked.output
        assert "did you mean 'FR/Lyon'?" in asked.output


def test_a_node_without_a_decision_is_known_where_an_observation_is_of_it(home: Path) -> None:
    assert ran("champion", LINE, "DE/Hamburg").exit_code == 1
    rows = pa.table({"example_id": ["1"], "leaf": ["DE/Hamburg"], "ds": [DAY]})
    Lake(root=str(home / "lake")).replace(f"{LINE}/examples", rows, [DAY])
    for node in ("DE/Hamburg", "DE"):
        asked = ran("champion", LINE, node)
        assert asked.exit_code == 0 and "nothing was decided about it" in asked.output, asked.output


def test_names_of_lines_streams_versions_and_tags_are_guessed(home: Path) -> None:
    for arguments, wanted in (
        (("champion", "delivry_time"), "delivery_time"),
        (("decay", "delivery_tme"), "delivery_time"),
        (("quarantine", "show", "order"), "orders"),
        (("issue", "list", "order"), "orders"),
        (("rollback", LINE, "FRR", "--why", "x"), "FR"),
    ):
        asked = ran(*arguments)
        assert asked.exit_code == 1 and f"did you mean '{wanted}'?" in asked.output, (arguments, asked.output)


def test_the_reason_of_the_node_stands_beside_that_of_who_answers_for_it(home: Path) -> None:
    (lyon,) = json.loads(ran("champion", LINE, "FR/Lyon", "--json").output)
    assert (lyon["answers"], lyon["version"]) == ("FR", "bbbb000011112222")
    assert (lyon["own"]["verdict"], lyon["own"]["why"]) == ("fallback", "not surely better than FR")
    assert (lyon["crowned"]["node"], lyon["crowned"]["why"]) == ("FR", "better than global")
    told = " ".join(ran("champion", LINE, "FR/Lyon").output.split())
    assert "not surely better than FR" in told and "better than global" in told


def test_programs_get_what_people_see_with_whole_ids(home: Path) -> None:
    history = json.loads(ran("history", LINE, "--json").output)
    assert [(each["node"], each["verdict"]) for each in history] == [
        ("global", "promote"), ("FR", "promote"), ("FR/Lyon", "fallback"),
    ]  # fmt: skip
    assert history[0]["champion"] == "aaaa000011112222" and history[0]["as_of"] == str(DAY)
    assert "aaaa0000" in ran("history", LINE).output and "aaaa000011112222" not in ran("history", LINE).output
    (issue,) = json.loads(ran("issue", "list", "--json").output)
    assert (issue["rule"], issue["state"], issue["days"]) == ("number of rows", "open", {str(DAY): "3 rows"})
    (row,) = json.loads(ran("quarantine", "show", "orders", "--json").output)
    assert (row["day"], row["rules"], row["values"]) == (str(DAY), ["amount >= 0"], {"amount": "-1"})
    assert json.loads(ran("tags", LINE, "--json").output) == []
    assert json.loads(ran("trials", LINE, "--json").output) == []


def test_who_decides_is_named_by_one_option_everywhere(home: Path) -> None:
    for command in (["issue", "accept"], ["issue", "reopen"], ["issue", "fixed"], ["approve"], ["rollback"], ["tag"]):
        assert "--by" in ran(*command, "--help").output, command
    assert ran("issue", "accept", "orders", "number of rows", "--why", "a strike", "--by", "ana").exit_code == 0
    (issue,) = json.loads(ran("issue", "list", "--json").output)
    assert issue["state"] == "accepted" and "ana" in issue["who"]


def test_the_help_is_in_parts_of_what_people_come_for() -> None:
    told = ran("--help").output
    places = [told.index(f" {part} ─") for part in ("Make", "Look", "Decide", "Repair")]
    assert places == sorted(places)
    assert places[0] < told.index(" due ") < places[1] < told.index(" champion ") < places[2] < told.index(" rollback ")
    assert max(map(len, told.splitlines())) <= 80


def test_it_says_which_release_it_is() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "factory_assets.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert asked.stdout == f"model-factory {version('model-factory')}\n"
