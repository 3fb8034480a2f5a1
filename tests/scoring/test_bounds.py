"""Are predictions found that are further from all training labels than these span, of each node and version, and no others?"""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from factory_assets.scoring.bounds import Beyond, beyond
from factory_assets.scoring.checks import _told

ROOT, PARIS = "global", "FR/Paris"


def rows(*said: tuple[str, str, float]) -> pa.Table:
    nodes, versions, numbers = zip(*said, strict=True) if said else ((), (), ())
    return pa.table(
        {
            "node": pa.array(nodes, pa.string()),
            "version": pa.array(versions, pa.string()),
            "prediction": pa.array(numbers, pa.float64()),
        }
    )


def test_a_little_beyond_is_outside_and_more_than_the_span_is_far() -> None:
    said = [(PARIS, "a", each) for each in (0.0, 10.0, 5.0, -0.5, 19.9, 20.0, 20.1, -10.1)]
    assert beyond(rows(*said), {"a": (0.0, 10.0)}) == [Beyond(PARIS, "a", 8, 5, 2, 20.1, 0.0, 10.0)]


def test_each_version_is_held_against_its_own_labels_and_one_that_kept_none_against_nothing() -> None:
    said = rows((PARIS, "b", 50.0), (ROOT, "a", 50.0), (PARIS, "c", 1e9), (ROOT, "b", 50.0))
    found = beyond(said, {"a": (0.0, 10.0), "b": (0.0, 50.0), "c": None})
    assert [(each.node, each.version, each.far) for each in found] == [(PARIS, "b", 0), (ROOT, "a", 1), (ROOT, "b", 0)]
    assert found[0].furthest is None
    assert _told(found, 4).startswith("global: 1 of 1 prediction by version a, 50 at the furthest, where its training")


@pytest.mark.parametrize(
    ("labels", "inside", "far"),
    [
        # Labels of a single value span nothing: their own size counts, and of nothing but zeros any other number is far.
        ((4.0, 4.0), (4.0, 7.9, 0.1), (8.1, -0.1)),
        ((0.0, 0.0), (0.0, -0.0), (1e-9, -3.0)),
        ((-1e308, 1e308), (1.7e308,), (float("inf"),)),
    ],
)
def test_ends_of_what_a_double_holds(
    labels: tuple[float, float], inside: tuple[float, ...], far: tuple[float, ...]
) -> None:
    (found,) = beyond(rows(*((ROOT, "a", each) for each in (*inside, *far))), {"a": labels})
    assert found.far == len(far)
    assert beyond(rows(*((ROOT, "a", each) for each in inside)), {"a": labels})[0].far == 0


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_as_a_loop_does(seed: int) -> None:
    rng = random.Random(seed)
    ranges = {version: (low := rng.uniform(-5, 5), low + rng.uniform(0.5, 3)) for version in "abc"}
    said = [(rng.choice([ROOT, PARIS, "DE"]), rng.choice("abc"), rng.gauss(0, 6)) for _ in range(400)]
    found = {(each.node, each.version): each for each in beyond(rows(*said), ranges)}
    for (node, version), one in found.items():
        of_one = [number for at, by, number in said if (at, by) == (node, version)]
        low, high = ranges[version]
        away = [max(low - number, number - high) for number in of_one]
        assert one.rows == len(of_one) and one.outside == sum(each > 0 for each in away)
        assert one.far == sum(each > high - low for each in away)
        assert one.furthest == of_one[away.index(max(away))]
    assert sum(each.rows for each in found.values()) == len(said)


def test_a_day_without_predictions_and_versions_without_labels_have_no_verdict() -> None:
    assert beyond(rows(), {}) == [] and _told([], 0) == "nothing was predicted"
    assert "no verdict" in _told(beyond(rows((ROOT, "a", 1.0)), {"a": None}), 1)
