"""Does a backtest decide, at each training, what the line's own runs decided, and does it leave the line as it is?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.deployment import prepare_home
from factory_assets.governor.executor import execute
from tests.governor.world import SMALL, World, by_command, day

pytestmark = pytest.mark.slow
#: The gate is in doubt often, and looks again.
PATIENT = SMALL.replace(
    "gate: {metric: mae, floor: 15, certainty: 0.5}", "gate: {metric: mae, certainty: 0.7, patience: 6d}"
).replace("retrain: {every: 30d}", "retrain: {every: 2d}")
DAYS = 24
KEY = dg.AssetKey(["guess", "backtest"])


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("replayed")
    with pytest.MonkeyPatch.context() as patch:
        # As the command finds it.
        patch.setenv("FACTORY_HOME", str(folder))
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        prepare_home()
        with dg.DagsterInstance.get() as instance:
            world = World(folder, instance, patch, PATIENT)
            for offset in range(DAYS):
                world.deliver("orders", day(offset))
            world.at(day(DAYS), 1)
            by_command(world)
            assert world.deployment.failures == []
            yield world


def backtest(world: World, **config: Any) -> list[str]:
    return execute(world.deployment, [KEY], {}, {"ops": {"guess__backtest": {"config": config}}})


def shown(world: World) -> dict[str, Any]:
    event = world.instance.get_latest_materialization_event(KEY)
    assert event is not None and event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def test_each_training_decides_what_the_line_decided_and_the_line_is_as_it_was(lived: World) -> None:
    before = lived.contents(), lived.decisions(), lived.archived()
    assert backtest(lived) == []
    after = lived.contents(), lived.decisions(), lived.archived()
    assert {name for name in after[0] if after[0][name] != before[0].get(name)} == {
        "guess/backtest",
        "guess/backtest_events",
    }
    assert after[1:] == before[1:]

    events = lived.lake.read("guess/backtest_events").to_pylist()
    replayed = {
        (each["as_of"], each["node"]): (each["event"], each["version"], each["champion"], each["reason"])
        for each in events
        if each["policy"] == "gate" and each["seconds"] is None
    }
    really = {
        (each.as_of, each.node): (each.verdict, each.version, each.champion, each.reason)
        for each in lived.ledger.decisions("guess")
    }
    # Of the newest training no day has its labels yet.
    newest = max(as_of for as_of, _ in really)
    assert replayed == {place: decided for place, decided in really.items() if place[0] < newest}
    assert {verdict for verdict, *_ in replayed.values()} >= {"promote", "undecided", "keep"}
    made = {each.version: each.as_of for each in lived.ledger.versions("guess")}
    looked_again = {
        place for place, (verdict, version, *_) in replayed.items() if verdict == "promote" and made[version] < place[0]
    }
    refits = {champion for (_, version, champion, _) in replayed.values() if champion not in {None, version}}
    assert looked_again and refits
    # Also the models are those that the line has in its archive: nothing else was known to make them from.
    trained = {each["version"] for each in events if each["policy"] == "gate" and each["event"] == "trained"}
    assert trained == {each.version for each in lived.ledger.versions("guess") if each.as_of < newest}


def test_days_are_answered_by_the_champions_that_answered_them(lived: World) -> None:
    """The error of the gate's policy on a day is that of the line's own predictions."""
    backtest(lived, policies=["gate"])
    rows = lived.lake.read("guess/backtest").to_pylist()
    (name,) = {each["replay"] for each in rows}
    by_day = {each["day"]: each["value"] for each in rows if each["period"] == "day" and each["policy"] == "gate"}
    performance = lived.lake.read("guess/performance").to_pylist()
    measured = {each["ds"]: each["mae"] for each in performance if each["node"] == "global"}
    assert by_day and name.startswith("every 2d, ")
    for on, value in by_day.items():
        assert measured[on] == pytest.approx(value), on


def test_what_cannot_be_replayed_is_refused_with_what_can(lived: World) -> None:
    for config, told in (
        ({"first": "yesterday"}, "first: 'yesterday' is no day; give one such as 2026-03-11"),
        ({"first": "2020-01-01"}, "first: a training as of 2020-01-01 cannot be replayed; give a day from 2026-01-1"),
        ({"last": "2030-01-01"}, "last: days up to 2030-01-01 cannot be replayed; give a day from 2026-01-1"),
        ({"policies": ["best"]}, "policies: 'best' is none; give some of never, gate, newest"),
        ({"nodes": ["XX"]}, "nodes: the examples have none of XX; they have DE; ES; FR; global"),
        ({"every": "36h"}, "every: '36h': must be one or more whole days, such as 28d"),
        ({"every": "often"}, "every: 'often': 'often' is not a duration"),
        ({"seed": -1}, "seed: -1 is below 0"),
        ({"every": "90d", "first": "2026-01-20", "last": "2026-01-21"}, ""),
    ):
        failures = backtest(lived, **config)
        assert (failures and told in failures[0]) if told else not failures, (config, failures)


def test_the_command_tells_the_advice_and_each_policy(lived: World) -> None:
    told = CliRunner().invoke(
        app, ["backtest", "guess", "--every", "4d", "--node", "global", "--policy", "never", "--policy", "gate"]
    )
    assert told.exit_code == 0, told.output
    event = shown(lived)
    assert str(event["advice"].value) in told.output.replace("\n", " ")
    assert "every 4d" in told.output and "global alone" in told.output
    rows = [each for each in lived.lake.read("guess/backtest").to_pylist() if each["replay"] == event["replay"].value]
    assert {each["policy"] for each in rows} == {"never", "gate"}
    refused = CliRunner().invoke(app, ["backtest", "guess", "--policy", "best"])
    assert refused.exit_code == 1 and "never, gate, newest" in refused.output
    unknown = CliRunner().invoke(app, ["backtest", "gues"])
    assert unknown.exit_code == 1 and "lines here: guess" in unknown.output


def test_tables_of_other_declarations_are_not_replayed(lived: World) -> None:
    """What a feature means has changed, and no run has made the examples anew: the replay would be of a line that nobody declares."""
    lived.replace("defs.yaml", "n: count(), mean_x", "n: sum(x), mean_x")
    try:
        (refused,) = backtest(lived)
        assert re.search(
            r"guess/examples: 21 days from 2026-01-03 to 2026-01-23 were made by other decl.*; `factory run` makes them anew",
            refused,
        )
        told = CliRunner().invoke(app, ["backtest", "guess"])
        assert told.exit_code == 1 and "made by other declarations" in told.output
    finally:
        lived.replace("defs.yaml", "n: sum(x), mean_x", "n: count(), mean_x")
    assert backtest(lived, every="8d", policies=["newest"]) == []
