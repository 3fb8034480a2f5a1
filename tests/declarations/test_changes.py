"""Does a reviewer of a contract see what a change lets pass, who reads it, and which models it makes stale?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.commands.impact import impact, streams_under
from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.changes import compare
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.edits import edited
from factory_assets.declarations.readers import readers
from factory_assets.governor.retraining import Training, due
from factory_assets.identity.versions import contract_hash
from tests.governor.test_retraining import Stands

DEMO = Path(__file__).parents[2] / "factory_assets" / "defs" / "marketplace"
TEXT = """\
tolerance: 0.1
quiet: [sunday]
rules: {cheap: amount < 50}
volume: {min: 10}
columns:
  id: {type: integer}
  amount: {type: double, min: 0, nullable: true, presence: {min_fraction: 0.5, by: city}}
  city: {type: string, allowed: [Paris, Lyon]}
  tags: {type: strings, value_count: {min: 1, max: 3}}
"""


def contract(text: str) -> Contract:
    return Contract.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("change", "column", "field", "direction"),
    [
        ({"tolerance": 0.2}, "", "tolerance", "loosened"),
        ({"tolerance": 0.01}, "", "tolerance", "tightened"),
        ({"volume": {"min": 20}}, "", "volume.min", "tightened"),
        ({"volume": {"max": 90}}, "", "volume.max", "tightened"),
        ({"volume": None}, "", "volume", "loosened"),
        ({"quiet": ["sunday", "monday"]}, "", "quiet", "loosened"),
        ({"rules": {"dear": "amount > 1"}}, "", "rules.dear", "tightened"),
        ({"rules": {"cheap": None}}, "", "rules.cheap", "loosened"),
        ({"rules": {"cheap": "amount < 60"}}, "", "rules.cheap", "other"),
        ({"warn": ["cheap"]}, "", "warn", "loosened"),
        ({"columns": {"amount": {"min": -1}}}, "amount", "min", "loosened"),
        ({"columns": {"amount": {"max": 9}}}, "amount", "max", "tightened"),
        ({"columns": {"amount": {"min": None}}}, "amount", "min", "loosened"),
        ({"columns": {"amount": {"nullable": None}}}, "amount", "nullable", "tightened"),
        ({"columns": {"amount": {"required": False}}}, "amount", "required", "loosened"),
        ({"columns": {"amount": {"presence": None}}}, "amount", "presence", "loosened"),
        ({"columns": {"amount": {"presence": {"min_fraction": 0.6}}}}, "amount", "presence.min_fraction", "tightened"),
        ({"columns": {"amount": {"max_shift": 0.2}}}, "amount", "max_shift", "tightened"),
        ({"columns": {"city": {"allowed": ["Paris", "Lyon", "Nice"]}}}, "city", "allowed", "loosened"),
        ({"columns": {"city": {"allowed": ["Paris"]}}}, "city", "allowed", "tightened"),
        ({"columns": {"city": {"allowed": ["Paris", "Nice"]}}}, "city", "allowed", "other"),
        ({"columns": {"city": {"allowed": None}}}, "city", "allowed", "loosened"),
        ({"columns": {"city": {"distinct": {"max": 5}}}}, "city", "distinct", "tightened"),
        ({"columns": {"city": {"description": "Where."}}}, "city", "description", "other"),
        ({"columns": {"city": {"not_in": ["serving"]}}}, "city", "not_in", "loosened"),
        ({"columns": {"id": {"type": "string"}}}, "id", "type", "other"),
        ({"columns": {"tags": {"value_count": {"max": 4}}}}, "tags", "value_count.max", "loosened"),
        ({"columns": {"new": {"type": "date"}}}, "new", "", "added"),
        ({"columns": {"tags": None}}, "tags", "", "removed"),
    ],
)
def test_each_change_is_marked_by_what_it_lets_pass(
    change: dict[str, Any], column: str, field: str, direction: str
) -> None:
    (found,) = compare(contract(TEXT), contract(edited(TEXT, change)))
    assert (found.column, found.field, found.direction) == (column, field, direction)


def test_a_contract_and_itself_differ_in_nothing() -> None:
    assert compare(contract(TEXT), contract(TEXT)) == []


@pytest.fixture(scope="module")
def demo() -> Catalogue:
    return load(DEMO)


def told(demo: Catalogue, column: str) -> set[str]:
    found = readers(demo, "orders", demo.streams["orders"].contract, column)
    return {f"{one.kind} {one.name}: {one.where}" for one in found}


def test_a_column_is_followed_through_rules_and_views_to_the_lines(demo: Catalogue) -> None:
    assert told(demo, "replaces") == {
        "rules first_hand: orders",
        "view customer_habit: where via first_hand",
        "line delivery_time: observe.where via first_hand",
        "line repeat_order: observe.where via first_hand",
        "line repeat_order: label.where via first_hand",
        "line repeat_order: customer_habit.*",
    }


def test_of_a_view_only_the_features_that_read_the_column_are_named(demo: Catalogue) -> None:
    assert told(demo, "distance_km") == {
        "view city_load: features.distance",
        "line delivery_time: features: distance_km",
        "line delivery_time: city_load.distance_1d, city_load.distance_1h",
    }


def test_labels_segments_entities_and_times_are_read_too(demo: Catalogue) -> None:
    assert "line delivery_time: label.expression" in told(demo, "delivery_minutes")
    assert {"line delivery_time: segments.levels: city", "view city_load: entity"} <= told(demo, "city")
    assert "line repeat_order: observe.carry: country" in told(demo, "country")
    assert "line repeat_order: observe.entity" in told(demo, "customer_id")
    assert {"stream orders: event_time", "view city_load: windows", "line repeat_order: label.within"} <= told(
        demo, "placed_at"
    )
    assert "derive hour_of_day: orders" in told(demo, "placed_at")
    assert told(demo, "order_id") == {"stream orders: id"}


def test_the_gate_s_cluster_is_a_reader(tmp_path: Path) -> None:
    text, gate = (DEMO / "defs.yaml").read_text(), "gate: {metric: mae, floor: 15}"
    assert gate in text
    clustered = text.replace(gate, "gate: {metric: mae, cluster: restaurant_id}")
    (tmp_path / "defs.yaml").write_text(clustered)
    (tmp_path / "contract.yaml").write_text((DEMO / "contract.yaml").read_text())
    assert "line delivery_time: gate.cluster: restaurant_id" in told(load(tmp_path), "restaurant_id")


def test_check_says_how_often_luck_alone_changes_a_champion() -> None:
    shown = CliRunner().invoke(app, ["check", str(DEMO)])
    assert shown.exit_code == 0
    assert (
        "delivery_time: luck alone promotes a challenger of a node up to 1.3 times a year (trained every 14d, certainty 0.95), and "
        "promotes up to 1 of the nodes of one training" in shown.output.splitlines()
    )


CHANGES: list[dict[str, Any]] = [
    {"version": 2},
    {"columns": {"amount": {"description": "Euro."}}},
    {"columns": {"amount": {"max": 5200}}},
    {"columns": {"courier_id": {"type": "integer", "nullable": True, "required": False}}},
    {"volume": {"min": 100}},
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("on", [["new_data", "schema"], ["new_data"]])
def test_a_line_is_said_to_retrain_exactly_when_the_rule_of_the_sensor_says_so(
    demo: Catalogue, change: dict[str, Any], on: list[str]
) -> None:
    lines = {
        name: line.model_copy(update={"retrain": line.retrain.model_copy(update={"on": on})})
        for name, line in demo.lines.items()
    }
    catalogue = Catalogue(demo.streams, demo.views, lines)
    text = (DEMO / "contract.yaml").read_text()
    old, new = contract(text), contract(edited(text, change))
    stream = DeclaredStream(demo.streams["orders"].stream, new)
    found = impact(catalogue, ["orders"], old, new)
    assert not found.problems
    for line in found.lines:
        trained = contract_hash(catalogue.resolve(lines[line.name]))
        declared = Catalogue({"orders": stream}, demo.views, lines).resolve(lines[line.name])
        today = dt.date(2026, 4, 12)
        start = declared.observed.stream.start
        labelled = [
            start + dt.timedelta(days=ahead) for ahead in range((today - start).days - declared.line.horizon_days + 1)
        ]
        stands = {"global": Stands(today - dt.timedelta(days=1), trained)}
        decision = due(declared, labelled, stands, lambda _: ["global"], ["global"], contract_hash(declared))
        trains = isinstance(decision, Training)
        assert line.retrains == trains == (change in CHANGES[2:] and "schema" in on), line


def test_a_line_that_reads_nothing_of_the_change_is_told_apart(demo: Catalogue) -> None:
    old = demo.streams["orders"].contract
    new = contract(edited((DEMO / "contract.yaml").read_text(), {"columns": {"amount": {"max": 5200}}}))
    why = {line.name: line.why for line in impact(demo, ["orders"], old, new).lines}
    assert why["repeat_order"].endswith("it reads amount")
    assert why["delivery_time"].endswith("though it reads no column that changed")


@pytest.mark.parametrize(
    ("column", "fields", "said"),
    [
        ("distance_km", None, "city_load: features.distance: 'distance_km' reads distance_km"),
        ("items", None, "delivery_time: features.1: 'items' is not a column"),
        ("amount", {"type": "string", "min": None, "max": None}, "customer_habit: features.spent"),
    ],
)
def test_declarations_that_no_longer_hold_are_named_before_the_change_is_made(
    demo: Catalogue, column: str, fields: dict[str, Any] | None, said: str
) -> None:
    new = contract(edited((DEMO / "contract.yaml").read_text(), {"columns": {column: fields}}))
    problems = impact(demo, ["orders"], demo.streams["orders"].contract, new).problems
    assert any(problem.startswith(said) for problem in problems), problems


def test_the_stream_of_a_contract_is_known_by_what_the_contract_says(demo: Catalogue) -> None:
    own = demo.streams["orders"].contract
    assert streams_under(demo, contract(TEXT), own) == ["orders"]
    assert streams_under(demo, contract(TEXT)) == []


def test_the_command_shows_changes_readers_retraining_and_what_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FACTORY_DEFS", raising=False)
    text = (DEMO / "contract.yaml").read_text()
    (tmp_path / "new.yaml").write_text(edited(text, {"version": 2, "columns": {"replaces": None}}))
    command = ["contract", "diff", str(DEMO / "contract.yaml"), str(tmp_path / "new.yaml")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.replace("│", " ").split()) for line in result.output.splitlines()]
    assert "replaces {type: integer, nullable: true} removed" in lines
    assert "replaces orders view customer_habit where via first_hand" in lines
    assert any(line.startswith("delivery_time yes retrain.on names schema") for line in lines)
    assert any(line.startswith("no longer holds: orders: rules.first_hand") for line in lines)
    (tmp_path / "old.yaml").write_text(TEXT)
    other = CliRunner().invoke(app, ["contract", "diff", str(tmp_path / "old.yaml"), str(tmp_path / "old.yaml")])
    assert (other.exit_code, other.output) == (0, "the two contracts are the same\n")


def test_the_command_names_the_line_of_a_file_that_is_no_contract(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("columns:\n  a: {type: colour}\n")
    result = CliRunner().invoke(app, ["contract", "diff", str(tmp_path / "a.yaml"), str(tmp_path / "a.yaml")])
    assert result.exit_code == 1
    assert "a.yaml:2: columns.a.type" in result.output.replace("\n", "")
