"""Does every delivered value become the contract's type or stay as it came, and every row find its day in UTC?"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing, sources
from factory_assets.events.contract import validation
from factory_assets.events.contract.expectations import rows_to_validate, validate
from factory_assets.events.sources import Delivery

DAY = dt.date(2024, 3, 10)
TODAY = dt.date(2024, 12, 31)
NEW_YORK = "America/New_York"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


def declare(columns: dict[str, Any], **more: Any) -> DeclaredStream:
    contract = {"columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}} | columns}
    stream = {
        "name": "orders", "owner": "team:x", "description": "Orders.", "source": {"kind": "csv", "uri": "unused"},
        "id": "id", "event_time": "at", "start": dt.date(2024, 1, 1), "end": TODAY,
    }  # fmt: skip
    return DeclaredStream(Stream.model_validate(stream | more), Contract.model_validate(contract))


def land(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    table: pa.Table,
    days: list[dt.date],
    day: dt.date | None = None,
) -> list[dict[str, Any]]:
    """Raw rows of one delivery, in the order of their ids."""
    con.register("delivered", table)
    columns = {row[0]: row[1] for row in con.execute("DESCRIBE delivered").fetchall()}
    query = "SELECT *, 'file' AS _source, NULL::VARCHAR AS _line FROM delivered"
    landed = landing.land(con, declared, [Delivery(query, columns, ("file",), day and Period(day, day))], days, TODAY)
    return con.sql(f"SELECT * FROM {landed.rows} ORDER BY id").to_arrow_table().to_pylist()


def one(con: duckdb.DuckDBPyConnection, column: dict[str, Any], values: pa.Array, **more: Any) -> list[tuple[Any, Any]]:
    """A column `x` of the contract: what each delivered value became, and the text that was kept of it."""
    stamps = pa.array([dt.datetime(2024, 3, 10, 12)] * len(values))
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "at": stamps, "x": values})
    rows = land(con, declare({"x": column | {"nullable": True}}, **more), table, [DAY], DAY)
    return [(row["x"], json.loads(row["_unparsed"])["x"] if row["_unparsed"] else None) for row in rows]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("integer", ["7", " -7 ", "7.0", "+7.", "7.5", "1e3", "0x10", "", "9" * 19], [7, -7, 7, 7, *[None] * 5]),
        ("integer", ["9007199254740993.0", "-0.0"], [9007199254740993, 0]),
        ("integer", [7.0, 7.5, float("nan"), float("inf")], [7, None, None, None]),
        ("integer", [Decimal("7.00"), Decimal("7.50")], [7, None]),
        ("integer", [2.0**53 - 1, 1 - 2.0**53, 2.0**53, -(2.0**53), 2.0**60], [2**53 - 1, 1 - 2**53, None, None, None]),
        ("integer", pa.array([2**24 - 1, 2**24, 7], pa.float32()), [2**24 - 1, None, 7]),
        ("integers", [[1.0, 2.0], [1.5], [2.0**53], [], [None, 3.0]], [[1, 2], None, None, [], [None, 3]]),
        ("doubles", [[1.0, math.inf], [math.nan], [1.5, None]], [None, None, [1.5, None]]),
        ("integer", ["9007199254740993", "9007199254740992"], [2**53 + 1, 2**53]),
        ("integer", [Decimal("9007199254740993.00")], [2**53 + 1]),
        ("integer", [True, False], [1, 0]),
        ("double", ["7.5", "1e3", "7,5", "nan", "inf"], [7.5, 1000.0, None, None, None]),
        ("double", [1.5, float("nan"), float("-inf"), None], [1.5, None, None, None]),
        ("double", [1, 2], [1.0, 2.0]),
        ("boolean", ["true", "FALSE", "1", "0", "2", "maybe"], [True, False, True, False, None, None]),
        ("boolean", [1, 0, 2], [True, False, None]),
        ("string", ["a", ""], ["a", ""]),
        ("string", [1.5, None], ["1.5", None]),
        ("date", ["2024-02-29", "2023-02-29", "29.02.2024"], [dt.date(2024, 2, 29), None, None]),
        ("date", [dt.datetime(2024, 2, 29, 23)], [dt.date(2024, 2, 29)]),
        ("date", ["infinity", "-infinity", "10000-01-01", "290000-01-01", "0001-01-01", "0001-01-01 (BC)", "9999-12-31"],
         [None, None, None, None, dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
        ("date", pa.array([2**31 - 1, -(2**31), 19_782], pa.int32()).view(pa.date32()), [None, None, dt.date(2024, 2, 29)]),
        ("timestamp", ["infinity", "-infinity", "10000-01-01", "0001-01-01 (BC)", "9999-12-31T23:59:59.999999"],
         [None, None, None, None, dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]),
        ("timestamp", pa.array([2**62, -(2**62), 0]).view(pa.timestamp("us")), [None, None, dt.datetime(1970, 1, 1)]),
        ("timestamp", [dt.date(2024, 2, 29)], [dt.datetime(2024, 2, 29)]),
        ("timestamp", [1709164800], [None]),
        ("timestamp", ["2024-02-29", "2024-02-29T10:00", "soon"], [dt.datetime(2024, 2, 29), dt.datetime(2024, 2, 29, 10), None]),
    ],
)  # fmt: skip
def test_a_value_becomes_the_contracts_type_or_its_text_is_kept(con, kind, values, expected):
    delivered = values if isinstance(values, pa.Array) else pa.array(values)
    for (value, kept), came, wanted in zip(one(con, {"type": kind}, delivered), values, expected, strict=True):
        assert value == wanted
        empty = came is None or came != came
        assert (kept is not None) == (wanted is None and not empty)


def test_a_time_whose_moment_no_reader_can_tell_is_no_time(con):
    ((local, moment),) = times(con, pa.array(["9999-12-31T23:00:00"]), NEW_YORK)
    assert (local, moment) == (dt.datetime(9999, 12, 31, 23), None)


INFINITE_DAY = "cast(case when x > 9 then '{}' else '2024-01-01' end as {})"


@pytest.mark.parametrize(
    "text",
    [
        "1 / (x - 1e300)", "exp(x)", "(x - 1e300) / (x - 1e300)", "x * x", INFINITE_DAY.format("infinity", "timestamp"),
        INFINITE_DAY.format("-infinity", "date"), INFINITE_DAY.format("20000-01-01", "date"),
    ],
)  # fmt: skip
def test_a_derived_column_that_is_not_finite_costs_its_row(con, text):
    table = pa.table({"id": [1, 2], "at": [dt.datetime(2024, 3, 10, 12)] * 2, "x": [1.0, 1e300]})
    declared = declare({"x": {"type": "double"}}, derive={"made": text})
    land(con, declared, table, [DAY], DAY)
    rows = con.execute(
        f"SELECT made IS NULL, _failed FROM ({validation.judged_rows(declared, landing.Landed.rows)}) ORDER BY id"
    )
    assert rows.fetchall() == [(False, None), (True, "made")]


def test_no_pair_of_types_stops_a_landing(con):
    values = {
        "bool": [True], "int8": [1], "uint64": [1], "float": [1.5], "double": [1.5], "string": ["x"], "binary": [b"x"],
        "date32": [DAY], "timestamp[ns]": [dt.datetime(2024, 1, 1)], "time64[us]": [dt.time(1)],
    }  # fmt: skip
    made = [pa.array(value, pa.type_for_alias(kind)) for kind, value in values.items()]
    made += [pa.array([[1, 2]]), pa.array([{"a": 1}]), pa.array([dt.timedelta(1)]), pa.array([None])]
    for kind in ("integer", "double", "boolean", "string", "timestamp", "date"):
        for array in made:
            (value, kept) = one(con, {"type": kind}, array)[0]
            assert (value is None) == (kept is not None) or array.null_count, (kind, array.type)


def times(con: duckdb.DuckDBPyConnection, values: pa.Array, zone: str, **column: Any) -> list[tuple[Any, Any]]:
    """The column `at` as it stands in the events, and the event time in UTC."""
    declared = declare({"at": {"type": "timestamp"} | column}, timezone=zone)
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "at": values})
    land(con, declared, table, [DAY], DAY)
    judged = validation.judged_rows(declared, landing.Landed.rows)
    rows = con.execute(f'SELECT "at" AS local, event_time FROM ({judged}) ORDER BY id')
    return rows.fetchall()


def clock(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_a_time_without_offset_is_read_in_the_streams_zone(con):
    texts = pa.array(["2024-01-15 10:00:00", "2024-07-15T10:00", "2024-07-15"])
    assert times(con, texts, NEW_YORK) == [
        (clock("2024-01-15 10:00"), clock("2024-01-15 15:00")),
        (clock("2024-07-15 10:00"), clock("2024-07-15 14:00")),
        (clock("2024-07-15 00:00"), clock("2024-07-15 04:00")),
    ]
    assert times(con, texts, "UTC")[0] == (clock("2024-01-15 10:00"), clock("2024-01-15 10:00"))


def test_an_hour_that_the_clock_skips_is_the_next_and_one_that_it_shows_twice_is_the_second(con):
    texts = pa.array(["2024-03-10 02:30:00", "2024-11-03 00:59:59", "2024-11-03 01:30:00", "2024-11-03 02:00:00"])
    assert [utc for _, utc in times(con, texts, NEW_YORK)] == [
        clock("2024-03-10 07:30"),
        clock("2024-11-03 04:59:59"),
        clock("2024-11-03 06:30"),
        clock("2024-11-03 07:00"),
    ]


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, "Asia/Kathmandu"])
def test_a_time_that_states_its_offset_is_taken_at_its_word_in_every_zone(con, zone):
    texts = {
        "2024-07-15T10:00:00Z": "10:00", "2024-07-15T10:00:00+02:00": "08:00", "2024-07-15 10:00:00+02": "08:00",
        "2024-07-15T10:00:00.250-0500": "15:00:00.250", "2024-07-15 10:00:00 UTC": "10:00",
        "2024-07-15 10:00:00 America/New_York": "14:00", "2024-07-15T10:00+05:45": "04:15",
    }  # fmt: skip
    found = times(con, pa.array(list(texts)), zone)
    assert [utc for _, utc in found] == [clock(f"2024-07-15 {text}") for text in texts.values()]


def test_both_hours_that_the_clock_shows_twice_are_told_apart_by_their_offset(con):
    texts = pa.array(["2024-11-03T01:30:00-04:00", "2024-11-03T01:30:00-05:00"])
    instants = pa.array([clock("2024-11-03 05:30"), clock("2024-11-03 06:30")], pa.timestamp("us", "UTC"))
    for values in (texts, instants):
        assert times(con, values, NEW_YORK) == [
            (clock("2024-11-03 01:30"), clock("2024-11-03 05:30")),
            (clock("2024-11-03 01:30"), clock("2024-11-03 06:30")),
        ]


NANO = 1_710_064_800_123_456_789
MOMENT = dt.datetime(2024, 3, 10, 10, 0, 0, 123456)


@pytest.mark.parametrize(
    ("epoch", "values", "expected"),
    [
        ("s", pa.array(["1710064800", " 1710064800.123456 ", "-1.5"]),
         [dt.datetime(2024, 3, 10, 10), MOMENT, dt.datetime(1969, 12, 31, 23, 59, 58, 500000)]),
        ("s", pa.array([1710064800.123456, 1e300, math.nan]), [MOMENT, None, None]),
        ("s", pa.array([1710064800, 2**62], pa.int64()), [dt.datetime(2024, 3, 10, 10), None]),
        ("s", pa.array([1710064800.0, 253402300800.0], pa.float32()), [None, None]),
        ("ms", pa.array(["1710064800123", "1710064800123.456"]), [MOMENT.replace(microsecond=123000), MOMENT]),
        ("us", pa.array([NANO // 1000], pa.int64()), [MOMENT]),
        ("us", pa.array([NANO // 1000], pa.uint64()), [MOMENT]),
        ("us", pa.array([Decimal(NANO) / 1000], pa.decimal128(20, 3)), [MOMENT]),
        ("ns", pa.array([NANO, -(2**63)], pa.int64()), [MOMENT, dt.datetime(1677, 9, 21, 0, 12, 43, 145224)]),
        ("ns", pa.array([float(NANO)]), [None]),
        ("s", pa.array(["", "soon", "1e9", "2024-03-10", "253402400000", "99999999999999999999999"]), [None] * 6),
        ("s", pa.array([dt.date(2024, 3, 10)]), [None]),
        ("s", pa.array([True]), [None]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", NEW_YORK])
def test_a_number_of_time_since_1970_is_read_exactly_or_costs_its_row(con, epoch, values, expected, zone):
    found = one(con, {"type": "timestamp", "epoch": epoch}, values, timezone=zone)
    local = [
        value and value.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for value in expected
    ]
    assert [value for value, _ in found] == local
    texts = [
        text for (value, text), given in zip(found, values.to_pylist(), strict=True) if value is None and given == given
    ]
    assert all(text is not None for text in texts), "what is no time is kept"


def test_a_number_of_time_since_1970_places_its_row_in_utc(con):
    contract = {"at": {"type": "timestamp", "epoch": "s"}}
    table = pa.table({"id": [1], "at": [1710028800 - 1]})
    for zone in ("UTC", NEW_YORK):
        declared = declare(contract, timezone=zone)
        assert [row["ds"] for row in land(con, declared, table, [DAY - dt.timedelta(days=1)])] == [dt.date(2024, 3, 9)]


def test_a_format_reads_what_is_not_iso_8601(con):
    german = times(con, pa.array(["29.02.2024 13:05", "31.02.2024 13:05"]), NEW_YORK, format="%d.%m.%Y %H:%M")
    assert german == [(clock("2024-02-29 13:05"), clock("2024-02-29 18:05")), (None, None)]
    offset = times(con, pa.array(["15/Jul/2024:10:00:00 +0200"]), NEW_YORK, format="%d/%b/%Y:%H:%M:%S %z")
    assert offset == [(clock("2024-07-15 04:00"), clock("2024-07-15 08:00"))]
    assert one(con, {"type": "date", "format": "%d.%m.%Y"}, pa.array(["29.02.2024", "2024-02-29"])) == [
        (dt.date(2024, 2, 29), None),
        (None, "2024-02-29"),
    ]


def placed(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, stamps: list[str | None], days: list[dt.date]
) -> dict:
    table = pa.table({"id": pa.array(range(len(stamps)), pa.int64()), "at": pa.array(stamps, pa.string())})
    return {row["id"]: row["ds"] for row in land(con, declared, table, days)}


def test_a_row_stands_in_the_utc_day_of_its_event_time(con):
    declared = declare({}, timezone=NEW_YORK)
    stamps = ["2024-03-10 18:59:59", "2024-03-10 20:00:00", "2024-03-11T00:00:00+00:00"]
    both = [DAY, DAY + dt.timedelta(days=1)]
    assert placed(con, declared, stamps, both) == {0: both[0], 1: both[1], 2: both[1]}
    assert placed(con, declared, stamps, both[:1]) == {0: both[0]}


def test_a_derived_event_time_places_a_row_too_even_if_it_fails_for_another(con):
    declared = declare(
        {"told": {"type": "string"}}, event_time="happened", derive={"happened": "cast(told as timestamp)"}
    )
    table = pa.table({"id": [1, 2, 3], "told": ["2024-03-10 05:00", "never", "2024-03-09 05:00"]})
    assert {row["id"]: row["ds"] for row in land(con, declared, table, [DAY - dt.timedelta(1), DAY])} == {
        1: DAY,
        2: DAY,
        3: DAY - dt.timedelta(1),
    }


def test_a_row_without_a_usable_time_stays_with_the_last_day_of_its_file(con):
    stamps = ["2024-03-09 10:00", None, "soon", "2031-01-01", "1970-01-01 00:00", "2024-03-10 10:00"]
    found = placed(con, declare({}), stamps, [dt.date(2024, 3, day) for day in (8, 9, 10, 11)])
    assert found == {0: dt.date(2024, 3, 9)} | dict.fromkeys(range(1, 6), DAY)


@pytest.mark.parametrize(
    ("end", "expected"), [(dt.date(2024, 6, 30), dt.date(2024, 6, 30)), (None, dt.date(2024, 12, 30))]
)
def test_a_file_without_a_single_usable_time_is_found_on_the_newest_day_that_is_over(con, end, expected):
    days = [expected + dt.timedelta(days=offset) for offset in (-1, 0)]
    assert placed(con, declare({}, end=end), [None, "soon"], days) == {0: expected, 1: expected}


def test_columns_that_the_contract_does_not_know_are_kept_whatever_their_names(con):
    names = ["Amount (EUR)", 'a "b"', "it's", "DS", "_unparsed", "x" * 200]
    table = pa.table({"id": [1], "at": [clock("2024-03-10 05:00")]} | {name: [1.5] for name in names})
    (row,) = land(con, declare({}), table, [DAY], DAY)
    assert json.loads(row["_undeclared"]) == dict.fromkeys(names, "1.5")
    assert row["_unparsed"] is None


def read(
    con: duckdb.DuckDBPyConnection,
    source: dict[str, Any],
    days: list[dt.date],
    earlier: Callable[[str], set[dt.date]] = lambda source: set(),
    **columns: Any,
) -> dict[dt.date, int]:
    """Rows landed of each day, from files."""
    declared = declare(columns, source=source)
    landing.land(con, declared, sources.deliveries(con, declared.stream, days), days, TODAY, earlier)
    return dict(con.execute("SELECT ds, count(*) FROM landed GROUP BY ds").fetchall())


def test_files_of_any_file_system_are_read(con):
    store = fsspec.filesystem("memory")
    store.pipe("/feed/orders-2024-03-10.csv", b"id,at\n1,2024-03-10 05:00\n2\n")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [3], "at": [clock("2024-03-10 05:00")], "filename": ["mine"]}), sink)
    store.pipe("/feed/a.parquet", sink.getvalue().to_pybytes())
    assert read(con, {"kind": "csv", "uri": "memory://feed/orders-{day}.csv"}, [DAY]) == {DAY: 2}
    assert con.execute("SELECT source, rows FROM deliveries").fetchall() == [
        ("memory:///feed/orders-2024-03-10.csv", 2)
    ]
    assert read(con, {"kind": "parquet", "uri": "memory://feed/*.parquet"}, [DAY]) == {DAY: 1}


def test_a_folder_named_after_the_day_column_is_read(con, tmp_path):
    for day in (DAY, DAY + dt.timedelta(1)):
        folder = tmp_path / f"ds={day}"
        folder.mkdir()
        pq.write_table(pa.table({"id": [1, 2], "at": [dt.datetime.combine(day, dt.time(5))] * 2}), folder / "a.parquet")
    both = [DAY, DAY + dt.timedelta(1)]
    assert read(con, {"kind": "parquet", "uri": f"{tmp_path}/ds={{day}}/*.parquet"}, both) == dict.fromkeys(both, 2)
    assert read(con, {"kind": "parquet", "uri": f"{tmp_path}/*/*.parquet"}, both) == dict.fromkeys(both, 2)


def test_a_file_that_breaks_off_in_the_middle_costs_its_own_day(con, tmp_path: Path):
    rows = "".join(f"{number},2024-03-10 05:00\n" for number in range(20_000))
    whole = gzip.compress(f"id,at\n{rows}".encode())
    days = [DAY + dt.timedelta(days=offset) for offset in range(3)]
    for day, content in zip(days, (whole, whole[:-5000], whole), strict=True):
        (tmp_path / f"orders-{day}.csv.gz").write_bytes(content)
    assert read(con, {"kind": "csv", "uri": f"{tmp_path}/orders-{{day}}.csv.gz"}, days) == {
        days[0]: 20_000,
        days[2]: 20_000,
    }
    problems = con.execute("SELECT ds, problem FROM deliveries WHERE problem IS NOT NULL").fetchall()
    assert [day for day, _ in problems] == [days[1]]
    assert "cannot be read" in problems[0][1]


def test_damage_inside_a_parquet_file_costs_its_own_day_and_without_days_is_named(con, tmp_path: Path):
    days = [DAY, DAY + dt.timedelta(1)]
    for day in days:
        table = pa.table({"id": list(range(5000)), "at": [dt.datetime.combine(day, dt.time(5))] * 5000})
        pq.write_table(table, tmp_path / f"{day}.parquet", compression="snappy", use_dictionary=False)
    damaged = tmp_path / f"{days[1]}.parquet"
    content = bytearray(damaged.read_bytes())
    content[10:1500] = b"\xff" * 1490
    damaged.write_bytes(content)
    assert read(con, {"kind": "parquet", "uri": f"{tmp_path}/{{day}}.parquet"}, days) == {days[0]: 5000}
    whole, source = (
        [DAY - dt.timedelta(1), *days, days[1] + dt.timedelta(1)],
        {"kind": "parquet", "uri": f"{tmp_path}/*.parquet"},
    )
    assert read(con, source, whole) == {days[0]: 5000}
    told = "SELECT ds, rows, problem LIKE 'cannot be read%' FROM deliveries ORDER BY ds"
    # Nobody knows its days; the last one that is asked for may be one.
    assert con.execute(told).fetchall() == [(days[0], 5000, None), (whole[-1], 0, True)]
    assert read(con, source, whole, lambda file: {days[1]} if file == str(damaged) else set()) == {days[0]: 5000}
    assert con.execute(told).fetchall() == [(days[0], 5000, None), (days[1], 0, True), (whole[-1], 0, True)]


OURS = [
    "kind",
    "row",
    "h",
    "kept",
    "content",
    "id",
    "version",
    "different",
    "seen",
    "known",
    "again",
    "day",
    "source",
    "judged",
]


@pytest.mark.parametrize("key", OURS)
def test_a_feed_may_call_its_columns_as_queries_call_their_own(con, key):
    contract = {name: {"type": "integer"} for name in OURS} | {"told": {"type": "timestamp"}}
    declared = declare(contract, id=key, known_at="told")
    noon = dt.datetime(2024, 3, 10, 12)
    told = [noon, noon, noon, noon + dt.timedelta(hours=1)]
    values = {name: [1, 1, 2, 2] for name in OURS}
    delivered = pa.table(values | {"at": [noon] * 4, "told": told})
    con.register("delivered_rows", delivered)
    columns = {row[0]: row[1] for row in con.execute("DESCRIBE delivered_rows").fetchall()}
    query = "SELECT *, 'file' AS _source, NULL::VARCHAR AS _line FROM delivered_rows"
    landed = landing.land(con, declared, [Delivery(query, columns, ("file",), Period(DAY, DAY))], [DAY], TODAY)
    judgement = validation.judge(con, declared, validation.Inputs(landed.rows, landed.deliveries), [DAY])
    (verdict,) = judgement.verdicts
    rows = con.sql(rows_to_validate(declared, landed.rows)).to_arrow_table()
    judged = validate(declared, rows, validation.read_arrivals(con, landed.deliveries), [DAY], [], ())
    assert [failure.rule.kind for one in judged for failure in one.failures] == ["once"]
    assert (verdict.accepted, verdict.duplicates, verdict.superseded, verdict.broken) == (2, 1, 1, {})
    assert con.execute(f'SELECT "{key}" FROM {judgement.accepted} ORDER BY 1').fetchall() == [(1,), (2,)]
    superseded = con.execute(f'SELECT "{key}", superseded_at FROM {judgement.superseded}').fetchall()
    assert superseded == [(2, noon + dt.timedelta(hours=1))]
    assert con.execute(f"SELECT count(*) FROM {judgement.quarantined}").fetchall() == [(0,)]
