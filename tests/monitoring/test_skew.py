"""Are features that a day was first predicted from held against those of today, row by row, and is what cannot be told not judged?"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.event_api import PartitionKeyFilter

from factory_assets.monitoring.skew import SHOWN, skews
from tests.release.trained import LINE, order
from tests.scoring.scored import AS_OF, LAST, a_scored_line
from tests.stations import Station, csv, day


def rows(ids: list[int], **columns: Any) -> pa.Table:
    return pa.table({"example_id": pa.array(ids, pa.int64()), **columns})


def test_equal_rows_have_no_skew_in_any_order_and_a_number_that_is_none_is_null() -> None:
    used = rows([1, 2, 3, 4], x=[1.0, math.nan, None, 2.5], t=["a", None, "b", "c"])
    now = rows([4, 3, 2, 1], x=[2.5, math.nan, None, 1.0], t=["c", "b", None, "a"])
    found = skews(used, now, ["x", "t"])
    assert (found.differing, found.compared, found.gone, found.new) == ([], 4, 0, 0)


def test_the_last_bit_of_a_number_is_a_mismatch() -> None:
    found = skews(rows([1], x=[0.3]), rows([1], x=[0.1 + 0.2]), ["x"])
    assert found.features[0].mismatches == 1


def test_examples_are_those_of_the_largest_difference_and_a_value_that_came_or_went_is_the_largest() -> None:
    ids = list(range(9))
    used = rows(ids, x=[0.0] * 8 + [None], t=["a"] * 9)
    now = rows(ids, x=[0.0, 3.0, -5.0, 1.0, 2.0, 0.5, 0.25, 0.0, 7.0], t=["a"] * 8 + ["b"])
    numbers, texts = skews(used, now, ["x", "t"]).features
    assert (numbers.mismatches, numbers.rate) == (7, 7 / 9)
    assert numbers.examples == ((8, None, 7.0), (2, 0.0, -5.0), (1, 0.0, 3.0), (4, 0.0, 2.0), (3, 0.0, 1.0))
    assert texts.examples == ((8, "a", "b"),)
    assert len(numbers.examples) == SHOWN


def test_rows_that_are_gone_or_new_are_counted_and_not_compared() -> None:
    found = skews(rows([1, 2, 3], x=[1, 2, 3]), rows([2, 3, 4, 5], x=[2, 9, 4, 5]), ["x"])
    assert (found.compared, found.gone, found.new) == (2, 1, 2)
    assert found.features[0].examples == ((3, 3, 9),)


def test_a_column_of_another_type_is_compared_by_its_values() -> None:
    used = rows([1, 2, 3], x=pa.array([1, 2, None], pa.int64()), y=pa.nulls(3), z=["1", "2", "3"])
    now = rows([1, 2, 3], x=[1.0, 2.5, math.nan], y=[None, 4.0, None], z=[1, 2, 4])
    found = {skew.feature: skew.mismatches for skew in skews(used, now, ["x", "y", "z", "lacking"]).features}
    assert found == {"x": 1, "y": 1, "z": 1, "lacking": 0}


def test_large_whole_numbers_are_compared_exactly() -> None:
    assert skews(rows([1], x=[2**53]), rows([1], x=[2**53 + 1]), ["x"]).features[0].mismatches == 1


@pytest.mark.parametrize("seed", range(3))
def test_it_counts_as_a_loop_over_pairs_does(seed: int) -> None:
    rng = random.Random(seed)
    values = [None, math.nan, 0.0, -0.0, 1.0, 2.0]
    then = {number: rng.choice(values) for number in rng.sample(range(300), 200)}
    later = {number: rng.choice(values) for number in rng.sample(range(300), 200)}
    plain = [{key: None if value != value else value for key, value in each.items()} for each in (then, later)]
    both = then.keys() & later.keys()
    found = skews(*(rows(list(each), x=pa.array(each.values(), pa.float64())) for each in (then, later)), ["x"])
    assert (
        found.compared == len(both) and found.gone == len(then.keys() - both) and found.new == len(later.keys() - both)
    )
    assert found.features[0].mismatches == sum(plain[0][key] != plain[1][key] for key in both)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    yield a_scored_line(tmp_path_factory.mktemp("skewed"))


def again(station: Station) -> None:
    """Everything from the events on, as they are delivered now; the champions stay."""
    for asset in ("raw", "events", "features/habit", f"{LINE}/examples", f"{LINE}/predictions"):
        assert (run := station.run(day(AS_OF), day(LAST), [asset])).success, run.message


def told(station: Station, on: dt.date) -> dg.AssetCheckEvaluation:
    record = station.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey([LINE, "predictions"]), "no_skew"),
        limit=1,
        partition_filter=PartitionKeyFilter(key=str(on)),
    )[0]
    assert record.event is not None and record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


def deliver_late(station: Station, number: int, told_after: dt.timedelta) -> None:
    """One more order of Lyon on the last day of the training, in a file of its own."""
    late = order(random.Random(1), number, day(AS_OF)) | {"city": "Lyon", "amount": 49.0}
    late["told_at"] = late["placed_at"] + told_after
    station.deliver(day(AS_OF), csv([late]), part=f"-{number}")


@pytest.mark.slow
def test_what_is_known_later_by_its_own_time_is_no_skew_and_what_was_slipped_in_is(station: Station) -> None:
    on, number = day(AS_OF + 1), 100 * AS_OF + 70
    assert told(station, on).passed
    assert str(told(station, on).description).endswith("are as they were predicted from")
    deliver_late(station, number, told_after=dt.timedelta(days=20))
    again(station)
    assert number in station.ids(day(AS_OF))
    assert told(station, on).passed, told(station, on).description
    deliver_late(station, number + 1, told_after=dt.timedelta(0))
    again(station)
    found = told(station, on)
    assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    told_of = {each.data["feature"]: each.data for each in found.metadata["skew"].records}
    assert (
        {"habit.n_2d", "habit.spent_2d"}
        <= set(told_of)
        <= {f"habit.{name}_{w}d" for name in ("n", "spent", "newest", "usual") for w in (1, 2)}
    )
    lyon = station.lake.read(f"{LINE}/examples", on, on, ["leaf"])["leaf"].to_pylist().count("Lyon")
    assert 0 < told_of["habit.n_2d"]["mismatches"] <= lyon < told_of["habit.n_2d"]["compared"]
    assert "habit.n_2d differs in " in str(found.description) and " when it was predicted, " in str(found.description)
    # Two days on it is out of every window.
    assert told(station, day(LAST)).passed


@pytest.mark.slow
def test_a_past_that_was_removed_is_no_verdict(station: Station) -> None:
    on = day(AS_OF + 1)
    assert not told(station, on).passed
    station.lake.vacuum(f"{LINE}/examples", dt.timedelta(0))
    assert station.run(on, None, [f"{LINE}/predictions"]).success
    found = told(station, on)
    assert found.passed and str(found.description).startswith("no verdict: version ")
