"""Is a day replaced wholly or not at all, read as it was at a version, and known again by its content?"""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from factory_resources import duck
from factory_resources.lake import Lake, LostRace

ONE, TWO, THREE = (dt.date(2024, 1, day) for day in (1, 2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def table(day: dt.date, values: list, **columns: list) -> pa.Table:
    return pa.table({"x": values, "ds": pa.array([day] * len(values), pa.date32())} | columns)


def values(lake: Lake, first: dt.date | None = None, last: dt.date | None = None, version: int | None = None) -> list:
    return sorted(lake.read("t", first, last, ["x"], version, empty_if_absent=True)["x"].to_pylist())


def test_replacing_days_leaves_the_others_and_reports_what_they_hold_now(lake):
    first = lake.replace("t", pa.concat_tables([table(ONE, [1, 2]), table(TWO, [3])]), [ONE, TWO, THREE])
    assert {day: content.rows for day, content in first.days.items()} == {ONE: 2, TWO: 1, THREE: 0}
    assert (first.version, first.rows, first.uri) == (0, 3, lake.uri("t"))
    second = lake.replace("t", table(TWO, [4, 5, 6]), [TWO])
    assert second.version == lake.version("t") == 1
    assert values(lake) == [1, 2, 4, 5, 6]
    assert values(lake, TWO, TWO) == [4, 5, 6]
    assert lake.days("t") == [ONE, TWO]
    assert values(lake, THREE, THREE) == []


def test_days_with_gaps_between_them_are_replaced_without_those_between(lake):
    lake.replace("t", pa.concat_tables([table(ONE, [1]), table(TWO, [2]), table(THREE, [3])]), [ONE, TWO, THREE])
    lake.replace("t", table(THREE, [30]), [ONE, THREE])
    assert values(lake) == [2, 30]


@pytest.fixture
def relation() -> Iterator[duckdb.DuckDBPyConnection]:
    """A view `rows` of ten days with 0 to 9 rows, the third of them without any, in no order."""
    with duckdb.connect(":memory:") as con:
        con.execute(
            """CREATE VIEW rows AS SELECT n * 10 + day AS x, DATE '2024-01-01' + day::INTEGER AS ds
               FROM range(10) AS d(day), range(9) AS r(n) WHERE n < day AND day <> 3 ORDER BY hash(n * 10 + day)"""
        )
        yield con


TEN = [ONE + dt.timedelta(days=offset) for offset in range(10)]


@pytest.mark.parametrize(("rows", "days", "commits"), [(10**6, 128, 1), (10**6, 4, 2), (12, 128, 5), (1, 1, 8)])
def test_a_long_range_is_replaced_a_stretch_of_days_at_a_time_with_the_same_result(
    lake, relation, monkeypatch, rows, days, commits
):
    lake.replace("t", table(TEN[3], [77]), [TEN[3]])
    monkeypatch.setattr("factory_resources.delta.rows.STRETCH_ROWS", rows)
    monkeypatch.setattr("factory_resources.delta.rows.STRETCH_DAYS", days)
    written = lake.replace_from(relation, "t", "rows", TEN[::-1])
    assert written.version == lake.version("t") == commits
    whole = lake.replace("u", relation.sql("SELECT * FROM rows").to_arrow_table(), TEN)
    assert written.days == whole.days
    assert values(lake) == sorted(x for (x,) in relation.execute("SELECT x FROM rows").fetchall()), "the 77 is gone"


def test_a_relation_with_a_row_of_another_day_replaces_nothing(lake, relation):
    with pytest.raises(ValueError, match="a row of 2024-01-10 among those that replace 2024-01-01 to 2024-01-09"):
        lake.replace_from(relation, "t", "rows", TEN[:9])
    assert lake.version("t") is None


def test_a_relation_whose_column_changes_its_type_is_one_commit_of_all_days(lake, relation, monkeypatch):
    lake.replace("t", pa.concat_tables([table(day, ["a"]) for day in TEN]), TEN)
    monkeypatch.setattr("factory_resources.delta.rows.STRETCH_DAYS", 2)
    with pytest.raises(TypeError, match="x from string to long"):
        lake.replace_from(relation, "t", "(SELECT * FROM rows WHERE ds > DATE '2024-01-05')", TEN[5:])
    assert lake.replace_from(relation, "t", "rows", TEN).version == 1


def test_the_same_rows_have_the_same_hash_in_any_order_and_batching(lake):
    rng = random.Random(1)
    rows = [(number, rng.choice(["a", "b", None]), rng.random()) for number in range(500)]
    hashes = set()
    for batch in (1, 7, 500):
        rng.shuffle(rows)
        made = table(ONE, [row[0] for row in rows], y=[row[1] for row in rows], z=[row[2] for row in rows])
        reader = pa.RecordBatchReader.from_batches(made.schema, made.to_batches(max_chunksize=batch))
        hashes.add(lake.replace("t", reader, [ONE]).days[ONE].hash)
    assert len(hashes) == 1
    turned = made.select(["z", "ds", "y", "x"])
    assert lake.replace("u", turned, [ONE]).days[ONE].hash in hashes, "nor does the order of columns matter"


@pytest.mark.parametrize(
    "other",
    [
        table(ONE, [1, 2, 4], y=["a", "b", "c"]),
        table(ONE, [1, 2], y=["a", "b"]),
        table(ONE, [1, 2, 3, 3], y=["a", "b", "c", "c"]),
        table(ONE, [1, 2, 3], y=["b", "a", "c"]),
        table(ONE, [1, 2, 3], y=["a", "b", None]),
    ],
    ids=["a value", "a row less", "a row twice", "values swapped between rows", "a null"],
)
def test_other_rows_have_another_hash(lake, other):
    rows = table(ONE, [1, 2, 3], y=["a", "b", "c"])
    assert lake.replace("t", rows, [ONE]).days[ONE].hash != lake.replace("t", other, [ONE]).days[ONE].hash


def test_a_row_of_another_day_is_refused_and_nothing_is_written(lake):
    lake.replace("t", table(ONE, [1]), [ONE])
    with pytest.raises(ValueError, match="2024-01-03"):
        lake.replace("t", pa.concat_tables([table(TWO, [2]), table(THREE, [3])]), [ONE, TWO])
    with pytest.raises(ValueError, match="no day"):
        lake.replace("t", table(ONE, []), [])
    assert lake.version("t") == 0
    assert values(lake) == [1]


def test_an_error_while_rows_are_made_surfaces_as_itself_and_nothing_is_written(lake):
    lake.replace("t", table(ONE, [1]), [ONE])

    def rows() -> Iterator[pa.RecordBatch]:
        yield from table(ONE, [7]).to_batches()
        raise ZeroDivisionError("in the middle")

    with pytest.raises(ZeroDivisionError, match="in the middle"):
        lake.replace("t", pa.RecordBatchReader.from_batches(table(ONE, [7]).schema, rows()), [ONE])
    assert values(lake) == [1]
    with duckdb.connect() as con, pytest.raises(Exception, match="Could not convert string"):
        failing = con.sql("SELECT ('x' || i)::INT AS x, DATE '2024-01-01' AS ds FROM range(300000) AS r(i)")
        lake.replace("t", failing.to_arrow_reader(1000), [ONE])
    assert values(lake) == [1]


def test_days_can_be_emptied_and_a_table_can_start_empty(lake):
    assert lake.replace("t", table(ONE, [1]).slice(0, 0), [ONE]).days[ONE].rows == 0
    assert lake.columns("t") == {"x": "long", "ds": "date"}
    lake.replace("t", table(ONE, [1]), [ONE])
    lake.replace("t", table(ONE, [1]).slice(0, 0), [ONE])
    assert values(lake) == []
    assert lake.days("t") == []


def test_what_is_not_there_is_a_lookup_error(lake):
    with pytest.raises(LookupError, match="materialise it first"):
        lake.read("t", empty_if_absent=True)
    assert (lake.version("t"), lake.columns("t"), lake.days("t")) == (None, {}, [])
    lake.replace("t", table(ONE, [1]), [ONE])
    with pytest.raises(LookupError, match="no rows from 2024-01-02"):
        lake.read("t", TWO, TWO)


@pytest.mark.parametrize("place", ["", "o", "o/t", "o/t/_delta_log"])
def test_a_file_in_place_of_a_folder_is_damage_that_names_it_until_it_is_moved_away(lake, place):
    lake.replace("o/t", table(ONE, [1]), [ONE])
    folder = Path(lake.root, place)
    shutil.rmtree(folder)
    folder.write_text("mine")
    message = f"{folder} is a file, where a folder should be: move it away"
    assert lake.held("o/t").unreadable == message and lake.log_mark("o/t")
    assert lake.mend("o/t") == [] and folder.read_text() == "mine"
    with pytest.raises(NotADirectoryError, match=message):
        lake.replace("o/t", table(ONE, [2]), [ONE])
    folder.unlink()
    assert lake.held("o/t").unreadable == "" and lake.replace("o/t", table(ONE, [2]), [ONE]).rows == 1


def test_columns_may_be_added_and_older_days_read_as_null(lake):
    lake.replace("t", table(ONE, [1]), [ONE])
    lake.replace("t", table(TWO, [2], y=["new"], z=[dt.datetime(2024, 1, 2)]), [TWO])
    assert lake.columns("t") == {"x": "long", "ds": "date", "y": "string", "z": "timestamp_ntz"}
    assert lake.read("t", ONE, ONE).to_pylist() == [{"x": 1, "ds": ONE, "y": None, "z": None}]
    lake.replace("t", table(THREE, [3]), [THREE])
    both = lake.read("t", TWO, THREE, ["x", "y"]).sort_by("x")
    assert both.to_pylist() == [{"x": 2, "y": "new"}, {"x": 3, "y": None}]
    assert lake.columns("t", version=0) == {"x": "long", "ds": "date"}
    assert lake.read("t", version=0).to_pylist() == [{"x": 1, "ds": ONE}]


def test_a_column_that_had_another_name_is_read_under_its_own_in_old_days_new_ones_and_old_versions(lake):
    old = {"segment": ["FR", "DE"], "x": [1, 2]}
    first = lake.replace("guess/examples", pa.table(old | {"ds": [ONE, TWO]}), [ONE, TWO])
    assert lake.read("guess/examples", columns=["leaf", "x"]).to_pydict() == {"leaf": ["FR", "DE"], "x": [1, 2]}
    lake.replace("guess/examples", pa.table({"leaf": ["ES"], "x": [3], "ds": [TWO]}), [TWO])
    rows = lake.read("guess/examples", columns=["ds", "leaf", "x"]).sort_by("ds").to_pydict()
    assert rows == {"ds": [ONE, TWO], "leaf": ["FR", "ES"], "x": [1, 3]}
    assert set(lake.columns("guess/examples")) == {"leaf", "x", "ds"} == set(lake.read("guess/examples").column_names)
    assert lake.read("guess/examples", columns=["leaf"], version=first.version)["leaf"].to_pylist() == ["FR", "DE"]
    # A stream, or a view that is called like such a table, may have a column of that name.
    lake.replace("features/examples", pa.table({"segment": ["a"], "ds": [ONE]}), [ONE])
    assert (
        set(lake.read("features/examples").column_names) == {"segment", "ds"} == set(lake.columns("features/examples"))
    )
    lake.replace("orders/events", pa.table({"segment": ["a"], "ds": [ONE]}), [ONE])
    assert set(lake.columns("orders/events")) == {"segment", "ds"}


def test_a_column_changes_its_type_with_all_days_or_not_at_all(lake):
    lake.replace("t", pa.concat_tables([table(ONE, [1]), table(TWO, [2])]), [ONE, TWO])
    with pytest.raises(TypeError, match=r"x from long to double.*2024-01-01 to 2024-01-02"):
        lake.replace("t", table(TWO, [2.5]), [TWO])
    assert values(lake) == [1, 2]
    lake.replace("t", pa.concat_tables([table(ONE, [1.5]), table(TWO, [2.5])]), [ONE, TWO, THREE])
    assert values(lake) == [1.5, 2.5]
    assert values(lake, version=0) == [1, 2]


def test_every_type_that_stations_write_comes_back(lake):
    with duckdb.connect() as con:
        query = '''SELECT 1::TINYINT AS a, 1::SMALLINT AS b, 1::INTEGER AS c, 1::BIGINT AS d, 1.5::FLOAT AS e,
                   1.5::DOUBLE AS f, 1.25::DECIMAL(9, 2) AS g, true AS h, 'x' AS i, DATE '2024-02-03' AS j,
                   TIMESTAMP '2024-02-03 04:05:06.789' AS k, TIMESTAMPTZ '2024-02-03 04:05:06+02' AS l, 'x'::BLOB AS m,
                   2.5::DOUBLE AS "view.mean_7d", 'q' AS "it's ""odd""", DATE '2024-01-01' AS ds'''
        lake.replace("t", con.sql(query).to_arrow_reader(10), [ONE])
        lake.view(con, "one", "t", ONE, ONE)
        lake.view(con, "none", "t", TWO, TWO, empty_if_absent=True)
        assert con.execute("SELECT * FROM one EXCEPT SELECT * FROM (" + query + ")").fetchall() == []
        described = [con.execute(f"DESCRIBE {name}").fetchall() for name in ("one", "none")]
    assert described[0] == described[1]


def test_tables_and_columns_may_have_dots_in_their_names(lake):
    lake.replace("a.b/c.d", table(ONE, [1], **{"view.feature_7d": [0.5]}), [ONE])
    assert lake.read("a.b/c.d", columns=["view.feature_7d"]).to_pylist() == [{"view.feature_7d": 0.5}]
    with duckdb.connect() as con:
        lake.view(con, "seen", "a.b/c.d", ONE, ONE)
        assert con.execute('SELECT "view.feature_7d" FROM seen').fetchall() == [(0.5,)]


def test_readers_see_their_version_unchanged_while_a_new_one_is_written(lake):
    lake.replace("t", table(ONE, [1, 2]), [ONE])
    seen = []
    with duckdb.connect() as con:
        assert lake.view(con, "before", "t") == 0

        def rows() -> Iterator[pa.RecordBatch]:
            for value in (7, 8, 9):
                seen.append((values(lake), con.execute("SELECT sum(x) FROM before").fetchall()[0][0]))
                yield from table(ONE, [value]).to_batches()

        written = lake.replace("t", pa.RecordBatchReader.from_batches(table(ONE, [1]).schema, rows()), [ONE])
        assert seen == [([1, 2], 3)] * 3, "until the commit nobody sees anything of it"
        assert values(lake) == [7, 8, 9]
        assert con.execute("SELECT sum(x) FROM before").fetchall() == [(3,)], "and an open view reads on"
    assert values(lake, version=0) == [1, 2]
    assert written.version == 1


def test_rows_can_be_read_from_the_lake_while_they_are_written_to_it(lake):
    lake.replace("t", pa.concat_tables([table(ONE, [1, 2]), table(TWO, [3])]), [ONE, TWO])
    with duckdb.connect() as con:
        lake.view(con, "old", "t")
        lake.replace("u", con.sql("SELECT x * 10 AS x, ds FROM old").to_arrow_reader(1), [ONE, TWO])
        lake.replace("t", con.sql("SELECT x + 1 AS x, ds FROM old WHERE x < 3").to_arrow_reader(1), [ONE])
    assert sorted(lake.read("u")["x"].to_pylist()) == [10, 20, 30]
    assert values(lake) == [2, 3, 3]


def overtaken(lake: Lake, day: dt.date, by: dt.date) -> tuple[int | Exception, int]:
    """Replace a day, and while that is under way another one, or the same: what came of the first, and of the second."""
    second = []

    def rows() -> Iterator[pa.RecordBatch]:
        # As many as are made ahead: by then the writer has looked at the table.
        for _ in range(5):
            yield table(day, [10]).to_batches()[0].slice(0, 0)
        second.append(lake.replace("t", table(by, [20]), [by]).version)
        yield from table(day, [10]).to_batches()

    try:
        first = lake.replace("t", pa.RecordBatchReader.from_batches(table(day, [10]).schema, rows()), [day]).version
    except Exception as error:
        return error, second[0]
    return first, second[0]


def test_different_days_can_be_replaced_at_the_same_time_and_each_writer_knows_its_version(lake):
    lake.replace("t", table(ONE, [0]), [ONE])
    assert overtaken(lake, ONE, by=TWO) == (2, 1)
    assert values(lake) == [10, 20]


def test_of_two_writers_of_one_day_the_later_is_told(lake):
    lake.replace("t", table(ONE, [0]), [ONE])
    first, second = overtaken(lake, ONE, by=ONE)
    assert isinstance(first, CommitFailedError)
    assert second == 1
    assert values(lake) == [20]


@pytest.mark.parametrize("other", [ONE, TWO], ids=["the same day", "another day"])
def test_of_two_writers_that_make_a_table_the_later_is_told_and_no_row_is_there_twice(lake, other):
    first, second = overtaken(lake, ONE, by=other)
    assert isinstance(first, LostRace)
    assert second == 0
    assert values(lake) == [20]


def test_a_writer_that_finds_no_table_and_then_one_knows_its_version(lake, monkeypatch):
    lake.replace("t", table(ONE, [0]), [ONE])
    late = Lake(root=lake.root)
    seen = [None]  # what it sees first, before the other made the table
    look = Lake._open
    monkeypatch.setattr(Lake, "_open", lambda self, *asked: seen.pop() if seen and self is late else look(self, *asked))
    assert late.replace("t", table(TWO, [1]), [TWO]).version == lake.version("t") == 1


def test_a_lost_race_names_the_others_and_what_to_do(lake):
    lake.replace("t", table(ONE, [0]), [ONE])
    others = Lake(root=lake.root, writer="run 8c1f")

    def rows() -> Iterator[pa.RecordBatch]:
        others.replace("t", table(ONE, [20]), [ONE])
        yield from table(ONE, [10]).to_batches()

    with pytest.raises(
        LostRace, match=f"run 8c1f, process {os.getpid()} on .* \\(version 1\\) wrote there too.*run it again"
    ):
        lake.replace("t", pa.RecordBatchReader.from_batches(table(ONE, [10]).schema, rows()), [ONE])


@pytest.mark.parametrize("days", [[ONE, ONE], [ONE, TWO]], ids=["the same day", "different days"])
@pytest.mark.parametrize("by", ["rows", "relation"])
def test_two_that_make_a_table_at_once_with_rows_at_hand_come_one_after_the_other(lake, days, by):
    for attempt in range(6):
        name, barrier = f"t{attempt}", threading.Barrier(2)

        def write(place: int, name: str = name, barrier: threading.Barrier = barrier) -> None:
            rows = table(days[place], [place] * 5)
            own = Lake(root=lake.root)
            with duckdb.connect() as con:
                con.register("rows", rows)
                barrier.wait()
                if by == "rows":
                    own.replace(name, rows, [days[place]])
                else:
                    own.replace_from(con, name, "rows", [days[place]])

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(2)))
        found = sorted(lake.read(name, columns=["x"])["x"].to_pylist())
        assert found in ([[0] * 5, [1] * 5] if days[0] == days[1] else [[0] * 5 + [1] * 5])


def part(day: dt.date, node: str, numbers: list[int], **columns: list) -> pa.Table:
    return table(day, numbers, node=[node] * len(numbers), **columns)


def parts(lake: Lake, day: dt.date) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in lake.read("t", day, day, empty_if_absent=True).sort_by("x").to_pylist():
        found.setdefault(row["node"], []).append(row["x"])
    return found


def test_a_part_of_a_day_is_replaced_and_the_rest_stays(lake):
    lake.replace_part("t", part(ONE, "a", [1, 2]), ONE, "node", ["a"])
    lake.replace_part("t", part(TWO, "a", [9]), TWO, "node", ["a"])
    written = lake.replace_part("t", part(ONE, "b", [3, 4, 5]), ONE, "node", ["b", "c"])
    assert parts(lake, ONE) == {"a": [1, 2], "b": [3, 4, 5]} and parts(lake, TWO) == {"a": [9]}
    assert written.rows == 5, "those of the whole day"
    assert written.days == lake.replace("t", lake.read("t", ONE, ONE), [ONE]).days
    lake.replace_part("t", part(ONE, "b", []), ONE, "node", ["b"])
    assert parts(lake, ONE) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="a row of node b among those that replace a"):
        lake.replace_part("t", part(ONE, "b", [6]), ONE, "node", ["a"])
    with pytest.raises(ValueError, match=f"a row of {TWO}"):
        lake.replace_part("t", part(TWO, "a", [6]), ONE, "node", ["a"])


def test_a_part_may_have_other_columns_than_the_rest(lake):
    lake.replace_part("t", part(ONE, "a", [1], old=[0.5]), ONE, "node", ["a"])
    lake.replace_part("t", part(ONE, "b", [2], new=["n"]), ONE, "node", ["b"])
    rows = lake.read("t", ONE, ONE).sort_by("x").select(["x", "node", "old", "new"]).to_pylist()
    assert rows == [{"x": 1, "node": "a", "old": 0.5, "new": None}, {"x": 2, "node": "b", "old": None, "new": "n"}]


@pytest.mark.parametrize("made", [False, True], ids=["a new table", "a new day"])
def test_parts_that_are_written_at_the_same_time_are_all_there(lake, made):
    if made:
        lake.replace_part("t", part(TWO, "a", [0]), TWO, "node", ["a"])
    barrier = threading.Barrier(4)

    def write(place: int) -> None:
        own, name = Lake(root=lake.root), str(place)
        barrier.wait()
        for turn in range(3):
            own.replace_part("t", part(ONE, name, [turn]), ONE, "node", [name])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert parts(lake, ONE) == {str(place): [2] for place in range(4)}


ENDLESS = """
import datetime as dt, sys, time
import pyarrow as pa
from factory_resources.lake import Lake, LostRace

day = dt.date(2024, 1, 1)
batch = pa.table({"x": list(range(50_000)), "ds": [day] * 50_000}).to_batches()[0]
def rows():
    for number in range(10_000):
        yield batch
        print(number, flush=True)
Lake(root=sys.argv[1]).replace("t", pa.RecordBatchReader.from_batches(batch.schema, rows()), [day])
"""


ON_ONE_CPU = """
import datetime as dt, os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import pyarrow as pa
from factory_resources.lake import Lake

lake, days = Lake(root=sys.argv[1]), [dt.date(2024, 1, day) for day in (1, 2, 3)]
table = pa.table({"x": [1, 2, 3], "ds": days})
lake.replace("t", table, days)
rows = (batch for day in days for batch in lake.read("t", day, day).to_batches())
lake.replace("of_t", pa.RecordBatchReader.from_batches(table.schema, rows), days)
print(lake.read("of_t").num_rows)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a CPU")
@pytest.mark.parametrize("given", [None, "1"])
def test_rows_that_are_read_from_the_lake_are_written_on_a_machine_with_one_cpu(tmp_path, given):
    kept = {name: value for name, value in os.environ.items() if name != "TOKIO_WORKER_THREADS"}
    environment = kept | ({"TOKIO_WORKER_THREADS": given} if given else {})
    command = [sys.executable, "-c", ON_ONE_CPU, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "3\n"


def test_a_writer_killed_in_the_middle_leaves_the_previous_version_and_a_rerun_a_clean_one(lake, tmp_path):
    lake.replace("t", table(ONE, [1, 2]), [ONE])
    writer = subprocess.Popen([sys.executable, "-c", ENDLESS, lake.root], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 40:
            break
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert writer.returncode == -signal.SIGKILL
    assert lake.version("t") == 0
    assert values(lake) == [1, 2]
    again = lake.replace("t", table(ONE, [3, 4]), [ONE])
    clean = Lake(root=str(tmp_path / "clean")).replace("t", table(ONE, [4, 3]), [ONE])
    assert values(lake) == [3, 4]
    assert again.days == clean.days


def test_an_object_store_serves_as_well_as_a_disk(object_store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    options = {"aws_endpoint_url": object_store, "aws_allow_http": "true"}
    lake = Lake(root="s3://lake/some/prefix", storage_options=options)
    assert lake.replace("t", table(ONE, [1, 2]), [ONE]).version == 0
    with duck.opened([lake.root]) as con:
        lake.view(con, "old", "t")
        assert lake.replace("t", con.sql("SELECT x + 1 AS x, ds FROM old").to_arrow_reader(1), [ONE]).version == 1
        lake.view(con, "new", "t")
        assert con.execute("SELECT sum(x) FROM old").fetchall() == [(3,)]
        assert con.execute("SELECT sum(x) FROM new").fetchall() == [(5,)]
    assert values(lake) == [2, 3]
    assert values(lake, version=0) == [1, 2]
    assert lake.days("t") == [ONE]
    assert overtaken(lake, TWO, by=THREE) == (3, 2)
    assert isinstance(overtaken(lake, TWO, by=TWO)[0], CommitFailedError)
    assert lake.tables() == []  # of two levels


def test_a_vacuum_on_an_object_store_removes_what_it_says(object_store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    options = {"aws_endpoint_url": object_store, "aws_allow_http": "true"}
    lake = Lake(root="s3://lake/for/vacuum", storage_options=options)
    for x in range(3):
        lake.replace("a/b", table(ONE, [x]), [ONE])
    assert lake.tables() == ["a/b"]
    (removed,) = lake.vacuum("a/b", dt.timedelta(0), [1])
    assert removed.startswith(f"ds={ONE}/") and lake.vacuum("a/b", dt.timedelta(0), [1]) == []
    assert [lake.read("a/b", version=version)["x"].to_pylist() for version in (1, 2)] == [[1], [2]]


def test_a_vacuum_spares_the_versions_that_it_is_told_to_and_what_is_new(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    for x in range(4):
        lake.replace("a/b", pa.table({"ds": [ONE], "x": [x]}), [ONE])
    assert lake.tables() == ["a/b"]
    assert lake.vacuum("a/b", dt.timedelta(days=7)) == []
    assert len(lake.vacuum("a/b", dt.timedelta(0), [1], dry_run=True)) == 2
    assert lake.read("a/b", version=0)["x"].to_pylist() == [0]
    assert len(lake.vacuum("a/b", dt.timedelta(0), [1])) == 2
    assert lake.vacuum("a/b", dt.timedelta(0), [1]) == []
    assert lake.read("a/b", version=1)["x"].to_pylist() == [1] and lake.read("a/b")["x"].to_pylist() == [3]
    with pytest.raises(duckdb.IOException):
        lake.read("a/b", version=2)


def test_the_log_of_old_versions_outlives_its_checkpoints(tmp_path: Path) -> None:
    """Delta's own rule would remove log entries of more than 30 days when a checkpoint is written."""
    lake, old = Lake(root=str(tmp_path)), time.time() - 90 * 86400
    lake.replace("a/b", pa.table({"ds": [ONE], "x": [0]}), [ONE])
    for _ in range(2):
        for x in range(11):
            lake.replace("a/b", pa.table({"ds": [ONE], "x": [x]}), [ONE])
        for file in (tmp_path / "a" / "b" / "_delta_log").iterdir():
            os.utime(file, (old, old))
    assert len(list((tmp_path / "a" / "b" / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert lake.read("a/b", version=0)["x"].to_pylist() == [0]
