"""Does the first screen of a line's page answer what a person asks, whatever the names on it, and stay a page that a phone opens?"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from factory_assets.governor.work import Called, Notice
from factory_assets.pages.course import Change
from factory_assets.pages.details import Reported
from factory_assets.pages.document import anchor, page_of_pair, visible
from factory_assets.pages.line_page import _change
from tests.pages.looked_at import DRIFTS, LAST, Made, Screen, made, taken_back
from tests.pages.test_document import HOSTILE, Read


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def html(line: Made) -> str:
    return line.page()


@pytest.fixture(scope="module")
def screen(html: str) -> Screen:
    return Screen(html)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The kinds of tags of a page with ordinary names."""
    page = made(tmp_path_factory.mktemp("harmless"), ["global", "plain"], "amount", "because").page()
    return {tag for tag, _ in Read(page).tags}


def test_which_nodes_are_worse_than_a_month_ago(screen: Screen) -> None:
    assert "worse than a month ago: FR" in screen.cards["good"]
    assert re.search(r"FR .* -0\.\d+ \[-0\.\d+,\s-0\.\d+\]", screen.cards["good"])


def test_a_node_that_is_as_it_was_is_not_called_worse(screen: Screen) -> None:
    (said,) = re.findall(r"worse than a month ago: ([^\n]*?) node", screen.cards["good"])
    assert "DE" not in said and "global" not in said


def test_who_decided_this_champion_and_why(screen: Screen) -> None:
    assert "b global was promoted by gate" in screen.cards["who"] and "looked fine" in screen.cards["who"]


def test_which_column_drifted_where_and_since_when(screen: Screen) -> None:
    assert f"amount of DE, since {DRIFTS}" in screen.cards["safe"]
    assert "items of" not in screen.cards["safe"]
    assert f"#{anchor('DE')}" in screen.links


def test_what_would_an_owner_do_now(line: Made) -> None:
    blocked = Notice("blocked", "orders/raw", "contract blocks the day: amount >= 0", (LAST,))
    card = Screen(
        line.page(Called((blocked,), (("question as of 2026-06-30, 3 nodes", "14 new days"),)), "blocked")
    ).cards["todo"]
    assert "orders/raw 2026-06-30: contract blocks the day: amount >= 0" in card
    assert f"DE: what it predicts from, or its labels, have changed since {DRIFTS}" in card
    assert "1 run due" in card and "factory run" in card


def test_a_line_that_calls_for_nobody_says_so(tmp_path: Path) -> None:
    page = Screen(made(tmp_path, nodes=["global"]).page())
    assert "Nothing: no node calls for anybody, nothing is held back, and nothing is due." in page.cards["todo"]


def test_a_page_that_was_not_told_of_the_plan_does_not_say_that_nothing_is_due(tmp_path: Path) -> None:
    page = Screen(made(tmp_path, nodes=["global"]).page(state=None))
    assert "this page was not told" in page.cards["todo"] and "nothing is due" not in page.cards["todo"]


def test_is_it_calibrated(screen: Screen) -> None:
    assert re.search(
        r"calibrated.* yes, as far as these rows can tell: predicted less observed, on average", screen.cards["good"]
    )


def test_how_many_labels_are_in(screen: Screen) -> None:
    assert "190 of 200 (95%) of 2026-06-29, the newest day all of whose labels are due" in screen.cards["safe"]
    assert "12 of 200 (6%) of 2026-06-30, the newest day" in screen.cards["safe"]


def test_what_changed_between_the_last_two_champions_is_a_command_away_and_then_a_link(
    line: Made, screen: Screen
) -> None:
    assert "from a global to b global: factory compare question 'a global' 'b global' --page" in screen.cards["who"]
    asked = list[tuple[str, str]]()

    def page_of(a: str, b: str) -> str:
        asked.append((a, b))
        return page_of_pair("question", a, b) if b == "b global" else ""

    page = Screen(line.page(reported=Reported(page=page_of)))
    assert "from a global to b global: side by side" in page.cards["who"] and ("a FR", "b FR") in asked
    assert {each for each in page.links if "compare/" in each} == {"../question/compare/a%2520global-b%2520global.html"}


def test_every_link_of_a_page_leads_somewhere(screen: Screen) -> None:
    assert all(link[1:] in screen.ids for link in screen.links if link.startswith("#"))
    assert "../fleet.html" in screen.links


def test_a_rollback_shows_at_once_with_who_and_why(tmp_path: Path) -> None:
    line = made(tmp_path)
    taken_back(line, "global")
    page = Screen(line.page())
    assert "b global was rolled back to a global by ana" in page.cards["who"] and "it was unfair" in page.cards["who"]
    assert "Answers by itself, with a global" in re.sub(r"\s+", " ", page.text)


def test_nothing_is_fetched_from_anywhere(screen: Screen, html: str) -> None:
    assert screen.elsewhere == []
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", html)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_of_nodes_columns_and_reasons_are_shown_as_text(
    text: str, tmp_path: Path, harmless: set[str]
) -> None:
    # What no table and no ledger takes is no name.
    name = text.replace("\ud800", "lone ").replace("\x00", "")
    page = made(tmp_path, ["global", name], name, name).page()
    read = Read(page)
    assert {tag for tag, _ in read.tags} == harmless
    assert not [of for _, of in read.tags if any(each.startswith("on") for each in of)]
    assert visible(name)[:60] in read.text
    assert len(page.encode()) < 1_000_000


@pytest.mark.slow
def test_hundreds_of_nodes_with_long_names_are_a_page_below_a_million_bytes_that_says_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    names = ["global", *(f"{'&' * 600} {number}" for number in range(300))]
    page = made(tmp_path, names).page()
    assert len(page.encode()) < 1_000_000
    assert re.search(
        r"figures of \d nodes, those that need somebody first; \d+ more are in the table", Screen(page).text
    )


def test_a_damaged_table_is_not_read_and_the_rest_is_shown(tmp_path: Path) -> None:
    line = made(tmp_path)
    for file in (tmp_path / "lake" / "question" / "performance").rglob("*.parquet"):
        file.unlink()
    lost = Notice("damaged", "question/performance", "lost or damaged in the lake", (LAST,))
    page = Screen(line.page(Called((lost,)), "damaged"))
    assert (
        "lost or damaged: question/performance" in page.cards["todo"] and "no day was scored yet" in page.cards["safe"]
    )
    assert f"since {DRIFTS}" in page.cards["safe"]


def test_curves_of_the_holdout_are_drawn_in_the_page_s_own_colours(html: str) -> None:
    page = html
    for name in (
        "ROC curve",
        "precision by recall",
        "cumulative gain and lift",
        "calibration",
        "what the threshold does",
        "drift of global",
        "as it was estimated",
    ):
        assert f'aria-label="{name}' in page or name in page, name
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) >= 8 and "var(--accent)" in svgs[0]
    assert not [each for each in svgs if re.search(r"#[0-9a-f]{6}\b", each)], (
        "a colour that does not change with the dark"
    )


def test_the_same_tables_give_the_same_page(line: Made, html: str) -> None:
    assert line.page() == html


def test_a_line_that_was_never_trained_has_a_page(tmp_path: Path) -> None:
    from factory_resources.lake import Lake
    from factory_resources.ledger import Ledger

    empty = Made(Lake(root=str(tmp_path / "lake")), Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}"), tmp_path)
    page = Screen(empty.page())
    assert "nobody answers" in page.cards["todo"] and "no day was scored yet" in page.cards["safe"]


@pytest.mark.parametrize(
    ("gain", "low", "high", "told"),
    [
        (3.54, -131.2, 138.2, "+3.5 [-131, +138]"),
        (-0.01234, -99.4, 99.6, "-0.012 [-99, +100]"),
        (12345.6, None, None, "+12,346"),
    ],
)
def test_a_change_is_told_in_digits_that_people_read(
    gain: float, low: float | None, high: float | None, told: str
) -> None:
    assert _change(Change(gain, low, high, 14, dt.date(2026, 3, 1))) == told.replace(", ", ",\N{NO-BREAK SPACE}")
