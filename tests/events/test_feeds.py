"""Is what stands in a feed's files what lands, whatever the files are called, how they are written and what their columns are called?

What cannot be read says why, and takes no other file with it. Each is read as pyarrow and pandas read it.
"""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import math
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory_assets.declarations import periods
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing, sources
from factory_assets.events.contract import validation

DAY = dt.date(2024, 3, 10)
DAYS = [DAY + dt.timedelta(days=offset) for offset in range(3)]
TODAY = dt.date(2024, 12, 31)
HEADER, LINES = (
    "id,at,note",
    ["1,2024-03-10 05:00,a", '2,2024-03-10 06:00,"b, ""c"""', '3,2024-03-10 07:00,"two\r\nlines"'],
)
NOTES = ["a", 'b, "c"', "two\r\nlines"]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


def declare(source: dict[str, Any], columns: dict[str, Any] | None = None, **stream: Any) -> DeclaredStream:
    known = {"id": {"type": "integer"}, "at": {"type": "timestamp"}, **(columns or {})}
    more = {"id": "id", "event_time": "at", "start": DAY} | stream
    return DeclaredStream(
        Stream.model_validate(
            {"name": "orders", "owner": "team:x", "description": "Orders.", "source": source, **more}
        ),
        Contract.model_validate({"columns": known, "tolerance": 0.3}),
    )


def land(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: list[dt.date] = DAYS) -> list[dict[str, Any]]:
    """Raw rows, in the order of their days and ids."""
    landed = landing.land(con, declared, sources.deliveries(con, declared.stream, days), days, TODAY)
    return con.sql(f"SELECT * FROM {landed.rows} ORDER BY ds, {declared.stream.id}").to_arrow_table().to_pylist()


def told(con: duckdb.DuckDBPyConnection) -> dict[dt.date, str]:
    """Day -> the problem of its delivery."""
    return dict(con.execute("SELECT ds, problem FROM deliveries WHERE problem IS NOT NULL ORDER BY ds").fetchall())


def text(end: str = "\n", last: str = "\n", header: str = HEADER) -> bytes:
    return (end.join([header, *LINES]) + last).encode()


def rows_at(*times: str) -> str:
    """A file with rows 1, 2, 3 ... of these times."""
    return "id,at\n" + "".join(f"{number},{at}\n" for number, at in enumerate(times, 1))


# --- what files are called ---------------------------------------------------------------------------------------------

NAMES = [
    "a[1]",
    "a1",
    "b?",
    "bx",
    "c*",
    "cc",
    "d]",
    "[!x]",
    "x",
    "{e}",
    "it's",
    'q"q',
    "back\\slash",
    "sp ace",
    "%41",
    "n=5",
    "ü",
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_read_once_whatever_it_is_called(con, kind: str, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        place = tmp_path / name / f"{name}.{kind}"
        place.parent.mkdir()
        table = pa.table({"id": [number], "at": [dt.datetime(2024, 3, 10, 5)]})
        if kind == "csv":
            table.to_pandas().to_csv(place, index=False)
        else:
            pq.write_table(table, place)
    rows = land(con, declare({"kind": kind, "uri": f"{tmp_path}/*/*.{kind}"}))
    assert [row["id"] for row in rows] == [*range(len(NAMES))] and told(con) == {}
    assert [row["_source"] for row in rows] == [f"{tmp_path}/{name}/{name}.{kind}" for name in NAMES]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_s_name_gives_a_column_that_its_files_lack_and_hides_none(con, kind: str, tmp_path: Path) -> None:
    for place, hour in (
        (tmp_path / "at=2024-03-10" / "n=5" / "region=S%C3%A3o Paulo", 8),
        (tmp_path / "at=2024-03-10" / "n=7", 9),
    ):
        place.mkdir(parents=True)
        table = pa.table({"id": [hour], "at": [dt.datetime(2024, 3, 10, hour, 15)], "n": [7]})
        if kind == "csv":
            table.to_pandas().to_csv(place / "p.csv", index=False)
        else:
            pq.write_table(table, place / "p.parquet")
    declared = declare(
        {"kind": kind, "uri": f"{tmp_path}/at={{day}}/**/*.{kind}"},
        {"n": {"type": "integer"}, "region": {"type": "string", "nullable": True, "required": False}},
    )
    first, second = land(con, declared)
    assert [row["at"] for row in (first, second)] == [dt.datetime(2024, 3, 10, 8, 15), dt.datetime(2024, 3, 10, 9, 15)]
    assert [(row["n"], row["region"]) for row in (first, second)] == [(7, "São Paulo"), (7, None)]
    notes = con.execute("SELECT note FROM deliveries WHERE note IS NOT NULL").fetchall()
    assert (
        len(notes) == 1
        and "n=5" in notes[0][0]
        and "gives another n than 1 row in it, whose own is taken" in notes[0][0]
    )
    assert first["_undeclared"] is None


def test_a_file_of_a_month_holds_its_days_and_a_row_of_another_month_is_set_aside(con, tmp_path: Path) -> None:
    (tmp_path / "trips_2024-03.csv").write_text(
        rows_at("2024-03-10 05:00", "2024-03-31 23:59", "2024-04-01 00:00", "2024-02-29 01:00")
    )
    (tmp_path / "trips_2024-04.csv").write_text("id,at\n5,2024-04-01 00:00\n")
    declared = declare({"kind": "csv", "uri": f"{tmp_path}/trips_{{month}}.csv"})
    days = [DAY + dt.timedelta(days=offset) for offset in range(30)]
    rows = {row["id"]: row["ds"] for row in land(con, declared, days)}
    last = dt.date(2024, 3, 31)
    assert rows == {1: DAY, 2: last, 3: last, 4: last, 5: dt.date(2024, 4, 1)}
    assert [*told(con)] == [day for day in days if day <= last], "more rows than are tolerated have no day of March"
    assert "in 2024-03-01 to 2024-03-31 in 2 of 4 rows" in told(con)[DAY]
    of_days = sources.fingerprint(declared.stream, days)
    assert len({*of_days.values()}) == 2 and of_days[DAY] == of_days[last] != of_days[days[-1]]
    assert sources.fingerprint(declared.stream, [dt.date(2024, 5, 1)]) == {dt.date(2024, 5, 1): sources.ABSENT}


def test_rows_before_the_first_day_and_after_the_last_are_counted_with_their_file(con, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        rows_at("2008-01-01 00:00", "2024-03-10 05:00", "2024-03-12 05:00", "2024-03-13 05:00", "2024-03-14 00:00")
    )
    rows = land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*.csv"}, end=DAYS[-1]))
    assert [row["id"] for row in rows] == [2, 3]
    counted = con.execute("SELECT ds, rows, outside FROM deliveries ORDER BY ds").fetchall()
    assert counted == [(DAYS[0], 1, 1), (DAYS[2], 1, 2)]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a-{day}.csv", "a-2024-03-10.csv"),
        ("{day:%Y/%m/%d}/*.csv", "2024/03/10/*.csv"),
        ("{year}/{day:%j}.csv", "2024/070.csv"),
        ("{month:%Y%m}.csv", "202403.csv"),
        ("{year}.csv", "2024.csv"),
        ("all.csv", "all.csv"),
    ],
)
def test_a_placeholder_stands_for_a_period(uri: str, expected: str) -> None:
    assert periods.name(periods.check(uri), DAY) == expected


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("{hour}.csv", "{hour} is no placeholder; allowed: {day}, {month}, {year}"),
        ("{}.csv", "{} is no placeholder"),
        ("{day:%H}.csv", "{day:%H} has a format that is none; allowed: %Y"),
        ("{day:x}.csv", "{day:x} has a format that is none"),
        ("{day:%m%d}/x.csv", "names one file for 2023-12-01 and 2024-12-01"),
        ("{month:%m}.csv", "names one file for"),
        ("{month:%Y-%m-%d}.csv", "names two files for 2023-12-01 to 2023-12-31"),
    ],
)
def test_a_placeholder_that_is_none_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|format|names") as refused:
        periods.check(uri)
    assert message in str(refused.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("folder", "region"),
    [
        ("region=EU/region=US", "US"),
        ("region=%ff", "%ff"),
        ("region=100%", "100%"),
        ("region=%C3%BC", "ü"),
        ("region=", ""),
    ],
)
def test_both_kinds_read_the_same_of_a_folder_s_name(
    con, kind: str, folder: str, region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(folder)
    place.mkdir(parents=True)
    table = pa.table({"id": [1], "at": [dt.datetime(2024, 3, 10, 5)]})
    if kind == "csv":
        table.to_pandas().to_csv(place / "a.csv", index=False)
    else:
        pq.write_table(table, place / "a.parquet")
    column = {"region": {"type": "string", "nullable": True, "required": False}}
    for uri in (f"*/**/*.{kind}", f"{tmp_path}/**/*.{kind}"):
        (row,) = land(con, declare({"kind": kind, "uri": uri}, column))
        assert row["region"] == region and told(con) == {}


# --- how text is written -----------------------------------------------------------------------------------------------

READ = {
    "as it is": text(),
    "Windows": text("\r\n", "\r\n"),
    "old Mac": text("\r", "\r").replace(b"two\r\nlines", b"two\r\nlines"),
    "last line apart": text("\r\n", "\n"),
    "header apart": text("\n").replace(b"note\n", b"note\r\n", 1),
    "no end": text("\n", ""),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "two marks": b"\xef\xbb\xbf\xef\xbb\xbf" + text(),
    "gzip": gzip.compress(text()),
    "bz2": bz2.compress(text()),
    "two gzips": gzip.compress(text()[:30]) + gzip.compress(text()[30:]),
    "trailing delimiters": b"\n".join(
        line + b"," for line in text().replace(b"two\r\nlines", b"two").split(b"\n") if line
    )
    + b"\n",
    "rows that end with a delimiter": text().replace(b",a\n", b",a,\n"),
    "blank lines": text("\n\n", "\n\n\n"),
}


@pytest.mark.parametrize("how", READ)
def test_text_is_read_where_there_is_one_way_to(con, how: str, tmp_path: Path) -> None:
    (tmp_path / "a-2024-03-10.csv").write_bytes(READ[how])
    rows = land(con, declare({"kind": "csv", "uri": f"{tmp_path}/a-{{day}}.csv"}, {"note": {"type": "string"}}))
    assert told(con) == {} and [row["id"] for row in rows] == [1, 2, 3]
    expected = [*NOTES[:2], "two"] if how == "trailing delimiters" else NOTES
    assert [row["note"] for row in rows] == expected
    assert {row["_line"] for row in rows} == {row["_undeclared"] for row in rows} == {None}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "shift_jis", "utf-8-sig", "cp037"])
def test_a_declared_encoding_is_read(con, encoding: str, tmp_path: Path) -> None:
    word = "カフェ" if encoding == "shift_jis" else "café €"[: 4 if encoding in ("latin-1", "cp037") else 6]
    for end in ("\n", "\r\n"):
        content = end.join(["id,at,note", f'1,2024-03-10 05:00,"{word}"', "2,2024-03-10 06:00,x"])
        (tmp_path / "a.csv").write_bytes(content.encode(encoding))
        source = {"kind": "csv", "uri": f"{tmp_path}/*.csv", "encoding": encoding}
        rows = land(con, declare(source, {"note": {"type": "string"}}))
        assert [row["note"] for row in rows] == [word, "x"] and {row["_source"] for row in rows} == {
            f"{tmp_path}/a.csv"
        }


def test_a_comment_is_left_out_where_it_is_declared(con, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# made today\nid,at\n1,2024-03-10 05:00\n# the end\n")
    assert [row["id"] for row in land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*.csv", "comment": "#"}))] == [1]


#: First lines of what has no second one, and no column of the stream.
STRAY = {
    "a page": b"<html><body>503 Service Unavailable</body></html>\n",
    "a record": b'{"id": 1, "at": "2024-03-10"}\n',
    "one long line": b"x" * 5000,
    "zeros": bytes(600),
    "other names alone": b"nr,when\n",
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_without_rows_that_is_none_of_the_stream_is_told(con, kind: str, tmp_path: Path) -> None:
    source, header = {"kind": kind, "uri": f"{tmp_path}/*"}, pa.table({"id": [1], "at": [dt.datetime(2024, 3, 10, 5)]})
    if kind == "csv":
        (tmp_path / "a.csv").write_text("id,at\n1,2024-03-10 05:00\n")
        (tmp_path / "no rows.csv").write_text("id,at\n")
        (tmp_path / "no byte.csv").write_text("")
    else:
        pq.write_table(header, tmp_path / "a.parquet")
        pq.write_table(header[:0], tmp_path / "no rows.parquet")
    assert [row["id"] for row in land(con, declare(source, end=DAYS[-1]))] == [1] and told(con) == {}
    for what, content in STRAY.items() if kind == "csv" else [("other names alone", b"")]:
        if kind == "csv":
            (tmp_path / "stray").write_bytes(content)
        else:
            pq.write_table(header[:0].rename_columns(["nr", "when"]), tmp_path / "stray")
        assert [row["id"] for row in land(con, declare(source, end=DAYS[-1]))] == [1], what
        (problem,) = told(con).values()
        assert problem.startswith("has no rows, and the file lacks 'at', 'id'; it has ") and len(problem) < 400, what


def test_where_the_event_time_is_derived_the_column_that_it_is_made_of_is_named(con, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,when\n1,2024-03-10 05:00\n")
    derive = {"noon": "date_trunc('day', at)", "shifted": "noon + interval 1 hour"}
    land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*"}, derive=derive, event_time="shifted", end=DAYS[-1]))
    assert "the file lacks 'at'; it has 'when', which the contract does not know" in told(con)[DAYS[-1]]


REFUSED = {
    "latin-1": ("id,at,note\n1,2024-03-10 05:00,a\n2,2024-03-10 05:00,é\n".encode("latin-1"), "is not utf-8 in line 3: declare"),
    "utf-16": (text().decode().encode("utf-16"), "is not utf-8 but, by its first bytes, utf-16: declare"),
    "zip": (b"PK\x03\x04" + bytes(30), "is a zip archive, no text"),
    "xz": (b"\xfd7zXZ\x00" + bytes(30), "is an xz archive, no text"),
    "utf-32": (text().decode().encode("utf-32"), "is not utf-8 but, by its first bytes, utf-32: declare"),
    "a database": (b"SQLite format 3\x00" + bytes(90), "is a SQLite database, no text"),
    "parquet": (b"PAR1" + bytes(30), "is a Parquet file, no text"),
    "cut gzip": (gzip.compress(random.Random(1).randbytes(9000).hex().encode())[:-2000], "Truncated compressed stream"),
    "values without a column": (b"id,at,\n1,2024-03-10 05:00,x\n", "has values in 1 rows of its last column, which has no name"),
    "comment": (b"# made today\n" + text(), "the file lacks"),
    "other names": (b"nr,when,new\n1,2024-03-10 05:00,a\n", "lacks 'at', 'id', 'note'; it has 'nr', 'when', 'new'"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_cannot_be_read_says_why_and_takes_no_other_file_with_it(con, how: str, tmp_path: Path) -> None:
    content, message = REFUSED[how]
    (tmp_path / "a.csv").write_bytes(text())
    (tmp_path / "b.csv").write_bytes(content)
    columns = {"note": {"type": "string", "nullable": True, "required": False}}
    rows = land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*.csv"}, columns, end=DAYS[-1]))
    assert [row["id"] for row in rows if row["_source"].endswith("a.csv")] == [1, 2, 3]
    assert message in " ".join(told(con).values())


def test_an_encoding_that_is_none_is_refused() -> None:
    for name in ("klingon", "base64", "rot13"):
        with pytest.raises(ValueError, match="is no encoding of text"):
            declare({"kind": "csv", "uri": "x.csv", "encoding": name})


# --- what columns are called -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_of_a_feed_may_have_any_name(con, kind: str, tmp_path: Path) -> None:
    odd = {
        "_line": "x",
        "_source": "y",
        "_LINE": "z",
        "source": "s",
        "PM2.5": "4.5",
        "pm25": "mine",
        "pm25 of the feed": "theirs",
        "_source of the feed": "v",
        "_source OF THE FEED of the feed": "w",
        'a "b"': "q",
        "it's": "p",
    }
    names = [name for name in odd if name != "_LINE"]
    table = pa.table({"id": [1], "at": [dt.datetime(2024, 3, 10, 5)], **{name: [odd[name]] for name in names}})
    if kind == "csv":
        table.to_pandas().to_csv(tmp_path / "a.csv", index=False)
    else:
        pq.write_table(table, tmp_path / "a.parquet")
    declared = declare(
        {"kind": kind, "uri": f"{tmp_path}/*.{kind}"},
        {"pm25": {"type": "double", "delivered": "PM2.5"}, "line": {"type": "string", "delivered": "_line"}},
    )
    (row,) = land(con, declared)
    assert (row["pm25"], row["line"], row["_line"], row["_source"]) == (4.5, "x", None, f"{tmp_path}/a.{kind}")
    ours = ("_LINE", "_line", "PM2.5", "pm25")
    rest = {name: value for name, value in odd.items() if name not in ours}
    rest["pm25 of the feed of the feed"] = "mine"
    assert json.loads(row["_undeclared"]) == rest
    delivered = con.execute("SELECT columns FROM deliveries").fetchall()
    assert {*json.loads(delivered[0][0])} == {"id", "at", "pm25", "line", *rest}


def test_a_column_that_differs_in_case_alone_from_what_another_is_called_keeps_its_value(con, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,at,PM2.5,PM25\n1,2024-03-10 05:00,4.5,mine\n")
    columns = {"pm25": {"type": "double", "delivered": "PM2.5"}}
    (row,) = land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*.csv"}, columns))
    assert (row["pm25"], row["_undeclared"]) == (4.5, '{"PM25 of the feed":"mine"}')


@pytest.mark.parametrize(
    ("kind", "message"),
    [("csv", "every column name once"), ("parquet", "differ in case alone, or not at all: 'Dept', 'dept'")],
)
def test_columns_that_differ_in_case_alone_are_told(con, kind: str, message: str, tmp_path: Path) -> None:
    table = pa.table({"id": [1], "at": [dt.datetime(2024, 3, 10, 5)], "Dept": [1], "dept": [2], "x_1": [3]})
    if kind == "csv":
        table.to_pandas().to_csv(tmp_path / "a.csv", index=False)
    else:
        pq.write_table(table, tmp_path / "a.parquet")
    assert land(con, declare({"kind": kind, "uri": f"{tmp_path}/*.{kind}"})) == []
    assert message in told(con)[DAYS[-1]]


def test_two_columns_of_the_contract_are_not_one_of_the_feed() -> None:
    with pytest.raises(ValueError, match="columns 'x' and 'y' are both delivered as 'x'"):
        declare({"kind": "csv", "uri": "x"}, {"x": {"type": "integer"}, "y": {"type": "integer", "delivered": "x"}})


@pytest.mark.parametrize("name", ["rowid", "ROWID", "last", "event_day", "filename", "source", "number", "_was"])
def test_a_line_has_its_number_whatever_columns_the_feed_has(con, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"at,{name}\n2024-03-10 05:00,1\n2024-03-10 06:00,0\n,2\n")
    without_id = {"id": {"type": "integer", "nullable": True, "required": False}}
    source = {"kind": "csv", "uri": f"{tmp_path}/*.csv"}
    rows = land(con, declare(source, without_id, id={"file_line": True}, end=DAY), [DAY])
    assert [row["_file_line"] for row in rows] == ["a.csv:2", "a.csv:3", "a.csv:4"]
    assert [row["_undeclared"] for row in rows] == [f'{{"{name}":"{value}"}}' for value in (1, 0, 2)]


@pytest.mark.parametrize(
    "name", ["last", "h", "row", "kind", "kept", "content", "known", "seen", "source", "version", "line"]
)
def test_columns_of_a_contract_may_have_names_that_the_code_uses(con, name: str, tmp_path: Path) -> None:
    lines = ["1,2024-03-10 05:00,7", "1,2024-03-10 05:00,7", "2,,8", "3,2024-03-10 06:00,9"]
    (tmp_path / "a.csv").write_text("\n".join([f"id,at,{name}", *lines]))
    columns, cleanse = {name: {"type": "integer"}}, {"bounds": {"column": name, "clip": [0, 100]}}
    declared = declare({"kind": "csv", "uri": f"{tmp_path}/*.csv"}, columns, cleanse=cleanse, end=DAY)
    assert declared.check() == [] and [row[name] for row in land(con, declared, [DAY])] == [7, 7, 8, 9]
    con.execute("CREATE TABLE rows_of_day AS SELECT * FROM landed").fetchall()
    judged = validation.judge(con, declared, validation.Inputs("rows_of_day", "deliveries"), [DAY])
    (verdict,) = judged.verdicts
    assert (verdict.rows, verdict.accepted, verdict.duplicates, sum(verdict.quarantined.values())) == (4, 2, 1, 1)
    assert con.sql(f"SELECT {name} FROM {judged.accepted} ORDER BY ALL").fetchall() == [(7,), (9,)]


@pytest.mark.parametrize("name", ["rowid", "RowId", "DS", "Event_Time", "KNOWN_AT", "_cleansed", "_WAS", "Rule"])
def test_a_column_with_a_name_of_our_own_tables_is_refused_in_whatever_case(name: str) -> None:
    source, column = {"kind": "csv", "uri": "x.csv"}, {name: {"type": "timestamp"}}
    told = f"column {name!r} has a name that the factory uses; give it another, with `delivered: {name}`"
    for role in ({}, {"event_time": name}, {"known_at": name}):
        assert (("contract",), told) in declare(source, column, **role).check()
    own = declare(source, {"event_time": {"type": "timestamp"}}, event_time="event_time")
    assert own.check() == []
    derived = declare(source, derive={name: "id + 1"}).check()
    assert (("derive", name), f"{name!r} is a name that the factory uses; give it another") in derived


# --- what values are ----------------------------------------------------------------------------------------------------

#: Type -> text in a file -> value; None where it is no value of the type. Times are read in a stream of Tokyo.
TEXTS: dict[str, dict[str, Any]] = {
    "integers": {
        "[1, 2]": [1, 2], "[ 7 , null]": [7, None], "[3.0]": [3], "[]": [], "[1.5, 2]": None, "[1, x]": None, "[true]": None,
        "[1,,2]": None, "[1e3]": None, "[0x1F]": None, "[1_000]": None, "[9223372036854775808]": None, "7": None,
    },
    "doubles": {"[1.5, 2]": [1.5, 2.0], "[null]": [None], "[nan]": None, "[1e400]": None, "[a]": None, "[[1]]": None},
    "strings": {"[a, b]": ["a", "b"], "['a, b', c]": ["a, b", "c"], "a": None},
    "date": {
        "2024-03-10": dt.date(2024, 3, 10), "2024/3/1": dt.date(2024, 3, 1), "2024-03-10 23:30": dt.date(2024, 3, 10),
        "2024-03-10 23:30:00+00:00": dt.date(2024, 3, 11), "2024-03-10T23:30:00Z": dt.date(2024, 3, 11),
        "10-03-24": None, "24-03-10": None, "10/03/24": None, "1-2-3": None, "epoch": None, "infinity": None,
        "2024-03-10 05:00 PM": None, "2024-03-10 05:00:00 junk": None, "2024-02-30": None, "290000-01-01": None,
    },
    "timestamp": {
        "2024-03-10": dt.datetime(2024, 3, 10), "2024-03-10T05:00:00Z": dt.datetime(2024, 3, 10, 14),
        "10-03-24 05:00": None, "10-03-24": None, "10-03-24 05:00:00+00:00": None, "epoch": None, "-infinity": None,
        "2024-03-10 05:00 PM": None, "2024-03-10 05:00 Mars/Olympus": None,
        "2024-03-10 05:00+99:00": None, "2024-03-10 05:00:00-1600": None, "2024-03-10 05:00+14:00": dt.datetime(2024, 3, 10),
        "2024-03-10 05:00 Etc/GMT+12": dt.datetime(2024, 3, 11, 2),
        "2024-03-10 05:00:00.5-12": dt.datetime(2024, 3, 11, 2, 0, 0, 500000),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_the_value_that_it_says_or_is_kept_as_text(con, kind: str, tmp_path: Path) -> None:
    texts = TEXTS[kind]
    lines = [f"{number}|2024-03-11 12:00|{written}" for number, written in enumerate(texts)]
    (tmp_path / "a.csv").write_text("\n".join(["id|at|x", *lines]))
    source = {"kind": "csv", "uri": f"{tmp_path}/*.csv", "delimiter": "|"}
    rows = land(con, declare(source, {"x": {"type": kind, "nullable": True}}, timezone="Asia/Tokyo"))
    assert {written: row["x"] for written, row in zip(texts, rows, strict=True)} == texts
    for row, (written, value) in zip(rows, texts.items(), strict=True):
        assert row["_unparsed"] == (json.dumps({"x": written}, separators=(",", ":")) if value is None else None)


@pytest.mark.parametrize("kind", ["date", "timestamp"])
@pytest.mark.parametrize("word", ["infinity", "-infinity", "epoch", "now", "today"])
def test_a_word_is_no_time_of_any_format(con, kind: str, word: str, tmp_path: Path) -> None:
    """DuckDB takes three of them for the first of January 1900."""
    (tmp_path / "a.csv").write_text(f"id,at,x\n1,2024-03-10 05:00,{word}\n2,2024-03-10 05:00,10/03/2024\n")
    column = {"type": kind, "format": "%d/%m/%Y", "nullable": True}
    first, second = land(con, declare({"kind": "csv", "uri": f"{tmp_path}/*.csv"}, {"x": column}))
    assert (first["x"], first["_unparsed"]) == (None, json.dumps({"x": word}, separators=(",", ":")))
    assert str(second["x"])[:10] == "2024-03-10" and second["_unparsed"] is None


# --- what Parquet holds ------------------------------------------------------------------------------------------------

MOMENT = dt.datetime(2024, 3, 10, 23, 30, 0, 123000)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "+05:30"])
def test_a_time_of_every_unit_and_zone_is_the_same_moment(con, unit: str, zone: str | None, tmp_path: Path) -> None:
    moment = MOMENT.replace(microsecond=0) if unit == "s" else MOMENT
    stamps = pa.array([pd.Timestamp(moment, tz="UTC" if zone else None)], pa.timestamp(unit, zone))
    pq.write_table(pa.table({"id": [1], "at": stamps, "day": stamps}), tmp_path / "a.parquet")
    declared = declare(
        {"kind": "parquet", "uri": f"{tmp_path}/*.parquet"}, {"day": {"type": "date"}}, timezone="Asia/Tokyo"
    )
    (row,) = land(con, declared)
    # A time without a zone is the clock of the stream's.
    clock = moment + dt.timedelta(hours=9) if zone else moment
    assert (row["at"], row["day"], row["_unparsed"]) == (clock, clock.date(), None)


ARRAYS: dict[str, tuple[str, pa.Array, list[Any]]] = {
    "uint64": ("integer", pa.array([0, 2**63 - 1, 2**63], pa.uint64()), [0, 2**63 - 1, None]),
    "int8": ("integer", pa.array([-128, None, 127], pa.int8()), [-128, None, 127]),
    "decimal": ("integer", pa.array([Decimal("7.00"), Decimal("7.50"), None], pa.decimal128(10, 2)), [7, None, None]),
    "half": ("double", pa.array([1.5, None, 2.0]).cast(pa.float16()), [1.5, None, 2.0]),
    "dictionary": ("string", pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "large text": ("string", pa.array(["é" * 70_000, "", None], pa.large_string()), ["é" * 70_000, "", None]),
    "flags": ("boolean", pa.array([True, None, False]), [True, None, False]),
    "days": (
        "date",
        pa.array([dt.date(1969, 12, 31), None, dt.date(9999, 12, 31)]),
        [dt.date(1969, 12, 31), None, dt.date(9999, 12, 31)],
    ),
    "lists": ("strings", pa.array([["a", "b"], None, []]), [["a", "b"], None, []]),
    "decimals in lists": (
        "integers",
        pa.array([[Decimal("1.50")], [Decimal("2.00"), None], None], pa.list_(pa.decimal128(10, 2))),
        [None, [2, None], None],
    ),
    "texts in lists": ("integers", pa.array([["1.5"], ["2"], ["x"]]), [None, [2], None]),
    "large numbers in lists": ("integers", pa.array([[2**63], [1], None], pa.list_(pa.uint64())), [None, [1], None]),
    "lists in lists": ("doubles", pa.array([[[1.0]], None, []]), [None, None, []]),
    "numbers in lists": ("strings", pa.array([[1], [None], None]), [["1"], [None], None]),
    "structures": ("integers", pa.array([{"a": 1}, None, None]), [None, None, None]),
    "whole text": ("integer", pa.array(["12.0", "12.5", " 7 "]), [12, None, 7]),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_a_cell_is_what_pyarrow_reads_or_its_text_is_kept(con, what: str, tmp_path: Path) -> None:
    kind, values, expected = ARRAYS[what]
    stamps = [dt.datetime(2024, 3, 10, 5)] * 3
    pq.write_table(pa.table({"id": [0, 1, 2], "at": stamps, "x": values}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [3], "at": stamps[:1]}), tmp_path / "b.parquet")
    column = {"type": kind, "nullable": True, "required": False}
    rows = land(con, declare({"kind": "parquet", "uri": f"{tmp_path}/*.parquet"}, {"x": column}))
    assert [row["x"] for row in rows] == [*expected, None]
    for row, delivered in zip(rows, values.to_pylist(), strict=False):
        assert (row["_unparsed"] is not None) == (row["x"] is None and delivered is not None)


# --- whatever a feed does ----------------------------------------------------------------------------------------------

PIECES = ["a", "é", "🚲", " ", "", "1.5", '"', '""', ",", "\r\n", "\n", "\r", "\t", "'", "\\", "#", ";"]


@pytest.mark.parametrize("seed", range(20))
def test_text_lands_cell_by_cell_as_python_reads_it(con, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    written = ["".join(rng.choices(PIECES, k=rng.randrange(5))) for _ in range(rng.choice([1, 7, 300]))]
    ends = rng.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"], ["\n", "\r\n", "\r"]])
    content = "\ufeff" * rng.randrange(3) + "id,at,note" + rng.choice(ends)
    for number, cell in enumerate(written):
        plain = not {*cell} & {*'",\r\n'} and rng.random() < 0.5
        content += f"{number},2024-03-10 05:00," + (cell if plain else '"' + cell.replace('"', '""') + '"')
        content += rng.choice(ends) if number < len(written) - 1 or rng.random() < 0.7 else ""
    encoding, packed = rng.choice(["utf-8", "utf-8", "utf-16"]), rng.choice([bytes, bytes, gzip.compress, bz2.compress])
    (tmp_path / f"odd [{seed}] {rng.choice(['x=1', '*'])}.csv").write_bytes(packed(content.encode(encoding)))
    source = {"kind": "csv", "uri": f"{tmp_path}/*.csv", "encoding": encoding}
    rows = land(con, declare(source, {"note": {"type": "string", "nullable": True}}))
    assert told(con) == {}
    assert [row["note"] for row in rows] == [cell or None for cell in written]
    assert {row["_line"] for row in rows} == {None}


#: Values of a column in a file, as pyarrow is given them.
DRAWN: dict[str, Callable[[random.Random], pa.Array]] = {
    **{
        str(kind): lambda rng, kind=kind: pa.array([rng.choice([0, 1, 7, 100, None]) for _ in range(5)], kind)
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.float32())
    },
    "int64": lambda rng: pa.array([rng.choice([0, -(2**63), 2**53 + 1, 2**63 - 1, None]) for _ in range(5)]),
    "uint64": lambda rng: pa.array([rng.choice([0, 2**53 + 1, 2**63, 2**64 - 1, None]) for _ in range(5)], pa.uint64()),
    "double": lambda rng: pa.array([rng.choice([0.5, 2.0, 1e300, 2.0**53 + 2, -0.0, math.nan, math.inf, None]) for _ in range(5)]),
    "decimal": lambda rng: pa.array(
        [rng.choice([Decimal("7.000"), Decimal("-0.125"), Decimal(2**60), None]) for _ in range(5)], pa.decimal128(30, 3)
    ),
    "text": lambda rng: pa.array(
        [rng.choice(["", "a", " 7 ", "12.0", "1e3", "true", "2024-03-10", "2024-03-10 23:59:59", "é🚲", None]) for _ in range(5)]
    ),
    "dictionary": lambda rng: DRAWN["text"](rng).dictionary_encode(),
    "flags": lambda rng: pa.array([rng.choice([True, False, None]) for _ in range(5)]),
    "days": lambda rng: pa.array([rng.choice([dt.date(1969, 12, 31), dt.date(2024, 2, 29), None]) for _ in range(5)]),
    **{
        f"time {unit} {zone}": lambda rng, unit=unit, zone=zone: pa.array(
            [rng.choice([dt.datetime(2024, 3, 10, 7, 30), dt.datetime(1969, 12, 31, 23, 59, 59), None]) for _ in range(5)],
            pa.timestamp(unit, zone),
        )
        for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "America/New_York")
    },
    "lists": lambda rng: pa.array([rng.choice([[1, 2], [], None]) for _ in range(5)], pa.list_(pa.int32())),
    "structures": lambda rng: pa.array([rng.choice([{"a": 1}, None]) for _ in range(5)], pa.struct([("a", pa.int8())])),
    "nothing": lambda rng: pa.nulls(5),
}  # fmt: skip


def same(kind: str, value: Any, delivered: Any) -> bool:
    """Whether a value of a kind is the one that was delivered, as Python compares the two."""
    if isinstance(delivered, str) and kind != "string":
        read: dict[str, Callable[[str], Any]] = {
            "integer": lambda text: int(Decimal(text)), "double": float, "boolean": lambda text: {"true": True}[text],
            "timestamp": dt.datetime.fromisoformat, "date": lambda text: dt.datetime.fromisoformat(text).date(),
        }  # fmt: skip
        return value == read[kind](delivered.strip())
    if isinstance(delivered, dt.datetime):
        delivered = delivered.astimezone(dt.UTC).replace(tzinfo=None) if delivered.tzinfo else delivered
        delivered = delivered.date() if kind == "date" else delivered
    elif isinstance(delivered, dt.date) and kind == "timestamp":
        delivered = dt.datetime.combine(delivered, dt.time())
    if kind == "string":
        return value == delivered if isinstance(delivered, str) else bool(value)
    return value == (float(delivered) if kind == "double" else delivered)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 20))])
def test_cells_of_any_parquet_files_are_what_pyarrow_reads_or_their_text_is_kept(
    con, seed: int, tmp_path: Path
) -> None:
    """Files whose column is of another type in each, in folders and under names of any kind, packed in any way."""
    rng = random.Random(seed)
    kind = ["integer", "double", "string", "boolean", "timestamp", "date"][seed % 6]
    delivered: list[Any] = []
    for number in range(rng.randrange(2, 6)):
        cells = DRAWN[rng.choice(sorted(DRAWN))](rng)
        columns: dict[str, Any] = {
            "id": pa.array(range(5 * number, 5 * number + 5)).cast(rng.choice([pa.int32(), pa.int64(), pa.float64(), pa.string()])),
            "at": pa.array([dt.datetime(2024, 3, 10, 5)] * 5, pa.timestamp(rng.choice(["s", "us", "ns"]), rng.choice([None, "UTC"]))),
            "x": cells,
            rng.choice(["_line", "a.b", "X y", "ds", "_source"]): pa.array([1.5] * 5),
        }  # fmt: skip
        lacks = rng.random() < 0.15
        delivered += [None] * 5 if lacks else cells.to_pylist()
        names = [name for name in rng.sample(sorted(columns), len(columns)) if name != "x" or not lacks]
        folder = tmp_path / rng.choice(["", "region=EU", "x=5", "[a]", "at=2020-01-01"])
        folder.mkdir(exist_ok=True)
        pq.write_table(
            pa.table({name: columns[name] for name in names}), folder / f"{number} {rng.choice(['*', '?', '[1]', 'ü'])}.parquet",
            compression=rng.choice(["none", "snappy", "zstd", "gzip"]), row_group_size=rng.choice([1, 3, 100]),
            use_dictionary=rng.random() < 0.5, version=rng.choice(["1.0", "2.4", "2.6"]), store_schema=rng.random() < 0.8,
        )  # fmt: skip
    column = {"type": kind, "nullable": True, "required": False}
    rows = land(con, declare({"kind": "parquet", "uri": f"{tmp_path}/**/*.parquet"}, {"x": column}))
    assert [int(row["id"]) for row in rows] == list(range(len(delivered)))
    for row, cell in zip(rows, delivered, strict=True):
        kept = json.loads(row["_unparsed"] or "{}")
        if row["x"] is None:
            # In a column of numbers NaN is what feeds write for a value that is absent.
            assert cell in (None, "") or cell != cell or "x" in kept, (kind, cell)
        elif cell is not None:
            assert same(kind, row["x"], cell), (kind, row["x"], cell)
