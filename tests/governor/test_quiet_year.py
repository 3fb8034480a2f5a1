"""Does a year in which nothing changes train anything for noise, where drift and lost performance may call for trainings?"""

from __future__ import annotations

import collections
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.governor.runs import TRIGGER
from tests.governor.world import SMALL, by_command, day, worlds

pytestmark = pytest.mark.longest
#: The budget of a year, to be spent by drift alone; new data train it once, at the beginning.
QUIET = SMALL.replace("train: {window: 4d, holdout: 2d}", "train: {window: 28d, holdout: 7d}").replace(
    "retrain: {every: 30d}",
    "retrain: {every: 400d, on: [new_data, drift, performance], cooldown: 5d}\n  monitor: {false_alarms: 1/year}",
)
DAYS, LOOKS = 365, 73


def test_a_quiet_year_trains_nothing_but_the_first_models(tmp_path: Path) -> None:
    with worlds(tmp_path, ["quiet"], QUIET) as made:
        world = made["quiet"]
        world.load()
        for offset in range(DAYS):
            world.deliver("orders", day(offset))
            world.at(day(offset + 1), 1)
            if (offset + 1) % LOOKS == 0:
                by_command(world)
        runs = world.instance.get_runs(dg.RunsFilter(tags={"factory/line": "guess"}))
        trained = [run.tags[TRIGGER] for run in runs if run.asset_selection and _model in run.asset_selection]
        verdicts = collections.Counter(world.lake.read("guess/drift", columns=["verdict"])["verdict"].to_pylist())
        losses = world.lake.read("guess/monitors", columns=["monitor", "verdict"]).to_pylist()
        lost = [each for each in losses if each["monitor"] == "performance" and each["verdict"] == "lost"]
    assert trained == ["first"], (trained, verdicts)
    # It looked, and could have found something.
    assert verdicts["stable"] > 10 * DAYS and verdicts["drifted"] <= 0.001 * sum(verdicts.values())
    assert not lost


_model = dg.AssetKey(["guess", "model"])
