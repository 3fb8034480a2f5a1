"""Do feeds as they come in give the right events, whoever keeps the deployment: `factory run`, the sensors, or CI?

Each stream of one deployment is a small feed of a kind that was once read wrong, most of them without a word. Three deployments hold
the same feeds, each kept by another executor of the plan.
"""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.governor.world import World, by_ci, by_command, by_daemon, day, worlds

pytestmark = pytest.mark.slow

EXECUTORS = {"command": by_command, "daemon": by_daemon, "ci": by_ci}
DAYS = [day(offset) for offset in range(3)]
STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: {name}
  owner: team:feeds
  description: A feed.
  source: {source}
  id: {id}
  event_time: at
  start: 2026-01-01
  end: 2026-01-03
  contract: {name}.yaml
"""
CONTRACT = "tolerance: 0.9\ncolumns:\n  at: {type: timestamp}\n"
ID = "  id: {type: integer}\n"


def at(offset: int, hour: int = 10, minute: int = 0) -> dt.datetime:
    return dt.datetime.combine(day(offset), dt.time(hour, minute))


@dataclass(frozen=True)
class Feed:
    """How a feed is written and declared, and what is right: its events as tuples of `of`, rows set aside by rule, what is told."""

    source: str
    write: Callable[[Path], None]
    of: tuple[str, ...]
    events: list[tuple[Any, ...]]
    columns: str = ""
    id: str = "id"
    aside: dict[str, int] = field(default_factory=dict)
    #: Rows that lie outside of the stream's days.
    outside: int = 0
    #: A part of an issue's rule or message; nothing is amiss where there is none.
    issue: str = ""


def a_day(folder: Path, offset: int, content: bytes | str, name: str = "a-{}.csv") -> None:
    place = folder / name.format(day(offset))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else content.encode())


def hive(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for offset in range(3):
            place = folder / f"at={day(offset)}" / "n=5" / "region=EU"
            place.mkdir(parents=True)
            table = pa.table({"id": [offset], "at": [at(offset, 8, 15)], "n": [7]})
            if kind == "csv":
                table.to_pandas().to_csv(place / "p [1].csv", index=False)
            else:
                pq.write_table(table, place / "p [1].parquet")

    return write


def of_hive(kind: str) -> Feed:
    columns = "  n: {type: integer}\n  region: {type: string, nullable: true, required: false}\n"
    right = [(offset, at(offset, 8, 15), 7, "EU") for offset in range(3)]
    return Feed(
        f"{{kind: {kind}, uri: 'FEED/at={{day}}/**/*.{kind}'}}", hive(kind), ("id", "at", "n", "region"), right, columns
    )


def infinite(folder: Path) -> None:
    odd = ["2026-01-09", "infinity", "-infinity", "290000-01-01", "epoch", "0044-03-15 (BC)", ""]
    rows = "".join(f"{number},2026-01-01 10:00,{text}\n" for number, text in enumerate(odd))
    a_day(folder, 0, f"id,at,valid_to\n{rows}", "a.csv")


def nanoseconds(folder: Path) -> None:
    folder.mkdir()
    kinds = [("ns", "UTC"), ("ns", None), ("us", "UTC"), ("ms", "America/New_York"), ("s", "Asia/Tokyo")]
    for number, (unit, zone) in enumerate(kinds):
        moment = at(0).replace(tzinfo=dt.UTC) if zone else at(0)
        table = pa.table({"id": [number], "at": pa.array([moment], pa.timestamp(unit, zone))})
        pq.write_table(table, folder / f"{number}.parquet", version="2.6")


def encoded(folder: Path) -> None:
    a_day(folder, 0, "\ufeff\ufeffid,at,note\r\n1,2026-01-01 10:00,é\n")
    a_day(folder, 1, gzip.compress(b"id,at,note,\n2,2026-01-02 10:00,b,\n"))
    a_day(folder, 2, "id,at,note\n3,2026-01-03 10:00,é\n".encode("utf-16"))


def reserved(folder: Path) -> None:
    a_day(
        folder,
        0,
        "id,at,_line,_source,filename,rowid\n1,2026-01-01 10:00,x,y,z,1\n2,2026-01-01 10:00,x,y,z,1\n",
        "a.csv",
    )


def mixed_ends(folder: Path) -> None:
    a_day(
        folder, 0, "id,at\r\n1,2026-01-01 10:00\r\n2,2026-01-01 11:00\n3,2026-01-01 12:00\r4,2026-01-01 13:00", "a.csv"
    )


def of_other_days(folder: Path) -> None:
    a_day(folder, 0, "id,at\n1,2008-01-01 10:00\n2,2026-01-01 10:00\n3,2026-01-04 00:00\n", "a.csv")


def of_a_month(folder: Path) -> None:
    a_day(folder, 0, "id,at\n1,2026-01-01 10:00\n2,2026-01-03 23:59\n3,2026-02-01 00:00\n", "trips_2026-01.csv")


def renamed(folder: Path) -> None:
    a_day(folder, 0, "nr,tpep_at,new\n1,2026-01-01 10:00,1\n", "a.csv")


def dotted(folder: Path) -> None:
    a_day(
        folder,
        0,
        'id,at,PM2.5,"Fuel Price",pm25\n1,2026-01-01 10:00,4.5,2.25,mine\n2,2026-01-01 11:00,NA,12.0,mine\n',
        "a.csv",
    )


def without_id(folder: Path) -> None:
    a_day(folder, 0, "at,what\n2026-01-01 10:00,a\n2026-01-01 10:00,a\n2026-01-01 10:00,b\n", "a.csv")


def of_floats(folder: Path) -> None:
    folder.mkdir()
    ids = pa.array([9007199254740990.0, 9007199254740992.0, 9007199254740994.0, 5.0, 5.5])
    pq.write_table(pa.table({"id": ids, "at": [at(0)] * 5}), folder / "a.parquet")


FEEDS = {
    "hive_parquet": of_hive("parquet"),
    "hive_csv": of_hive("csv"),
    "infinite": Feed(
        "{kind: csv, uri: 'FEED/*.csv'}", infinite, ("id", "valid_to"), [(0, dt.date(2026, 1, 9)), (6, None)],
        "  valid_to: {type: date, nullable: true}\n", aside={"valid_to is date": 5},
    ),
    "nanoseconds": Feed(
        "{kind: parquet, uri: 'FEED/*.parquet'}", nanoseconds, ("id", "at"), [(number, at(0)) for number in range(5)]
    ),
    "encoded": Feed(
        "{kind: csv, uri: 'FEED/a-{day}.csv'}", encoded, ("id", "note"), [(1, "é"), (2, "b")], "  note: {type: string}\n",
        issue="is not utf-8 but, by its first bytes, utf-16: declare",
    ),
    "reserved": Feed("{kind: csv, uri: 'FEED/*.csv'}", reserved, ("id", "at"), [(1, at(0)), (2, at(0))]),
    "mixed_ends": Feed("{kind: csv, uri: 'FEED/*.csv'}", mixed_ends, ("id",), [(1,), (2,), (3,), (4,)]),
    "of_other_days": Feed("{kind: csv, uri: 'FEED/*.csv'}", of_other_days, ("id",), [(2,)], outside=2),
    "of_a_month": Feed(
        "{kind: csv, uri: 'FEED/trips_{month}.csv'}", of_a_month, ("id",), [(1,), (2,)],
        aside={"at lies in the day": 1},
    ),
    "renamed": Feed(
        "{kind: csv, uri: 'FEED/*.csv'}", renamed, ("id",), [], issue="lacks 'at', 'id'; it has 'nr', 'tpep_at', 'new'"
    ),
    "dotted": Feed(
        "{kind: csv, uri: 'FEED/*.csv', null_values: [NA]}", dotted, ("id", "pm25", "fuel_price"), [(1, 4.5, 2.25), (2, None, 12.0)],
        "  pm25: {delivered: 'PM2.5', type: double, nullable: true}\n  fuel_price: {delivered: 'Fuel Price', type: double}\n",
    ),
    "without_id": Feed(
        "{kind: csv, uri: 'FEED/*.csv'}", without_id, ("_file_line", "what"), [("a.csv:2", "a"), ("a.csv:3", "a"), ("a.csv:4", "b")],
        "  what: {type: string}\n", id="{file_line: true}",
    ),
    "of_floats": Feed(
        "{kind: parquet, uri: 'FEED/*.parquet'}", of_floats, ("id",), [(5,), (9007199254740990,)],
        aside={"id is integer": 3},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """The same feeds, each deployment kept by another executor."""
    folder = tmp_path_factory.mktemp("feeds")
    streams = [
        STREAM.format(name=name, source=feed.source, id=feed.id).replace("FEED", f"FEED/{name}")
        for name, feed in FEEDS.items()
    ]
    for executor in EXECUTORS:
        (folder / executor / "defs").mkdir(parents=True)
        (folder / executor / "feed").mkdir()
        for name, feed in FEEDS.items():
            contract = CONTRACT + (ID if feed.id == "id" else "") + feed.columns
            (folder / executor / "defs" / f"{name}.yaml").write_text(contract)
            feed.write(folder / executor / "feed" / name)
    with worlds(folder, list(EXECUTORS), "---".join(streams)) as made:
        for executor, keep in EXECUTORS.items():
            made[executor].load()
            made[executor].at(day(3), 1)
            keep(made[executor])
        yield made


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_events_are_the_right_ones(kept: dict[str, World], executor: str, name: str) -> None:
    world, feed = kept[executor], FEEDS[name]
    rows = world.lake.read(f"{name}/events", empty_if_absent=True).to_pylist()
    found = sorted((tuple(row[column] for column in feed.of) for row in rows), key=lambda row: row[0])
    assert found == feed.events
    aside = [row["rule"] for row in world.lake.read(f"{name}/quarantine", empty_if_absent=True).to_pylist()]
    assert {rule: aside.count(rule) for rule in aside} == feed.aside
    delivered = world.lake.read(f"{name}/deliveries", empty_if_absent=True).to_pylist()
    assert sum(row["outside"] or 0 for row in delivered) == feed.outside
    told = [f"{each.rule}: {message}" for each in world.issues.issues(name) for message in each.days.values()]
    assert bool(told) == bool(feed.issue) and all(feed.issue in message for message in told), told


def test_all_executors_hold_the_same(kept: dict[str, World]) -> None:
    first, *others = kept.values()
    for other in others:
        assert other.contents() == first.contents()
        assert other.told_issues() == first.told_issues()
