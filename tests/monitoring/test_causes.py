"""Is the feature named that moves the predictions, by how much, also where only their spread changes?"""

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.models.contributions import Contributions
from factory_assets.monitoring.drift.causes import causes, in_words

WEIGHTS = np.array([2.0, -1.0, 0.5])
FEATURES = ("a", "b", "c")


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
    return pa.table(
        {name: rng.normal(size=4000) * changed.get(f"{name}_spread", 1) + changed.get(name, 0) for name in FEATURES}
    )


def test_the_parts_are_those_of_the_features_that_moved_and_changes_sum_to_that_of_the_mean_score() -> None:
    found = causes(Linear(rows(1)), rows(2, a=1.0, c=2.0))
    assert [cause.feature for cause in found] == ["a", "c", "b"]
    assert found[0].share == pytest.approx(0.65, abs=0.05) and found[1].share == pytest.approx(0.32, abs=0.05)
    assert sum(cause.change for cause in found) == pytest.approx(2 * 1 + 0.5 * 2, abs=0.25)
    told = in_words(found)
    assert told.startswith("moved by a (6") and ", c (3" in told and "b (" not in told, "a part of chance is not told"


def test_a_feature_that_only_spreads_is_found_though_no_mean_moves() -> None:
    first = causes(Linear(rows(1)), rows(2, b_spread=4))[0]
    assert first.feature == "b" and first.share > 0.8 and abs(first.change) < 0.5


def test_of_a_model_that_cannot_tell_and_of_rows_that_are_the_same_there_is_none() -> None:
    assert causes(Linear(rows(1), explains=False), rows(2)) == []
    assert causes(Linear(rows(1)), rows(1)) == [] and in_words([]) == ""
