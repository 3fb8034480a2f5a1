"""An order that a correction moves over midnight: the plan makes both days again, and all that stands on them, and then it is done."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from factory_assets.governor import verified
from factory_assets.governor.plan import plan
from tests.governor.world import World, by_command, day, orders_of, worlds

pytestmark = pytest.mark.slow

#: Days of which each world has both streams.
DAYS = 6


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """Two worlds with the same files in the end: `once` learns of the moves with everything else, `later` once all is made."""
    with worlds(tmp_path_factory.mktemp("moved"), ["once", "later"]) as made:
        for world in made.values():
            for offset in range(DAYS):
                for stream in ("orders", "visits"):
                    world.deliver(stream, day(offset))
            world.at(day(DAYS), 1)
        by_command(made["later"])
        for world in made.values():
            world.deliver("orders", day(4), [*orders_of(day(4)), *moved()], "-corrected")
        yield made


def moved() -> list[dict[str, Any]]:
    """Orders of the third day that happened after midnight, or the day before, as is known on the fifth."""
    rows, known = orders_of(day(2))[:4], dt.datetime.combine(day(4), dt.time(12)).isoformat()
    for row, on in zip(rows, (3, 3, 1, 4), strict=True):
        row |= {"at": dt.datetime.combine(day(on), dt.time(1)).isoformat(), "known": known, "y": 77.0}
    return rows


def test_the_plan_reaches_what_a_deployment_has_that_learnt_of_it_with_everything_else(lived: dict[str, World]) -> None:
    once, later = lived["once"], lived["later"]
    before = later.deployment.book().recorded("orders/events")
    later.at(day(DAYS), 2)
    (work,) = plan(later.deployment.book()).ready
    assert work.assets == ("orders/raw",) and set(work.days) >= {day(1), day(3), day(4)}
    for world in (once, later):
        by_command(world)
        assert world.deployment.failures == [] and plan(world.deployment.book()).work == []
    assert once.contents() == later.contents()
    assert {"orders/moved", "orders/superseded"} <= once.contents().keys()
    after = later.deployment.book().recorded("orders/events")
    again = {on for on in after if after[on].number != before[on].number}
    assert {day(1), day(2), day(3), day(4)} <= again and day(0) not in again

    ids = {row["id"] for row in moved()}
    events = [row for row in later.lake.read("orders/events").to_pylist() if row["id"] in ids]
    assert sorted(row["ds"] for row in events) == [day(1), day(3), day(3), day(4)] and {row["y"] for row in events} == {
        77.0
    }
    examples = [row for row in later.lake.read("guess/examples").to_pylist() if row["example_id"] in ids]
    assert [row["ds"] for row in examples] == [day(2)] * len(ids), "each was seen once, when and as it was known first"
    labels = [row for row in later.lake.read("guess/labels").to_pylist() if row["example_id"] in ids]
    assert {row["ds"] for row in labels} == {day(2)} and {row["superseded_at"] for row in labels} == {
        None, dt.datetime.combine(day(4), dt.time(12)),
    }  # fmt: skip
    assert {row["label"] for row in labels if row["superseded_at"] is None} == {77.0}


def test_a_table_of_moved_versions_that_is_lost_is_made_again(lived: dict[str, World]) -> None:
    world = lived["once"]
    by_command(world)
    before = world.contents()
    book = world.deployment.book()
    assert list(verified.days_of_assets(book, world.lake, ["orders/events", "orders/raw"])) == []
    shutil.rmtree(world.folder / "lake" / "orders" / "moved")
    assert [each.day for each in verified.days_of_assets(book, world.lake, ["orders/events"])] == [
        day(each) for each in (1, 2, 3, 4)
    ]
    by_command(world)
    assert world.contents() == before and plan(world.deployment.book()).work == []


def test_days_that_an_older_release_recorded_by_their_rows_alone_are_no_damage(lived: dict[str, World]) -> None:
    world = lived["once"]
    by_command(world)
    content = world.lake.content("orders/events", [day(2)])[day(2)]
    assert not isinstance(content, str)
    (each,), recorded = content, world.deployment.book().recorded("orders/events")[day(2)]
    assert recorded.data != each.hash, "it tells superseded and moved versions as well"
    older = world.deployment.book()
    older._recorded["orders/events"] = {day(2): dataclasses.replace(recorded, data=each.hash)}
    assert list(verified.days_of_assets(older, world.lake, ["orders/events"])) == []
