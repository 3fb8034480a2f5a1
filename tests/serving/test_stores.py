"""Does every store hold the newest snapshot, all of it and nothing else, whatever is exported, when, and how it ends?"""

from __future__ import annotations

import datetime as dt
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from factory_assets.declarations.serving import PostgresServing, RedisServing, Serving
from factory_assets.declarations.view import View
from factory_assets.serving import export
from factory_assets.serving.stores import Exported, StoreError, store_of
from factory_resources.lake import Lake
from tests.serving.conftest import SECRET

DAY = dt.date(2024, 3, 8)
NEXT = DAY + dt.timedelta(days=1)
CLOSE = dt.datetime(2024, 3, 9, tzinfo=dt.UTC)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def view(**declared: Any) -> View:
    own = {"name": "habit", "stream": "orders", "entity": "who", "owner": "team:x", "description": "-"}
    return View(**(own | {"windows": ["1d"], "features": {"n": "count()", "spent": "sum(amount)"}} | declared))


def rows(day: dt.date, values: dict[Any, tuple[Any, ...]], names: tuple[str, ...] = ("n_1d", "spent_1d")) -> pa.Table:
    """A snapshot: entity -> values of the features."""
    columns = {name: [value[place] for value in values.values()] for place, name in enumerate(names)}
    return pa.table({"who": list(values), **columns, "ds": [day] * len(values)})


def put(lake: Lake, day: dt.date, values: dict[Any, tuple[Any, ...]], **more: Any) -> int:
    return lake.replace("features/habit", rows(day, values, **more), [day]).version


def exported(con, lake, serve, declared: View | None = None, day=None, version=None) -> Exported:
    declared = declared or view()
    snapshot = export.at(lake, con, declared, day, version) if day else export.newest(lake, con, declared)
    with store_of(serve) as store:
        return store.write(snapshot)


def held(serve: Serving, *entities: Any) -> dict[Any, dict[str, Any]]:
    with store_of(serve) as store:
        found = store.read("habit", list(entities))
    return {entity: {name: value for name, value in row.items() if name != "as_of"} for entity, row in found.items()}


def compared(con, lake, serve, declared: View | None = None) -> export.Comparison:
    """The comparison that the check `equal` makes."""
    with store_of(serve) as store:
        mark = store.watermark("habit")
        return export.compare(
            store, export.at(lake, con, declared or view(), export.day_of(mark.as_of), mark.table_version)
        )


@contextmanager
def tampered(serve: Serving) -> Iterator[Any]:
    """The store as somebody else reaches it: a cursor of PostgreSQL, or a client of Redis."""
    if isinstance(serve, PostgresServing):
        with psycopg2.connect(serve.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            yield cursor
        connection.close()
        return
    import redis

    with redis.Redis.from_url(serve.url, decode_responses=True) as client:
        yield client


def set_value(serve: Serving, entity: Any, name: str, value: Any) -> None:
    with tampered(serve) as store:
        if isinstance(serve, PostgresServing):
            store.execute(f'UPDATE features.habit SET "{name}" = %s WHERE who = %s', (value, entity))
        else:
            assert not store.hset(f"features:habit:{entity}", name, value)


def test_a_snapshot_is_written_once_and_the_second_time_changes_nothing(con, lake, serve):
    put(lake, DAY, {1: (2, 3.5), 2: (0, None)})
    assert exported(con, lake, serve) == Exported(rows=2, written=2, changed=2, removed=0)
    assert exported(con, lake, serve) == Exported(rows=2, written=0, changed=0, removed=0)
    with store_of(serve) as store:
        assert store.read("habit", [1, 2, 3]) == {
            1: {"n_1d": 2, "spent_1d": 3.5, "as_of": CLOSE},
            2: {"n_1d": 0, "spent_1d": None, "as_of": CLOSE},
        }
        mark = store.watermark("habit")
        assert (mark.as_of, mark.table_version, mark.rows) == (CLOSE, 0, 2)
        assert abs(mark.written_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert compared(con, lake, serve).equal


def test_the_newest_day_takes_over_and_entities_that_left_are_removed(con, lake, serve):
    put(lake, DAY, {1: (2, 3.5), 2: (1, 1.0), 3: (5, 5.0)})
    exported(con, lake, serve)
    put(lake, NEXT, {1: (2, 3.5), 3: (6, 7.0), 4: (1, 0.5)})
    assert exported(con, lake, serve) == Exported(rows=3, written=3, changed=2, removed=1)
    assert held(serve, 1, 2, 3, 4) == {
        1: {"n_1d": 2, "spent_1d": 3.5},
        3: {"n_1d": 6, "spent_1d": 7.0},
        4: {"n_1d": 1, "spent_1d": 0.5},
    }
    with store_of(serve) as store:
        assert store.count("habit") == 3
        assert {row["as_of"] for row in store.read("habit", [1, 3, 4]).values()} == {CLOSE + dt.timedelta(days=1)}


def test_an_older_snapshot_never_overwrites_a_newer_one(con, lake, serve):
    first = put(lake, DAY, {1: (1, 1.0)})
    again = put(lake, DAY, {1: (2, 2.0)})
    put(lake, NEXT, {1: (3, 3.0)})
    exported(con, lake, serve, day=DAY, version=again)
    with pytest.raises(
        StoreError, match=r"version 1 of its table, which is newer than 2024-03-09 00:00 from version 0"
    ):
        exported(con, lake, serve, day=DAY, version=first)
    assert held(serve, 1) == {1: {"n_1d": 2, "spent_1d": 2.0}}
    exported(con, lake, serve)
    with pytest.raises(StoreError, match=r"holds habit as of 2024-03-10 00:00 .* nothing is written") as raised:
        exported(con, lake, serve, day=DAY)
    assert "***" in str(raised.value) and SECRET not in str(raised.value)
    assert held(serve, 1) == {1: {"n_1d": 3, "spent_1d": 3.0}}


def test_what_the_refusal_advises_lets_the_older_one_in(con, lake, serve):
    put(lake, DAY, {1: (1, 1.0)})
    put(lake, NEXT, {1: (3, 3.0), 2: (1, 1.0)})
    exported(con, lake, serve)
    with tampered(serve) as store:
        if isinstance(serve, PostgresServing):
            store.execute("DROP TABLE features.habit")
        else:
            store.delete("features:_watermark:habit")
            store.delete("features:habit:1")
    exported(con, lake, serve, day=DAY)
    assert held(serve, 1, 2) == {1: {"n_1d": 1, "spent_1d": 1.0}}
    assert compared(con, lake, serve).equal


def test_features_come_go_and_change_their_type_with_the_snapshot(con, lake, serve):
    put(lake, DAY, {1: (2, 3.5), 2: (1, 1.0)})
    exported(con, lake, serve)
    other = view(features={"n": "count()", "city": "last(city)"})
    put(lake, NEXT, {1: (2, "Oslo"), 2: (1, None)}, names=("n_1d", "city_1d"))
    assert exported(con, lake, serve, other).written == 2
    assert held(serve, 1, 2) == {1: {"n_1d": 2, "city_1d": "Oslo"}, 2: {"n_1d": 1, "city_1d": None}}
    lake.replace("features/habit", rows(NEXT, {1: ("two", "Oslo")}, names=("n_1d", "city_1d")), [DAY, NEXT])
    assert exported(con, lake, serve, other) == Exported(rows=1, written=1, changed=1, removed=1)
    assert held(serve, 1) == {1: {"n_1d": "two", "city_1d": "Oslo"}}
    assert compared(con, lake, serve, other).equal


def test_another_entity_of_the_view_replaces_all_rows(con, lake, serve):
    put(lake, DAY, {1: (2, 3.5), 2: (1, 1.0)})
    exported(con, lake, serve)
    table = rows(NEXT, {"ana": (2, 3.5)}).rename_columns(["name", "n_1d", "spent_1d", "ds"])
    lake.replace("features/habit", table, [NEXT])
    exported(con, lake, serve, view(entity="name"))
    assert held(serve, "ana", "1") == {"ana": {"n_1d": 2, "spent_1d": 3.5}}
    with store_of(serve) as store:
        assert store.count("habit") == 1


def leg(**features: str) -> View:
    return view(entity=["carrier", "stop"], features=features or {"n": "count()"})


def legs(day: dt.date, values: dict[tuple[Any, Any], tuple[Any, ...]], names: tuple[str, ...] = ("n_1d",)) -> pa.Table:
    columns = {name: [value[place] for value in values.values()] for place, name in enumerate(names)}
    carriers, stops = [carrier for carrier, _ in values], [stop for _, stop in values]
    return pa.table({"carrier": carriers, "stop": stops, **columns, "ds": [day] * len(values)})


def test_an_entity_of_several_keys_is_looked_up_by_all_of_them(con, lake, serve):
    first = {("AA", 1): (1,), ("AA", 2): (2,), ("B", 1): (3,)}
    lake.replace("features/habit", legs(DAY, first), [DAY])
    assert exported(con, lake, serve, leg()) == Exported(rows=3, written=3, changed=3, removed=0)
    assert exported(con, lake, serve, leg()) == Exported(rows=3, written=0, changed=0, removed=0)
    assert held(serve, *first, ("B", 2)) == {keys: {"n_1d": count} for keys, (count,) in first.items()}
    lake.replace("features/habit", legs(NEXT, {("AA", 1): (1,), ("B", 2): (5,)}), [NEXT])
    assert exported(con, lake, serve, leg()) == Exported(rows=2, written=2, changed=1, removed=2)
    assert held(serve, *first, ("B", 2)) == {("AA", 1): {"n_1d": 1}, ("B", 2): {"n_1d": 5}}
    assert compared(con, lake, serve, leg()).equal
    with store_of(serve) as store:
        assert store.count("habit") == 2


def test_a_wrong_value_of_an_entity_of_several_keys_is_found(con, lake, serve):
    lake.replace("features/habit", legs(DAY, {("A:A", 1): (1,), ("B", 1): (3,)}), [DAY])
    exported(con, lake, serve, leg())
    with tampered(serve) as store:
        if isinstance(serve, PostgresServing):
            store.execute("UPDATE features.habit SET n_1d = 7 WHERE (carrier, stop) = ('A:A', 1)")
        else:
            assert not store.hset("features:habit:A%3AA:1", "n_1d", 7)
    found = compared(con, lake, serve, leg())
    assert (found.equal, found.compared, found.differing) == (False, 2, 1)
    assert found.examples == ["carrier, stop ('A:A', 1): n_1d is 7, in the snapshot 1"]


def test_no_two_entities_of_several_keys_are_written_alike(con, lake, serve):
    signs = ["", ":", "%", "a", "a:", ":a", "%3A", "%253A", "None", "null", "1", ",", '"', "_watermark", "é\n"]
    several = {(one, other): (place * 100 + at,) for place, one in enumerate(signs) for at, other in enumerate(signs)}
    lake.replace("features/habit", legs(DAY, several), [DAY])
    exported(con, lake, serve, leg())
    assert held(serve, *several) == {keys: {"n_1d": count} for keys, (count,) in several.items()}
    assert compared(con, lake, serve, leg()).equal


def test_an_entity_without_a_key_is_nobody_and_one_of_other_types_is_refused(con, lake, serve):
    lake.replace("features/habit", legs(DAY, {("1", 1): (1,), ("None", 2): (2,)}), [DAY])
    exported(con, lake, serve, leg())
    assert held(serve, (None, 2), ("1", None)) == {}
    for wrong in [(1, "1"), ("1", "1"), ("1", True), ("1", 1.0), ("1",), ("1", 1, 1), "1:1"]:
        with pytest.raises(
            StoreError, match=r"habit is asked for by tuples of carrier \(string\), stop \(integer\)"
        ) as raised:
            held(serve, ("1", 1), wrong)
        assert f"found {wrong!r}" in str(raised.value) and SECRET not in str(raised.value)


def test_a_view_may_get_a_second_key_and_lose_it_again(con, lake, serve):
    put(lake, DAY, {"AA": (1, 1.0), "AA:1": (2, 1.0)})
    exported(con, lake, serve)
    lake.replace("features/habit", legs(NEXT, {("AA", 1): (3,)}), [DAY, NEXT])
    assert exported(con, lake, serve, leg()).rows == 1
    assert held(serve, ("AA", 1)) == {("AA", 1): {"n_1d": 3}}
    assert compared(con, lake, serve, leg()).equal
    table = rows(NEXT, {"AA:1": (4, 1.0)})
    lake.replace("features/habit", table, [NEXT])
    exported(con, lake, serve)
    assert held(serve, "AA:1") == {"AA:1": {"n_1d": 4, "spent_1d": 1.0}}
    assert compared(con, lake, serve).equal


ODD = [
    "", " ", "a:b", "_watermark", "'; DROP TABLE features.habit; --", 'quote " and \\ back', "\\N", "\\.", "tab\there",
    "line\nend\r\n\\.\nx", "東京 🚲", "naïve", "nan", "NULL", "%s %(x)s", "{}", "\\t", "a\x7fb",
]  # fmt: skip


def test_entities_and_texts_may_hold_any_sign(con, lake, serve):
    declared = view(features={"n": "count()", "city": "last(city)"})
    put(lake, DAY, {text: (place, ODD[-place]) for place, text in enumerate(ODD)}, names=("n_1d", "city_1d"))
    exported(con, lake, serve, declared)
    assert held(serve, *ODD) == {text: {"n_1d": place, "city_1d": ODD[-place]} for place, text in enumerate(ODD)}
    assert compared(con, lake, serve, declared).equal
    assert exported(con, lake, serve, declared).changed == 0


def test_floats_come_back_bit_for_bit(con, lake, serve):
    seeded = random.Random(5)
    values = [struct.unpack("d", seeded.randbytes(8))[0] for _ in range(2000)]
    values += [float("nan"), float("inf"), -float("inf"), 5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0]
    values = [float("nan") if value != value else value for value in values]
    put(lake, DAY, {place: (place, value) for place, value in enumerate(values)})
    exported(con, lake, serve)
    found = held(serve, *range(len(values)))
    for place, value in enumerate(values):
        assert struct.pack("d", found[place]["spent_1d"]) == struct.pack("d", value), value
    assert compared(con, lake, serve).equal
    assert exported(con, lake, serve).written == 0


@pytest.mark.parametrize(
    "entities",
    [
        [True, False],
        [dt.date(2024, 2, 29), dt.date(1, 1, 1)],
        [dt.datetime(2024, 2, 29, 12, 0, 0, 500_000), dt.datetime(1999, 1, 1)],
        [dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)],
        [0.1, 1e20, 5e-324],
        [2**63 - 1, -(2**63)],
    ],
    ids=lambda entities: type(entities[0]).__name__,
)
def test_an_entity_of_any_type_is_found_by_its_value_and_so_is_a_feature(con, lake, serve, entities):
    declared = view(features={"n": "count()", "last": "last(x)"})
    put(lake, DAY, {entity: (1, entity) for entity in entities}, names=("n_1d", "last_1d"))
    exported(con, lake, serve, declared)
    assert held(serve, *entities) == {entity: {"n_1d": 1, "last_1d": entity} for entity in entities}
    assert compared(con, lake, serve, declared).equal


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda serve: set_value(serve, 7, "spent_1d", 7.000000000000001), r"who 7: spent_1d is 7.000000000000001, in the snap"),
        (lambda serve: set_value(serve, 8, "n_1d", 9), "who 8: n_1d is 9, in the snapshot 8"),
    ],
    ids=["a float's last bit", "a count"],
)  # fmt: skip
def test_a_wrong_value_in_the_store_is_found_and_the_next_export_puts_it_right(con, lake, serve, change, told):
    put(lake, DAY, {number: (number, float(number)) for number in range(100)})
    exported(con, lake, serve)
    change(serve)
    found = compared(con, lake, serve)
    assert (found.equal, found.compared, found.differing, found.surplus) == (False, 100, 1, 0)
    assert told.replace("\\", "") in found.examples[0]
    assert exported(con, lake, serve) == Exported(rows=100, written=1, changed=1, removed=0)
    assert compared(con, lake, serve).equal


def test_rows_that_the_store_lacks_or_has_too_many_are_found(con, lake, serve):
    put(lake, DAY, {number: (number, float(number)) for number in range(100)})
    exported(con, lake, serve)
    with tampered(serve) as store:
        if isinstance(serve, PostgresServing):
            store.execute("DELETE FROM features.habit WHERE who = 3")
            store.execute(
                "INSERT INTO features.habit SELECT who + 1000, n_1d, spent_1d FROM features.habit WHERE who < 5"
            )
        else:
            store.delete("features:habit:3")
            store.zadd("features:_members:habit", {f"{number}": 1 for number in range(1000, 1003)})
    found = compared(con, lake, serve)
    assert (found.equal, found.differing, found.surplus) == (False, 1, 3)
    assert found.examples == ["who 3: not in the store"]
    assert exported(con, lake, serve).removed == (4 if isinstance(serve, PostgresServing) else 3)
    assert compared(con, lake, serve).equal


def test_a_large_store_is_compared_by_a_sample_that_the_version_decides(con, lake, serve):
    put(lake, DAY, {number: (number, float(number)) for number in range(30_000)})
    exported(con, lake, serve)
    found = compared(con, lake, serve)
    assert (found.equal, found.compared, found.surplus) == (True, export.SAMPLE, 0)
    snapshot = export.newest(lake, con, view())
    drawn = [row["who"] for row in snapshot.sample(export.SAMPLE)]
    assert drawn == [row["who"] for row in snapshot.sample(export.SAMPLE)] and drawn != sorted(drawn)


EXPORT = """
import sys, duckdb
from pydantic import TypeAdapter
from factory_assets.declarations.serving import Serving
from factory_assets.serving import export
from factory_assets.serving.stores import store_of
from factory_resources.lake import Lake
from tests.serving.test_stores import view
con = duckdb.connect(); con.execute("SET TimeZone = 'UTC'")
serve = TypeAdapter(Serving).validate_json(sys.argv[2])
with store_of(serve) as store:
    snapshot = export.newest(Lake(root=sys.argv[1]), con, view())
    print("writing", flush=True)
    store.write(snapshot)
"""


@contextmanager
def exporting(lake: Lake, serve: Serving) -> Iterator[subprocess.Popen[str]]:
    """A process that exports the newest day; it has begun to write."""
    arguments = [sys.executable, "-c", EXPORT, lake.root, serve.model_dump_json(by_alias=True)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("serve", ["postgres"], indirect=True)
@pytest.mark.parametrize("end", ["the process is killed", "the server ends its connection"])
def test_an_export_that_dies_between_copy_and_commit_leaves_the_old_snapshot_whole(con, lake, serve, end):
    put(lake, DAY, {number: (number, 1.0) for number in range(1000)})
    exported(con, lake, serve)
    put(lake, NEXT, {number: (number, 2.0) for number in range(500)})
    with psycopg2.connect(serve.url.replace("+psycopg2", "")) as brake, brake.cursor() as cursor:
        # The export copies everything and waits to take over the first row.
        cursor.execute("SELECT * FROM features.habit WHERE who = 0 FOR UPDATE")
        with exporting(lake, serve) as process, tampered(serve) as other:
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"features\"%'"

            def stuck() -> list[tuple[int]]:
                other.connection.rollback()
                other.execute(waiting)
                return other.fetchall()

            until(stuck)
            if end == "the process is killed":
                process.send_signal(signal.SIGKILL)
            else:
                other.execute("SELECT pg_terminate_backend(%s)", stuck()[0])
            assert process.wait(30) != 0
    brake.close()
    assert held(serve, *range(1000)) == {number: {"n_1d": number, "spent_1d": 1.0} for number in range(1000)}
    with store_of(serve) as store:
        assert store.watermark("habit").as_of == CLOSE
    assert exported(con, lake, serve) == Exported(rows=500, written=500, changed=500, removed=500)
    assert compared(con, lake, serve).equal


@pytest.mark.parametrize("serve", ["redis"], indirect=True)
def test_an_export_that_dies_leaves_whole_rows_and_the_next_one_finishes(con, lake, serve):
    count = 40_000
    put(lake, DAY, {number: (number, 1.0) for number in range(count)})
    exported(con, lake, serve)
    put(lake, NEXT, {number: (number + 1, 2.0) for number in range(100, count + 100)})
    newer = (CLOSE + dt.timedelta(days=1)).isoformat()
    with tampered(serve) as other, exporting(lake, serve) as process:
        until(lambda: other.hget("features:_watermark:habit", "claimed_as_of") == newer)
        until(lambda: other.zcount("features:_members:habit", other.hget("features:_watermark:habit", "claim"), "+inf"))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    states = {(row["n_1d"] - number, row["spent_1d"]) for number, row in held(serve, *range(100, count)).items()}
    assert states == {(0, 1.0), (1, 2.0)}, "killed in the middle, every row of one snapshot or the other"
    assert not compared(con, lake, serve).equal
    with store_of(serve) as store:
        assert store.watermark("habit").as_of == CLOSE
    with pytest.raises(StoreError, match=r"holds habit as of 2024-03-10"):
        exported(con, lake, serve, day=DAY)
    assert exported(con, lake, serve).removed == 100
    assert compared(con, lake, serve).equal


def test_an_older_export_that_has_begun_is_overtaken_by_a_newer_one(con, lake, serve):
    """Whichever is first, the newer one stands in the end."""
    count = 20_000
    put(lake, DAY, {number: (number, 1.0) for number in range(count)})
    old = export.at(lake, con, view(), DAY, None)
    told: list[Any] = []

    def write_old() -> None:
        try:
            with store_of(serve) as store:
                told.append(store.write(old))
        except StoreError as error:
            told.append(str(error))

    running = threading.Thread(target=write_old)
    running.start()
    put(lake, NEXT, {number: (number, 2.0) for number in range(1, count)})
    with duckdb.connect() as own:
        own.execute("SET TimeZone = 'UTC'")
        exported(own, lake, serve)
    running.join()
    assert isinstance(told[0], Exported) or "newer" in told[0]
    assert {row["spent_1d"] for row in held(serve, *range(count)).values()} == {2.0}
    with duckdb.connect() as own:
        own.execute("SET TimeZone = 'UTC'")
        assert compared(own, lake, serve).equal


def test_an_export_whose_claim_was_taken_writes_nothing_more(con, lake, redis_url):
    """The Redis server's own word for it, between two batches."""
    from factory_assets.serving.stores.redis import WRITE

    serve = TypeAdapter(Serving).validate_python({"kind": "redis", "url": redis_url})
    with tampered(serve) as client:
        client.flushall()
        client.hset("features:_watermark:habit", "claim", 2)
        keys = ["features:_watermark:habit", "features:_members:habit"]
        with pytest.raises(Exception, match="OVERTAKEN"):
            client.eval(WRITE, 2, *keys, 1, "features:habit:", CLOSE.isoformat(), 0, '["n_1d"]', '[["7", ["1"]]]')
        assert client.keys() == ["features:_watermark:habit"]


def test_views_of_one_schema_may_be_exported_at_once_from_the_start(con, lake, serve):
    for name in ("one", "two", "three"):
        lake.replace(f"features/{name}", rows(DAY, {1: (1, 1.0)}), [DAY])
    failed: list[BaseException] = []

    def write(name: str) -> None:
        try:
            with duckdb.connect() as own, store_of(serve) as store:
                own.execute("SET TimeZone = 'UTC'")
                store.write(export.newest(lake, own, view(name=name)))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize("serve", ["postgres"], indirect=True)
def test_a_table_of_others_is_never_touched(con, lake, serve):
    put(lake, DAY, {1: (2, 3.5)})
    with tampered(serve) as store:
        store.execute("CREATE SCHEMA features")
        store.execute("CREATE TABLE features.habit (who int, precious text)")
    with pytest.raises(StoreError, match=r'a table "features"."habit" is there that the factory has not written'):
        exported(con, lake, serve)
    with tampered(serve) as store:
        store.execute("SELECT * FROM features.habit")
        assert [column.name for column in store.description] == ["who", "precious"]


@pytest.mark.parametrize("serve", ["postgres"], indirect=True)
def test_a_text_that_the_server_cannot_hold_is_told_and_nothing_is_written(con, lake, serve):
    put(lake, DAY, {"ok": (1, 1.0)})
    exported(con, lake, serve)
    put(lake, NEXT, {"nul\x00": (1, 1.0), "ok": (2, 2.0)})
    with pytest.raises(StoreError, match="invalid byte sequence"):
        exported(con, lake, serve)
    assert held(serve, "ok") == {"ok": {"n_1d": 1, "spent_1d": 1.0}}


def test_a_store_that_holds_nothing_says_so(serve):
    with store_of(serve) as store:
        assert store.watermark("habit") is None
        with pytest.raises(StoreError, match="materialise serving/habit first"):
            store.read("habit", [1])


def test_a_view_without_rows_or_with_columns_to_come_is_no_empty_store(con, lake):
    with pytest.raises(LookupError, match="features/habit has no rows: materialise it first"):
        export.newest(lake, con, view())
    put(lake, DAY, {1: (2, 3.5)})
    with pytest.raises(LookupError, match=r"has no most_1d yet: materialise 2024-03-08 again"):
        export.newest(lake, con, view(features={"n": "count()", "most": "max(x)"}))
    lake.replace("features/habit", rows(DAY, {1: (2, [3.5])}), [DAY])
    with pytest.raises(TypeError, match=r"spent_1d of habit is of type DOUBLE\[\]; what can be served: BOOLEAN"):
        export.newest(lake, con, view())


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"kind": "postgres", "url": f"postgresql://ana:{SECRET}@no-such-host.invalid/shop"}, "could not translate host name"),
        ({"kind": "postgres", "url": f"postgresql://ana:{SECRET}@127.0.0.1:1/shop?password={SECRET}"}, "Connection refused"),
        ({"kind": "redis", "url": f"redis://ana:{SECRET}@127.0.0.1:1/0"}, "Connection refused"),
        ({"kind": "redis", "url": f"redis://ana:{SECRET}@no-such-host.invalid/0"}, "[Nn]ame"),
        ({"kind": "redis", "url": f"redis://127.0.0.1:1/0?password={SECRET}"}, "Connection refused"),
    ],
)  # fmt: skip
def test_a_store_that_is_not_there_is_named_without_its_password(con, lake, declared, told):
    put(lake, DAY, {1: (2, 3.5)})
    serve = TypeAdapter(Serving).validate_python(declared)
    with pytest.raises(StoreError, match=told) as raised:
        exported(con, lake, serve)
    assert SECRET not in "".join(traceback.format_exception(raised.value)) and SECRET not in repr(serve)


def test_a_wrong_password_is_not_repeated(redis_url):
    serve = RedisServing(kind="redis", url=redis_url.replace(SECRET, f"{SECRET}-not"))
    with store_of(serve) as store, pytest.raises(StoreError, match="invalid username-password") as raised:
        store.count("habit")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_the_library_is_asked_for_only_where_it_is_needed():
    code = "import sys; from factory_assets.definitions import defs; defs(); print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize("serve", ["postgres"], indirect=True)
def test_readers_see_one_snapshot_or_the_next(con, lake, serve):
    count = 5_000
    put(lake, DAY, {number: (number, 1.0) for number in range(count)})
    exported(con, lake, serve)
    put(lake, NEXT, {number: (number, 2.0) for number in range(count)})
    newer, seen = export.newest(lake, con, view()), set()

    def write() -> None:
        with store_of(serve) as store:
            store.write(newer)

    engine = sa.create_engine(serve.url)
    writing = threading.Thread(target=write)
    writing.start()
    with engine.connect() as reader:
        while writing.is_alive():
            seen.add(tuple(reader.exec_driver_sql("SELECT min(spent_1d), max(spent_1d) FROM features.habit").one()))
    engine.dispose()
    assert seen <= {(1.0, 1.0), (2.0, 2.0)}
