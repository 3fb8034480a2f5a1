"""Does the fleet's page show what `factory status` says, of whatever it is about, and as text?"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from factory_assets.governor.work import Called, Notice
from factory_assets.pages.document import anchor
from factory_assets.pages.fleet import HEALTH, MEANING, Health, Stand
from factory_assets.pages.fleet_page import FIRST, fleet_page
from factory_assets.pages.lines import LineStand, state_of
from factory_resources.records.issues import Issue
from tests.pages.test_document import HOSTILE, Read, policy

DAY = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 12, 6, 30, tzinfo=dt.UTC)


def a_stand(node: str = "FR", health: Health = "alarm", **changed: Any) -> Stand:
    stand = Stand(
        line="eta", node=node, owner="team:x", health=health, why="drift of x: 0.3 PSI where 0.1 is the limit", since=DAY,
        alarms=("drift",), answers=node, version="0123456789abcdef", candidate="boosted", trained=DAY, run_id="run-1",
        archive="/archive/eta/0123", verdict="promote", reason="better by 0.4", decided_by="gate", decided_as_of=DAY,
        decided_at=NOW, metric="mae", measured=DAY, value=6.25, naive=9.5, expected=5.75, estimate=6.5, labelled=0.93,
    )  # fmt: skip
    return replace(stand, **changed)


def a_line(nodes: Sequence[Stand], called: Called = Called(), issues: Sequence[Issue] = ()) -> LineStand:  # noqa: B008
    healths = {health: sum(node.health == health for node in nodes) for health in HEALTH}
    state = state_of(called.notices, called.due)
    return LineStand("eta", "team:x", state, called.notices, called.due, healths, issues)


def rows(page: str) -> list[str]:
    """The text of each node's row, those in the template as well."""
    of_nodes = page[page.index('<table id="nodes">') : page.index('<h2 id="health">')]
    return [Read(row).text for row in re.findall(r"<tr id=.*?</tr>", of_nodes, re.S)]


def test_a_row_says_all_that_is_known_of_a_node() -> None:
    node = a_stand()
    (row,) = rows(fleet_page([a_line([node])], [node], NOW))
    for told in (
        *("alarm", "since 2026-03-02", "FR", "eta", "team:x", "drift of x: 0.3 PSI", "01234567", "boosted", "10 d old"),
        *("mae 6.25", "expected 5.75", "estimated 6.5", "naive 9.5", "labels 93 % of 2026-03-02"),
        *("promote", "by gate", "as of 2026-03-02", "better by 0.4"),
    ):
        assert told in " ".join(row.split()), told


def test_it_leads_to_the_line_and_where_dagster_is_known_to_the_run() -> None:
    node = a_stand()
    page = fleet_page([a_line([node])], [node], NOW, "https://dagster.example/")
    links = [of["href"] for tag, of in Read(page).tags if tag == "a"]
    of_line, dagster = {"eta/page.html", f"eta/page.html#{anchor('FR')}"}, "https://dagster.example"
    of_node = {f"{dagster}/runs/run-1", f"{dagster}/assets/eta/model?partition=FR", "file:///archive/eta/0123"}
    assert of_line | of_node <= {*links}
    without = [of["href"] for tag, of in Read(fleet_page([a_line([node])], [node], NOW)).tags if tag == "a"]
    assert not any("runs/" in str(href) or "assets/" in str(href) for href in without)
    stored = Read(fleet_page([], [replace(node, archive="s3://models/eta/0 1")], NOW))
    assert "s3://models/eta/0%201" in [of.get("href") for _, of in stored.tags]


def test_a_line_says_what_holds_it_back_what_is_due_and_what_is_open() -> None:
    notice = Notice("blocked", "orders/raw", "contract blocks the day: x >= 0", (DAY,))
    issue = Issue("orders", "x >= 0", "range", "team:orders", DAY, {DAY: "3 rows"})
    called = Called((notice,), (("eta as of 2026-03-02, 3 nodes", "7 new labelled days"),))
    text = " ".join(Read(fleet_page([a_line([a_stand()], called, [issue])], [], NOW)).text.split())
    assert "blocked" in text and "orders/raw 2026-03-02: contract blocks the day: x >= 0" in text
    assert "due: eta as of 2026-03-02, 3 nodes; 7 new labelled days" in text
    assert "orders: x >= 0 since 2026-03-02, team:orders" in text


def test_lines_and_nodes_stand_in_the_order_in_which_they_need_somebody() -> None:
    calm, bad = a_line([]), replace(a_line([]), line="worse", state="blocked")
    nodes = [a_stand("one"), a_stand("two", "well")]
    page = fleet_page([calm, bad], nodes, NOW)
    assert page.index(">worse<") < page.index(">eta<")
    assert [re.findall("one|two", row)[0] for row in rows(page)] == ["one", "two"]


def test_every_node_is_in_the_file_and_the_first_are_laid_out() -> None:
    nodes = [a_stand(f"n{number}") for number in range(FIRST + 7)]
    page = fleet_page([a_line(nodes)], nodes, NOW)
    assert len(rows(page)) == FIRST + 7 and page.index("<template") > page.index(f">n{FIRST - 1}<")
    assert page.index(f">n{FIRST}<") > page.index("<template")
    assert f"{FIRST} of {FIRST + 7} nodes" in page and "<noscript>" in page
    assert "<template" not in fleet_page([a_line(nodes)], nodes[:FIRST], NOW)


def test_what_a_health_means_is_the_rule_by_which_it_is_given() -> None:
    assert all(meaning in fleet_page([], [], NOW) for meaning in MEANING.values())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_add_no_markup_and_nothing_is_fetched(text: str) -> None:
    def of(text: str) -> Read:
        # Names of lines are declared, and no texts.
        node = a_stand(text, owner=text, why=text, answers=text, version=text, candidate=text, run_id=text,
                       archive=text, reason=text, decided_by=text)  # fmt: skip
        issue = Issue(text, text, text, text, DAY, {DAY: text})
        line = a_line([node], Called((Notice("blocked", text, text),), ((text, text),)), [issue])
        return Read(fleet_page([line], [node], NOW, "https://dagster.example"))

    harmless, hostile = of("plain"), of(text)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    for (_, plain), (_, found) in zip(harmless.tags, hostile.tags, strict=True):
        assert {*found} - {"title", "class"} == {*plain} - {"title", "class"}
    for href in (urlsplit(str(found.get("href", ""))) for _, found in hostile.tags):
        assert (href.scheme, href.netloc) in (("", ""), ("https", "dagster.example"), ("file", "")), href


def test_the_page_runs_its_own_script_alone() -> None:
    assert re.search(r"default-src 'none'.*script-src 'sha256-[\w+/=]{44}'", policy(fleet_page([], [], NOW)))


def test_a_page_of_thousands_of_nodes_grows_with_them() -> None:
    nodes = [a_stand(f"n{number}") for number in range(1000)]
    few, many = (len(fleet_page([a_line(nodes)], of, NOW)) for of in (nodes[:500], nodes))
    assert (many - few) / 500 < 1800
