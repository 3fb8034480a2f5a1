"""Are days computed together only as far as memory goes, and is the outcome the same?"""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest

from factory_assets.features.assets import Output, computed
from factory_assets.features.point_in_time.stretches import Read, cut
from factory_assets.features.point_in_time.tables import loader
from factory_resources.engine import Engine, memory_of
from factory_resources.lake import Lake

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=offset) for offset in range(20)]
TEN_A_DAY = dict.fromkeys(DAYS, 10)


def lengths(days: Sequence[dt.date], reads: Sequence[Read], most: int) -> list[int]:
    stretches = list(cut(days, reads, most))
    assert list(itertools.chain(*stretches)) == list(days)
    return [len(stretch) for stretch in stretches]


def test_days_that_fit_are_one_stretch() -> None:
    assert lengths(DAYS, [Read(TEN_A_DAY, 7)], 200) == [20]
    assert lengths(DAYS, [], 1) == [20]
    assert lengths(DAYS[:1], [Read(TEN_A_DAY, 7)], 1) == [1], "a day is not divided"


def test_a_stretch_holds_the_days_before_it_too() -> None:
    assert lengths(DAYS, [Read(TEN_A_DAY, 0)], 60) == [6, 6, 6, 2]
    assert lengths(DAYS, [Read(TEN_A_DAY, 1)], 60) == [6, 5, 5, 4]
    # Of two inputs the rows of both count, each with the days that it looks back on.
    assert lengths(DAYS, [Read(TEN_A_DAY, 1), Read(TEN_A_DAY, 0)], 120) == [6, 5, 5, 4]
    assert lengths(DAYS[10:], [Read(TEN_A_DAY, 1)], 60) == [5, 5]


def test_days_are_not_read_again_more_than_a_third_as_often_as_they_are_computed() -> None:
    assert lengths(DAYS, [Read(TEN_A_DAY, 2)], 30) == [6, 6, 6, 2]
    assert lengths(DAYS, [Read(TEN_A_DAY, 36_500)], 20) == [20], "each stretch would read all before it again"


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Engine(memory_limit="1GB").connect() as con:
        con.execute(
            """CREATE TABLE rows AS SELECT n AS id, n % 7 / 3 AS x, DATE '2024-01-01' + (n % 20)::INTEGER AS ds
               FROM range(1000) AS r(n)"""
        )
        yield con


def query(kind: str, days: Sequence[dt.date]) -> str:
    return f"SELECT id, x::{kind} AS x, ds FROM rows WHERE ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'"


def test_the_same_is_written_in_one_stretch_and_in_many(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lake, built = Lake(root=str(tmp_path)), list[int]()
    (whole,) = computed(Output(lake, con, "t/whole", ["id"]), lambda days: query("DOUBLE", days), [DAYS])
    parts = []
    output = Output(lake, con, "t/parts", ["id"])
    for part in computed(output, lambda days: query("DOUBLE", days), cut_by(6)):
        parts.append(part)
        built += [len(con.execute(f"SELECT DISTINCT ds FROM {output.rows}").fetchall())]
    assert built == [6, 6, 6, 2]
    assert whole.days == {day: content for part in parts for day, content in part.days.items()}
    assert lake.rows("t/parts") == lake.rows("t/whole") == dict.fromkeys(DAYS, 50)
    assert lake.rows("t/none") == {}


def cut_by(length: int) -> list[list[dt.date]]:
    return list(cut(DAYS, [Read(TEN_A_DAY, 0)], length * 10))


def test_a_column_that_changes_its_type_makes_all_days_one_stretch(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    lake = Lake(root=str(tmp_path))
    list(computed(Output(lake, con, "t/a", ["id"]), lambda days: query("DOUBLE", days), cut_by(6)))
    (again,) = computed(Output(lake, con, "t/a", ["id"]), lambda days: query("VARCHAR", days), cut_by(6))
    assert sorted(again.days) == DAYS
    assert lake.columns("t/a")["x"] == "string"


def test_every_stretch_reads_what_the_first_one_found(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    list(computed(Output(lake, con, "t/a", ["id"]), lambda days: query("DOUBLE", days), [DAYS]))
    load = loader(lake, con)
    load("before", "t/a", DAYS[0], DAYS[5])
    lake.replace_from(con, "t/a", "(SELECT * FROM rows WHERE false)", DAYS)
    load("after", "t/a", DAYS[6], DAYS[-1])
    assert con.execute("SELECT (SELECT count(*) FROM before), (SELECT count(*) FROM after)").fetchall() == [(300, 700)]


def test_memory_is_what_the_engine_allows(con: duckdb.DuckDBPyConnection) -> None:
    assert memory_of(con) == pytest.approx(1e9, rel=0.001)
