"""Does every kind of source keep the one contract? The suite of source_checks.py, run for each of them."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from source_checks import CONTRACT, DAYS, Feed, ReadingChecks, Row, SourceChecks, WritableFeed, day_of_rows, declare

from factory_assets.events import simulation, sources
from factory_assets.events.simulation import Marketplace
from factory_assets.events.sources import SourceError, files
from factory_resources.duck import opened

SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("city", pa.string()), ("amount", pa.float64()),
        ("returned", pa.bool_()), ("due", pa.date32()),
    ]
)  # fmt: skip


def parquet(rows: list[Row]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink)
    return sink.getvalue().to_pybytes()


def text(rows: list[Row]) -> bytes:
    written = io.StringIO()
    lines = csv.DictWriter(written, list(CONTRACT), lineterminator="\r\n")
    lines.writeheader()
    lines.writerows(rows)
    return written.getvalue().encode()


def packed(rows: list[Row]) -> bytes:
    return gzip.compress(text(rows), mtime=0)


class FileFeed(WritableFeed):
    """Files of a folder, anywhere: one a day, or whatever lies there."""

    def __init__(self, folder: str, ending: str, encode: Callable[[list[Row]], bytes], a_day: bool = True):
        self.folder, self.ending, self.encode = folder, ending, encode
        kind = "parquet" if ending == "parquet" else "csv"
        self.source = {"kind": kind, "uri": f"{folder}/{'{day}' if a_day else '*'}.{ending}"}
        self.tells_days_apart = a_day
        self.system, self.root = fsspec.core.url_to_fs(folder)

    def deliver(self, on: dt.date, rows: list[Row]) -> None:
        self.system.pipe(f"{self.root}/{on}.{self.ending}", self.encode(rows))

    def redeliver(self) -> None:
        for file in self.system.glob(f"{self.root}/*"):
            content = self.system.cat(file)
            self.system.rm(file)
            self.system.pipe(file, content)

    def remove(self) -> str:
        self.system.rm(self.root, recursive=True)
        return self.folder


class TableFeed(WritableFeed):
    """A table of a PostgreSQL database, or a query over it."""

    def __init__(self, url: str, name: str, query: str | None = None):
        self.engine, self.name, self.query = sa.create_engine(url), name, query
        self.source = {"kind": "postgres", "url": url} | ({"query": query} if query else {"table": name})
        types = "id bigint, at timestamptz, city text, amount double precision, returned boolean, due date"
        self.execute(f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} ({types})")

    def execute(self, *statements: str, rows: list[Row] | None = None) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement), rows or None)

    def deliver(self, on: dt.date, rows: list[Row]) -> None:
        self.execute(f"DELETE FROM {self.name} WHERE (at AT TIME ZONE 'UTC')::date = '{on}'")
        if rows:
            values = ", ".join(f":{column}" for column in CONTRACT)
            self.execute(f"INSERT INTO {self.name} VALUES ({values})", rows=rows)

    def redeliver(self) -> None:
        self.execute(
            f"CREATE TABLE again AS SELECT * FROM {self.name} ORDER BY id DESC, at",
            f"DROP TABLE {self.name}",
            f"ALTER TABLE again RENAME TO {self.name}",
        )

    def remove(self) -> str:
        self.execute(f"DROP TABLE {self.name}")
        return self.name


KINDS = ["parquet", "parquet folder", "csv", "csv.gz", "memory parquet", "memory csv", "s3 parquet", "s3 csv.gz",
         "s3 folder", "gs csv.gz", "gs folder", "postgres table", "postgres query"]  # fmt: skip
names = (f"orders_{number}" for number in itertools.count())


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """As a landing has it: open for the folders of its source, whatever kind of store they are in."""
    with opened([str(tmp_path), "s3://lake", "gs://lake", "memory://"]) as con:
        yield con


@pytest.fixture
def store(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return "s3://lake"


@pytest.fixture
def google(google_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_store)
    # It would ask Google which kind of bucket this is, and an emulator has no credentials to ask with.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    return "gs://lake"


@pytest.fixture(params=KINDS)
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> WritableFeed:
    kind, name = request.param, next(names)
    where, _, ending = kind.partition(" ")
    if where == "postgres":
        url = request.getfixturevalue("postgres_url")
        made: WritableFeed = TableFeed(
            url, name, f"SELECT * FROM {name} WHERE city IS DISTINCT FROM 'a%'" if ending == "query" else None
        )
    else:
        stores = {"s3": "store", "gs": "google"}
        root = (
            request.getfixturevalue(stores[where])
            if where in stores
            else {"memory": "memory://"}.get(where, str(tmp_path))
        )
        form = (
            ending if where in ("memory", *stores) and ending != "folder" else "parquet" if "folder" in kind else where
        )
        encode = {"parquet": parquet, "csv": text, "csv.gz": packed}[form]
        made = FileFeed(f"{root}/{name}", form, encode, a_day="folder" not in kind)
        made.system.mkdirs(made.root, exist_ok=True)
    for on in (DAYS[0], DAYS[1], DAYS[3]):
        made.deliver(on, day_of_rows(on))
    if isinstance(made, FileFeed) and "folder" not in kind:
        made.deliver(DAYS[2], [])
    return made


class TestEveryKind(SourceChecks):
    """The suite, for each of KINDS."""


class World(Feed):
    """The simulated marketplace, which nobody can write to."""

    source = {"kind": "simulation", "seed": 7, "orders_per_day": 300}  # noqa: RUF012
    id, event_time = "order_id", "placed_at"
    world = Marketplace(seed=7, orders_per_day=300)
    days = [Marketplace.start + dt.timedelta(days=offset) for offset in range(4)]  # noqa: RUF012

    def __init__(self) -> None:
        names = {"int64": "integer", "string": "string", "double": "double", "timestamp[us]": "timestamp"}
        schema = simulation.deliveries(self.world, self.days[0]).schema
        self.columns = {field.name: {"type": names[str(field.type)], "nullable": True} for field in schema}

    def rows(self, on: dt.date) -> list[Row]:
        return simulation.deliveries(self.world, on).sort_by("order_id").to_pylist()


class TestSimulation(ReadingChecks):
    @pytest.fixture
    def feed(self) -> Feed:
        return World()


def test_another_seed_or_start_is_another_world() -> None:
    feed = World()
    before = sources.fingerprint(declare(feed).stream, feed.days[1:])
    later = sources.fingerprint(declare(feed, start=feed.days[1]).stream, feed.days[1:])
    feed.source = World.source | {"seed": 8}
    other = sources.fingerprint(declare(feed).stream, feed.days[1:])
    assert all(len({before[day], later[day], other[day]}) == 3 for day in feed.days[1:])


def test_a_local_file_is_hashed_once_for_each_time_that_it_was_written(tmp_path: Path) -> None:
    feed = FileFeed(str(tmp_path), "csv", text)
    feed.deliver(DAYS[0], day_of_rows(DAYS[0]))
    file = tmp_path / f"{DAYS[0]}.csv"
    before = files.content(str(file))
    state, content = file.stat(), file.read_bytes()
    file.write_bytes(content.swapcase())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    changed = files.content(str(file))
    assert changed != before
    file.write_bytes(b"x" * state.st_size)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert files.content(str(file)) == changed, "the same size and time: not read again"


def test_a_file_that_must_not_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "2024-03-08.csv"
    folder.mkdir()
    stream = declare(FileFeed(str(tmp_path), "csv", text)).stream
    with pytest.raises(SourceError, match=r"2024-03-08\.csv cannot be read: Is a directory"):
        sources.fingerprint(stream, DAYS)


def test_a_store_that_is_not_there_is_an_error_that_names_it(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(SourceError, match=r"^s3://lake/\*\.csv cannot be reached: .*127\.0\.0\.1:1"):
        files.listed(f"{store}/*.csv")


NAMES = [
    "2026-03-01.csv", "2026-03-01b.csv", "2026-03-02.csv", "2026-03-011.csv", "2026-03-01[1].csv",
    ".2026-03-01.csv", "x2026-03-01.csv",
    "2026-03-01", "2026-03-01.CSV", "2026-03-0é.csv", "2026-03-01 (copy).csv", "2026-03-01.csv.gz",
    "2026-03-01/inner.csv",
]  # fmt: skip
PATTERNS = [
    "2026-03-01.csv", "2026-03-01*.csv", "2026-03-0?.csv", "*2026-03-01*.csv", ".2026*", "*", "2026-03-01[[]1].csv", "2026-03-01[!b]*",
    "2026-03-01.csv*", "nothing*", "nothing.csv", "2026-03-01 (copy).csv", "2026-03-01*/inner.csv", "**",
]  # fmt: skip


@pytest.mark.parametrize("root", ["", "feed", "memory://listed"])
def test_a_folder_that_is_listed_once_for_many_patterns_gives_what_each_of_them_gives(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = root if "://" in root else str(tmp_path / root)
    for name in NAMES:
        if "://" not in root:
            (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
        if name != "2026-03-01" and (root or "/" not in name):
            with fsspec.open(f"{base}/{name}" if "://" in root else Path(base, name).as_uri(), "wb") as file:
                file.write(b"x")
    under = "" if root == "" else f"{base}/"
    uris = [f"{under}{pattern}" for pattern in PATTERNS] + [f"{under}elsewhere/{name}" for name in ("a*", "b")]
    found = files.listed_each(uris)
    assert found == {uri: files.listed(uri) for uri in uris}
    assert sum(map(bool, found.values())) >= 6
