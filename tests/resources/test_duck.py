"""Does DuckDB reach anything but what its step is opened for, whatever a query says?"""

import ast
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import factory_assets
import factory_resources
from factory_assets.declarations import expressions, types
from factory_assets.deployment import stores
from factory_assets.events.sources.files import folder
from factory_resources.duck import opened
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.scratch import reader, scratch

PASSWORDS = "/etc/passwd"
#: What a query could ask for if a text of a declaration came to DuckDB as it was written.
FORBIDDEN = {
    "read_text": f"SELECT content FROM read_text('{PASSWORDS}')",
    "read_csv": f"SELECT * FROM read_csv('{PASSWORDS}', header = false)",
    "read_blob": f"SELECT content FROM read_blob('{PASSWORDS}')",
    "file as table": f"SELECT * FROM '{PASSWORDS}'",
    "glob": "SELECT * FROM glob('/etc/*')",
    "network": "SELECT * FROM read_parquet('https://localhost/x.parquet')",
    "bucket": "SELECT * FROM read_parquet('s3://elsewhere/x.parquet')",
    "COPY": "COPY (SELECT 1) TO '{elsewhere}/copied.csv'",
    "EXPORT": "EXPORT DATABASE '{elsewhere}/exported'",
    "ATTACH": "ATTACH '{elsewhere}/attached.db'",
    "SET": "SET threads = 2",
    "PRAGMA": "PRAGMA threads = 2",
    "RESET": "RESET allowed_directories",
    "open again": "SET enable_external_access = true",
    "more folders": "SET allowed_directories = ['/']",
    "free settings": "SET allowed_configs = ['threads']",
    "INSTALL": "INSTALL httpfs",
    "LOAD": "LOAD httpfs",
    "load a file": "LOAD '{elsewhere}/own.duckdb_extension'",
    "secret": "CREATE PERSISTENT SECRET kept (TYPE s3)",
    "variable of Python": "SELECT * FROM of_python",
}


@contextmanager
def of_a_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    with stores()["engine"].connect() as con:
        yield con


@pytest.mark.parametrize("query", FORBIDDEN.values(), ids=FORBIDDEN)
@pytest.mark.parametrize("which", ["engine", "scratch", "door"])
def test_a_query_reaches_nothing_else(which: str, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_python = pa.table({"x": [1]})
    doors = {
        "engine": of_a_deployment(monkeypatch, tmp_path),
        "scratch": scratch(),
        "door": opened([str(tmp_path / "a")]),
    }
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with doors[which] as con, pytest.raises((duckdb.Error, RuntimeError)):
        con.execute(query.replace("{elsewhere}", str(elsewhere))).fetchall()
    assert of_python.num_rows == 1 and not any(elsewhere.iterdir())


@pytest.mark.parametrize(
    "query", ["SET threads = 2", "LOAD httpfs", "INSTALL httpfs FROM community", "SELECT * FROM rows_"]
)
def test_who_may_read_any_file_changes_no_setting_and_loads_no_extension(query: str) -> None:
    rows_ = pa.table({"x": [1]})
    with Engine(threads=1).connect() as con, pytest.raises(duckdb.Error):
        con.execute(query).fetchall()
    assert rows_.num_rows == 1


def test_a_step_reads_its_folders_spills_and_gives_up_the_order_of_rows(tmp_path: Path) -> None:
    lake, more, other = (tmp_path / name for name in ("it's a lake", "more", "more2"))
    for place in (lake, more, other):
        place.mkdir()
        pq.write_table(pa.table({"x": [1, 2]}), place / "a.parquet")
    with Engine(threads=1, memory_limit="60MB", reads=[f"file://{lake}"]).connect(str(more)) as con:
        for place in (lake, more):
            name = str(place / "*.parquet").replace("'", "''")
            assert con.execute(f"SELECT sum(x)::INTEGER FROM read_parquet('{name}')").fetchall() == [(3,)]
        with pytest.raises(duckdb.PermissionException):
            con.execute(f"SELECT * FROM read_parquet('{other}/a.parquet')").fetchall()
        con.execute("SET preserve_insertion_order = false").fetchall()
        con.execute("CREATE TEMP TABLE t AS SELECT range, md5(range::VARCHAR) FROM range(1000000)").fetchall()
        assert con.execute("SELECT count(*) FROM t").fetchall() == [(1_000_000,)]


@pytest.mark.parametrize(
    "text",
    [
        f"(SELECT content FROM read_text('{PASSWORDS}'))",
        f"read_text('{PASSWORDS}')",
        "current_setting('threads')",
        "getenv('HOME')",
        "1; SET threads = 2",
        f"1; COPY (SELECT 1) TO '{PASSWORDS}'",
        "1 AS x FROM duckdb_settings()",
    ],
)
def test_an_expression_of_a_declaration_does_not_come_so_far(text: str) -> None:
    with pytest.raises(ValueError):
        expressions.sql(text)
    _, findings = types.added({"x": "DOUBLE"}, {("derive", "y"): text})
    assert [path for path, _ in findings] == [("derive", "y")]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("/data/*.parquet", "/data"),
        ("/data/{year}/orders-{day}.csv", "/data"),
        ("/data/a/orders-{day}.csv", "/data/a"),
        ("/data/**/x[0-9].csv", "/data"),
        ("/data/orders.csv", "/data"),
        ("orders.csv", "."),
        ("../data/*.csv", "../data"),
        ("/*.csv", "/"),
        ("s3://bucket/some/*.csv", "s3://bucket/some"),
        ("s3://bucket/*.csv", "s3://bucket"),
    ],
)
def test_the_folder_of_a_source_is_what_stands_before_any_pattern(uri: str, found: str) -> None:
    assert folder(uri) == found


def connecting(file: Path) -> list[int]:
    """Lines that open DuckDB, or ask the connection that the module itself has."""
    own = {
        "connect",
        "sql",
        "query",
        "execute",
        "read_csv",
        "read_parquet",
        "read_json",
        "from_arrow",
        "default_connection",
    }
    tree = ast.parse(file.read_text())
    used = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("duckdb", "_duckdb")
        and node.attr in own
    ]
    taken = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module in ("duckdb", "_duckdb")) or isinstance(node, ast.Import)
        for name in node.names
        if (isinstance(node, ast.ImportFrom) and name.name in own)
        or (isinstance(node, ast.Import) and name.name == "duckdb" and name.asname)
    ]
    return used + taken


def test_no_module_opens_duckdb_by_another_door() -> None:
    rooms = [Path(str(room.__file__)).parent for room in (factory_assets, factory_resources)]
    found = {str(file.relative_to(room.parent)): lines for room in rooms for file in room.rglob("*.py")
             if (lines := connecting(file))}  # fmt: skip
    assert list(found) == ["factory_resources/duck.py"] and len(found["factory_resources/duck.py"]) == 1


@pytest.mark.parametrize("kept", [scratch, lambda: reader("/tmp")])
def test_connections_to_a_database_that_is_kept_have_its_clock_and_see_nothing_of_each_other(
    kept: Callable[[], duckdb.DuckDBPyConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with kept() as one, kept() as other:
        one.execute("CREATE TEMP VIEW days AS SELECT 1")
        one.register("rows", pa.table({"x": [1]}))
        for name in ("days", "rows"):
            assert one.sql(f"FROM {name}").fetchall() == [(1,)]
            with pytest.raises(duckdb.CatalogException):
                other.sql(f"FROM {name}")
        assert other.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        with pytest.raises(duckdb.PermissionException):
            other.execute("FROM read_csv('/etc/passwd')")


def test_a_reader_sees_what_was_written_since(tmp_path: Path) -> None:
    """Files are as they are when they are read, also one that was replaced."""
    lake, on = Lake(str(tmp_path)), dt.date(2026, 1, 1)
    for number in range(3):
        lake.replace("t", pa.table({"x": [number], "ds": [on]}), [on])
        assert lake.read("t")["x"].to_pylist() == [number]
    (file,) = [
        each
        for each in tmp_path.rglob("*.parquet")
        if each.stat().st_mtime == max(f.stat().st_mtime for f in tmp_path.rglob("*.parquet"))
    ]
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(duckdb.Error):
        lake.read("t")
