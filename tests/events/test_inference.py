"""Is a proposed contract one that a person would have written, and do the data that it comes from pass it?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
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


def stream(file: Path, **fields: str) -> Stream:
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
        return validation.judge(con, declared, validation.Inputs(landed.rows, landed.deliveries), days).verdicts


@needs_data
@pytest.mark.parametrize(
    ("example", "name", "variable", "folder"),
    [
        ("flight_delays", "flights", "NYCFLIGHTS", DATA / "nycflights"),
        ("card_fraud", "card_transactions", "CARD_TRANSACTIONS", DATA / "card_transactions" / "raw"),
    ],
)
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
        ("m-d-yyyy", "%m/%d/%Y", ""),
        ("dd-mm-yyyy", "%d-%m-%Y", ""),
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
