"""Do `factory run`, the daemon and CI reach the same tables, decisions and models, whatever goes wrong in the world?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from factory_assets.governor.runs import REASON, training_config
from tests.governor.world import (
    World,
    by_ci,
    by_command,
    by_daemon,
    by_forgetful_daemon,
    day,
    orders_of,
    worlds,
)

pytestmark = pytest.mark.longest
DAYS = 27
Keep = Callable[[World], None]
#: Offset of a day -> what happens in the morning of the next one, before anybody looks, and then at noon.
Script = Mapping[int, Sequence[Callable[[World], None]]]


def negative(share: float, on: int, x: float) -> list[dict[str, Any]]:
    """A day's orders, of which a share break the contract."""
    rows = orders_of(day(on))
    for row in rows[: int(len(rows) * share)]:
        row["x"] = x
    return rows


def changed_row(world: World) -> None:
    rows = orders_of(day(2))
    rows[7]["x"] = 900.5
    world.deliver("orders", day(2), rows)


def late_row(world: World) -> None:
    """An order of the day before that only the next file brings."""
    row = orders_of(day(8))[3] | {"id": 900_001, "known": f"{day(9)}T06:00:00", "y": 77.0}
    world.deliver("orders", day(9), [row], part="-late")


def moved_order(world: World) -> None:
    """An order of the day before that happened after midnight, as the next file knows."""
    row = orders_of(day(6))[5] | {"at": f"{day(7)}T00:20:00", "known": f"{day(7)}T09:00:00", "y": 55.0}
    world.deliver("orders", day(7), [row], part="-moved")


def accept(world: World) -> None:
    world.issues.decide("orders", "x >= 0", "accepted", "ana", "a test of the gauge")


def more_is_allowed(world: World) -> None:
    """A contract under which what was set aside comes back."""
    world.replace("orders.yaml", "min: 0", "min: -10")


def killed_training(world: World) -> None:
    """A training that made its models and died before it judged them."""
    nodes = list(world.instance.get_dynamic_partitions("guess_segments"))
    config = {"guess__model": training_config("guess", nodes, day(21))["ops"]["guess__model"]}
    result = world.deployment.job.execute_in_process(
        instance=world.instance, asset_selection=[dg.AssetKey(["guess", "model"])], raise_on_error=False,
        tags={"dagster/asset_partition_range_start": nodes[0], "dagster/asset_partition_range_end": nodes[-1]},
        run_config={"ops": config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )  # fmt: skip
    assert result.success


#: Before the first training.
EARLY: Script = {
    3: [lambda world: world.deliver("orders", day(3))],
    6: [changed_row],
    7: [lambda world: world.deliver("visits", day(5)), moved_order],
    9: [late_row],
    12: [accept],
    13: [more_is_allowed],
}
LATER: Script = {
    16: [lambda world: world.train_by_hand("guess", "DE")],
    21: [killed_training],
    24: [lambda world: world.replace("visits.yaml", "version: 1", "version: 2\ntolerance: 0.2")],
}
#: Days of which a file does not come by the morning, and what comes instead of the usual.
NOT_BY_MORNING = {("orders", 3), ("visits", 5)}
INSTEAD = {10: negative(1.0, 10, -50), 11: negative(0.3, 11, -5)}
#: Mornings on which nobody looks.
OUTAGE = (18, 19, 20)


def live(world: World, keep: Keep, script: Script, outage: Sequence[int] = (), days: int = DAYS) -> None:
    """Day by day: files in the early morning, a look, whatever happens by noon, another look."""
    for offset in range(days):
        for stream in ("orders", "visits"):
            if (stream, offset) not in NOT_BY_MORNING:
                world.deliver(stream, day(offset), INSTEAD.get(offset) if stream == "orders" else None)
        world.at(day(offset + 1), 1)
        happens = script.get(offset, ())
        if offset == 21:
            # What a killed run left is there before anybody looks.
            for each in happens:
                each(world)
            happens = ()
        if offset not in outage:
            keep(world)
        for each in happens:
            world.at(day(offset + 1), 12)
            each(world)
            keep(world)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    names: dict[str, Keep] = {"command": by_command, "daemon": by_forgetful_daemon, "ci": by_ci}
    with worlds(tmp_path_factory.mktemp("worlds"), list(names)) as made:
        for name, keep in names.items():
            made[name].load()
            live(made[name], keep, {**EARLY, **LATER}, OUTAGE)
        yield made


@pytest.mark.parametrize("other", ["daemon", "ci"])
def test_every_executor_reaches_the_same_tables_decisions_models_and_issues(
    lived: dict[str, World], other: str
) -> None:
    one, two = lived["command"], lived[other]
    assert one.contents() == two.contents()
    assert one.decisions() == two.decisions() and len(one.decisions()) > 12
    assert one.archived() == two.archived() and one.archived()
    assert one.told_issues() == two.told_issues()
    assert one.lake.read("orders/moved").num_rows == 2, "the order that moved, as each of its days has the other"


def test_each_cause_is_answered_once_with_its_reason_on_the_run(lived: dict[str, World]) -> None:
    runs = lived["daemon"].ticker.requested
    told = [
        (name.to_user_string(), str(request.partition_key), request.tags[REASON])
        for request in runs
        for name in request.asset_selection or ()
    ]
    reasons = {
        ("orders/events", str(day(2)), "changed: orders/raw"): 1,
        ("orders/events", str(day(8)), "changed: orders/raw"): 1,
        ("orders/events", str(day(6)), "changed: what was accepted of its issues, or moved to another day"): 1,
        ("orders/events", str(day(10)), "changed: what was accepted of its issues, or moved to another day"): 1,
    }
    assert {each: told.count(each) for each in reasons} == reasons
    schema = [request for request in runs if "the contract changed" in request.tags[REASON]]
    assert [request.tags["factory/line"] for request in schema] == ["guess", "again"]
    assert len(schema) == 2


def test_the_trainings_are_a_week_apart_whatever_was_trained_by_hand_killed_or_missed(lived: dict[str, World]) -> None:
    days = sorted({each.as_of for each in lived["daemon"].ledger.decisions("guess") if each.node == "global"})
    assert days == [day(14), day(21), day(24)]
    by_hand = {each.as_of for each in lived["daemon"].ledger.decisions("guess") if each.node == "DE"}
    assert by_hand == {*days, day(16)}


def test_a_past_that_is_caught_up_in_one_go_is_as_if_it_had_been_kept_day_by_day(tmp_path: Path) -> None:
    # What an owner lets pass is served from then on, also where a later contract would block it: of that the past has no trace.
    script = {offset: happens for offset, happens in EARLY.items() if accept not in happens}
    with worlds(tmp_path, ["daily", "end"]) as made:
        for name, keep in (("daily", by_daemon), ("end", lambda world: None)):
            made[name].load()
            live(made[name], keep, script, days=18)
        by_command(made["end"])
        (blocked,) = made["end"].deployment.failures
        assert blocked.startswith(f"orders/raw {day(10)}: ranges blocks the day: x >= -10")
        assert made["end"].contents() == made["daily"].contents()
        assert made["end"].decisions() == made["daily"].decisions()
        assert made["end"].archived() == made["daily"].archived()
