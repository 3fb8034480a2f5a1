"""Are questions that are put to one database apart from each other?"""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pytest

from factory_resources.scratch import scratch


def test_what_one_connection_has_no_other_sees_also_after_it_is_closed() -> None:
    with scratch() as one:
        one.execute("CREATE TEMP TABLE kept AS SELECT 1 AS x")
        one.register("rows", pa.table({"x": [2]}))
        with scratch() as other:
            for name in ("kept", "rows"):
                with pytest.raises(duckdb.CatalogException, match=name):
                    other.execute(f"SELECT * FROM {name}")
        assert one.execute("SELECT kept.x + rows.x FROM kept, rows").fetchall() == [(3,)]
    with scratch() as after, pytest.raises(duckdb.CatalogException, match="kept"):
        after.execute("SELECT * FROM kept")


def test_threads_ask_side_by_side() -> None:
    def ask(number: int) -> int:
        with scratch() as con:
            con.execute(f"CREATE TEMP TABLE asked AS SELECT {number} AS x FROM range(100)")
            return int(con.execute("SELECT max(x) + count(*) FROM asked").fetchall()[0][0])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(300))) == [number + 100 for number in range(300)]


def test_nothing_is_fetched_from_the_network() -> None:
    with scratch() as con:
        assert con.execute("SELECT current_setting('autoinstall_known_extensions')").fetchall() == [(False,)]
