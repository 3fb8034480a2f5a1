"""Does a missed training show, and a champion that answers and nobody watches?"""

import datetime as dt
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.identity.partitions import partitions
from factory_assets.monitoring.checks import REACH, standing_checks
from tests.line.world import declare
from tests.release.weekly import FIRST, LINE, WEEK, World

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    folder = declare(tmp_path_factory.mktemp("declarations"))
    text = (folder / "defs.yaml").read_text()
    assert "end: 2026-03-27" in text
    (folder / "defs.yaml").write_text(text.replace("end: 2026-03-27", "end: 2026-06-30"))
    catalogue = load(folder)
    return catalogue.resolve(catalogue.lines[LINE])


@pytest.fixture
def world(tmp_path: Path, declared: DeclaredLine) -> World:
    """`global` and FR are champions since FIRST."""
    world = World(tmp_path, declared)
    world.train("global", 0, 9.0)
    world.train("FR", 0, 8.0)
    watched(world, FIRST, {"global": "no verdict"})
    return world


def checked(world: World, day: dt.date) -> dict[str, dg.AssetCheckEvaluation]:
    """Check -> what it says of a day."""

    @dg.asset(key=dg.AssetKey([LINE, "monitors"]), partitions_def=partitions(world.declared.observed))
    def monitors() -> None: ...

    done = dg.materialize(
        [monitors, standing_checks(world.declared)],
        partition_key=str(day),
        resources={"lake": world.lake, "ledger": world.ledger},
        instance=world.instance,
    )
    return {each.check_name: each for each in done.get_asset_check_evaluations()}


def labelled(world: World, last: dt.date) -> None:
    """Labels of every day up to the last."""
    days = [FIRST - 30 * DAY + ahead * DAY for ahead in range((last - FIRST).days + 31)]
    world.lake.replace(f"{LINE}/labels", pa.table({"example_id": list(map(str, days)), "ds": days}), days)


def watched(world: World, day: dt.date, verdicts: dict[str, str]) -> None:
    rows = pa.table({"node": list(verdicts), "verdict": list(verdicts.values()), "ds": [day] * len(verdicts)})
    world.lake.replace(f"{LINE}/monitors", rows, [day])


def test_a_training_that_does_not_come_shows_once_twice_its_days_have_labels(world: World) -> None:
    line = world.declared.line
    every, horizon = line.retrain.every.days, line.horizon_days
    labelled(world, FIRST + 4 * every * DAY)
    in_time = FIRST + (2 * every - 1) * DAY
    fine, missed = checked(world, in_time)["champions_fresh"], checked(world, in_time + DAY)["champions_fresh"]
    assert fine.passed and not missed.passed and missed.severity == dg.AssetCheckSeverity.WARN
    assert missed.description == (
        f"{2 * every} labelled days since the training as of {FIRST}, one is asked for each {every}"
    )
    world.train("global", 1, 12.0)
    assert (in_time + DAY - (FIRST + WEEK)).days < 2 * every + horizon
    assert checked(world, in_time + DAY)["champions_fresh"].passed, "it was trained, though nothing was promoted"
    assert checked(world, FIRST - DAY)["champions_fresh"].description == "nothing is trained yet"


def test_days_without_labels_miss_no_training(world: World) -> None:
    labelled(world, FIRST)
    assert checked(world, FIRST + 10 * WEEK)["champions_fresh"].passed


def test_a_champion_that_no_monitor_has_a_verdict_of_is_named(world: World) -> None:
    labelled(world, FIRST)
    reach = (world.declared.line.horizon_days + REACH) * DAY
    young, old = FIRST + reach, FIRST + reach + DAY
    assert checked(world, young)["answers_watched"].passed, "monitors have not had their time"
    watched(world, old, {"global": "stable", "FR": "no verdict"})
    alone = checked(world, old)["answers_watched"]
    assert not alone.passed and alone.description == "nobody watches FR: no monitor had a verdict of it"
    for verdict in ("alarm", "stable", "watched by global"):
        watched(world, old, {"global": "stable", "FR": verdict})
        assert checked(world, old)["answers_watched"].passed, verdict
    last = checked(world, old + reach)["answers_watched"]
    assert not last.passed and "nobody watches FR; global" in str(last.description), "what was seen is long ago"
