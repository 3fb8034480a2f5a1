"""Does the page of two versions answer what changed and whether the second is better, whatever the names on it?"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factory_assets.evaluation.attribution import Share
from factory_assets.evaluation.dependence import Dependence
from factory_assets.evaluation.differences import differences
from factory_assets.measures.metrics import score
from factory_assets.pages.compare_page import Pair, compare_page, most_important
from factory_assets.pages.document import visible
from factory_assets.release.comparison import Comparison, Measured
from factory_resources.ledger import VersionRecord
from factory_resources.records.decisions import Decision
from tests.features.lines import OF_EVENTS, declared_line
from tests.pages.looked_at import NOW, Screen
from tests.pages.test_document import HOSTILE, Read
from tests.resources.test_ledger import a_version

LINE, ROWS = "question", 700
FIRST = dt.date(2026, 6, 1)
METRIC = "average_precision"


def record(version: str, **changed: Any) -> VersionRecord:
    recipe = {"candidates": {"boosted": {"estimator": "lightgbm", "params": {"num_leaves": changed.pop("leaves", 31)}}}}
    made = {"features": list(changed.get("importances", {"amount": 0.7})), "recipe": recipe, "seed": 7}
    libraries = {"libraries": {"lightgbm": changed.pop("lightgbm", "4.6.0"), "numpy": "2.4.6"}}
    return a_version(version, **{"line": LINE, "configuration": made | libraries} | changed)


def a_pair(name: str = "amount", why: str = "looked fine", noise: float = 0.0, **changed: Any) -> Pair:
    """A, and B, which learnt from later days with more leaves. noise: of what B predicts; A predicts as it happens to be."""
    a = record("a", importances={name: 0.7, "items": 0.3})
    b = record("b", importances={name: 0.5, "new": 0.5}, leaves=63, train_to=dt.date(2018, 5, 20), lightgbm="4.7.0")
    rng = np.random.default_rng(0)
    p, days = rng.random(ROWS), np.array([FIRST + dt.timedelta(days=at % 7) for at in range(ROWS)], "datetime64[D]")
    y = (rng.random(ROWS) < p).astype(float)
    of_a, of_b = np.clip(p + 0.2 * rng.normal(size=ROWS), 0, 1), np.clip(p + noise * rng.normal(size=ROWS), 0, 1)
    ps = {"a": of_a, "b": of_b}
    metrics = {version: score("binary", y, each) for version, each in ps.items()}
    gained = metrics["b"][METRIC] - metrics["a"][METRIC]
    found = Comparison(
        line=LINE,
        node="global",
        a="a",
        b="b",
        metric=METRIC,
        differences=differences(a, b),
        rows=ROWS,
        first=FIRST,
        last=FIRST + dt.timedelta(days=6),
        where="labels as they are known now",
        metrics=metrics,
        certainty=0.99 if gained > 0 else 0.01,
        measured=Measured(days, y, ps),
        limits={"a": (0.6, 0.7), "b": (0.71, 0.81)},
        between=(0.02, 0.2),
        shares=[Share("data", gained * 2, gained, gained), Share("configuration", -gained, 0.0, None)],
        seeds=abs(gained) / 9,
        notes=[f"{why}: a note"],
        sentence="a sentence",
    )
    decisions = [
        Decision(LINE, "global", FIRST, "promote", "a", "a", "the first", "gate", {}, decided_at=NOW),
        Decision(LINE, "global", FIRST, "keep", "b", "a", why, "ana", {}, decided_at=NOW),
    ]
    of_levels = Dependence(name, ("Lyon", why), {"a": np.array([0.1, 0.2]), "b": np.array([0.3, np.nan])})
    pair = Pair(declared_line(**OF_EVENTS), found, a, b, decisions, {}, [of_levels], True, 4)
    return replace(pair, **changed)


def page(pair: Pair) -> str:
    return compare_page(pair, NOW)


@pytest.fixture(scope="module")
def html() -> str:
    return page(a_pair())


@pytest.fixture(scope="module")
def screen(html: str) -> Screen:
    return Screen(html)


@pytest.fixture(scope="module")
def harmless(html: str) -> set[str]:
    return {tag for tag, _ in Read(html).tags}


def test_first_it_says_what_changed_and_whether_the_second_is_better(screen: Screen) -> None:
    assert re.search(
        r"Data \(training days\), features \(features removed; features added\), configuration \(\S+num_leaves\) and "
        r"libraries \(lightgbm\) changed; B is better by",
        screen.text,
    )
    assert f"in {METRIC}, with a certainty of 99 %." in screen.text
    assert screen.badges[0] == "better"
    assert screen.text.index("changed; B is") < screen.text.index("Is B better?")


def test_one_that_is_worse_is_called_worse() -> None:
    screen = Screen(page(a_pair(noise=2.0)))
    assert screen.badges[0] == "worse" and "B is worse by" in screen.text and "certainty of 99 %" in screen.text


def test_what_is_less_sure_than_the_gate_asks_for_is_not_called_better() -> None:
    pair = a_pair()
    screen = Screen(page(replace(pair, found=replace(pair.found, certainty=0.8))))
    assert screen.badges[0] == "better, not surely"
    assert "with a certainty of 80 %, less than the 95 % that the gate asks for" in screen.text


def test_where_one_cannot_be_scored_nobody_can_tell_and_no_curve_is_drawn() -> None:
    pair = a_pair()
    ps = {"b": pair.found.measured.predictions["b"]}
    alone = replace(
        pair.found, metrics={"b": pair.found.metrics["b"]}, certainty=None, between=None, shares=(), seeds=None,
        limits={}, measured=replace(pair.found.measured, predictions=ps),
    )  # fmt: skip
    html = page(replace(pair, found=alone, dependences=()))
    screen = Screen(html)
    assert screen.badges[0] == "nobody can tell" and "cannot be measured on these rows" in screen.text
    assert "It could not be weighed." in screen.cards["causes"] and "<svg" not in html


def test_both_are_measured_on_the_same_rows_with_their_intervals(screen: Screen) -> None:
    card = screen.cards["better"]
    assert f"{ROWS} rows of global of 2026-06-01 to 2026-06-07: labels as they are known now" in card
    assert (
        "0.6 to 0.7" in card
        and "0.71 to 0.81" in card
        and "0.02 to 0.2" in card
        and f"{METRIC} (more is better)" in card
    )


def test_what_was_changed_is_shown_before_and_after(screen: Screen) -> None:
    assert "training days: 2018-04-20 .. 2018-05-17 → 2018-04-20 .. 2018-05-20" in screen.cards["changed"]
    assert "lightgbm: 4.6.0 → 4.7.0" in screen.cards["changed"]


def test_each_cause_has_its_part_beside_what_another_seed_does(screen: Screen) -> None:
    assert re.search(r"data \+0\.\d+ .*configuration -0\.\d+ .*another seed ± 0\.", screen.cards["causes"])


def test_who_decided_about_either_and_which_one_answers(screen: Screen) -> None:
    card = re.sub(r"\s+", " ", screen.cards["who"]).replace(" ,", ",")
    assert re.search(r"A\s+champion of global .*Decision: promote, by gate, as of 2026-06-01: the first", card)
    assert re.search(r"B\s+never champion .*Decision: keep, by ana, as of 2026-06-01: looked fine", card)


def test_parameters_libraries_training_days_and_features_stand_side_by_side(screen: Screen) -> None:
    text = re.sub(r"\s+", " ", screen.text)
    assert "candidates.boosted.params.num_leaves 31 63 differs" in text
    assert "lightgbm 4.6.0 4.7.0 differs" in text and "numpy 2.4.6 2.4.6 code" in text
    assert "training days 2018-04-20 to 2018-05-17 2018-04-20 to 2018-05-20 differs" in text
    assert "new none 0.5" in text and "items 0.3 none" in text


def test_a_refit_that_answers_counts_as_the_version_that_was_judged() -> None:
    refit = Decision(LINE, "global", FIRST, "promote", "b", "refit", "passed", "gate", {}, decided_at=NOW)
    pair = a_pair()
    screen = Screen(page(replace(pair, decisions=[*pair.decisions, refit], judged={"refit": "b"})))
    assert "was champion of global" in screen.cards["who"] and "champion of global" in screen.badges


def test_figures_are_drawn_in_the_page_s_own_colours(html: str) -> None:
    for name in ("what each cause changes", "by day", "calibration", "ROC", "precision by recall", "cumulative gain"):
        assert re.search(f'aria-label="[^"]*{name}', html), name
    svgs = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert not [each for each in svgs if re.search(r"#[0-9a-f]{6}\b", each)]


def test_it_links_to_nothing_that_is_not_there(screen: Screen) -> None:
    assert f"../../{LINE}/page.html" in screen.links
    assert all(link[1:] in screen.ids for link in screen.links if link.startswith("#"))
    without = Screen(page(a_pair(has_page=False)))
    assert not [link for link in without.links if not link.startswith("#")]


def test_nothing_is_fetched_and_the_same_comparison_gives_the_same_page(screen: Screen, html: str) -> None:
    assert screen.elsewhere == [] and not re.search(r"https?:|//[a-z]|@import|url\((?!#)", html)
    assert page(a_pair()) == html


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_and_reasons_are_shown_as_text(text: str, harmless: set[str]) -> None:
    html = page(a_pair(text, text))
    read = Read(html)
    assert {tag for tag, _ in read.tags} <= harmless
    assert not [of for _, of in read.tags if any(each.startswith("on") for each in of)]
    assert visible(text)[:40] in read.text
    assert len(html.encode()) < 1_000_000


def test_thousands_of_differences_and_features_are_a_page_below_a_million_bytes() -> None:
    many = {f"{'&' * 600} {number}": 1.0 for number in range(2000)}
    a, b = record("a", importances={"amount": 1.0}), record("b", importances=many)
    pair = a_pair()
    found = replace(pair.found, differences=[*differences(a, b)] * 500, notes=["&" * 10_000] * 20)
    html = page(replace(pair, a=a, b=b, found=found))
    assert len(html.encode()) < 1_000_000 and "more are left out" in Screen(html).text


def test_the_features_that_matter_most_to_either_come_first() -> None:
    a, b = record("a", importances={"x": 0.9, "y": 0.1}), record("b", importances={"z": 300.0, "y": 200.0})
    assert most_important(a, b, 3) == ["x", "z", "y"]
