"""Is what people and data say shown as the text that it is, by every command, whatever Rich or a terminal would take it for?"""

from __future__ import annotations

import datetime as dt
import inspect
import io
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from rich.cells import cell_len
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner, Result

from factory_assets import cli
from factory_assets.commands.screen import Screen, console, shown, styled
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger, VersionRecord
from factory_resources.records.certificates import Certificate
from factory_resources.records.decisions import WAITS
from factory_resources.records.issues import BrokenRule, Issues
from factory_resources.records.tags import Tagging
from factory_resources.records.trials import Trial, Trials

#: What each says, and how it is shown. Short enough for a cell of a table.
HOSTILE = {
    "[/red] x": "[/red] x",
    "[jira-1] x": "[jira-1] x",
    "[bold]ceo[/bold]": "[bold]ceo[/bold]",
    "[link=x]y[/]": "[link=x]y[/]",
    "[/]": "[/]",
    "\\[red]": "\\[red]",
    ":warning: x": ":warning: x",
    "\x1b[31mred": "\\x1b[31mred",
    "\x1b]0;t\x07": "\\x1b]0;t\\x07",
    "\x9b31m": "\\x9b31m",
    "a\rb\x08c": "a\\rb\\x08c",
    "\u202etxt": "\\u202etxt",
    "\u2028line": "\\u2028line",
    "\udcff": "\\udcff",
}
#: Arguments of commands reach the ledger as texts that a database can hold.
KEPT = {text: as_shown for text, as_shown in HOSTILE.items() if text.isprintable() or ord(max(text)) < 0xD800}
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LINE = "delivery_time"
DAY = dt.date(2026, 1, 5)


def groups(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, and every group of commands, by the words that call it."""
    yield path, typer.main.get_command(app) if not path else None
    for group in app.registered_groups:
        assert group.typer_instance is not None and isinstance(group.name, str)
        yield from groups(group.typer_instance, (*path, group.name))
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")  # type: ignore[union-attr]
        yield (*path, name), command.callback


EVERY = {" ".join(path): callback for path, callback in groups(cli.app)}
ONES = {name: callback for name, callback in EVERY.items() if callable(callback) and name}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("FACTORY_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    # `run` and `due` set it for their process.
    monkeypatch.setenv("FACTORY_DEFS", "")
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setattr(console, "width", 250)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found = COMMANDS.search(result.output)
    assert found is None, f"{arguments}: {found and found[0]!r} in {result.output!r}"
    return result


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_a_help_that_says_all_that_is_written_for_it(name: str, home: Path) -> None:
    told = ran(*name.split(), "--help")
    assert told.exit_code == 0
    words = set(re.sub(r"[│╭╮╰╯─]", " ", told.output).split())
    callback = ONES.get(name)
    described = [] if callback is None else [inspect.getdoc(callback) or ""]
    for hint in typing.get_type_hints(callback, include_extras=True).values() if callback else ():
        described += [one.help for one in getattr(hint, "__metadata__", ()) if getattr(one, "help", None)]
    missing = {word for text in described for word in text.split()} - words
    assert not {word for word in missing if not re.search(r"[-/.]", word)}, "a word is cut only at a hyphen"


@pytest.mark.parametrize("text", ["[/red] x", "\x1b[31mred", "\u202etxt", "\udcff"])
@pytest.mark.parametrize("name", ONES)
def test_every_command_can_be_told_anything(name: str, text: str, home: Path) -> None:
    """In the place of each argument, and of each option that takes a text."""
    command = typer.main.get_command(cli.app)
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    names = [one for one in command.params if getattr(one, "param_type_name", "") == "argument"]
    options = [one for one in command.params if getattr(one, "param_type_name", "") == "option"]
    taking = [one.opts[0] for one in options if not getattr(one, "is_flag", False) and one.name != "help"]
    required = [item for one in options if one.required for item in (one.opts[0], text)]
    if name in ("home", "run"):
        return  # without a text of its own: `run` takes a folder, and works for minutes where it is one
    ran(*name.split(), *(text for _ in names), *required)
    ran(*name.split(), text, text, text, text, text)
    for option in taking:
        ran(*name.split(), *(text for _ in names), *required, option, text)


def test_run_says_which_folder_is_none(home: Path) -> None:
    for text in ("[/red] x", "\x1b[31mred"):
        assert ran("run", text).exit_code == 1


@pytest.mark.parametrize("text", KEPT)
def test_what_was_recorded_is_shown_as_it_was_written(text: str, home: Path) -> None:
    recorded(home, text)
    for arguments in (
        ("champion", LINE), ("champion", LINE, text), ("history", LINE), ("history", LINE, text), ("tags", LINE),
        ("tags", LINE, text), ("approve", LINE), ("issue", "list"), ("trials", LINE), ("quarantine", "show", "orders"),
    ):  # fmt: skip
        told = ran(*arguments)
        assert told.exit_code == 0, told.output
        # A value of a row is shown as Python writes it, so that also its ends can be seen.
        assert KEPT[text] in told.output or repr(text)[1:-1] in told.output, f"{arguments}: {told.output}"


def a_version(version: str, node: str) -> VersionRecord:
    then = dt.datetime(2026, 1, 6, tzinfo=dt.UTC)
    days = dict.fromkeys(("as_of", "train_from", "train_to", "holdout_from", "holdout_to"), DAY)
    of_run = {"owner": "team:x", "archive_uri": "file:///a", "run_id": "r", "started_at": then, "ended_at": then}
    made = {
        "configuration": {"params": {"alpha": 1}, "features": ["amount"]},
        "tables": {"t": 1},
        "charts": {"c": "c.svg"},
    }
    measured = {"validation": {"r": {"mae": 1.0}}, "metrics": {"mae": 1.0}, "importances": {"a": 1.0}}
    named = {
        "version": version,
        "line": LINE,
        "node": node,
        "task": "regression",
        "estimator": "ridge",
        "candidate": node,
    }
    return VersionRecord(**named, **days, **of_run, **made, **measured, rows=1, positives=0)  # type: ignore[arg-type]


def recorded(home: Path, text: str) -> None:
    """A line, a stream and its issues about which the text stands wherever people or data may say something."""
    url = f"sqlite:///{home / 'ledger.db'}"
    ledger = Ledger(url=url)
    for version, verdict in (("v1", "promote"), ("v2", "keep")):
        ledger.register(a_version(version, text))
        waits = {WAITS: True} if version == "v2" else {}
        ledger.decide(Decision(LINE, text, DAY, verdict, version, "v1", text, text, waits))  # type: ignore[arg-type]
    ledger.tag(Tagging(LINE, text, "stable", "v1", text, text))
    issues = Issues(url=url)
    issues.note("orders", text, [DAY], {DAY: [BrokenRule(text, "row", text)]})
    issues.decide("orders", text, "open", text, text)
    fold = {"validate_from": str(DAY), "validate_to": str(DAY), "rows": 1, "metrics": {"mae": 1.0}}
    ended = dt.datetime(2026, 1, 6, tzinfo=dt.UTC)
    Trials(url=url).record(
        Trial(LINE, text, text, text, DAY, "c", "s", 0, {"p": text}, "mae", 1.0, [fold], "failed", text, 1.0, "r", ended)
    )  # fmt: skip
    row = {"ds": DAY, "rule": text, "source": text, "line": text, "raw_row": "{}", "unparsed": "{}"}
    Lake(root=str(home / "lake")).replace("orders/quarantine", pa.Table.from_pylist([row]), [DAY])


def test_a_rebuild_shows_its_certificate_as_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from factory_assets.commands import rebuild

    for text, as_shown in HOSTILE.items():
        rebuild._show(Certificate(text, text, "different", text, {text: (text, "b")}, {text: (text, text)}, "ana"))
        told = capsys.readouterr().out
        assert told.count(as_shown) >= 5 and COMMANDS.search(told) is None


def test_in_a_narrow_terminal_names_stand_whole_and_the_reason_can_be_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(url=f"sqlite:///{home / 'ledger.db'}")
    version = "0123456789abcdef"
    reason = "couriers were on strike in the whole city for a week"
    ledger.register(a_version(version, "DE/Hamburg"))
    ledger.decide(Decision(LINE, "DE/Hamburg", DAY, "promote", version, version, reason, "head.of.risk", {}))
    for columns in (60, 80, 100, 200):
        monkeypatch.setattr(console, "width", columns)
        for command in ("champion", "history"):
            told = CliRunner().invoke(cli.app, [command, LINE]).output
            assert max(map(len, told.splitlines())) <= columns and "…" not in told
            assert {"DE/Hamburg", version[:8], "promote", "head.of.risk"} <= set(told.split())
            assert set(reason.split()) <= set(told.split())
            # The history has one column more: at 100 it comes field by field, and the champions in a table.
            assert ("│" in told) == (columns > 100 or (columns == 100 and command == "champion"))


WORDS = "couriers were on strike in the whole city for a week"


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize(
    "arguments",
    [("champion", LINE), ("history", LINE), ("tags", LINE), ("approve", LINE), ("issue", "list"), ("trials", LINE)],
)
def test_every_table_can_be_read_in_a_terminal_of_any_width(
    arguments: tuple[str, ...], columns: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(home, WORDS)
    monkeypatch.setattr(console, "width", columns)
    told = ran(*arguments).output
    assert max(map(len, told.splitlines())) <= columns and "…" not in told
    assert set(WORDS.split()) <= set(told.split()), told


@pytest.mark.parametrize("width", range(20, 130, 7))
def test_a_table_keeps_every_word_and_number_at_any_width(width: int) -> None:
    table = Table(title="All of it", caption="and why")
    cells = {"node": "DE/Hamburg", "rows": "1,234,567", "why": WORDS, "": Text("drifted", style="red"), "empty": ""}
    for name in cells:
        table.add_column(name, justify="right" if name == "rows" else "left")
    table.add_row(*cells.values())
    shown_on = Screen(width=width, file=io.StringIO())
    shown_on.print(table)
    told = shown_on.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(cell_len, told.splitlines())) <= width
    words = {word for cell in cells.values() for word in str(cell).split()}
    assert words | {"All", "why"} <= set(told.split()), told


def test_a_text_that_a_terminal_would_obey_is_shown_in_its_own_place() -> None:
    for text, as_shown in HOSTILE.items():
        assert shown(text) == as_shown and shown(as_shown) == as_shown
        assert styled((text, "bold"), text).plain == as_shown * 2
    assert shown("Müller\t\n日本 👩‍🚀") == "Müller\t\n日本 👩‍🚀"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_the_output_cannot_hold_is_shown_by_its_number(encoding: str) -> None:
    written = io.BytesIO()
    on = Screen(width=60, file=io.TextIOWrapper(written, encoding, write_through=True))
    table = Table(title="\u2713 日本")
    table.add_column("M\xfcller")
    table.add_row("\u202e日本")
    on.print(table)
    on.say(styled(("\u2713", "green"), " Lyon"))
    told = written.getvalue().decode(encoding)
    assert r"\u2713 Lyon" in told and told.count(r"\u65e5\u672c") == 2 and r"\u202e" in told
    assert ("M\xfcller" in told) == (encoding != "ascii")


@pytest.mark.parametrize("columns", ["0", "1", "19"])
def test_a_width_in_which_nothing_can_be_read_is_none(columns: str, home: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "factory_assets.cli", "rebuild", "--help"],
        env=os.environ | {"COLUMNS": columns, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "compare it with the archive" in " ".join(told.split())


def test_nothing_gets_around_the_door() -> None:
    segments = list(Screen(width=80, force_terminal=True).render(Text("\x1b[31mred", style="bold")))
    assert Segment("\\x1b[31mred", segments[0].style) == segments[0]
    written = {file.name: file.read_text() for file in Path(cli.__file__).parent.rglob("*.py")}
    assert not [name for name, text in written.items() if re.search(r"\bConsole\(|from_markup|from_ansi", text)]
    assert [name for name, text in written.items() if "echo(" in text] == ["contract.py"], "a file that is piped on"
