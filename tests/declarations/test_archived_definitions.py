"""Do definitions that went with a model say the same as the declaration did, and nothing that is none of its business?"""

import json
from pathlib import Path

import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.definitions import declared_from, definitions, recipe
from tests.features.lines import OF_ENTITIES, OF_EVENTS, declared_line

DEMO = Path(__file__).parents[2] / "factory_assets" / "defs"


@pytest.mark.parametrize("line", ["delivery_time", "repeat_order"])
def test_what_is_read_back_says_the_same(line: str) -> None:
    known = load(DEMO)
    declared = known.resolve(known.lines[line])
    kept, made = json.loads(json.dumps(definitions(declared))), json.loads(json.dumps(recipe(declared.line)))
    again = declared_from(kept, made)
    assert again.features == declared.features and again.row_features == declared.row_features
    assert (definitions(again), recipe(again.line)) == (kept, made)
    for field in ("task", "observe", "label", "snapshot", "segments", "train", "candidates", "seed"):
        assert getattr(again.line, field) == getattr(declared.line, field), field
    alone = declared_from(kept)
    assert alone.line.segments.levels == declared.line.segments.levels and definitions(alone) == kept


@pytest.mark.parametrize("more", [OF_EVENTS, OF_ENTITIES])
def test_features_computed_on_demand_are_read_back_without_those_that_nobody_asks_for(more: dict[str, object]) -> None:
    declared = declared_line(**more)
    kept = json.loads(json.dumps(definitions(declared)))
    again = declared_from(kept)
    assert (again.derived, again.features, definitions(again)) == (declared.derived, declared.features, kept)
    assert set(kept["on_demand"]) == {
        name for name in declared.features if name.partition(".")[0] in declared.on_demand
    }
    plain = declared_line(**more | {"features": [name for name in declared.features if name not in declared.derived]})
    assert "on_demand" not in definitions(plain)


@pytest.mark.parametrize("more", [OF_EVENTS, OF_ENTITIES])
def test_owners_sources_and_passwords_stay_at_home(more: dict[str, object]) -> None:
    told = json.dumps(definitions(declared_line(**more)))
    assert '"habit"' in told or '"events"' in told
    for absent in ("owner", "description", "source", "start", "serve", "team:x"):
        assert f'"{absent}"' not in told


def test_the_gate_s_floor_is_no_part_of_how_a_model_is_made_and_its_metric_is() -> None:
    plain = declared_line(**OF_EVENTS)
    slices = {"big": {"where": "flag and habit.n_3d > 1", "worse": 0.1}}
    for gate in (
        {"floor": 0.5, "certainty": 0.8, "cluster": "amount"},
        {"swaps": "0.5/year", "approval": True},
        {"slices": slices, "cost": {"unit": "EUR", "false_positive": 1, "false_negative": 2}},
        {"threshold": 0.2},
    ):
        assert recipe(declared_line(**OF_EVENTS, gate=gate).line) == recipe(plain.line)
    assert recipe(declared_line(**OF_EVENTS, gate={"metric": "brier"}).line) != recipe(plain.line)
    assert recipe(declared_line(**OF_EVENTS, monitor={"remind": "3d"}).line) == recipe(plain.line)


@pytest.mark.parametrize(
    "forged",
    [
        lambda kept: kept["views"]["habit"].update(where="read_text('/etc/passwd') > ''"),
        lambda kept: kept["line"].update(features=["habit.unheard_of"]),
        lambda kept: kept["streams"]["orders"].update(derive={"x": "getenv('HOME')"}),
        lambda kept: kept["on_demand"].update({"ratio.spent": "getenv(habit.city_1h)"}),
    ],
)
def test_definitions_that_no_declaration_could_hold_are_refused(forged: object) -> None:
    kept = definitions(declared_line(**OF_EVENTS))
    forged(kept)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"read_text|unheard_of|getenv"):
        declared_from(kept)
