"""Days on which nobody answers yet: they are made, say so, and are not made again once somebody does."""

import random
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.governor.executor import catch_up
from tests.release.trained import LATE, LINE, MORE, order
from tests.stations import CONTRACT, Station, day

FOLLOWING = ("predictions", "parents", "performance", "estimates", "drift", "counts", "monitors")
#: The day as of which the first training is possible, and how many days are run.
FIRST, DAYS = 8, 12


def run_until(station: Station, offset: int) -> None:
    list(catch_up(station.deployment, day(offset), lambda *_: None))
    assert not station.deployment.failures


def rows(station: Station, table: str) -> list[int]:
    held = station.lake.held(f"{LINE}/{table}")
    return [held.rows(day(offset)) for offset in range(DAYS)]


def made(station: Station, table: str) -> Counter[str | None]:
    """Day -> how often it was made."""
    records = station.instance.fetch_materializations(dg.AssetKey([LINE, table]), limit=1000).records
    return Counter(record.partition_key for record in records)


@pytest.mark.slow
def test_no_day_before_the_first_champion_is_missing_or_made_twice(tmp_path: Path) -> None:
    rng = random.Random(4)
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    station = Station(tmp_path, LATE, MORE.replace("certainty: 0.5", "certainty: 0.5, floor: 0.1"), contract)
    for offset in range(DAYS):
        station.deliver(
            day(offset), [order(rng, number, day(offset)) for number in range(100 * offset, 100 * offset + 60)]
        )
    ledger = station.deployment.ledger

    run_until(station, FIRST - 1)
    assert ledger.first_trained(LINE) is None
    until_now = {str(day(offset)) for offset in range(FIRST)}
    for table in FOLLOWING:
        assert made(station, table).keys() == until_now, table
    assert made(station, "predictions") == dict.fromkeys(until_now, 1)
    assert not any(rows(station, "predictions")) and not any(rows(station, "drift"))
    record = station.instance.fetch_materializations(dg.AssetKey([LINE, "predictions"]), limit=1).records[0]
    assert record.asset_materialization is not None
    why = record.asset_materialization.metadata["in_short"].value
    assert why == "no prediction: no champion had been decided before this day"
    # What was delivered is watched all the same.
    watched = {row["monitor"] for row in station.lake.read(f"{LINE}/monitors", day(3), day(3)).to_pylist()}
    assert {"rows", "nulls", "schema"} <= watched and watched.isdisjoint({"drift", "performance", "estimates"})

    # On the day of the first training, and on the days after it that are run together, a champion answers after that day alone.
    run_until(station, DAYS - 2)
    assert ledger.first_trained(LINE) == day(FIRST)
    observed, answered = rows(station, "examples"), rows(station, "predictions")
    assert observed[FIRST + 1] and answered == [0] * (FIRST + 1) + observed[FIRST + 1 : DAYS - 1] + [0]

    # An owner wants more days to learn from than there are: the champion goes on to answer.
    declarations = tmp_path / "defs" / "defs.yaml"
    declarations.write_text(declarations.read_text().replace("window: 4d", "window: 40d"))
    station.load()
    run_until(station, DAYS - 1)
    assert rows(station, "predictions")[-1] == rows(station, "examples")[-1] > 0
    assert made(station, "predictions") == {str(day(offset)): 1 for offset in range(DAYS)}
