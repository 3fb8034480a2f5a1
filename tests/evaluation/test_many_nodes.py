"""How much luck may each node of a training use, so that all of them together promote no more by luck than is declared?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.declarations.line import Gate
from factory_assets.evaluation.challengers import challengers_of, look
from factory_assets.evaluation.gate import Contest, Look, rule
from factory_assets.evaluation.luck import Required, required, shares
from factory_resources.ledger import Ledger
from tests.features.lines import DAY, OF_EVENTS, declared_line
from tests.resources.test_ledger import a_version
from tests.training.segmented import Segmented, day, declare

TRAINED = dt.date(2026, 3, 1)
#: The airports and airlines of a year of flights, nearly.
FLIGHTS = [1, 3, 107]
SEGMENTS = {"levels": ["country", "city"], "min_rows": 250}


@settings(deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=5), st.floats(0.001, 0.4), st.floats(0.01, 30))
def test_all_nodes_together_use_no_more_luck_than_the_gate_allows(
    contests: list[int], most: float, budget: float
) -> None:
    found = shares(most, budget, contests)
    together = sum(share * number for share, number in zip(found, contests, strict=True))
    assert all(0 < share <= most for share in found) and together <= budget * (1 + 1e-9)
    if sum(contests) * most <= budget:
        assert found == [most] * len(contests)
    elif all(share < most for share, number in zip(found, contests, strict=True) if number):
        assert together == pytest.approx(budget)


def test_few_nodes_need_what_is_declared_and_a_root_hardly_more_for_having_many_below_it() -> None:
    assert required(Gate(), "DE/Bonn", [1, 3, 10]) == Required(0.95)
    assert required(Gate(), "global", FLIGHTS) == required(Gate(), "JFK", FLIGHTS) == Required(0.95)
    of_leaf = required(Gate(), "JFK/AA", FLIGHTS)
    assert of_leaf.certainty == pytest.approx(1 - 0.8 / 107) and of_leaf.among == 111
    assert required(Gate(false_promotions=10), "JFK/AA", FLIGHTS) == Required(0.95)
    assert required(Gate(certainty=0.5), "JFK/AA", FLIGHTS) == Required(0.5), "any better value is asked for"
    assert required(Gate(), "JFK/AA", []) == Required(0.95), "of a version from before that was recorded"


def test_a_decision_says_how_many_nodes_make_it_need_more() -> None:
    line = declared_line(**OF_EVENTS).line
    taken = look(line, TRAINED, TRAINED, None, required(line.bar, "JFK/AA", FLIGHTS))
    met = Contest({"mae": 10.0}, {"mae": 5.0}, None, {"mae": 4.5}, {"naive": 0.9999, "challenger": 0.97})
    assert rule("mae", line.bar, met, "JFK", taken).reason == (
        "mae 4.5, better than 5 of the champion of JFK, but with a certainty of 0.97 only, 0.9925 needed: 111 nodes contest"
    )
    assert rule("mae", line.bar, met, "JFK", look(line, TRAINED, TRAINED)).verdict == "promote"
    # Where nobody answers, there is one look, which needs as much as all looks of a challenger of one among so many.
    alone = Contest({"mae": 10.0}, None, None, {"mae": 4.5}, {"naive": 0.97})
    assert rule("mae", line.bar, alone, None, taken).verdict == "fallback"


def test_looks_share_what_a_node_among_many_has() -> None:
    line = declared_line(**OF_EVENTS | {"train": {"window": "28d", "holdout": "7d"}, "gate": {"patience": "21d"}}).line
    needed = required(line.bar, "JFK/AA", FLIGHTS)
    days = [TRAINED + after * DAY for after in (0, 7, 14, 21)]
    taken = [look(line, TRAINED, day, before, needed) for day, before in zip(days, [None, *days], strict=False)]
    assert sum(1 - each.certainty for each in taken) == pytest.approx(0.8 / 107)
    assert {(each.alone, each.among) for each in taken} == {(needed.certainty, 111)}


def test_a_challenger_needs_what_the_nodes_of_its_training_made_it_need(tmp_path: Path) -> None:
    """As its version in the ledger has it: so it is the same whichever run evaluates the node, and whenever."""
    ledger, declared = Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}"), declared_line(**OF_EVENTS)
    for node in ("global", "JFK/AA"):
        more = {"params": {}, "contests": FLIGHTS}
        ledger.register(a_version(node, line=declared.line.name, node=node, as_of=TRAINED, configuration=more))
    ledger.register(a_version("old", line=declared.line.name, node="EWR/UA", as_of=TRAINED))
    up = challengers_of(ledger, declared, TRAINED)
    assert [up[node].look.among for node in ("global", "JFK/AA", "EWR/UA")] == [0, 111, 0]
    assert [round(up[node].look.certainty, 4) for node in ("global", "JFK/AA", "EWR/UA")] == [0.95, 0.9925, 0.95]


def test_of_nodes_that_are_no_better_than_their_parent_a_training_promotes_one_on_average() -> None:
    """A hundred nodes, each as certain as luck makes it; with what is declared alone five are promoted."""
    line, contests, rng = declared_line(**OF_EVENTS).line, [1, 0, 100], np.random.default_rng(3)
    taken = look(line, TRAINED, TRAINED, None, required(line.bar, "JFK/AA", contests))

    def promoted(by: Look) -> float:
        found = 0
        for sure in rng.random(4000):
            met = Contest({}, {"mae": 5.0}, None, {"mae": 5 - 1e-9}, {"challenger": float(sure)})
            found += rule("mae", line.bar, met, "JFK", by).verdict == "promote"
        return found / 40

    assert promoted(taken) < 1.0 + 3 * 0.16 and 4 < promoted(look(line, TRAINED, TRAINED)) < 6


def test_a_version_records_how_many_nodes_contest_whichever_of_them_its_run_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three cities that have 224 rows of the window each, two in one country: with less than 250 no node has a model."""
    monkeypatch.setenv("FACTORY_DEFS", str(declare(tmp_path / "defs", segments=SEGMENTS)))
    with dg.DagsterInstance.ephemeral() as instance:
        line, rng = Segmented(tmp_path, instance), np.random.default_rng(2)
        cities = [city for city in ("FR/Paris", "FR/Lyon", "DE/Bonn") for _ in range(8)] * 42
        days = [day(offset) for offset in range(42) for _ in range(24)]
        x = rng.normal(size=(len(days), 2))
        line.give(cities, days, x, x.sum(axis=1))
        assert line.train(day(34), ["FR"], ["model"]) == []
        (version,) = line.ledger.versions("score")
        assert version.node == "FR" and version.configuration["contests"] == [1, 1]
