"""Is the feature named that moves the predictions, by how much, where and since when, also where only their spread changes?"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.models.contributions import Contributions
from factory_assets.monitoring.drift.causes import Began, began, causes, in_words

WEIGHTS = np.array([2.0, -1.0, 0.5])
FEATURES = ("a", "b", "c")
DAYS = np.arange("2026-03-01", "2026-03-08", dtype="datetime64[D]")
LEAVES = ["FR/Lyon", "FR/Paris", "DE/Bonn", "DE/Ulm", "DE"]


class Linear:
    """Predicts 2 a - b + c / 2, and says so."""

    features = FEATURES

    def __init__(self, sample: pa.Table, explains: bool = True):
        self.sample, self._explains = sample, explains

    def contributions(self, rows: pa.Table) -> Contributions | None:
        values = np.stack([rows[name].to_numpy() for name in FEATURES], axis=1)
        return Contributions(np.zeros(1), (values * WEIGHTS)[:, None, :], "identity") if self._explains else None


def rows(seed: int, **changed: float) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = {
        name: rng.normal(size=4000) * changed.get(f"{name}_spread", 1) + changed.get(name, 0) for name in FEATURES
    }
    return pa.table(values | {"ds": np.sort(rng.choice(DAYS, 4000)), "leaf": rng.choice(LEAVES, 4000)})


def test_the_parts_are_those_of_the_features_that_moved_and_changes_sum_to_that_of_the_mean_score() -> None:
    found = causes(Linear(rows(1)), rows(2, a=1.0, c=2.0), "global")
    assert [cause.feature for cause in found] == ["a", "c", "b"]
    assert found[0].share == pytest.approx(0.65, abs=0.05) and found[1].share == pytest.approx(0.32, abs=0.05)
    assert sum(cause.change for cause in found) == pytest.approx(2 * 1 + 0.5 * 2, abs=0.25)
    told = in_words(found, {"a": "orders", "c": "trips"}.__getitem__)
    assert told.startswith("moved by a (6") and ", c (3" in told and "b (" not in told, "a part of chance is not told"
    assert "; since orders of 2026-03-01 or before), c (" in told and told.endswith(")") and "trips" not in told


def test_a_feature_that_only_spreads_is_found_though_no_mean_moves() -> None:
    first = causes(Linear(rows(1)), rows(2, b_spread=4), "global")[0]
    assert first.feature == "b" and first.share > 0.8 and abs(first.change) < 0.5


def test_of_a_model_that_cannot_tell_and_of_rows_that_are_the_same_there_is_none() -> None:
    assert causes(Linear(rows(1), explains=False), rows(2), "global") == []
    assert causes(Linear(rows(1)), rows(1), "global") == [] and in_words([], str) == ""


def moved(table: pa.Table, node: str, first: dt.date, by: float) -> pa.Table:
    """The rows, with a further off by so much in a node from a day on."""
    leaves, days = np.asarray(table["leaf"].to_pylist()), table["ds"].to_numpy()
    inside = (node == "global") | (leaves == node) | np.char.startswith(leaves, f"{node}/")
    values = table["a"].to_numpy() + by * (inside & (days >= np.datetime64(first)))
    return table.set_column(0, "a", pa.array(values))


@pytest.mark.parametrize("by", [2.0, -2.0])
@pytest.mark.parametrize(
    ("of", "node", "day", "told"),
    [
        ("global", "global", 5, "since orders of 2026-03-05"),
        ("global", "FR/Lyon", 5, "most of it in FR/Lyon, since orders of 2026-03-05"),
        ("global", "FR", 4, "most of it in FR, since orders of 2026-03-04"),
        ("DE", "DE/Ulm", 1, "most of it in DE/Ulm, since orders of 2026-03-01 or before"),
        ("FR/Lyon", "FR/Lyon", 7, "since orders of 2026-03-07"),
    ],
)
def test_the_segment_and_the_day_are_named_with_which_it_began(
    of: str, node: str, day: int, told: str, by: float
) -> None:
    now = moved(rows(2), node, dt.date(2026, 3, day), by)
    if of != "global":
        leaves = np.asarray(now["leaf"].to_pylist())
        now = now.filter(pa.array((leaves == of) | np.char.startswith(leaves, f"{of}/")))
    found = causes(Linear(rows(1)), now, of)
    assert found[0].feature == "a"
    assert f"; {told})" in in_words(found, lambda _: "orders")


def test_rows_that_are_no_further_off_than_usual_began_nowhere_and_a_segment_of_most_rows_is_no_place() -> None:
    days = [dt.date(2026, 3, 1), dt.date(2026, 3, 2)] * 5
    assert began(np.full(10, -0.1), days, ["FR"] * 10, "global") is None
    assert began(np.ones(10), days, ["FR"] * 6 + ["DE"] * 4, "global") == Began("", days[0], True)
    assert began(np.ones(1), days[:1], ["FR"], "global") == Began("", days[0], True)
