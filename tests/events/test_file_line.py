"""Is each line of a file an event of its own, with an id that stays as long as the file does?"""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing, sources
from factory_assets.events.contract import validation
from factory_assets.events.contract.expectations import rows_to_validate, validate

CASE = Path(__file__).parents[3] / "shared" / "cases" / "right" / "no_id_column" / "lines.csv"
DAY = dt.date(2024, 3, 1)
COLUMNS: dict[str, Any] = {
    "at": {"type": "date"},
    "what": {"type": "string", "nullable": True},
    "n": {"type": "integer"},
}
HEADER = "at,what,n\n"


def declared(uri: Path | str, columns: dict[str, Any] | None = None, **more: Any) -> DeclaredStream:
    kind = "parquet" if str(uri).endswith("parquet") else "csv"
    source = {"kind": kind, "uri": str(uri)} | more.pop("source", {})
    own = {"name": "s", "owner": "team:x", "description": "S.", "source": source, "id": {"file_line": True}}
    stream = Stream.model_validate(own | {"event_time": "at", "start": DAY, "end": DAY} | more)
    found = DeclaredStream(stream, Contract.model_validate({"tolerance": 0.9, "columns": columns or COLUMNS}))
    assert found.check() == []
    return found


def events(
    of: DeclaredStream, days: tuple[dt.date, ...] = (DAY,)
) -> tuple[list[tuple[Any, ...]], validation.DayVerdict]:
    """Ids and numbers of the day's events, and the verdict; Great Expectations finds no other."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        landed = landing.land(con, of, sources.deliveries(con, of.stream, days), days, dt.date(2026, 1, 1))
        inputs = validation.Inputs(landed.rows, landed.deliveries)
        judgement = validation.judge(con, of, inputs, days)
        rows = con.sql(rows_to_validate(of, inputs.raw)).to_arrow_table()
        judged = validate(of, rows, validation.read_arrivals(con, inputs.deliveries), days, [], ())
        broken = {failure.rule.name: failure.count for one in judged for failure in one.failures if failure.count}
        assert broken == judgement.verdicts[0].broken
        names = "_file_line, n" if "n" in of.contract.columns else "_file_line"
        return con.execute(
            f"SELECT {names} FROM accepted ORDER BY length(_file_line), 1"
        ).fetchall(), judgement.verdicts[0]


def ids(of: DeclaredStream) -> list[tuple[Any, ...]]:
    return events(of)[0]


@pytest.mark.skipif(not CASE.exists(), reason="the cases are not beside the repository (../shared)")
def test_two_equal_lines_of_an_invoice_are_two_events() -> None:
    columns = {"InvoiceNo": "integer", "StockCode": "string", "Quantity": "integer", "InvoiceDate": "timestamp"}
    columns |= {"UnitPrice": "double", "CustomerID": "integer"}
    days = {"event_time": "InvoiceDate", "start": dt.date(2011, 1, 3), "end": dt.date(2011, 1, 3)}
    of = declared(CASE, {name: {"type": kind} for name, kind in columns.items()}, **days)
    found, verdict = events(of, (dt.date(2011, 1, 3),))
    assert found == [(f"lines.csv:{line}",) for line in range(2, 8)]
    assert (verdict.rows, verdict.accepted, verdict.duplicates, verdict.quarantined) == (6, 6, 0, {})


@pytest.mark.parametrize(
    ("text", "lines", "broken"),
    [
        ("2024-03-01,a,1\n2024-03-01,a,1\n", [2, 3], 0),
        ("\n2024-03-01,a,1\n\n\n2024-03-01,a,2", [3, 6], 0),
        ('2024-03-01,"a\nb\n",1\n2024-03-01,a,2\n', [2, 5], 0),
        ("2024-03-01,a,1\n2024-03-01\n2024-03-01,a,2\n", [2, 4], 1),
        ('2024-03-01,"a\n",1\n\n2024-03-01\n2024-03-01,"b\n\n",2\n2024-03-01,c,3,4\n2024-03-01,d,4\n', [2, 6, 10], 2),
        ('2024-03-01,5" pipe,1\n2024-03-01,7" pipe,2\n', [2, 3], 0),
        ("2024-03-01,é\u2028x,1\n2024-03-01,a,2\n", [2, 3], 0),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_id_of_a_row_is_its_file_and_the_line_with_which_it_begins(
    tmp_path: Path, text: str, lines: list[int], broken: int, ends: str
) -> None:
    (tmp_path / "feed.csv").write_bytes((HEADER + text).replace("\n", ends).encode())
    found, verdict = events(declared(tmp_path / "feed.csv"))
    assert [name for name, _ in found] == [f"feed.csv:{line}" for line in lines]
    assert sum(verdict.quarantined.values()) == broken and verdict.duplicates == 0


def test_comments_other_encodings_and_line_ends_that_are_mixed_keep_the_numbers_of_the_file(tmp_path: Path) -> None:
    text = "#first\nat,what,n\r\n#second\r\n2024-03-01,é,1\n\n2024-03-01,é,2\r\n"
    (tmp_path / "feed.csv").write_bytes(text.encode("latin-1"))
    of = declared(tmp_path / "feed.csv", source={"encoding": "latin-1", "comment": "#"})
    assert ids(of) == [("feed.csv:4", 1), ("feed.csv:6", 2)]


def test_a_line_of_a_table_of_one_column_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("at\n2024-03-01\n\n2024-03-01\n")
    found, _ = events(declared(tmp_path / "feed.csv", {"at": {"type": "date", "nullable": True}}))
    assert found == [("feed.csv:2",), ("feed.csv:4",)]


def test_the_file_is_named_within_its_feed_so_that_a_feed_can_move(tmp_path: Path) -> None:
    for folder in ("one/x=1", "one/x=2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part.csv").write_text(f"{HEADER}2024-03-01,a,{folder[-1]}\n")
    expected = [("x=1/part.csv:2", 1), ("x=2/part.csv:2", 2)]
    assert ids(declared(tmp_path / "one/*/part.csv")) == expected
    assert ids(declared(tmp_path / "one/**/*.csv")) == expected
    shutil.move(tmp_path / "one", tmp_path / "elsewhere [1]")
    assert ids(declared(f"{tmp_path}/elsewhere [[]1]/x=*/part.csv".replace("[[]1]", "?1?"))) == [
        (f"elsewhere [1]/{name}", number) for name, number in expected
    ]
    (tmp_path / "2024-03-01").mkdir()
    (tmp_path / "2024-03-01" / "a.csv").write_text(f"{HEADER}2024-03-01,a,1\n")
    assert ids(declared(tmp_path / "{day}" / "*.csv")) == [("2024-03-01/a.csv:2", 1)]


@pytest.mark.parametrize("more", ["", ", 7 AS file_row_number", ", 7 AS File_Row_Number"])
def test_rows_of_parquet_are_counted_from_one_in_each_file(tmp_path: Path, more: str) -> None:
    for name, first in (("a", 1), ("b", 4)):
        rows = f"SELECT DATE '2024-03-01' AS at, 'x' AS what, range AS n{more} FROM range({first}, {first} + 3)"
        duckdb.sql(f"COPY ({rows}) TO '{tmp_path}/{name}.parquet'")
    expected = [(f"{name}.parquet:{row}", n) for name, row, n in
                [("a", 1, 1), ("a", 2, 2), ("a", 3, 3), ("b", 1, 4), ("b", 2, 5), ("b", 3, 6)]]  # fmt: skip
    assert ids(declared(tmp_path / "*.parquet")) == expected
    assert ids(declared(tmp_path / "b.parquet")) == expected[3:]


def test_rows_of_parquet_are_counted_in_the_order_of_the_file_where_it_has_the_counter_s_name(tmp_path: Path) -> None:
    rows = "SELECT DATE '2024-03-01' AS at, range + 1 AS n, 7 AS file_row_number FROM range(50000)"
    duckdb.sql(f"COPY ({rows}) TO '{tmp_path}/a.parquet' (ROW_GROUP_SIZE 2048)")
    of = declared(tmp_path / "a.parquet", {name: column for name, column in COLUMNS.items() if name != "what"})
    with duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = false")
        (delivery,) = sources.deliveries(con, of.stream, (DAY,))
        found = con.execute(f"SELECT count(*), count(*) FILTER (n = _file_line) FROM ({delivery.query})").fetchall()
    assert found == [(50_000, 50_000)]


def test_a_file_delivered_again_has_the_same_ids_and_a_line_put_in_moves_those_after_it(tmp_path: Path) -> None:
    rows = [f"2024-03-01,a,{number}" for number in range(5)]
    of = declared(tmp_path / "feed.csv")
    (tmp_path / "feed.csv").write_text(HEADER + "\n".join(rows))
    first = ids(of)
    (tmp_path / "feed.csv").write_text(HEADER + "\n".join(rows) + "\n")
    assert ids(of) == first
    (tmp_path / "feed.csv").write_text(HEADER + "\n".join([*rows[:2], "2024-03-01,new,9", *rows[2:]]))
    again = {number: name for name, number in ids(of)}
    assert [again[number] for number in range(5)] == [
        "feed.csv:2",
        "feed.csv:3",
        "feed.csv:5",
        "feed.csv:6",
        "feed.csv:7",
    ]


@pytest.mark.parametrize("lines", [200_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_as_many_lines_as_several_threads_read_are_in_the_order_of_the_file(tmp_path: Path, lines: int) -> None:
    duckdb.sql(
        f"COPY (SELECT DATE '2024-03-01' AS at, 'x' AS what, range + 2 AS n FROM range({lines})) TO '{tmp_path}/feed.csv'"
    )
    found = ids(declared(tmp_path / "feed.csv"))
    assert len(found) == lines and all(name == f"feed.csv:{n}" for name, n in found)


DEFS = """type: factory_assets.components.EventStream
attributes:
  name: lines
  owner: team:x
  description: Lines.
  source: SOURCE
  id: ID
  event_time: at
  start: 2024-03-01
"""


@pytest.mark.parametrize(
    ("source", "id", "told"),
    [
        ("{kind: postgres, url: 'postgresql://a@b/c', table: t}", "{file_line: true}",
         "defs.yaml:7: lines: id: {file_line: true} is for csv and parquet; the rows of postgres have no lines: name a column"),
        ("{kind: csv, uri: a.csv}", "{file_line: false}", "defs.yaml:7: attributes.id: {'file_line': False} is no id; allowed: "),
        ("{kind: csv, uri: a.csv}", "_file_line", "defs.yaml:7: attributes.id: '_file_line' is no id; allowed: the name"),
        ("{kind: csv, uri: a.csv}", "{line: true}", "defs.yaml:7: attributes.id: {'line': True} is no id"),
    ],
)  # fmt: skip
def test_an_id_that_is_none_is_refused_with_its_line(tmp_path: Path, source: str, id: str, told: str) -> None:
    (tmp_path / "contract.yaml").write_text("columns: {at: {type: date}}\n")
    (tmp_path / "defs.yaml").write_text(DEFS.replace("SOURCE", source).replace("ID", id))
    with pytest.raises(DeclarationError) as error:
        load(tmp_path)
    assert f"{tmp_path}/{told}" in str(error.value)


def test_a_declaration_keeps_its_spelling_and_one_with_a_column_its_hash() -> None:
    of = declared("a.csv").stream
    written = of.model_dump(mode="json")
    assert written["id"] == {"file_line": True} and Stream.model_validate(written) == of
    assert of.model_copy(update={"id": "what"}).model_dump(mode="json")["id"] == "what"
