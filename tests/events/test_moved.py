"""A correction moves an event to another day: one id is one event, whichever of its days is judged first."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory_assets.events import moved, stations
from factory_resources.engine import Engine
from tests.stations import CONTRACT, CSV_A_DAY, Station, day, row

LATE = CSV_A_DAY.replace("'}", "', late: 30d}")
KNOWN = "\n  known_at: told_at\n"
TOLD = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
Version = tuple[Any, ...]


def at(offset: int, hour: float) -> dt.datetime:
    return dt.datetime.combine(day(offset), dt.time()) + dt.timedelta(hours=hour)


def order(number: int, placed: dt.datetime, told: dt.datetime | None = None, **values: Any) -> dict[str, Any]:
    return row(number, placed.date(), placed_at=placed, told_at=told or placed, **values)


def rows_of(station: Station, name: str) -> list[Version]:
    """(day, id, event time, known at), and when it was superseded, or the day that has it; of all rows of a table."""
    if station.lake.version(f"orders/{name}") is None:
        return []
    times = ("event_time", "known_at", "superseded_at", moved.EVENT_DAY)
    return sorted(
        (each["ds"], each["order_id"], *(each[time] for time in times if time in each))
        for each in station.lake.read(f"orders/{name}", empty_if_absent=True).to_pylist()
    )


def admit(station: Station, days: Sequence[dt.date]) -> stations.Admitted:
    return stations.admit(station.lake, Engine(threads=1), station.catalogue.streams["orders"], days)


def test_an_order_that_is_moved_over_midnight_is_one_order(tmp_path: Path) -> None:
    station = Station(tmp_path, LATE, KNOWN, TOLD)
    first, later, told = at(0, 23), at(1, 1), at(1, 9)
    station.deliver(day(0), [order(1, first), order(2, at(0, 12))])
    station.deliver(day(1), [order(1, later, told), order(3, at(1, 12))])
    assert station.run(day(0), day(1)).success
    two, three = (day(0), 2, at(0, 12), at(0, 12)), (day(1), 3, at(1, 12), at(1, 12))
    assert rows_of(station, "events") == [two, (day(1), 1, later, told), three]
    assert rows_of(station, "superseded") == [(day(0), 1, first, first, told)]
    assert rows_of(station, "moved") == [(day(0), 1, later, told, day(1)), (day(1), 1, first, first, day(0))]
    assert station.metadata("events", day(0))["superseded"] == 1
    assert all(station.counts_add_up(day(offset)) for offset in (0, 1))


class Moves:
    """Orders whose corrections lie on any day, delivered in any order; and what the tables must hold, event by event."""

    def __init__(self, seed: int, days: int, reach: int):
        rng = random.Random(seed)
        self.reach, self.versions = reach, defaultdict[int, list[Version]](list)
        self.rows = defaultdict[dt.date, list[dict[str, Any]]](list)
        for number in range(40):
            told = at(rng.randrange(days), rng.randrange(24))
            for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
                placed = at(rng.randrange(days), rng.randrange(24))
                # Now and then two versions are known at the same time; of the same day they would contradict each other.
                if all(each[1:] != (told,) or each[0].date() != placed.date() for each in self.versions[number]):
                    self.rows[placed.date()].append(order(number, placed, told))
                    self.versions[number].append((placed, told))
                told += dt.timedelta(hours=rng.choice([0, 1, 30]))

    def expected(self) -> tuple[list[Version], list[Version], list[Version]]:
        """Rows of events, superseded and moved, by comparing all versions of an event with each other."""
        events, superseded, elsewhere = [], [], []
        for number, versions in self.versions.items():
            for placed, told in versions:
                met = [each for each in versions if abs((each[0].date() - placed.date()).days) <= self.reach]
                # Of those known at the same time the one that happened first holds.
                after = [each for each in met if each[1] > told or (each[1] == told and each[0] < placed)]
                own = (placed.date(), number, placed, told)
                if after:
                    superseded.append((*own, min(each[1] for each in after)))
                else:
                    events.append(own)
                elsewhere += {
                    (each[0].date(), number, placed, told, placed.date())
                    for each in met
                    if each[0].date() != placed.date()
                }
        return sorted(events), sorted(superseded), sorted(elsewhere)


def settle(station: Station, order_of_days: Iterable[Sequence[dt.date]]) -> int:
    """Admit days in this order, and again where a plan would; how many were admitted again."""
    declared, made, again = station.catalogue.streams["orders"], dict[dt.date, str](), 0
    for days in order_of_days:
        made |= dict.fromkeys(days, "") | dict(admit(station, days).moved)
    while stale := [on for on in made if made[on] != moved.states(station.lake, declared).get(on, "")]:
        made[stale[0]] = ""
        made |= admit(station, stale[:1]).moved
        again += 1
        assert again < 200, "it goes on for ever"
    return again


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(0, marks=pytest.mark.slow),
        *(pytest.param(seed, marks=pytest.mark.longest) for seed in range(1, 6)),
    ],
)
def test_in_whatever_order_days_are_judged_their_tables_hold_what_follows_from_all_versions(
    tmp_path: Path, seed: int
) -> None:
    rng, reach, days = random.Random(seed), (2, 7, 1)[seed % 3], 9
    world = Moves(seed, days, reach)
    whole = []
    for name in ("at once", "in pieces"):
        (tmp_path / name).mkdir()
        station = Station(tmp_path / name, LATE, f"{KNOWN}  moves: {reach}d\n", TOLD)
        declared = station.catalogue.streams["orders"]
        every = [day(offset) for offset in range(days)]
        for on in every:
            station.deliver(on, world.rows[on] or [order(9000 + on.day, dt.datetime.combine(on, dt.time(12)))])
            if not world.rows[on]:
                world.versions[9000 + on.day] = [(dt.datetime.combine(on, dt.time(12)),) * 2]
                world.rows[on].append({})
        stations.deliver(station.lake, Engine(threads=1), declared, every, day(40))
        pieces = [every[first:last] for first, last in ((0, 2), (2, 3), (3, 6), (6, 7), (7, 9))]
        rng.shuffle(pieces)
        again = settle(station, [every] if name == "at once" else pieces)
        assert (again == 0) is (name == "at once"), "nothing is made twice where all days are there"
        assert (
            rows_of(station, "events"),
            rows_of(station, "superseded"),
            rows_of(station, "moved"),
        ) == world.expected()
        whole.append(station)
    assert len(rows_of(whole[0], "superseded")) > 20


def test_ids_that_count_from_the_start_on_each_day_are_different_events_and_said_to_be(tmp_path: Path) -> None:
    station = Station(tmp_path, LATE, KNOWN, TOLD)
    for offset in range(3):
        station.deliver(day(offset), [order(number, at(offset, 12)) for number in range(1, 31 + offset)])
    declared = station.catalogue.streams["orders"]
    every = [day(offset) for offset in range(3)]
    stations.deliver(station.lake, Engine(threads=1), declared, every, day(40))
    admitted = admit(station, every)
    assert [verdict.accepted for verdict in admitted.verdicts] == [30, 31, 32]
    assert rows_of(station, "superseded") == rows_of(station, "moved") == []
    assert admitted.alike == {(day(0), day(1)): 30, (day(0), day(2)): 30, (day(1), day(2)): 31}
    told = moved.alike_in_words(declared, day(0), day(1), 30)
    assert "30 values of order_id in common" in told and "`moves: 0d`" in told
    # One by one they are found as well.
    assert [list(admit(station, [on]).alike) for on in every] == [
        [pair for pair in admitted.alike if on in pair] for on in every
    ]


def test_of_very_many_ids_that_are_shared_a_part_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved, "MANY", 100)
    monkeypatch.setattr(moved, "SAMPLE", 4)
    station = Station(tmp_path, LATE, KNOWN, TOLD)
    for offset in range(2):
        own = [order(1000 * offset + number, at(offset, 12)) for number in range(5000, 5020)]
        station.deliver(day(offset), [*own, *(order(number, at(offset, 12), at(2, offset)) for number in range(400))])
    station.deliver(
        day(2), [order(7000 + number, at(2, 12)) for number in range(300)] + [order(5001, at(2, 1), at(2, 2))]
    )
    every = [day(offset) for offset in range(3)]
    stations.deliver(station.lake, Engine(threads=1), station.catalogue.streams["orders"], every, day(40))
    admitted = admit(station, every)
    ((pair, count),) = admitted.alike.items()
    assert pair == (day(0), day(1)) and 300 < count < 500
    assert [row[:2] for row in rows_of(station, "superseded")] == [(day(0), 5001)], "the third day is not alike"


def test_a_move_that_is_taken_back_leaves_the_event_where_it_was(tmp_path: Path) -> None:
    station = Station(tmp_path, LATE, KNOWN, TOLD)
    declared, every = station.catalogue.streams["orders"], [day(0), day(1)]
    station.deliver(day(0), [order(1, at(0, 23)), order(2, at(0, 12))])
    for again in ([order(3, at(1, 12)), order(1, at(1, 1), at(1, 9))], [order(3, at(1, 12))]):
        station.deliver(day(1), again)
        stations.deliver(station.lake, Engine(threads=1), declared, every, day(40))
        settle(station, [every[1:], every[:1]])
    assert [station.ids(on) for on in every] == [[1, 2], [3]]
    assert rows_of(station, "superseded") == rows_of(station, "moved") == []


@pytest.mark.parametrize("declared", ["\n", f"{KNOWN}  moves: 0d\n"], ids=["without known_at", "moves: 0d"])
def test_an_id_counts_within_its_day_where_nothing_tells_which_of_two_holds_or_it_is_declared(
    tmp_path: Path, declared: str
) -> None:
    station = Station(tmp_path, LATE if "known_at" in declared else CSV_A_DAY, declared, TOLD)
    station.deliver(day(0), [order(1, at(0, 23))])
    station.deliver(day(1), [order(1, at(1, 1), at(1, 9))])
    assert station.run(day(0), day(1)).success
    assert [station.ids(day(offset)) for offset in (0, 1)] == [[1], [1]] and rows_of(station, "moved") == []


def test_a_version_that_breaks_a_rule_or_lies_on_a_blocked_day_or_beyond_reach_supersedes_nothing(
    tmp_path: Path,
) -> None:
    station = Station(tmp_path, LATE, f"{KNOWN}  moves: 2d\n", TOLD)
    station.deliver(day(0), [order(number, at(0, 12)) for number in range(1, 9)])
    others = [order(number, at(1, 12)) for number in range(11, 19)]
    station.deliver(day(1), [*others, order(1, at(1, 13), at(1, 14), city="Rome"), order(2, at(1, 13), at(1, 14))])
    station.deliver(
        day(2), [order(3, at(2, 1), at(2, 14)), *(order(number, at(2, 12), city="Rome") for number in (21, 22))]
    )
    station.deliver(day(3), [order(4, at(3, 1), at(3, 14))])
    declared, every = station.catalogue.streams["orders"], [day(offset) for offset in range(4)]
    stations.deliver(station.lake, Engine(threads=1), declared, every, day(40))
    admitted = admit(station, every)
    assert list(admitted.blocked) == [day(2)]
    assert station.ids(day(0)) == [1, 3, 4, 5, 6, 7, 8], "2 alone was moved; of 1, 3 and 4 no other version can be used"
    # Let pass, the day has its say.
    rules = {rule for verdict in admitted.verdicts for rule in verdict.broken}
    stations.admit(station.lake, Engine(threads=1), declared, every[2:3], rules)
    admit(station, every[:1])
    assert station.ids(day(0)) == [1, 4, 5, 6, 7, 8]
