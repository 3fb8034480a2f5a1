"""Is a slice on which a model is weak found that nobody declared, and nothing where there is none?"""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ttest_ind

from factory_assets.declarations.line import Line
from factory_assets.evaluation import weak
from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Look
from factory_assets.evaluation.measuring import weak_at
from factory_assets.evaluation.scores import predicted
from factory_assets.evaluation.weak import Coded, coded, losses, weak_slices
from factory_assets.measures.profiles import profile

ON = dt.date(2026, 3, 1)
DAYS = np.repeat(np.arange(8), 500)


def columns_of(rng: np.random.Generator, number: int = 4, bins: int = 5, rows: int = 4000) -> dict[str, Coded]:
    names = [f"bin {place}" for place in range(bins)]
    return {f"x{place}": Coded(rng.integers(0, bins, rows), names) for place in range(number)}


def test_a_pair_of_values_is_found_and_neither_of_its_values_by_itself() -> None:
    rng = np.random.default_rng(7)
    columns = columns_of(rng)
    there = (columns["x1"].codes == 2) & (columns["x3"].codes == 0)
    lost = np.abs(rng.normal(size=4000)) + 1.5 * there
    (found,) = weak_slices(columns, lost, DAYS)
    assert found.where == {"x1": "bin 2", "x3": "bin 0"} and found.name == "x1: bin 2, x3: bin 0"
    np.testing.assert_array_equal(found.rows, there)
    assert found.loss == pytest.approx(lost[there].mean()) and found.elsewhere == pytest.approx(lost[~there].mean())
    assert found.p < 1e-6


def test_a_value_is_found_and_no_pair_that_is_bad_for_nothing_else() -> None:
    rng = np.random.default_rng(2)
    columns = columns_of(rng)
    lost = np.abs(rng.normal(size=4000)) + (columns["x0"].codes == 1)
    assert [each.where for each in weak_slices(columns, lost, DAYS)] == [{"x0": "bin 1"}]


def test_features_that_say_the_same_are_named_once() -> None:
    rng = np.random.default_rng(2)
    columns = columns_of(rng)
    bad = columns["x0"].codes == 1
    again = Coded(np.where(bad & (rng.random(4000) < 0.95), 3, 0), [f"group {place}" for place in range(4)])
    found = weak_slices(columns | {"same": again}, np.abs(rng.normal(size=4000)) + bad, DAYS)
    assert len([each for each in found if len(each.where) == 1]) == 1


def test_nothing_is_found_where_nothing_is_or_a_day_or_customers_are_hard_or_rows_are_few() -> None:
    found = customers = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        columns = columns_of(rng)
        hard = np.abs(rng.normal(size=4000)) + 3.0 * (DAYS == 4)
        assert weak_slices({"day": Coded(DAYS % 8, [str(each) for each in range(8)])}, hard, DAYS) == []
        found += bool(weak_slices(columns, hard, DAYS))
        whose = rng.integers(0, 40, 4000)
        own = {name: Coded(each.codes[whose], each.names) for name, each in columns.items()}
        customers += bool(
            weak_slices(own, np.abs(rng.normal(size=4000)) + np.abs(rng.normal(size=40))[whose], DAYS, whose)
        )
        assert (
            weak_slices(
                {name: Coded(each.codes[:999], each.names) for name, each in columns.items()}, hard[:999], DAYS[:999]
            )
            == []
        )
    assert found <= 4 and customers <= 4, "one in twenty may"


def test_customers_that_err_each_in_their_way_make_slices_of_their_values_where_rows_count_as_witnesses() -> None:
    """That is what clusters are for: by rows alone something is found in most samples."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        whose = rng.integers(0, 40, 4000)
        own = {name: Coded(each.codes[whose], each.names) for name, each in columns_of(rng).items()}
        found += bool(weak_slices(own, np.abs(rng.normal(size=4000)) + np.abs(rng.normal(size=40))[whose], DAYS))
    assert found > 10


def test_the_chances_are_those_of_scipy_and_the_corrections_holm_s() -> None:
    rng = np.random.default_rng(3)
    columns, lost = columns_of(rng, number=2), rng.gamma(1.0, size=4000)
    found = dict(weak._candidates(columns, lost))
    a, b = (columns[name].codes for name in ("x0", "x1"))
    for i in range(5):
        expected = ttest_ind(lost[a == i], lost[a != i], equal_var=False, alternative="greater").pvalue
        assert found[(("x0", i),)] == pytest.approx(expected, rel=1e-9)
        pair = (a == i) & (b == 3)
        rests = (~pair, (a == i) & ~pair, (b == 3) & ~pair)
        expected = max(
            ttest_ind(lost[pair], lost[rest], equal_var=False, alternative="greater").pvalue for rest in rests
        )
        assert found[(("x0", i), ("x1", 3))] == pytest.approx(expected, rel=1e-9)
        assert weak._p_of(columns, (("x0", i), ("x1", 3)), lost, None) == pytest.approx(expected, rel=1e-9)
        alone = weak._p_of(columns, (("x0", i),), lost, np.arange(4000))
        assert alone == pytest.approx(found[(("x0", i),)], rel=0.1), "each row a cluster of its own"
    p = {(("x", place),): each for place, each in enumerate([0.02, 0.004, 0.001, 0.03, 0.5])}
    assert weak._confirmed(p) == pytest.approx({(("x", 2),): 0.005, (("x", 1),): 0.016}), "0.02 of three left is 0.06"


@pytest.mark.parametrize(
    ("task", "y", "p", "expected"),
    [
        ("regression", [1.0], [3.0], [2.0]), ("count", [1.0], [3.0], [2.0]), ("binary", [1.0], [0.75], [0.0625]),
        ("quantile(0.9)", [1.0, 3.0], [2.0, 2.0], [0.1, 0.9]), ("multiclass(a, b, c)", [2.0], [[0.5, 0.0, 0.5]], [0.5]),
    ],
)  # fmt: skip
def test_a_row_loses_what_its_task_says(task: str, y: list[float], p: Any, expected: list[float]) -> None:
    assert losses(task, np.array(y), np.array(p))[1] == pytest.approx(expected)


def test_a_challenger_that_passes_is_looked_through_and_one_that_does_not_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, count = np.random.default_rng(4), 6000
    y, hour = rng.normal(size=count), rng.choice([0, 6, 12, 20], count)
    shop = np.array(["a", "b", "c", None], dtype=object)[rng.integers(0, 4, count)]
    at = [dt.datetime.combine(ON + dt.timedelta(days=int(each)), dt.time()) for each in rng.integers(0, 7, count)]
    rows = pa.table(
        {
            "example_id": rng.permutation(count), "observed_at": pa.array(at, pa.timestamp("us")), "leaf": ["global"] * count,
            "ds": pa.array([each.date() for each in at], pa.date32()), "label": y, "hour": hour, "shop": pa.array(shop, pa.string()),
            "place": np.arange(count),
        }
    )  # fmt: skip
    bad = (hour == 20) & (shop == "b")
    predictions = {"new": y + np.where(bad, 3, 0.5) * rng.normal(size=count), "old": y + rng.normal(size=count)}

    def model(version: str) -> Any:
        return SimpleNamespace(
            predict=lambda rows, task: predictions[version][rows["place"].to_numpy()],
            naive=lambda count, task: np.full(count, 9.0),
            unlearnt_from=ON,
            features=("hour", "shop"),
            profiles={name: profile(rows[name], bins=6, name=name) for name in ("hour", "shop")},
        )

    line = Line(
        name="question", owner="team:x", description="-", task="regression", observe={"stream": "orders"}, label={"expression": "y"},
        features=["hour"], train={"window": "7d", "holdout": "7d"}, candidates={"constant": {"estimator": "constant"}},
    )  # fmt: skip

    def looked(challenger: str) -> Any:
        contestants = Contestants(
            {"global": "old"}, {"global": Challenger(challenger, Look(0.95))}, model, lambda version: None,
            weak=lambda met, model, rows: weak_at(line, met, model, rows),
        )  # fmt: skip
        (met,) = walk(SimpleNamespace(line=line), "mae", ["global"], contestants, lambda node: rows)  # type: ignore[arg-type]
        return met.weak

    found = looked("new")
    (one,) = found.slices
    assert one.where == {"hour": "20", "shop": "'b'"} and found.loss == "absolute error"
    assert (
        one.rows.sum() == bad.sum()
        and one.loss > 2
        and found.rival == "champion"
        and found.rivals == pytest.approx([0.8], abs=0.15)
    )
    every, row = pa.Table.from_pylist(list(found.rows("global", "new", "mae", ON)), schema=weak.SCHEMA).to_pylist()
    assert (every["kind"], every["rows"], every["where"], every["elsewhere"]) == ("all", count, [], None)
    lost = np.abs(predictions["new"] - y)
    assert every["inside"] == pytest.approx(lost.mean()) and (every["rival"], every["loss"]) == (
        "champion",
        "absolute error",
    )
    assert every["of_rival"] == pytest.approx(np.abs(predictions["old"] - y).mean())
    assert (
        row["where"] == [{"column": "hour", "value": "20"}, {"column": "shop", "value": "'b'"}]
        and row["kind"] == "found"
    )
    assert (row["rows"], row["version"], row["ds"], row["name"]) == (bad.sum(), "new", ON, "hour: 20, shop: 'b'")
    assert row["inside"] == pytest.approx(lost[bad].mean()) and row["elsewhere"] == pytest.approx(lost[~bad].mean())
    assert 0.95 <= row["certainty"] <= 1 and row["of_rival"] == found.rivals[0]
    assert looked("old") is None
    monkeypatch.setattr(weak, "BATCH", 700)
    kept, _ = predicted("regression", rows, {}, ON)
    codes = coded(model("new"), rows, ON)["hour"].codes
    by_id = dict(zip(rows["example_id"].cast(pa.string()).to_pylist(), hour, strict=True))
    expected = profile(rows["hour"], bins=6, name="hour").places(
        pa.array([by_id[each] for each in kept["example_id"].to_pylist()])
    )
    np.testing.assert_array_equal(codes, expected)
