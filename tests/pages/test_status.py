"""Does `factory status` say at once what happened to a line, whoever or whatever made it happen?"""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner, Result

from factory_assets.cli import app
from factory_assets.commands import deployed
from factory_assets.governor.plan import plan
from factory_assets.pages.fleet import Stand
from factory_assets.pages.lines import LineStand, called_by, stands_of
from factory_resources.records.decisions import Decision
from tests.governor.world import World, by_command, day, orders_of
from tests.pages.lived import DAYS

pytestmark = pytest.mark.slow


def status(world: World) -> tuple[LineStand, dict[str, Stand]]:
    declared = [world.deployment.catalogue.resolve(each) for each in world.deployment.catalogue.lines.values()]
    called = called_by(plan(world.deployment.book()), declared)
    (line,), nodes = stands_of(declared, called, world.lake, world.ledger, world.issues)
    return line, {each.node: each for each in nodes}


def page(world: World) -> str:
    """The text of the page of all lines."""
    source = re.sub(r"</?bdi[^>]*>", "", (world.folder / "reports" / "fleet.html").read_text())
    tags = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.S)
    return " ".join(html.unescape(tags.sub(" ", source)).split())


def by_ticks(world: World) -> None:
    while asked := world.ticker.tick():
        for request in asked:
            world.ticker.execute(request)


def test_a_line_that_is_up_to_date_says_so_and_of_each_node_who_answers(world: World) -> None:
    line, nodes = status(world)
    standing = world.ledger.standing("guess")
    assert line.state == "current" and not line.due and not line.pressing
    assert {node: each.version for node, each in nodes.items() if each.answers == node} == {
        node: each.champion for node, each in standing.items() if each.champion
    }
    assert sum(line.nodes.values()) == len(nodes) and nodes["global"].value is not None
    assert all(f"{node} guess, team:growth {each.why[:150]}" in page(world) for node, each in nodes.items())
    assert all(f"{number} {health}" in page(world) for health, number in line.nodes.items() if number)


def test_a_blocked_day_shows_until_it_is_mended(world: World) -> None:
    world.deliver("orders", day(DAYS), [row | {"x": -5} for row in orders_of(day(DAYS))])
    world.at(day(DAYS + 1), 1)
    assert status(world)[0].state == "due"
    by_command(world)
    line, _ = status(world)
    assert line.state == "blocked" and "x >= 0" in str(line.pressing[0])
    assert [(issue.stream, issue.state) for issue in line.issues] == [("orders", "open")]
    assert "blocked guess team:growth blocked: orders/raw" in page(world) and str(line.pressing[0]) in page(world)
    assert f"orders: {line.issues[0].rule} since" in page(world)
    world.deliver("orders", day(DAYS))
    by_command(world)
    line, _ = status(world)
    assert line.state == "current" and not line.issues
    assert "current guess team:growth all that can be made is made none" in page(world)


@pytest.mark.parametrize("table", ["monitors", "performance", "predictions"])
def test_a_lost_table_is_named_and_what_is_left_is_shown(
    world: World, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = world.folder / "lake" / "guess" / table
    shutil.copytree(lost, lost.with_name("kept"))
    shutil.rmtree(next(lost.glob("ds=*")))
    line, nodes = status(world)
    assert line.state == "damaged" and f"guess/{table}" in str(line.pressing[0])
    assert nodes.keys() >= world.ledger.standing("guess").keys()
    commanded(world, monkeypatch, "--page")
    assert f"damaged guess team:growth damaged: {line.pressing[0]}" in page(world)
    shutil.rmtree(lost)
    shutil.move(lost.with_name("kept"), lost)
    assert status(world)[0].state == "current"


def commanded(world: World, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    """What `factory status` of this world ends with."""

    @contextmanager
    def opened() -> Iterator[object]:
        yield world.deployment

    monkeypatch.setattr(deployed, "deployed", opened)
    monkeypatch.setenv("FACTORY_REPORTS", str(world.folder / "reports"))
    return CliRunner().invoke(app, ["status", *words], env={"COLUMNS": "200"})


def test_the_command_prints_the_same_as_text_and_for_programs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    line, nodes = status(world)
    printed = commanded(world, monkeypatch, "--json")
    found = json.loads(printed.stdout)
    amiss = any(each.health in ("unanswered", "alarm") for each in nodes.values())
    assert printed.exit_code == (1 if amiss else 0)
    assert [each["state"] for each in found["lines"]] == [line.state]
    assert {each["node"]: each["health"] for each in found["nodes"]} == {
        node: each.health for node, each in nodes.items()
    }
    text = commanded(world, monkeypatch, "--all").stdout
    assert all(each.node in text and each.health in text for each in nodes.values())
    unknown = commanded(world, monkeypatch, "--line", "gues")
    assert unknown.exit_code == 1 and "'gues' is not a line; lines here: guess" in unknown.output


def test_a_training_that_was_missed_is_due(world: World) -> None:
    for offset in range(DAYS + 1, DAYS + 8):
        world.deliver("orders", day(offset))
    world.at(day(DAYS + 8), 1)
    # Retraining is switched off.
    by_ticks(world)
    line, _ = status(world)
    assert line.state == "due", list(map(str, line.notices))
    assert any(what.startswith("guess as of") for what, _ in line.due)
    assert f"due: {line.due[0][0]}" in page(world)


def test_what_a_person_decides_shows_on_the_page_after_the_next_tick(world: World) -> None:
    by_ticks(world)
    node = next(node for node, each in world.ledger.standing("guess").items() if each.champion)
    left = Decision("guess", node, day(DAYS + 7), "fallback", None, None, "too many complaints", "ana", {})
    assert world.ledger.decide(left)
    planned = plan(world.deployment.book())
    assert any(work.assets == ("fleet",) for work in planned.work)
    assert "fleet" not in status(world)[0].summary, "a page that is to be written is no work on what it shows"
    by_ticks(world)
    _, nodes = status(world)
    assert (nodes[node].decided_by, nodes[node].verdict) == ("ana", "fallback")
    assert "too many complaints" in page(world) and f"{node} guess, team:growth {nodes[node].why[:150]}" in page(world)
