"""Does a line estimate day by day what it estimates when it catches up, and does its check tell of another concept?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from factory_assets.governor.plan import plan
from tests.governor.world import SMALL, World, by_command, by_daemon, day, orders_of, worlds

pytestmark = [pytest.mark.slow, pytest.mark.longest]
#: Days of the world; the first one that is another; and the first one that the daemon is there in the morning after.
DAYS, CHANGE, WATCHED = 21, 17, 15
DEFS = SMALL.rstrip() + "\n  monitor: {window: 1d}\n"


def orders(offset: int) -> list[dict[str, Any]]:
    """The usual orders; from a day on those of one segment bring in something else, and nothing else is different."""
    rows = orders_of(day(offset))
    for row in rows if offset >= CHANGE else ():
        row["y"] += 40 * (row["seg"] == "FR")
    return rows


def live(world: World, keep: Callable[[World], None]) -> None:
    for offset in range(DAYS):
        world.deliver("orders", day(offset), orders(offset))
        world.at(day(offset + 1), 1)
        if offset >= WATCHED:
            keep(world)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """One deployment that a daemon keeps, and one that makes all of it at the end."""
    with worlds(tmp_path_factory.mktemp("worlds"), ["daily", "end"], DEFS) as made:
        for name, keep in (("daily", by_daemon), ("end", lambda world: None)):
            made[name].load()
            live(made[name], keep)
        by_command(made["end"])
        assert made["end"].deployment.failures == []
        yield made


def rows(world: World, node: str = "global") -> dict[int, dict[str, Any]]:
    """Offset of a day -> its row of the mean error."""
    table = world.lake.read("guess/estimates").to_pylist()
    return {(row["ds"] - day(0)).days: row for row in table if (row["node"], row["metric"]) == (node, "mae")}


def test_a_daemon_and_one_catching_up_hold_the_same_estimates(kept: dict[str, World]) -> None:
    one, two = (kept[name].contents() for name in ("daily", "end"))
    assert one["guess/estimates"] == two["guess/estimates"]
    assert one == two
    found = rows(kept["end"])
    assert {row["verdict"] for row in found.values()} == {"final", "estimated", "concept"}
    newest = found[DAYS - 1]
    assert newest["verdict"] == "estimated" and newest["low"] < newest["estimate"] < newest["high"]


def test_the_final_value_is_what_performance_measures(kept: dict[str, World]) -> None:
    measured = {(row["ds"], row["node"]): row for row in kept["end"].lake.read("guess/performance").to_pylist()}
    finals = [row for row in kept["end"].lake.read("guess/estimates").to_pylist() if row["final"] is not None]
    assert len(finals) > 50
    for row in finals:
        assert row["final"] == pytest.approx(measured[row["ds"], row["node"]][row["metric"]])
        assert row["rows"] == measured[row["ds"], row["node"]]["predicted"]


def test_when_labels_land_the_day_they_are_of_is_due_again_and_then_nothing_is(kept: dict[str, World]) -> None:
    world = kept["end"]
    assert plan(world.deployment.book()).work == []
    book = world.deployment.book()
    before, watched = book.recorded("guess/estimates"), book.recorded("guess/drift")
    world.deliver("orders", day(DAYS), orders(DAYS))
    world.at(day(DAYS + 1), 1)
    by_command(world)
    book = world.deployment.book()
    after = book.recorded("guess/estimates")
    renewed = {on for on in after if on not in before or after[on].number != before[on].number}
    assert renewed == {day(DAYS - 1), day(DAYS)}, "the new day, and the one whose labels came with it"
    judged = book.recorded("guess/drift")
    renewed = {on for on in judged if on not in watched or judged[on].number != watched[on].number}
    assert renewed == {day(DAYS)}, "drift sees labels that were due by then"
    rows = orders(CHANGE - 1)
    for row in rows:
        row["y"] += 400
    world.deliver("orders", day(CHANGE - 1), rows)
    by_command(world)
    again = world.deployment.book().recorded("guess/drift")
    renewed = {on for on in again if again[on].number != judged[on].number}
    assert renewed == {day(CHANGE)}, "a day is judged again when the labels that it sees are others"
    assert plan(world.deployment.book()).work == []


def test_the_check_names_the_node_the_estimate_its_band_the_truth_and_since_when(kept: dict[str, World]) -> None:
    world = kept["daily"]
    key = dg.AssetCheckKey(dg.AssetKey(["guess", "estimates"]), "as_estimated")
    told = {
        one.partition: one
        for record in reversed(world.instance.event_log_storage.get_asset_check_execution_history(key, limit=500))
        if record.event and record.event.dagster_event
        for one in [record.event.dagster_event.event_specific_data]
        if isinstance(one, dg.AssetCheckEvaluation) and one.partition
    }
    failed = {on for on, one in told.items() if not one.passed}
    assert failed == {str(day(offset)) for offset in range(CHANGE, DAYS - 1)}
    one = told[str(day(CHANGE + 1))]
    row = rows(world, "FR")[CHANGE + 1]
    assert one.severity is dg.AssetCheckSeverity.WARN
    assert (
        f"FR, since {day(CHANGE)}: mae {row['final']:.4g}, estimated {row['estimate']:.4g}, 95 % between "
        f"{row['low']:.4g} and {row['high']:.4g}"
    ) in str(one.description)
    assert "DE" not in str(one.description)


def test_the_page_tells_how_well_the_loss_was_foretold_and_how_labels_come_in(kept: dict[str, World]) -> None:
    event = kept["daily"].instance.get_latest_materialization_event(dg.AssetKey(["guess", "estimates"]))
    assert event is not None and event.asset_materialization is not None
    told = event.asset_materialization.metadata
    foretold = told["foretold"].value.records[0].data  # type: ignore[union-attr]
    assert foretold["node"] == "global" and foretold["days"] > 5 and float(foretold["error"]) > 0
    ages = [record.data for record in told["label_maturity"].value.records]  # type: ignore[union-attr]
    assert [(each["age in days"], each["labels known"]) for each in ages] == [(0, "0.0%"), (1, "100.0%")]
    assert "data:image/png" in str(told["course"].value)
