"""Does a page say what somebody has to know who takes the line over: what it predicts of whom, how it learns, what releases it?"""

from __future__ import annotations

from typing import Any

import pytest

from factory_assets.features.catalogue.inventory import of_line
from factory_assets.pages import card
from tests.features.lines import OF_ENTITIES, OF_EVENTS, declared_line


def said(declared: Any) -> dict[str, str]:
    return {each.name: each.text for each in card.facts(declared)}


def test_it_says_what_is_predicted_of_whom_and_when_the_truth_is_known() -> None:
    of_events, of_entities = said(declared_line(**OF_EVENTS)), said(declared_line(**OF_ENTITIES))
    assert of_events["predicts"] == "binary: amount > 0, known 1d after the observation"
    assert of_events["of"].startswith("every event of orders where items >= -1")
    assert "at the close of each day" in of_entities["of"] and "whether there is an event of" in of_entities["predicts"]


@pytest.mark.parametrize(
    ("asked", "name", "wanted"),
    [
        ({"gate": {"floor": 0.4, "metric": "roc_auc"}}, "released", "roc_auc 0.4 or better"),
        ({"gate": {"approval": True}}, "released", "; somebody has to approve it"),
        ({"gate": {"latency": "5ms", "size": "50MB"}}, "released", "within 5ms and 50MB"),
        ({"gate": {"disagreement": 0.1}}, "released", "answers otherwise on 10.0% of the newest day's rows at most"),
        ({"gate": {"swaps": "0.5/year"}}, "released", "Luck alone changes the champion of a node up to 0.5 times a year"),
        ({"gate": {"slices": {"big": {"where": "country = 'FR'", "worse": 0.1}}}}, "released", "no worse on big"),
        ({"train": {"window": "7d", "holdout": "2d", "refit": False}}, "learns", "without the days of the holdout"),
        ({"retrain": {"on": ["drift"]}}, "trained", "by drift"),
        ({"retrain": {"on": []}}, "trained", "by hand alone"),
        ({"monitor": {"false_alarm_rate": 0.01, "minimum_effect": 0.1}}, "watched", "in 1.00% of looks at most"),
        ({"segments": {}}, "models", "one for all rows"),
    ],
)  # fmt: skip
def test_what_is_declared_stands_there(asked: dict[str, Any], name: str, wanted: str) -> None:
    assert wanted in said(declared_line(**OF_EVENTS | asked))[name]


def test_every_feature_stands_there_with_what_it_comes_from_and_who_answers_for_it() -> None:
    declared = declared_line(**OF_EVENTS)
    shown = {row[0].value: [cell.value for cell in row[1:]] for row in card.features(declared).cells}
    assert [*shown] == [each["feature"] for each in of_line(declared)] == declared.features
    assert shown["pace.mean_2d"] == [
        "mean(items) over 2d",
        "",
        "orders.items, orders.shop, orders.event_time, orders.known_at",
        "team:x",
    ]
