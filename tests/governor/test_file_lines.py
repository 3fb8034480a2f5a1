"""Does a line live on events that have no id but their file and line, as it does on those that have one?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.governor.world import SMALL, World, by_command, day, orders_of, worlds

DAYS = 12
BY_LINE = SMALL.replace("id: id\n", "id: {file_line: true}\n")


def deliver(world: World) -> None:
    for offset in range(DAYS):
        world.deliver("orders", day(offset), orders_of(day(offset))[:60])
    world.at(day(DAYS), 1)


def predicted(world: World) -> list[tuple[object, ...]]:
    rows = world.lake.read("guess/predictions", columns=["ds", "example_id", "node", "prediction"]).to_pylist()
    return sorted((row["ds"], str(row["example_id"]), row["node"], row["prediction"]) for row in rows)


@pytest.mark.slow
def test_examples_labels_and_predictions_are_those_of_the_lines_and_stay_with_the_file(tmp_path: Path) -> None:
    with worlds(tmp_path / "a", ["named"], SMALL) as made:
        deliver(made["named"])
        by_command(made["named"])
        expected = {
            (ds, (int(name) - 60 * 2 * (ds - day(0)).days) + 2, *rest) for ds, name, *rest in predicted(made["named"])
        }
    with worlds(tmp_path / "b", ["lines"], BY_LINE) as made:
        world = made["lines"]
        assert world.lake.tables() == []
        deliver(world)
        by_command(world)
        found = predicted(world)
        assert {(ds, int(str(name).split(":")[1]), *rest) for ds, name, *rest in found} == expected
        assert all(str(name).startswith(f"orders-{ds}.csv:") for ds, name, *_ in found)
        before = world.contents()
        assert before["guess/labels"][0] == 60 * (DAYS - 1)
        deliver(world)
        by_command(world)
        assert world.contents() == before, "the same files are nothing new"
        newest = orders_of(day(DAYS - 1))[:60]
        world.deliver("orders", day(DAYS - 1), [newest[0], *newest])
        by_command(world)
        ids = [name for ds, name, *_ in predicted(world) if ds == day(DAYS - 1)]
        assert len(ids) == len(set(ids)) == 61, "two equal lines are two events"
