"""Are the demo's declarations for today the same world on other days, which ends before today and goes on?"""

import datetime as dt
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.commands.demo import endless
from factory_assets.declarations.catalogue import load
from factory_assets.deployment import PACKAGE
from factory_assets.events.simulation import Marketplace, deliveries
from factory_resources.clock import CLOCK

DEMO = PACKAGE / "defs" / "marketplace"
WEEK = dt.timedelta(days=7)


@pytest.mark.parametrize("weekday", range(7))
def test_a_day_at_least_and_a_week_at_most_is_left_for_the_sensors(
    weekday: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = dt.date(2027, 3, 1) + dt.timedelta(weekday)
    (tmp_path / "clock").write_text(f"{today}T09:00:00+00:00")
    monkeypatch.setenv(CLOCK, str(tmp_path / "clock"))
    said = CliRunner().invoke(app, ["demo", str(tmp_path / "live")])
    assert said.exit_code == 0, said.output
    until, yesterday = dt.date.fromisoformat(said.output.strip()), today - dt.timedelta(1)
    assert 1 <= (yesterday - until).days <= 7

    was, now = load(DEMO).streams["orders"].stream, load(tmp_path / "live").streams["orders"].stream
    assert was.end and now.end is None
    assert until - now.start == was.end - was.start
    assert (now.start - was.start) % WEEK == dt.timedelta(0)
    assert now.plan["courier_id"].due - now.start == was.plan["courier_id"].due - was.start


def test_the_world_is_the_same_on_the_same_day_of_another_start() -> None:
    moved = 30 * WEEK
    was, now = Marketplace(), Marketplace(start=Marketplace().start + moved)
    for index in (0, 40, 97):
        there = deliveries(was, was.start + dt.timedelta(index))
        here = deliveries(now, now.start + dt.timedelta(index))
        for column in set(there.column_names) - {"placed_at", "received_at"}:
            assert here[column] == there[column], column
        assert [each - moved for each in here["placed_at"].to_pylist()] == there["placed_at"].to_pylist()


def test_a_folder_that_has_it_keeps_its_days_and_one_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLOCK, str(tmp_path / "clock"))
    printed = []
    for today in ("2027-03-03", "2027-03-24"):
        (tmp_path / "clock").write_text(f"{today}T09:00:00+00:00")
        printed.append(CliRunner().invoke(app, ["demo", str(tmp_path / "live")]).output)
    assert printed[0] == printed[1] == "2027-02-28\n"

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    assert CliRunner().invoke(app, ["demo", str(tmp_path / "own")]).exit_code == 1
    assert [each.name for each in (tmp_path / "own").iterdir()] == ["notes.txt"]


def test_everything_but_days_is_as_the_demo_declares_it() -> None:
    text = (DEMO / "defs.yaml").read_text()
    now = endless(text, dt.date(2027, 3, 3)).splitlines()
    was = [line for line in text.splitlines() if not line.startswith("  end: ")]
    differing = [(before, after) for before, after in zip(was, now, strict=True) if before != after]
    assert [before.strip().partition(":")[0] for before, _ in differing] == ["start", "courier_id"]
