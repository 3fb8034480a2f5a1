"""Does the team see what it lacks, who gets it by when, and what is late?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError
from stations import STREAM, Station, day, row
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.stream import Stream
from factory_assets.events.plan import gaps
from factory_assets.identity.versions import stream_version

PLANNED: dict[str, Any] = {
    "need": "The way depends on who rides.", "remedy": "log", "owner": "team:riders", "due": "2024-05-01"
}  # fmt: skip
DELIVERED = {"order_id", "placed_at"}


def stream(end: str | None = None, **planned: Any) -> Stream:
    return Stream.model_validate(
        {
            "name": "orders", "owner": "team:x", "description": "Orders.", "id": "order_id", "event_time": "placed_at",
            "source": {"kind": "csv", "uri": "x.csv"}, "start": "2024-03-01", "end": end,
            "plan": {"courier_id": PLANNED | planned},
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("today", "delivered", "end", "state"),
    [
        ("2024-05-01", DELIVERED, None, "awaited"),
        ("2024-05-02", DELIVERED, None, "overdue"),
        ("2024-05-02", DELIVERED | {"courier_id"}, None, "delivered"),
        ("2024-05-01", None, None, "unknown"),
        ("2024-05-02", None, None, "overdue"),
        ("2030-01-01", DELIVERED, "2024-04-30", "awaited"),
    ],
)
def test_a_planned_field_is_awaited_until_its_date_and_overdue_after_it(
    today: str, delivered: set[str] | None, end: str | None, state: str
) -> None:
    (gap,) = gaps(stream(end), delivered, dt.date.fromisoformat(today))
    assert gap.state == state


def test_a_gap_names_field_need_remedy_owner_and_date() -> None:
    (gap,) = gaps(stream(), DELIVERED, dt.date(2024, 5, 2))
    assert gap.message == (
        "courier_id has been absent past 2024-05-01: The way depends on who rides.; remedy: log, owner: team:riders"
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("remedy", "steal", "log"), ("owner", "someone", "team:<name>"), ("due", "soon", "date"), ("need", "", "1 char")],
)
def test_a_plan_without_a_known_remedy_an_owner_or_a_date_is_refused(field: str, value: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        stream(**{field: value})


def test_a_changed_plan_recomputes_and_retrains_nothing() -> None:
    contract = Contract.model_validate({"columns": {name: {"type": "integer"} for name in DELIVERED}})
    one, other = (DeclaredStream(stream(need=need), contract) for need in ("Because.", "For another reason."))
    assert stream_version(one) == stream_version(other)


def evaluation(station: Station) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey(["orders", "raw"]), "collection_plan")
    record = station.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert record.event is not None and record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


def test_the_check_warns_then_fails_without_blocking_and_passes_with_the_field_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stream of the stations ends on 2024-05-31.
    plan = "  plan: {{courier_id: {{need: Riders differ., remedy: log, owner: team:riders, due: 2024-06-30}}}}\n"
    monkeypatch.setattr("stations.STREAM", STREAM + plan)
    station = Station(tmp_path)
    for offset in range(3):
        more = {"courier_id": 7} if offset == 2 else {}
        station.deliver(day(offset), [row(1, day(offset), **more)])

    assert station.run(day(0)).success
    found = evaluation(station)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "courier_id is awaited until 2024-06-30: Riders differ." in (found.description or "")

    declarations = tmp_path / "defs" / "defs.yaml"
    declarations.write_text(declarations.read_text().replace("2024-06-30", "2024-04-30"))
    station.load()
    assert station.run(day(1)).success, "the day becomes events all the same"
    found = evaluation(station)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.partition is None, "it is no verdict on the day that happened to run"
    (record,) = found.metadata["plan"].records
    assert record.data["state"] == "overdue" and record.data["owner"] == "team:riders"

    assert station.run(day(0), day(2)).success
    assert evaluation(station).passed


def test_the_command_lists_the_gaps_of_all_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FACTORY_DEFS", raising=False)
    result = CliRunner().invoke(app, ["plan"])
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if "courier_id" in line)
    for told in ("orders", "unknown", "log", "team:logistics", "2026-06-30"):
        assert told in line
