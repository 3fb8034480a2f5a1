"""Do drift and lost performance train the nodes that they are found of, once an episode, whoever keeps the line and however late?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from factory_assets.governor.plan import plan
from factory_assets.governor.runs import REASON
from tests.governor.world import SMALL, World, by_command, by_daemon, day, orders_of, worlds

pytestmark = pytest.mark.longest
CALLED = SMALL.replace("train: {window: 4d, holdout: 2d}", "train: {window: 9d, holdout: 3d}").replace(
    "retrain: {every: 30d}",
    "retrain: {every: 40d, on: [new_data, drift, performance], cooldown: 5d}\n"
    "  monitor: {window: 3d, false_alarm_rate: 0.0001}",
)
DAYS = 34
#: From this day on all lengths are three times as long, and from that one on France is another country.
LONGER, ANOTHER = 20, 28
#: The first day that is told of what another country loses: the third. The twelve sound days before are of two scales, and by a hair
#: they let a single day lose that much.
LOST = ANOTHER + 2


def orders(offset: int) -> list[dict[str, Any]]:
    rows = orders_of(day(offset))
    for row in rows:
        if offset >= LONGER:
            row["x"], row["y"] = row["x"] * 3, row["y"] * 3
        if offset >= ANOTHER and row["seg"] == "FR":
            row["y"] = -row["y"]
    return rows


def live(world: World, looks: list[int], keep: Any) -> None:
    for offset in range(DAYS):
        world.deliver("orders", day(offset), orders(offset))
        world.at(day(offset + 1), 1)
        if offset in looks:
            keep(world)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    # Nothing is trained before.
    every = list(range(15, DAYS))
    kept = {
        "each day": (every, by_command),
        "at the end": ([DAYS - 1], by_command),
        "seldom": ([17, 24, DAYS - 1], by_daemon),
    }
    with worlds(tmp_path_factory.mktemp("called"), list(kept), CALLED) as made:
        for name, (looks, keep) in kept.items():
            made[name].load()
            live(made[name], looks, keep)
        yield made


def test_each_episode_trains_the_nodes_that_it_is_found_of_once(lived: dict[str, World]) -> None:
    decisions = lived["each day"].ledger.decisions("guess")
    nodes = {day: {each.node for each in decisions if each.as_of == day} for day in {each.as_of for each in decisions}}
    every = {"global", "FR", "DE", "ES"}
    first, of_drift, of_loss = sorted(nodes)
    assert (first, nodes[first]) == (day(15), every)
    # Most nodes alarm on the first day, and so all are trained; of the others columns follow, and are of that episode.
    assert (of_drift, nodes[of_drift]) == (day(LONGER), every)
    # What another country's orders cost is known with their labels, a day later.
    assert (of_loss, nodes[of_loss]) == (day(LOST + 1), {"FR"})


def test_the_run_says_which_monitor_called_and_since_when(lived: dict[str, World]) -> None:
    runs = lived["each day"].instance.get_runs(dg.RunsFilter(tags={"factory/line": "guess"}))
    reasons = {
        run.tags[REASON] for run in runs if "drift of" in run.tags[REASON] or "performance of" in run.tags[REASON]
    }
    of_drift, of_loss = sorted(reasons)
    assert of_drift.startswith(f"drift of global since {day(LONGER)}: values of prediction: PSI "), of_drift
    assert f"; since orders of {day(LONGER)}" in of_drift, of_drift
    began = f"since {day(LOST)}, known on {day(LOST + 1)}"
    assert of_loss.startswith(f"performance of FR {began}: mae "), of_loss


@pytest.mark.parametrize("other", ["at the end", "seldom"])
def test_whoever_keeps_the_line_and_however_late_the_same_is_trained(lived: dict[str, World], other: str) -> None:
    one, two = lived["each day"], lived[other]
    assert one.decisions() == two.decisions()
    assert one.contents() == two.contents()
    assert one.archived() == two.archived()
    assert not plan(two.deployment.book()).work


def test_longer_orders_are_drift_of_labels_from_the_day_at_whose_close_they_are_known(lived: dict[str, World]) -> None:
    tables = [world.lake.read("guess/drift").to_pylist() for world in lived.values()]
    labels = [
        {(row["ds"], row["node"]): (row["verdict"], row["reason"]) for row in table if row["kind"] == "label"}
        for table in tables
    ]
    assert labels[0] == labels[1] == labels[2]
    found = sorted(on for (on, node), (verdict, _) in labels[0].items() if (node, verdict) == ("global", "drifted"))
    assert found[0] == day(LONGER + 1)
    assert labels[0][found[0], "global"][1].endswith(f"; labels of {day(LONGER - 2)} to {day(LONGER)}")
