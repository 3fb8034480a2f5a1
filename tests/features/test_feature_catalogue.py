"""Does someone who looks for a feature find it, see what it comes from and who uses it, and learn of one that exists twice?"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.readers import readers
from factory_assets.definitions import defs
from factory_assets.features.catalogue.duplicates import comparable, correlated, duplicates, newest_common
from factory_assets.features.catalogue.inventory import entries, fed_by, from_column, notes, of_line, of_view, twins
from factory_resources.lake import Lake

DEMO = Path(__file__).parents[2] / "factory_assets" / "defs" / "marketplace"
CONTRACT = """\
columns:
  id: {type: integer}
  who: {type: integer}
  at: {type: timestamp}
  net: {type: double, unit: EUR}
  rate: {type: double}
  city: {type: string}
  town: {type: string}
"""
STREAM: dict[str, Any] = {
    "name": "sales", "owner": "team:shop", "description": "Sales.", "source": {"kind": "parquet", "uri": "-"}, "id": "id",
    "event_time": "at", "start": "2024-01-01",
    "cleanse": {"one_name": {"column": "city", "to": "coalesce(city, town)"}},
    "derive": {"gross": "net * (1 + rate)", "doubled": "gross * 2"}, "rules": {"local": "city = 'Lyon'"},
}  # fmt: skip
HABIT: dict[str, Any] = {
    "name": "habit", "stream": "sales", "entity": "who", "owner": "team:growth", "description": "What one spends.",
    "windows": ["1d", "7d"], "features": {"spent": "sum(doubled)", "n": "count()"}, "where": "local",
}  # fmt: skip
LINE: dict[str, Any] = {
    "name": "returns", "owner": "team:growth", "description": "-", "task": "regression", "observe": {"stream": "sales"},
    "label": {"expression": "net"}, "features": ["gross", "habit.spent_7d"], "train": {"window": "7d", "holdout": "2d"},
    "candidates": {"one": {"estimator": "constant"}},
}  # fmt: skip


def declared(folder: Path, *views: dict[str, Any]) -> Catalogue:
    """The stream, the line, the view `habit` and others that differ from it by what is given."""
    every = [HABIT | view for view in ({}, *views)]
    measured = [view | {"units": dict.fromkeys(view["features"], "EUR")} for view in every]
    kinds = {"EventStream": [STREAM], "FeatureView": measured, "ModelLine": [LINE]}
    documents = [
        {"type": f"factory_assets.components.{kind}", "attributes": attributes}
        for kind, several in kinds.items()
        for attributes in several
    ]
    (folder / "contract.yaml").write_text(CONTRACT)
    (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return load(folder)


@pytest.fixture(scope="module")
def demo() -> Catalogue:
    return load(DEMO)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACTORY_DEFS", raising=False)


def invoked(*arguments: str, code: int = 0) -> list[str]:
    """Lines that the command prints, without borders and repeated blanks."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return [" ".join(line.replace("│", " ").split()) for line in result.output.splitlines()]


def test_a_feature_comes_from_delivered_columns_through_derived_ones_rules_and_cleansing(tmp_path: Path) -> None:
    catalogue = declared(tmp_path)
    entry = entries(catalogue)["habit.spent_7d"]
    assert entry.sources == {
        "net": ["features.spent via doubled"],
        "rate": ["features.spent via doubled"],
        "who": ["entity"],
        "city": ["where via local"],
        "town": ["where via local"],
        "at": ["windows"],
    }
    assert list(entries(catalogue)["habit.n_1d"].sources) == ["who", "city", "town", "at"]
    assert entry.steps == STREAM["derive"] | STREAM["rules"]
    assert entries(catalogue)["habit.n_1d"].steps == STREAM["rules"]


def test_a_feature_is_used_by_the_lines_that_ask_for_it_and_no_others(tmp_path: Path) -> None:
    every = entries(declared(tmp_path))
    assert {name: entry.lines for name, entry in every.items()} == {
        "habit.spent_1d": [], "habit.spent_7d": ["returns"], "habit.n_1d": [], "habit.n_7d": []
    }  # fmt: skip


def test_a_feature_of_features_leads_to_their_columns_and_they_to_its_lines(tmp_path: Path, wide: None) -> None:
    catalogue = declared(tmp_path, {"name": "town", "entity": "city", "features": {"spent": "sum(net)"}})
    ratio = OnDemandView(
        name="ratio", owner="team:ratios", description="A person against the city.",
        derive={"spent": "habit.spent_7d / nullif(town.spent_7d, 0)", "more": "ratio.spent * 2"}, units={"spent": "1", "more": "1"},
    )  # fmt: skip
    asking = catalogue.lines["returns"].model_copy(update={"features": ["habit.n_1d", "ratio.more"]})
    catalogue = replace(catalogue, lines={"returns": asking}, on_demand={"ratio": ratio})
    entry = entries(catalogue)["ratio.more"]
    assert entry.sources["sales.net"] == ["through habit.spent_7d, town.spent_7d"]
    assert entry.sources["sales.who"] == ["through habit.spent_7d"]
    assert entry.steps == {"ratio.spent": ratio.derive["spent"]} | STREAM["derive"] | STREAM["rules"]
    assert from_column(catalogue, "sales", "gross")["ratio.more"] == ["through habit.spent_7d"]
    used = {name: entry.lines for name, entry in entries(catalogue).items() if entry.lines}
    through = ["returns through ratio.more"]
    assert used == {
        "habit.n_1d": ["returns"], "habit.spent_7d": through, "town.spent_7d": through, "ratio.spent": through,
        "ratio.more": ["returns"],
    }  # fmt: skip
    assert of_view(catalogue, catalogue.views["town"])[1]["used by"] == "returns through ratio.more"
    line = catalogue.resolve(asking)
    assert of_line(line)[1] | {"comes from": ""} == {
        "feature": "ratio.more", "view": "ratio", "owner": "team:ratios", "definition": "ratio.spent * 2", "comes from": "",
        "unit": "1",
    }  # fmt: skip
    assert fed_by(line)["sales.net"] == ["ratio.more"]
    file = tmp_path / "defs.yaml"
    told = {"type": "factory_assets.components.OnDemandView", "attributes": ratio.model_dump()}
    file.write_text(file.read_text() + "---\n" + yaml.safe_dump(told))
    shown = invoked("features", "ratio.more", "--declarations", str(tmp_path))
    assert "ratio.spent is habit.spent_7d / nullif(town.spent_7d, 0)" in shown
    assert "sales.net through habit.spent_7d, town.spent_7d" in shown
    assert "2 features" in invoked("features", "ratio", "--declarations", str(tmp_path))


def test_a_feature_of_the_observed_event_leads_to_its_columns_and_they_to_it(tmp_path: Path, wide: None) -> None:
    catalogue = declared(tmp_path)
    ratio = OnDemandView(
        name="ratio", owner="team:ratios", description="A sale against how many there were.",
        derive={"usual": "gross / nullif(habit.n_7d, 0)", "more": "ratio.usual * 2", "unasked": "gross + habit.n_1d"},
    )  # fmt: skip
    asking = catalogue.lines["returns"].model_copy(update={"features": ["ratio.more"]})
    catalogue = replace(catalogue, lines={"returns": asking}, on_demand={"ratio": ratio})
    every = entries(catalogue)
    assert every["ratio.more"].columns["sales.rate"] == ["in what returns observes"]
    assert from_column(catalogue, "sales", "gross")["ratio.more"] == ["in what returns observes"]
    # Of no line does anybody know what `unasked` is computed in.
    assert "sales.rate" not in every["ratio.unasked"].columns
    line = catalogue.resolve(asking)
    assert (fed_by(line)["sales.rate"], line.carried) == (["ratio.more"], ["gross"])
    told = readers(catalogue, "sales", catalogue.streams["sales"].contract, "rate")
    assert "line returns ratio.more" in [f"{one.kind} {one.name} {one.where}" for one in told]


def test_a_column_and_a_feature_agree_on_whether_one_comes_from_the_other(demo: Catalogue, tmp_path: Path) -> None:
    for catalogue in (demo, declared(tmp_path)):
        every = entries(catalogue)
        for name, stream in catalogue.streams.items():
            for column in stream.contract.columns:
                forward = from_column(catalogue, name, column)
                assert forward == {
                    feature: entry.sources[column] for feature, entry in every.items() if column in entry.sources
                }
                known = {one.name for one in readers(catalogue, name, stream.contract, column) if one.kind == "view"}
                assert known == {feature.partition(".")[0] for feature in forward}


def test_a_derived_column_leads_to_features_too(tmp_path: Path) -> None:
    found = from_column(declared(tmp_path), "sales", "gross")
    assert found == {name: ["features.spent via doubled"] for name in ("habit.spent_1d", "habit.spent_7d")}


def test_a_line_knows_each_feature_with_its_view_and_owner_and_what_every_column_feeds(tmp_path: Path) -> None:
    catalogue = declared(tmp_path)
    line = catalogue.resolve(catalogue.lines["returns"])
    assert [(one["feature"], one["view"], one["owner"], one["definition"]) for one in of_line(line)] == [
        ("gross", "", "team:shop", "net * (1 + rate)"),
        ("habit.spent_7d", "habit", "team:growth", "sum(doubled) over 7d, where local"),
    ]
    fed = fed_by(line)
    assert fed["sales.net"] == ["gross", "habit.spent_7d"]
    assert fed["sales.town"] == ["habit.spent_7d"]
    assert "sales.id" not in fed


@pytest.mark.parametrize(
    "same",
    [
        {"features": {"total": "sum( ( doubled ) )"}},
        {"features": {"total": "sum(2 * net * (rate + 1))"}},
        {"features": {"total": "sum(doubled)"}, "where": "( city='Lyon' )"},
        {"features": {"total": "sum(doubled)"}, "windows": ["1w"]},
        {"features": {"total": "sum(doubled)"}, "owner": "team:other", "description": "Other.", "freshness": "9d"},
    ],
)
def test_a_feature_declared_again_in_other_words_is_the_same(tmp_path: Path, same: dict[str, Any]) -> None:
    every = entries(declared(tmp_path, {"name": "spending", **same}))
    assert every["habit.spent_7d"].same_as == ["spending.total_7d"]
    assert every["spending.total_7d"].same_as == ["habit.spent_7d"]


@pytest.mark.parametrize(
    "other",
    [
        {"features": {"spent": "mean(doubled)"}},
        {"features": {"spent": "sum(gross)"}},
        {"where": "not local"},
        {"delay": "1h"},
        {"include_current": True},
        {"windows": ["2d"]},
        {"entity": "city"},
    ],
)
def test_features_that_see_or_compute_something_else_are_not_the_same(tmp_path: Path, other: dict[str, Any]) -> None:
    found = twins(declared(tmp_path, {"name": "other", "features": {"spent": "sum(doubled)"}, **other}))
    assert found == []


def test_of_twins_that_differ_where_there_is_no_event_that_is_said(tmp_path: Path) -> None:
    every = entries(declared(tmp_path, {"name": "zeros", "default": 0}))
    assert every["habit.spent_1d"].same_as == ["zeros.spent_1d (0 if none)"]
    assert every["zeros.spent_1d"].same_as == ["habit.spent_1d (empty if none)"]
    assert every["habit.n_1d"].same_as == ["zeros.n_1d"]


def test_the_check_of_declarations_notes_twins_and_stays_green(tmp_path: Path, wide: None) -> None:
    declared(tmp_path, {"name": "spending", "features": {"total": "sum(doubled)"}})
    listed = invoked("features", "--declarations", str(tmp_path))
    assert "habit.spent_1d EUR who team:growth 2d nobody spending.total_1d" in listed
    (line,) = [line for line in invoked("check", str(tmp_path)) if line.startswith("note")]
    assert (
        line
        == "note habit.spent and spending.total are the same feature over 1d, 7d: sum(doubled) of each who in sales"
    )
    assert notes(declared(tmp_path)) == []


def test_features_without_a_word_are_all_listed_with_owner_freshness_and_users(wide: None) -> None:
    lines = invoked("features")
    assert lines[0] == "22 features"
    assert "city_load.orders_1d orders city team:marketplace 2d delivery_time" in lines
    assert any(line.startswith("city_load How busy a city is right now, and how far") for line in lines)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SPENT", {"customer_habit.spent_3d", "customer_habit.spent_7d", "customer_habit.spent_28d"}),
        (
            "how far",
            {"city_load.orders_1h", "city_load.orders_1d", "city_load.distance_1h", "city_load.distance_1d"},
        ),
        ("delivery_min", {f"restaurant_pace.minutes_{window}" for window in ("1d", "7d", "28d")}),
    ],
)
def test_a_text_is_looked_for_in_names_descriptions_and_columns(wide: None, text: str, found: set[str]) -> None:
    shown = {line.split(" ")[0] for line in invoked("features", text) if "team:" in line}
    assert shown == found


def test_columns_on_the_way_are_looked_for_as_well(demo: Catalogue, tmp_path: Path) -> None:
    found = [entry.name for entry in entries(declared(tmp_path)).values() if entry.mentions("gros")]
    assert found == ["habit.spent_1d", "habit.spent_7d"]
    every = entries(demo)
    for text in ("first_hand", "replaces", "team:growth"):
        assert {entry.view.name for entry in every.values() if entry.mentions(text)} == {"customer_habit"}


def test_one_feature_is_shown_with_all_that_makes_it(wide: None) -> None:
    lines = invoked("features", "customer_habit.spent_28d")
    for line in (
        "definition sum(amount)",
        "window 28d",
        "where first_hand",
        "first_hand is replaces is null",
        "without events empty",
        "owner team:growth",
        "used by repeat_order",
        "orders.replaces where via first_hand",
        "orders.amount features.spent",
    ):
        assert line in lines, line
    assert "delay 2h" in invoked("features", "restaurant_pace.minutes_7d")
    assert "without events 0" in invoked("features", "restaurant_pace.orders_7d")


def test_a_view_is_shown_with_its_features(wide: None) -> None:
    lines = invoked("features", "city_load")
    assert "fresh within 2d" in lines
    assert "city_load.orders_1h count() over 1h orders city, placed_at, received_at delivery_time" in lines


def test_a_column_is_answered_with_features_and_readers(wide: None) -> None:
    lines = invoked("features", "--column", "orders.delivery_minutes")
    assert lines[0] == "3 features come from orders.delivery_minutes"
    assert "line delivery_time label.expression" in lines
    assert invoked("features", "--column", "orders.first_hand")[0] == "12 features come from orders.first_hand"
    assert invoked("features", "--column", "orders.items")[0] == "no feature comes from orders.items"


def test_a_line_is_answered_with_its_features_and_what_feeds_them(wide: None) -> None:
    lines = invoked("features", "--line", "repeat_order")
    assert lines[0] == "repeat_order uses 12 features"
    assert "orders.replaces customer_habit.*" in lines
    fed = next(line for line in lines if line.startswith("orders.amount customer_habit"))
    assert fed.split(" ", 1)[1].split(", ") == [
        f"customer_habit.{name}_{window}" for name in ("spent", "mean_amount") for window in ("3d", "7d", "28d")
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "features here: restaurant_pace.*, city_load.*, customer_habit.*"),
        (["city_load.orders_9d"], "features here: city_load.orders_1h, city_load.orders_1d"),
        (["--column", "orders.colour"], "'colour' is not a column of orders; columns here: order_id"),
        (["--column", "order.amount"], "'order' is not a stream; streams here: orders"),
        (["--line", "nothing"], "lines here: delivery_time, repeat_order"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(wide: None, arguments: list[str], said: str) -> None:
    assert said in " ".join(invoked("features", *arguments, code=1))


def test_two_questions_at_once_are_refused(wide: None) -> None:
    assert "give one of" in " ".join(invoked("features", "--line", "repeat_order", "--duplicates", code=2))


def test_asset_pages_list_features_with_what_they_come_from_and_who_uses_them(demo: Catalogue) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs().resolve_all_asset_specs()}
    for name, view in demo.views.items():
        shown = specs[f"features/{name}"].metadata["features"]
        assert isinstance(shown, dg.TableMetadataValue)
        assert [record.data for record in shown.records] == of_view(demo, view)
    pace = specs["features/restaurant_pace"].metadata["features"].records[3].data
    assert (pace["definition"], pace["used by"]) == (
        "mean(delivery_minutes) over 1d, known 2h after the event",
        "delivery_time",
    )
    assert pace["comes from"].startswith("delivery_minutes, restaurant_id")
    for table, column in [("features/restaurant_pace", "{}_7d"), ("delivery_time/examples", "restaurant_pace.{}_7d")]:
        schema = specs[table].metadata["schema"]
        kinds = {each.name: each.type for each in schema.columns}
        assert (kinds[column.format("orders")], kinds[column.format("minutes")]) == ("bigint", "double")
    habit = specs["repeat_order/examples"].metadata["features"].records[0].data
    assert (habit["feature"], habit["owner"]) == ("customer_habit.orders_3d", "team:growth") and len(habit) <= 5


def test_pages_are_made_while_a_line_asks_for_what_is_not_there_and_views_beside_are_not_looked_at(
    demo: Catalogue,
) -> None:
    line = demo.lines["repeat_order"].model_copy(
        update={"features": ["nowhere.*", "customer_habit.*", "city_load.typo"]}
    )
    catalogue = Catalogue(demo.streams, {"customer_habit": demo.views["customer_habit"]}, {"repeat_order": line})
    assert of_view(catalogue, demo.views["customer_habit"]) == of_view(demo, demo.views["customer_habit"])


def test_correlation_is_that_of_the_rows_that_have_both_columns() -> None:
    rng = np.random.default_rng(1)
    a = rng.lognormal(sigma=2, size=1000)
    gaps = np.where(rng.random(1000) < 0.4, np.nan, 3 - 100 * a)
    near, far = a + 0.01 * a.std() * rng.normal(size=1000), a + 0.2 * a.std() * rng.normal(size=1000)
    infinite = np.where(np.arange(1000) < 5, np.inf, a)
    values = np.column_stack([a, gaps, near, far, infinite, np.full(1000, 7.0)])
    found = {(i, j): (r, n) for i, j, r, n in correlated(values)}
    for (i, j), (r, n) in found.items():
        both = np.isfinite(values[:, [i, j]]).all(axis=1)
        assert (r, n) == (pytest.approx(np.corrcoef(values[both, i], values[both, j])[0, 1]), both.sum())
    assert set(found) == {(0, 1), (0, 2), (0, 4), (1, 2), (1, 4), (2, 4)}
    assert found[0, 1][0] == pytest.approx(-1)


def test_few_rows_and_columns_that_are_constant_where_they_meet_have_no_correlation() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=300)
    few = np.where(np.arange(300) < 99, a, np.nan)
    enough = np.where(np.arange(300) < 100, a, np.nan)
    constant_there = np.where(np.arange(300) < 150, 0.1 + 1e-17 * a, 1e9)
    halves = np.where(np.arange(300) < 150, 2 * constant_there, np.nan)
    assert [(i, j) for i, j, *_ in correlated(np.column_stack([a, few]))] == []
    assert [(i, j) for i, j, *_ in correlated(np.column_stack([a, enough]))] == [(0, 1)]
    assert correlated(np.column_stack([constant_there, halves])) == []


@pytest.mark.parametrize("offset", [1e9, 1e300])
def test_a_small_difference_on_a_large_number_or_beside_one_is_still_seen(offset: float) -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=400)
    beside = np.where(np.arange(400) < 200, a, np.nan)
    large = np.where(np.arange(400) < 200, a, offset)
    assert [(i, j) for i, j, *_ in correlated(np.column_stack([large, beside]))] == [(0, 1)]
    assert correlated(np.column_stack([large, rng.permutation(beside)])) == []


def test_views_are_compared_on_the_newest_day_that_both_have() -> None:
    one, two, three = (dt.date(2024, 1, day) for day in (1, 2, 3))
    assert newest_common({"a": [one, two], "b": [one, two, three], "c": []}) == {
        two: {frozenset("a"), frozenset("ab")},
        three: {frozenset("b")},
    }


def table(day: dt.date, who: np.ndarray, **columns: Any) -> pa.Table:
    return pa.table({"who": who, **columns, "ds": [day] * len(who)})


def test_features_with_the_same_values_are_found_across_views_and_named_in_the_command(
    tmp_path: Path, wide: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = declared(
        tmp_path,
        {"name": "cents", "features": {"spent": "sum(100 * doubled)", "town": "last(town)"}},
        {"name": "late", "features": {"spent": "sum(-doubled)"}},
        {"name": "places", "entity": "city", "features": {"n": "count()"}},
    )
    old, new = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
    rng = np.random.default_rng(4)
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    who = np.arange(300)
    spent, other, count = (rng.lognormal(size=300) for _ in range(3))
    habit = {"spent_1d": spent, "spent_7d": other, "n_1d": count, "n_7d": np.ones(300), "gone_7d": other}
    lake.replace("features/habit", table(new, who, **habit), [new])
    # Another order and other entities than the first view's: only 200 are in both.
    chosen = rng.permutation(who)[:200]
    cents = {"spent_1d": 100 * spent[chosen], "town_1d": ["Lyon"] * 200, "town_7d": ["Lyon"] * 200}
    lake.replace("features/cents", table(new, chosen, **cents), [new])
    # The day before, other features of the two agree. It is asked only for the third view, which ends there.
    lake.replace("features/habit", table(old, who, **(habit | {"n_1d": -other, "spent_7d": count})), [old])
    lake.replace("features/cents", table(old, who, spent_7d=other, spent_1d=rng.normal(size=300)), [old])
    lake.replace("features/late", table(old, who, spent_7d=-other), [old])
    assert [sorted(view.name for view in views) for views in comparable(catalogue)] == [
        ["cents", "habit", "late"], ["places"]
    ]  # fmt: skip
    days = {name: lake.days(f"features/{name}") for name in catalogue.views}
    with duckdb.connect() as con:
        found = duplicates(con, comparable(catalogue)[0], days, partial(lake.view, con))
    assert {(pair.first, pair.second, round(pair.r, 9), pair.entities, pair.day) for pair in found} == {
        ("habit.spent_1d", "cents.spent_1d", 1.0, 200, new),
        ("habit.n_1d", "late.spent_7d", 1.0, 300, old),
        ("cents.spent_7d", "late.spent_7d", -1.0, 300, old),
    }
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path))
    lines = invoked("features", "--duplicates")
    assert "no table yet, so not compared: places" in lines
    assert "habit.spent_1d cents.spent_1d 1.00000 200 2024-01-02 differently" in lines
