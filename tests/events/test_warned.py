"""Is a name under `warn` refused, with its line, where no verdict would ever name a rule so?"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import DeclaredStream, load
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.templates import render
from factory_assets.events.contract.warned import rule_names
from factory_resources.dagster_private.declarations import load_folder

STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:x
  description: Orders.
  source: {kind: csv, uri: 'FOLDER/orders-{day}.csv'}
  id: id
  event_time: at
  start: 2026-01-01
"""
CONTRACT = """columns:
  id: {type: integer}
  at: {type: timestamp}
  x: {type: double, min: 0, max: 9, max_shift: 0.1, distinct: {min: 1}, presence: {min_fraction: 0.5, min_count: 2}}
  paid: {type: boolean, not_in: [serving]}
rules: {fair: x < 5}
freshness: 2h
"""
NAMES = (
    "column x is delivered", "the line has a value for every column", "x is double", "x is not null", "x >= 0", "x <= 9",
    "paid is not null", "at lies in the day", "fair", "fair can be computed", "id is unique", "every row comes once",
    "number of rows", "hours without an event before the close", "values of x", "share of rows with x",
    "different values of x", "shift of x against the past",
)  # fmt: skip


def declared(folder: Path, *warn: str) -> DeclaredStream:
    (folder / "defs.yaml").write_text(STREAM.replace("FOLDER", str(folder)))
    (folder / "contract.yaml").write_text(CONTRACT + "warn:\n" + "".join(f"  - {name}\n" for name in warn))
    return load(folder, render).streams["orders"]


@pytest.mark.parametrize("environment", ["training", "serving"])
def test_every_rule_may_be_named(tmp_path: Path, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_ENVIRONMENT", environment)
    stream = declared(tmp_path, *NAMES)
    assert {*NAMES} - {"paid is not null"} <= {*rule_names(stream)}
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert load_folder(tmp_path).assets


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x is nonnull", "did you mean 'x is not null'? "),
        ("paid", ""),
        ("fair ", ""),
        ("shift of at against the past", ""),
    ],
)
def test_a_name_that_no_rule_has_is_refused_with_its_line(tmp_path: Path, name: str, expected: str) -> None:
    declared(tmp_path, "fair", f'"{name}"')
    where = f"{tmp_path / 'contract.yaml'}:{CONTRACT.count(chr(10)) + 3}"
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    printed = " ".join(result.output.split())
    assert result.exit_code == 1 and f"{where} warn" in printed
    assert f"{name!r} is no rule of orders; {expected}" in printed and "'every row comes once'" in printed
    with pytest.raises(Exception, match="Error while building definitions") as error:
        load_folder(tmp_path)
    cause: BaseException | None = error.value
    while cause and not isinstance(cause, DeclarationError):
        cause = cause.__cause__
    assert str(cause).startswith(f"{where}: warn: {name!r} is no rule of orders")
