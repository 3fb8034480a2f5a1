"""Is a proposed contract one that a person would have written, and do the data that it comes from pass it?"""

from __future__ import annotations

import csv
import datetime as dt
import random
import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.catalogue import load
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.templates import render
from factory_assets.events import landing
from factory_assets.events.contract import validation
from factory_assets.events.contract.inference import Proposal, guess_texts, infer, round_up
from factory_assets.events.sources import deliveries

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the public data are not beside the repository (../shared)")


def stream(file: Path, **fields: Any) -> Stream:
    source = {"kind": "csv" if ".csv" in file.name else "parquet", "uri": str(file)}
    own = {"name": "s", "owner": "team:x", "description": "S.", "source": source, "id": "id", "event_time": "at"}
    return Stream.model_validate(own | {"start": "2000-01-01"} | fields)


def proposed(of: Stream, time: str | None = None) -> Proposal:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        return infer(con, of, deliveries(con, of, [of.start]), time)


def from_csv(folder: Path, text: str) -> Proposal:
    (folder / "feed.csv").write_text(text)
    return proposed(stream(folder / "feed.csv"))


def verdicts(of: Stream, contract: Contract) -> list[validation.DayVerdict]:
    assert of.end
    days = [of.start + dt.timedelta(days=offset) for offset in range((of.end - of.start).days + 1)]
    declared = DeclaredStream(of, contract)
    assert declared.check() == []
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        landed = landing.land(con, declared, deliveries(con, of, days), days, dt.date(2026, 1, 1))
        # Of the days before there is nothing: each day is compared with those that were judged before it.
        past = f"CREATE TEMP VIEW past AS SELECT * FROM ({validation.judged_rows(declared, landed.rows)}) WHERE false"
        con.execute(past).fetchall()
        return validation.judge(con, declared, validation.Inputs(landed.rows, landed.deliveries, "past"), days).verdicts


@needs_data
@pytest.mark.parametrize(
    ("example", "name", "variable", "folder"),
    [
        ("flight_delays", "flights", "NYCFLIGHTS", DATA / "nycflights"),
        ("card_fraud", "card_transactions", "CARD_TRANSACTIONS", DATA / "card_transactions" / "raw"),
    ],
)
@pytest.mark.slow
def test_real_data_pass_the_contract_that_is_proposed_from_them(
    example: str, name: str, variable: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(folder))
    known = load(REPOSITORY / "examples" / example, render).streams[name]
    contract = Contract.model_validate(yaml.safe_load(proposed(known.stream).text))
    assert {key: column.type for key, column in contract.columns.items()} == {
        key: column.type for key, column in known.contract.columns.items()
    }
    nullable = {key for key, column in contract.columns.items() if column.nullable}
    assert nullable == {key for key, column in known.contract.columns.items() if column.nullable}
    assert contract.volume and contract.volume.min is not None and contract.volume.max
    for verdict in verdicts(known.stream, contract):
        assert not verdict.blocked and not verdict.broken, verdict
        assert contract.volume.min <= verdict.rows <= contract.volume.max or contract.is_quiet(verdict.day), verdict


@needs_data
@pytest.mark.parametrize(
    ("copy", "format", "note"),
    [
        ("m-d-yy", "%m/%d/%y", ""),
        pytest.param("m-d-yyyy", "%m/%d/%Y", "", marks=pytest.mark.slow),
        pytest.param("dd-mm-yyyy", "%d-%m-%Y", "", marks=pytest.mark.slow),
        ("iso_dash", None, r"1 of 17,379 values are none and will be set aside: '\x1160'"),
    ],
)
def test_each_of_four_copies_of_a_file_with_another_date_format_is_read_in_its_own(
    copy: str, format: str | None, note: str
) -> None:
    found = proposed(stream(DATA / "bike_sharing" / "dirty_copies" / f"hour_{copy}.csv.gz"))
    assert found.columns["dteday"] == ({"type": "date", "format": format} if format else {"type": "date"})
    assert found.columns["instant"]["type"] == "integer"
    assert found.notes.get("instant", "") == note
    assert (len(found.days), found.days[0], found.days[-1]) == (731, dt.date(2011, 1, 1), dt.date(2012, 12, 31))


@pytest.mark.parametrize(
    ("texts", "type", "format"),
    [
        (["1", " -2", "+3"], "integer", None),
        (["1", "2.5", "1e3"], "double", None),
        (["1", "inf"], "string", None),
        (["007", "12"], "string", None),
        (["true", "False"], "boolean", None),
        (["2024-01-31"], "date", None),
        (["2024-01-31T10:00:00Z", "2024-01-31 10:00:00+02"], "timestamp", None),
        (["31/01/2024 10:00", "1/2/2024 9:05"], "timestamp", "%d/%m/%Y %H:%M"),
        (["01/31/24 10:00 PM"], "timestamp", "%m/%d/%y %I:%M %p"),
        (["99999999999999999999"], "double", None),
        ([], "string", None),
        (["soon", "2024-01-31"], "string", None),
    ],
)
def test_text_is_given_the_narrowest_type_that_reads_all_of_it(texts: list[str], type: str, format: str | None) -> None:
    found = guess_texts(texts)
    assert (found.type, found.format) == (type, format)


def test_a_day_that_could_be_a_month_is_left_to_a_person_with_both_candidates() -> None:
    found = guess_texts(["01/02/2024", "03/04/2024", "05/05/2024"])
    assert found.type == "string"
    assert (
        found.note == "a date, format '%d/%m/%Y' or '%m/%d/%Y'? All values fit each, and 2 of 3 mean another day: ask"
    )
    assert guess_texts(["05/05/2024"]).type == "date", "no value differs"
    assert "could be days" in guess_texts(["20240131", "20240201"]).note


@pytest.mark.slow
def test_one_value_in_a_thousand_decides_between_two_formats() -> None:
    texts = [
        f"{day:02d}/{month:02d}/{year}" for year in range(1901, 1911) for month in range(1, 13) for day in range(1, 9)
    ]
    assert "or" in guess_texts(texts).note
    for last, format in (("13/01/2000", "%d/%m/%Y"), ("01/13/2000", "%m/%d/%Y")):
        assert guess_texts([*texts, last]).format == format
    assert guess_texts([*texts, "13/01/2000", "01/13/2000"]).type == "string"


def test_a_damaged_file_is_told_of_and_no_crash(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT range AS x FROM range(1000)) TO '{file}'")
    content = file.read_bytes()
    file.write_bytes(content[:10] + bytes(200) + content[210:])
    result = CliRunner().invoke(app, ["contract", "infer", str(file)])
    assert result.exit_code == 1 and f"{file.name} cannot be read" in result.output.replace("\n", "")


def test_a_word_among_numbers_is_named_and_not_taken_for_a_value() -> None:
    found = guess_texts([*map(str, range(50)), "NA"])
    assert (found.type, found.note[:28]) == ("string", "numbers but for 'NA', 1 of 5")


def test_a_domain_is_proposed_only_where_a_new_value_would_be_a_surprise(tmp_path: Path) -> None:
    rows = [f"{n},{'abc'[n % 3]},{'x' if n else 'y'},{n % 40},{n % 2}" for n in range(1200)]
    found = from_csv(tmp_path, "\n".join(["id,few,once,many,flag", *rows])).columns
    assert found["few"]["allowed"] == ["a", "b", "c"]
    assert found["flag"]["allowed"] == [0, 1]
    assert not any("allowed" in found[name] for name in ("id", "once", "many"))
    short = from_csv(tmp_path, "\n".join(["id,few,once,many,flag", *rows[:900]])).columns
    assert "allowed" not in short["few"]


def test_what_is_empty_on_some_days_is_nullable_and_may_not_be_lost(tmp_path: Path) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=offset) for offset in range(14)]
    rows = [f"{d},{n if n % 10 else ''},{-n}" for d in days if d.weekday() < 5 for n in range(1, 101)]
    found = from_csv(tmp_path, "\n".join(["at,some,below", *rows]))
    assert found.columns["some"] == {"type": "integer", "nullable": True, "min": 0, "presence": {"min_fraction": 0.8}}
    assert found.columns["below"] == {"type": "integer"}
    assert found.volume == {"min": 50, "max": 200}
    assert found.quiet == ("saturday", "sunday")


def test_columns_whose_names_no_contract_can_hold_are_given_others(tmp_path: Path) -> None:
    found = from_csv(tmp_path, "id,my column,ds,PM2.5,PM2_5,€\n1,2,3,4.5,5,a\n")
    given = {name: fields["delivered"] for name, fields in found.columns.items() if "delivered" in fields}
    assert list(found.columns) == ["id", "my_column", "column_ds", "PM2_5_", "PM2_5", "column"]
    assert given == {"my_column": "my column", "column_ds": "ds", "PM2_5_": "PM2.5", "column": "€"}


def test_a_column_without_a_value_is_left_for_a_person_to_decide(tmp_path: Path) -> None:
    found = from_csv(tmp_path, "id,surcharge\n1,\n2,\n")
    assert list(found.columns) == ["id"]
    assert "# 'surcharge' is left out: no value was seen: its type is for you to say" in found.text


@pytest.mark.parametrize("word", ["NA", " ", "null", "-", "N/A", "\\N"])
def test_a_word_that_stands_for_nothing_is_no_value_where_there_is_no_other(word: str, tmp_path: Path) -> None:
    found = from_csv(tmp_path, f"id,surcharge,kept\n1,{word},{word}\n2,{word},5\n")
    assert list(found.columns) == ["id", "kept"]
    assert f"no value but {word!a} was seen: if it stands for none, name it in null_values" in found.text
    source = {"kind": "csv", "uri": str(tmp_path / "feed.csv"), "null_values": ["", word]}
    assert proposed(stream(tmp_path / "feed.csv", source=source)).columns["kept"]["type"] == "integer"


@pytest.mark.parametrize(
    ("written", "form", "called"),
    [
        ("%Y-%m-%d", None, "date"),
        ("%d/%m/%Y", "%d/%m/%Y", "date"),
        ("%Y-%m-%d %H:%M:%S", None, "timestamp"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M", "timestamp"),
    ],
)
@pytest.mark.parametrize("word", ["infinity", "epoch"])
def test_an_infinite_date_is_no_day_of_1900_and_is_named(
    written: str, form: str | None, called: str, word: str
) -> None:
    days = [(dt.datetime(2020, 1, 1) + dt.timedelta(days=offset)).strftime(written) for offset in range(1100)]
    few, many = guess_texts([*days[:20], word]), guess_texts([*days, word])
    assert (few.type, few.format) == ("string", None)
    assert few.note.startswith(f"{'dates' if called == 'date' else 'times'} but for '{word}', 1 of 21: ")
    assert (many.type, many.format) == (called, form)
    assert many.note == f"1 of 1,101 values are none and will be set aside: '{word}'"


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_one_column_whose_name_holds_another_delimiter_is_asked_about(tmp_path: Path, mark: str) -> None:
    found = from_csv(tmp_path, f"id{mark}n\n1{mark}2\n")
    asked = f"the only column: is {mark!r} the delimiter? Then give it by --delimiter, or in the source"
    assert found.notes == {"id_n": asked}
    with pytest.raises(ValueError, match=re.escape(asked)):
        from_csv(tmp_path, f"id{mark}n\n1{mark}2,5\n")
    assert from_csv(tmp_path, f"id,n{mark}m\n1,2\n").notes == {}


def test_the_command_reads_what_a_run_reads_and_says_what_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "mixed.csv").write_bytes(b"id,note\r\n1,a\r\n2,b\n")
    (tmp_path / "old.csv").write_bytes("id,note\n3,\u00e9\n".encode("latin-1"))

    def told(source: str, *options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["contract", "infer", str(tmp_path / source), *options])
        return result.exit_code, " ".join(result.output.split())

    code, text = told("mixed.csv")
    assert code == 0 and "id: {type: integer, min: 0}" in text and "from 2 rows" in text
    code, text = told("*.csv")
    assert code == 0 and f"# Not looked at: {tmp_path}/old.csv is not utf-8 in line 2" in text
    code, text = told("old.csv")
    assert code == 1 and "old.csv is not utf-8 in line 2: declare the `encoding`" in text
    code, text = told("old.csv", "--encoding", "latin-1")
    assert code == 0 and "note: {type: string}" in text
    assert "encoding is no encoding of text" in told("old.csv", "--encoding", "klingon")[1]
    assert "is of one file a day, month or year: give files" in told("trips_{month}.csv")[1]
    assert "uri {hour} is no placeholder; allowed: {day}, {month}, {year}" in told("{hour}.csv")[1]


def test_a_column_that_some_files_lack_is_not_required(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,more\n1,2\n")
    (tmp_path / "b.csv").write_text("id\n2\n")
    assert proposed(stream(tmp_path / "*.csv")).columns["more"] == {"type": "integer", "required": False, "min": 0}


def test_rounding_up_never_comes_out_below() -> None:
    assert [round_up(value) for value in (5123, 100, 0.123, -5123, 0)] == [5200, 100, 0.13, -5100, 0]


def test_the_command_writes_a_contract_that_loads_and_overwrites_none(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id;at\n1;2024-01-01\nNA;2024-01-02\n")
    out = tmp_path / "contract.yaml"
    command = ["contract", "infer", str(tmp_path / "feed.csv"), "--delimiter", ";", "--null", "NA", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    contract = Contract.model_validate(yaml.safe_load(out.read_text()))
    assert contract.columns["id"].nullable and contract.columns["at"].type == "date"
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1 and "exists" in again.output
    unknown = CliRunner().invoke(app, ["contract", "infer", "nothing"])
    assert unknown.exit_code == 1 and "streams here: orders" in unknown.output


def test_the_stream_of_the_demo_by_name_is_read_from_its_source() -> None:
    result = CliRunner().invoke(app, ["contract", "infer", "orders"])
    assert result.exit_code == 0, result.output
    assert "  channel: {type: string, allowed: [app, phone, web]}" in result.output.splitlines()


def test_a_column_that_is_no_time_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id,at\n1,2024-01-01\n")
    with pytest.raises(ValueError, match="'id' is integer; allowed: at"):
        proposed(stream(tmp_path / "feed.csv"), "id")


def test_codes_are_small_whole_numbers_that_come_again_and_no_counts_and_no_calendar(tmp_path: Path) -> None:
    days = [dt.date(2023, 12, 1) + dt.timedelta(days=offset) for offset in range(60)]
    header = "at,code,passenger_count,minus,large,once,year,season"
    rows = [
        f"{day},{n % 5},{n % 5},{n % 3 - 1},{100 + n % 3},{7 if day == days[0] and not n else n % 5},{day.year},{day.day % 3}"
        for day in days
        for n in range(20)
    ]
    found = from_csv(tmp_path, "\n".join([header, *rows])).columns
    assert {name: fields["allowed"] for name, fields in found.items() if "allowed" in fields} == {
        "code": [0, 1, 2, 3, 4],
        "season": [0, 1, 2],
    }


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_numbers_of_time_since_1970_are_read_as_what_they_count(
    tmp_path: Path, unit: str, factor: int, form: str
) -> None:
    select = f"SELECT range AS id, (1556636400 + range * 3600) * {factor} AS ts, 1556636400 + range AS member_id FROM range(240)"
    duckdb.sql(f"COPY ({select}) TO '{tmp_path}/feed.{form}'")
    found = proposed(stream(tmp_path / f"feed.{form}"))
    assert found.columns["ts"] == {"type": "timestamp", "epoch": unit}
    assert found.columns["member_id"]["type"] == "integer" and "could be a time" in found.notes["member_id"]
    assert (found.event_time, found.days[0], len(found.days)) == ("ts", dt.date(2019, 4, 30), 11)


def test_numbers_that_look_like_times_are_taken_for_one_only_where_there_is_no_other(tmp_path: Path) -> None:
    rows = [f"{1556636400 + n * 60},2019-05-01,{n}" for n in range(100)]
    assert from_csv(tmp_path, "\n".join(["x,at,n", *rows])).columns["x"]["type"] == "integer"
    assert from_csv(tmp_path, "\n".join(["x,y,n", *rows]).replace(",2019-05-01", ",a")).columns["x"]["epoch"] == "s"


def test_a_stray_date_leaves_the_volume_rule_on_and_is_told(tmp_path: Path) -> None:
    days = [dt.date(2019, 1, 1) + dt.timedelta(days=offset) for offset in range(31)]
    rows = [f"{n},{day}" for day in days for n in range(40)]
    strays = ["0,2008-12-31", "1,2019-02-09"]
    found = from_csv(tmp_path, "\n".join(["id,at", *rows, *strays[:1]]))
    assert found.volume == {"min": 20, "max": 80} and (found.days[0], found.days[-1]) == (days[0], days[-1])
    assert "1 row of other days left out: 2008-12-31" in found.text
    many = [f"{n},2008-12-31" for n in range(40)]
    assert not from_csv(tmp_path, "\n".join(["id,at", *rows, *many])).volume, "so many are no stray ones"


def test_how_far_days_may_differ_is_twice_the_most_that_they_did(tmp_path: Path) -> None:
    select = """SELECT range AS id, DATE '2024-01-01' + (range // 500)::INT AS at, hash(range) % 1000 / 10 AS alike,
                       (range // 500) * 100.0 + 1 AS moving, 1 + hash(range + 1) % 8 AS code FROM range(10000)"""
    duckdb.sql(f"COPY ({select}) TO '{tmp_path}/feed.parquet'")
    found = proposed(stream(tmp_path / "feed.parquet")).columns
    assert 0.05 <= found["alike"]["max_shift"] <= 0.3 and 0.05 <= found["code"]["max_shift"] <= 0.2
    assert "max_shift" not in found["moving"] and "max_shift" not in found["id"]
    duckdb.sql(f"""COPY (SELECT * FROM ({select}) WHERE "at" < DATE '2024-01-14') TO '{tmp_path}/feed.parquet'""")
    few = proposed(stream(tmp_path / "feed.parquet")).columns
    assert "max_shift" not in few["alike"], "six days with a week before them"


def test_the_id_is_the_fewest_columns_that_tell_rows_apart_or_the_line(tmp_path: Path) -> None:
    rows = [f"{n},{n // 6},{n % 6},{n % 3},{n % 2}" for n in range(60)]
    table = {
        name: [row.split(",")[index] for row in rows] for index, name in enumerate(["order_id", "a", "b", "c", "d"])
    }

    def of(*names: str, twice: bool = False) -> Proposal:
        lines = [",".join(values) for values in zip(*(table[name] for name in names), strict=True)]
        return from_csv(tmp_path, "\n".join([",".join(names), *lines, *(lines[:1] if twice else [])]))

    assert of("a", "b", "order_id").id == ("order_id",) and of("a", "b", "c").id == ("a", "b")
    assert of("a", "c", "d").id == ("a", "c", "d")
    assert "derive: {row_id: " in of("a", "b").text
    table["at"] = [f"2024-01-01 00:{n:02d}:00" for n in range(60)]
    assert of("at", "c").id == ("at",) and "which two events may share some day" in of("at", "c").text
    assert of("a", "b", twice=True).id == () and "id: {file_line: true}" in of("a", "b", twice=True).text


def test_the_event_time_lies_in_the_day_of_its_file_and_the_choice_is_told(tmp_path: Path) -> None:
    for day in range(1, 4):
        rows = [f"2024-03-{day:02d} 0{n % 10}:00:00,19{60 + n}-02-01,2024-04-{day:02d} 10:00:00,{n}" for n in range(30)]
        (tmp_path / f"feed-2024-03-{day:02d}.csv").write_text(
            "\n".join(["born_2,born,due,n".replace("born_2", "sold"), *rows])
        )
    found = proposed(stream(tmp_path / "*.csv", event_time="none"))
    assert (found.event_time, found.others) == ("sold", ("due", "born"))
    assert "#   event_time: sold   (of sold, due, born: never empty, and nearest to the day" in found.text


def test_several_files_of_both_kinds_are_looked_at_together_and_what_some_lack_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,at,more\n1,2024-01-01,x\n2,2024-01-01,y\n")
    (tmp_path / "b.csv").write_text("id,at\n3,2024-01-02\n")
    duckdb.sql(f"COPY (SELECT 4 AS id, DATE '2024-01-03' AS at, 'z' AS more, 1.5 AS extra) TO '{tmp_path}/c.parquet'")
    arguments = [str(tmp_path / "a.csv"), str(tmp_path / "*.csv"), str(tmp_path / "c.parquet")]
    result = CliRunner().invoke(app, ["contract", "infer", *arguments])
    assert result.exit_code == 0, result.output
    contract = Contract.model_validate(yaml.safe_load(result.output))
    assert {name: column.type for name, column in contract.columns.items()} == {
        "id": "integer", "at": "date", "more": "string", "extra": "double",
    }  # fmt: skip
    assert result.output.startswith("# Proposed from 4 rows in 3 files of 3 days, 2024-01-01 to 2024-01-03.")
    assert "more: {type: string, required: false}   # 1 of 3 files lack it: b.csv" in result.output
    assert "# 2 of 3 files lack it: a.csv, b.csv" in result.output
    assert not contract.columns["extra"].required and contract.columns["id"].required


def passing(found: Proposal, of: Stream) -> list[validation.DayVerdict]:
    """Verdicts of the proposal on the same files, with the id and the event time that it proposes."""
    whole = {"start": dt.date(1900, 1, 1), "end": None} | found.declared
    if not found.event_time:
        whole |= {
            "event_time": "never",
            "derive": {"never": "cast('2024-01-01' as timestamp)"} | whole.get("derive", {}),
        }
    declared = Stream.model_validate(of.model_dump() | whole)
    days = [*found.days] or [dt.date(2024, 1, 1)]
    return verdicts(declared.model_copy(update={"start": days[0], "end": days[-1]}), contract_of(found))


def contract_of(found: Proposal) -> Contract:
    return Contract.model_validate(yaml.safe_load(found.text))


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "bike_sharing/hour.parquet",
        "bike_sharing/dirty_copies/hour_iso_dash.csv.gz",
        *(
            pytest.param(f"bike_sharing/dirty_copies/hour_{copy}.csv.gz", marks=pytest.mark.slow)
            for copy in ("dd-mm-yyyy", "m-d-yy", "m-d-yyyy")
        ),
        *(f"nycflights/{table}_2013.parquet" for table in ("airlines", "airports", "planes", "weather")),
        "nycflights/flights_2013_v01.parquet",
        "card_transactions/raw/2018-04.parquet",
        pytest.param("card_transactions/raw/*-0[45].parquet", marks=pytest.mark.slow),
        "card_transactions/published_features_2018-07.parquet",
    ],
)
def test_a_file_passes_what_is_proposed_from_it(name: str) -> None:
    of = stream(DATA / name, event_time="none", id="none")
    found = proposed(of)
    judged = passing(found, of)
    assert sum(verdict.accepted for verdict in judged) > 0
    stray = 1 if name.endswith("iso_dash.csv.gz") else 0
    assert sum(sum(verdict.quarantined.values()) for verdict in judged) == stray
    assert [verdict.blocked for verdict in judged if verdict.blocked] == []
    assert sum(verdict.duplicates + verdict.superseded for verdict in judged) == 0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.slow
def test_random_files_pass_what_is_proposed_from_them_but_for_their_stray_rows(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    made = Made(rng)
    for number in range(made.files):
        made.write(tmp_path, number)
    of = stream(tmp_path / f"*.{made.form}", event_time="none", id="none")
    found = proposed(of)
    judged = passing(found, of)
    rows = sum(verdict.rows for verdict in judged)
    aside = sum(sum(verdict.quarantined.values()) for verdict in judged)
    assert rows == made.rows - made.far and aside <= made.faults
    assert bool(found.volume) == (made.days * made.files >= 7)
    assert [verdict.blocked for verdict in judged if verdict.blocked] == []
    assert sum(verdict.duplicates + verdict.superseded for verdict in judged) == 0
    assert found.event_time == "at"


class Made:
    """Files of a feed whose columns, spellings, gaps and faults a seed decides.

    rows: rows written. far: rows with a stray date. faults: values of a column of numbers that are none.
    """

    def __init__(self, rng: random.Random):
        self.rng, self.rows, self.far, self.faults = rng, 0, 0, 0
        self.form = rng.choice(["csv", "parquet"])
        self.files, self.a_day = rng.randint(1, 4), rng.choice([3, 60, 300])
        self.days = rng.choice([1, 5, 9, 20])
        self.time = rng.choice(["stamp", "date", "epoch s", "epoch ms", "epoch us", "odd"])
        self.has_id, self.lacking = rng.random() < 0.6, rng.random() < 0.5
        self.has_fault = self.form == "csv" and self.a_day == 300 and rng.random() < 0.5
        self.strays = rng.random() < 0.5 and self.days == 20 and self.a_day > 3

    def write(self, folder: Path, number: int) -> None:
        first = dt.date(2024, 1, 1) + dt.timedelta(days=number * self.days)
        rows = [row for ahead in range(self.days) for row in self.day(first + dt.timedelta(days=ahead))]
        if number == 0 and self.strays:
            rows[3]["at"] = self.moment(dt.datetime(2008, 12, 31, 4))
            self.far += 1
        if number == 0 and self.has_fault:
            rows[5]["amount"] = "n.a."
            self.faults += 1
        if number == 1 and self.lacking:
            rows = [{name: value for name, value in row.items() if name != "code"} for row in rows]
        self.rows += len(rows)
        if self.form == "parquet":
            table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
            pq.write_table(table, folder / f"{number}.parquet")
        else:
            with (folder / f"{number}.csv").open("w", newline="") as opened:
                lines = csv.DictWriter(opened, list(rows[0]))
                lines.writeheader()
                lines.writerows(rows)

    def day(self, day: dt.date) -> list[dict[str, Any]]:
        return [self.row(day, place) for place in range(self.rng.randint(self.a_day // 2 + 1, self.a_day))]

    def row(self, day: dt.date, place: int) -> dict[str, Any]:
        rng = self.rng
        seconds = dt.timedelta(seconds=rng.randrange(86_400))
        row: dict[str, Any] = {"key": day.toordinal() * 1000 + place} if self.has_id else {}
        return row | {
            "at": self.moment(dt.datetime.combine(day, dt.time()) + seconds),
            "code": rng.choice([1, 1, 1, 2, 3, 7]),
            "kind": rng.choice(["a", "b b", "c;d", 'e"f']),
            "amount": round(rng.lognormvariate(2, 1), 2),
            "word": None if rng.random() < 0.1 else f"w{rng.randrange(400)}",
            "nothing": None,
        }

    def moment(self, at: dt.datetime) -> Any:
        kind, _, unit = self.time.partition(" ")
        if kind == "epoch":
            return int(at.replace(tzinfo=dt.UTC).timestamp()) * {"s": 1, "ms": 1000, "us": 10**6}[unit]
        if self.form == "parquet":
            return at.date() if kind == "date" else at
        return {"stamp": at.isoformat(), "date": at.date().isoformat(), "odd": f"{at:%d.%m.%Y %H:%M}"}[kind]
