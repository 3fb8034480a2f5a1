"""What becomes of a delivery that is not as agreed? Each fault has its own outcome, and takes no good row with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stations import CONTRACT, STREAM, Station, csv, day, row

FIRST, LAST = day(0), day(3)
DIRTY = day(1)


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Station]:
    """Builds a station on a CSV file a day, or on what the arguments say."""

    def build(more: str = "", source: str = "{kind: csv, uri: 'FEED/orders-{day}.csv'}", contract: str = CONTRACT) -> Station:
        source = source.replace("FEED", str(tmp_path / "feed"))
        monkeypatch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
        return Station(tmp_path, STREAM.format(source=source, more=more), contract)

    return build


def good(on: dt.date, first: int = 1, count: int = 10) -> list[dict]:
    return [row(first + number, on) for number in range(count)]


def test_a_clean_day_passes_every_check(station):
    s = station()
    s.deliver(FIRST, good(FIRST))
    assert s.run(FIRST).success
    assert s.ids(FIRST) == list(range(1, 11))
    assert all(s.check(concern, FIRST).passed for concern in ("schema", "completeness", "ranges", "uniqueness"))
    assert s.counts_add_up(FIRST)


def test_a_missing_required_column_blocks_its_day_and_names_the_column(station):
    s = station()
    s.deliver(DIRTY, good(DIRTY))
    assert s.run(DIRTY).success
    served = s.table("events", DIRTY)
    s.deliver(DIRTY, [{name: value for name, value in each.items() if name != "city"} for each in good(DIRTY, 50)])
    run = s.run(DIRTY)
    assert not run.success
    assert run.steps == {"orders__contract"}
    assert "column city is delivered" in run.message
    assert "Traceback" not in run.message
    assert ("orders/events", str(DIRTY)) not in run.materialised
    assert s.check("schema", DIRTY).severity.name == "ERROR"
    assert s.table("events", DIRTY) == served, "what was served before stays"


def test_in_a_range_a_missing_column_holds_back_its_day_alone(station):
    s = station()
    for offset in range(4):
        s.deliver(day(offset), good(day(offset), 100 * offset))
    s.deliver(DIRTY, [{name: value for name, value in each.items() if name != "city"} for each in good(DIRTY, 100)])
    assert s.run(FIRST, LAST).success
    assert [len(s.table("events", day(offset))) for offset in range(4)] == [10, 0, 10, 10]
    assert [s.check("schema", day(offset)).passed for offset in range(4)] == [True, False, True, True]
    assert s.check("schema", DIRTY).severity.name == "ERROR"
    assert "column city is delivered" in s.check("schema", DIRTY).description
    assert s.metadata("events", DIRTY)["blocked"] == "column city is missing"
    assert s.versions("orders/events")[str(DIRTY)] == "blocked"
    assert s.table("quarantine", DIRTY) == [], "no row is to blame"


def test_the_served_past_of_a_day_blocked_in_a_range_stays_with_its_version(station):
    s = station()
    for offset in range(4):
        s.deliver(day(offset), good(day(offset), 100 * offset))
    s.run(FIRST, LAST)
    before = s.versions("orders/events")
    s.deliver(DIRTY, [{name: value for name, value in each.items() if name != "city"} for each in good(DIRTY, 500)])
    assert s.run(FIRST, LAST).success
    assert s.ids(DIRTY) == list(range(100, 110))
    assert s.versions("orders/events") == before
    assert s.metadata("events", DIRTY)["blocked"] == "column city is missing"


def test_a_wrong_type_is_quarantined_with_column_type_and_its_text(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY), row(11, DIRTY, amount="two euro")])
    assert s.run(DIRTY).success
    (aside,) = s.table("quarantine", DIRTY)
    assert aside["rule"] == "amount is double"
    assert "two euro" in aside["unparsed"]
    assert s.dissected(aside)["order_id"] == 11
    assert s.ids(DIRTY) == list(range(1, 11))
    assert s.broken("schema", DIRTY) == {"amount is double": 1}
    assert s.check("completeness", DIRTY).passed, "a value that does not parse is not an empty one"
    assert s.check("schema", DIRTY).severity.name == "WARN"
    assert s.counts_add_up(DIRTY)


def test_a_number_that_is_none_is_no_number(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY), row(11, DIRTY, amount="nan"), row(12, DIRTY, amount="inf")])
    assert s.run(DIRTY).success
    assert s.rules(DIRTY) == {11: "amount is double", 12: "amount is double"}


def test_a_future_date_is_quarantined(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY), row(11, DIRTY, placed_at="2031-01-01T00:00:00")])
    assert s.run(DIRTY).success
    assert s.rules(DIRTY) == {11: "placed_at lies in the day"}
    assert s.broken("schema", DIRTY) == {"placed_at lies in the day": 1}
    assert s.counts_add_up(DIRTY)


def test_an_exact_duplicate_is_collapsed_and_counted(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY), row(3, DIRTY), row(3, DIRTY)])
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    assert s.table("quarantine", DIRTY) == []
    assert s.metadata("events", DIRTY)["duplicates"] == 2
    assert s.broken("uniqueness", DIRTY) == {"every row comes once": 2}
    assert s.counts_add_up(DIRTY)


def test_of_conflicting_rows_with_one_id_one_is_kept_and_the_others_are_quarantined(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY), row(3, DIRTY, amount=99)])
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    assert s.rules(DIRTY) == {3: "order_id is unique"}
    assert s.broken("uniqueness", DIRTY) == {"order_id is unique": 1}
    assert s.counts_add_up(DIRTY)


def test_more_conflicts_than_tolerated_block_the_day_but_exact_duplicates_never_do(station):
    s = station()
    s.deliver(FIRST, good(FIRST) * 3)
    s.deliver(DIRTY, [*good(DIRTY), *(each | {"amount": 99} for each in good(DIRTY))])
    assert s.run(FIRST).success
    assert s.ids(FIRST) == list(range(1, 11))
    run = s.run(DIRTY)
    assert "order_id is unique: not so for 10 rows, 50.0%" in run.message
    assert run.steps == {"orders__contract"}


def test_an_empty_day_is_served_empty_and_a_missing_file_blocks(station):
    s = station()
    s.deliver(FIRST, csv([], list(row(1, FIRST))))
    empty = s.run(FIRST)
    assert empty.success
    assert ("orders/events", str(FIRST)) in empty.materialised
    assert s.metadata("events", FIRST)["dagster/row_count"] == 0
    missing = s.run(DIRTY)
    assert not missing.success
    assert missing.steps == {"orders__contract"}
    assert "no file was delivered" in missing.message
    assert s.check("schema", DIRTY).severity.name == "ERROR"
    assert ("orders/events", str(DIRTY)) not in missing.materialised


def test_in_a_range_a_missing_file_holds_back_its_day_alone(station):
    s = station()
    for offset in (0, 2, 3):
        s.deliver(day(offset), good(day(offset)))
    assert s.run(FIRST, LAST).success
    assert [s.check("schema", day(offset)).passed for offset in range(4)] == [True, False, True, True]
    assert s.metadata("events", DIRTY)["blocked"] == "no file was delivered"
    assert [len(s.table("events", day(offset))) for offset in range(4)] == [10, 0, 10, 10]


def test_a_file_without_a_byte_is_not_an_empty_day(station):
    s = station()
    s.deliver(DIRTY, "")
    assert "column order_id is delivered" in s.run(DIRTY).message


def test_an_undeclared_column_is_kept_as_text_and_noted_and_does_not_reach_the_events(station):
    s = station()
    s.deliver(FIRST, good(FIRST))
    s.deliver(DIRTY, [each | {"Vehicle type": "bike"} for each in good(DIRTY)])
    assert s.run(FIRST, DIRTY).success
    assert {each["_undeclared"] for each in s.table("raw", DIRTY)} == {'{"Vehicle type":"bike"}'}
    assert {each["_undeclared"] for each in s.table("raw", FIRST)} == {None}
    assert s.check("schema", DIRTY).passed
    assert s.check("schema", DIRTY).metadata["notes"].value == "columns that the contract does not know: Vehicle type"
    assert not any("ehicle" in name for name in s.lake.columns("orders/events"))


def test_columns_with_our_own_names_harm_nothing(station):
    s = station()
    s.deliver(DIRTY, [each | {"ds": "x", "rule": "y", "CITY": "z", "event_day": "q"} for each in good(DIRTY)])
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    assert '"ds":"x"' in s.table("raw", DIRTY)[0]["_undeclared"]


def test_an_undeclared_column_may_join_the_contract_as_a_number(station):
    s = station()
    s.deliver(DIRTY, [each | {"tip": "1.5"} for each in good(DIRTY)])
    assert s.run(DIRTY).success
    s.contract_file.write_text(CONTRACT + "  tip: {type: double}\n")
    s.load()
    assert s.run(DIRTY).success
    assert {each["tip"] for each in s.table("events", DIRTY)} == {1.5}


def test_an_optional_column_may_be_absent(station):
    s = station()
    s.deliver(DIRTY, [{name: value for name, value in each.items() if name != "note"} for each in good(DIRTY)])
    assert s.run(DIRTY).success
    assert {each["note"] for each in s.table("events", DIRTY)} == {None}
    assert s.check("schema", DIRTY).passed
    assert s.check("completeness", DIRTY).passed


def test_a_column_that_need_not_be_there_may_not_be_empty_where_it_is(station):
    contract = CONTRACT.replace("note: {type: string, nullable: true,", "note: {type: string,")
    s = station(source="{kind: csv, uri: 'FEED/orders-{day}*.csv'}", contract=contract)
    s.deliver(DIRTY, [{name: value for name, value in each.items() if name != "note"} for each in good(DIRTY)])
    (s.feed / f"orders-{DIRTY}-late.csv").write_text(csv([row(20, DIRTY), row(21, DIRTY, note="")]))
    assert s.run(DIRTY).success
    assert s.rules(DIRTY) == {21: "note is not null"}
    assert s.broken("completeness", DIRTY) == {"note is not null": 1}


def test_more_broken_rows_than_tolerated_block_the_day_and_no_other(station):
    s = station()
    for offset in range(4):
        s.deliver(day(offset), good(day(offset), 100 * offset))
    s.deliver(DIRTY, [*good(DIRTY, 100, 6), *(row(200 + number, DIRTY, city="Atlantis") for number in range(4))])
    assert s.run(FIRST, LAST).success
    assert [len(s.table("events", day(offset))) for offset in range(4)] == [10, 0, 10, 10]
    told = "4 of 10 rows break 'city is one of the allowed' (tolerated: 30.0%)"
    assert s.metadata("events", DIRTY)["blocked"] == told
    assert s.check("ranges", DIRTY).severity.name == "ERROR"
    single = s.run(DIRTY)
    assert single.steps == {"orders__contract"}
    assert "city is one of the allowed: not so for 4 rows, 40.0%" in single.message


def test_future_dates_above_tolerance_are_stopped_by_the_check(station):
    s = station()
    s.deliver(DIRTY, [*good(DIRTY, 1, 5), *(row(20 + n, DIRTY, placed_at="2031-01-01T00:00:00") for n in range(5))])
    run = s.run(DIRTY)
    assert run.steps == {"orders__contract"}
    assert "placed_at lies in the day: not so for 5 rows, 50.0%" in run.message


def test_lines_of_the_wrong_length_are_quarantined_as_they_came(station):
    s = station()
    lines = csv(good(DIRTY)) + f"11,{DIRTY}T01:00:00,Paris,1,no,comma,too,many\n12,{DIRTY}T02"
    s.deliver(DIRTY, lines)
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    aside = {each["line"]: each["rule"] for each in s.table("quarantine", DIRTY)}
    rule = "the line has a value for every column"
    assert aside == {f"11,{DIRTY}T01:00:00,Paris,1,no,comma,too,many": rule, f"12,{DIRTY}T02": rule}
    assert s.broken("schema", DIRTY) == {rule: 2}
    assert s.check("completeness", DIRTY).passed
    assert s.counts_add_up(DIRTY)


def test_a_quote_left_open_spoils_no_more_than_the_lines_that_it_swallows(station):
    s = station()
    lines = csv(good(DIRTY)).splitlines()
    lines[8] = lines[8].replace("hi", '"hi')
    s.deliver(DIRTY, "\n".join(lines) + "\n")
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 8))
    assert s.metadata("events", DIRTY)["quarantined"] == 3
    assert s.counts_add_up(DIRTY)


def test_a_quote_left_open_in_a_long_file_blocks_the_day_and_names_the_line(station):
    s = station()
    lines = csv(good(DIRTY, count=2000)).splitlines()
    lines[8] = lines[8].replace("hi", '"hi')
    s.deliver(DIRTY, "\n".join(lines) + "\n")
    run = s.run(DIRTY)
    assert run.steps == {"orders__contract"}
    assert "cannot be split into lines from line 9 on" in run.message


def test_bom_blank_lines_and_quoted_newlines_are_no_faults(station):
    s = station()
    lines = csv(good(DIRTY)).splitlines()
    lines[3] = lines[3].replace("hi", '"a ""b"",\nc"')
    s.deliver(DIRTY, "\ufeff" + "\r\n\r\n".join(lines).replace(",\r\n", ",\n") + "\r\n   \r\n")
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    assert {each["note"] for each in s.table("events", DIRTY)} == {"hi", 'a "b",\nc'}
    assert s.table("quarantine", DIRTY) == []


@pytest.mark.parametrize(
    "content",
    [b"order_id,placed_at,city,amount,amount\n1,2,3,4,5\n", b"\xff\xfeo\x00r\x00", b"PAR1 but not really"],
    ids=["column twice", "UTF-16", "no text"],
)
def test_an_unreadable_file_holds_back_its_day_alone(station, content):
    s = station()
    for offset in range(3):
        s.deliver(day(offset), good(day(offset)))
    (s.feed / f"orders-{DIRTY}.csv").write_bytes(content)
    assert s.run(FIRST, day(2)).success
    assert [len(s.table("events", day(offset))) for offset in range(3)] == [10, 0, 10]
    blocked = s.metadata("events", DIRTY)["blocked"]
    assert f"orders-{DIRTY}.csv" in blocked or blocked.startswith("column order_id is missing")


def test_a_line_that_is_not_utf8_is_quarantined(station):
    s = station()
    s.deliver(DIRTY, good(DIRTY))
    path = s.feed / f"orders-{DIRTY}.csv"
    path.write_bytes(path.read_bytes() + f"11,{DIRTY}T01:00:00,Paris,1,caf\xe9\n".encode("latin-1"))
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == list(range(1, 11))
    assert len(s.table("quarantine", DIRTY)) == 1


def test_a_row_for_which_an_expression_fails_is_quarantined_by_its_name(station):
    s = station(more="  derive: {code: cast(substring(note, 2) as integer)}")
    s.deliver(DIRTY, [row(1, DIRTY, note="N17"), row(2, DIRTY, note="Nope"), *(row(n, DIRTY, note="") for n in range(3, 9))])
    assert s.run(DIRTY).success
    assert s.rules(DIRTY) == {2: "code can be computed"}
    assert s.broken("schema", DIRTY) == {"code can be computed": 1}
    assert {each["order_id"]: each["code"] for each in s.table("events", DIRTY)} == {1: 17, **dict.fromkeys(range(3, 9))}


def test_excluded_rows_are_counted_and_never_judged(station):
    s = station(more="  exclude: {tests: note = 'test'}")
    s.deliver(DIRTY, [*good(DIRTY, 1, 4), *(row(n, DIRTY, note="test", city="Atlantis") for n in range(10, 16))])
    assert s.run(DIRTY).success
    assert s.ids(DIRTY) == [1, 2, 3, 4]
    assert s.metadata("events", DIRTY)["excluded_by_rule"] == {"tests": 6}
    assert s.check("ranges", DIRTY).passed
    assert s.counts_add_up(DIRTY)


@pytest.fixture
def parquet(station) -> Station:
    return station(source="{kind: parquet, uri: 'FEED/*.parquet'}")


def write(s: Station, name: str, rows: list[dict]) -> None:
    table = pa.Table.from_pylist([each | {"placed_at": dt.datetime.fromisoformat(each["placed_at"])} for each in rows])
    pq.write_table(table.set_column(3, "amount", [[float(each["amount"]) for each in rows]]), s.feed / name)


def test_rows_of_a_glob_of_files_go_to_their_days(parquet):
    write(parquet, "a.parquet", good(FIRST, 1) + good(DIRTY, 11, 5))
    write(parquet, "b.parquet", good(DIRTY, 16, 5))
    assert parquet.run(FIRST, day(2)).success
    assert [len(parquet.table("events", day(offset))) for offset in range(3)] == [10, 10, 0]
    assert parquet.run(DIRTY).success
    assert parquet.ids(DIRTY) == list(range(11, 21))


def test_a_row_of_a_glob_that_has_no_day_is_quarantined_on_the_last_day_of_its_file(parquet):
    write(parquet, "a.parquet", [*good(FIRST), *good(DIRTY, 11), row(50, DIRTY, placed_at="2099-01-01T00:00:00")])
    assert parquet.run(FIRST, day(2)).success
    assert parquet.rules(DIRTY) == {50: "placed_at lies in the day"}
    assert parquet.counts_add_up(DIRTY)


def test_a_parquet_file_with_a_missing_column_blocks_the_days_that_it_holds(parquet):
    write(parquet, "a.parquet", good(FIRST) + good(day(2)))
    write(parquet, "b.parquet", good(DIRTY))
    table = pq.read_table(parquet.feed / "b.parquet").drop_columns(["city"])
    pq.write_table(table, parquet.feed / "b.parquet")
    assert parquet.run(FIRST, day(2)).success
    assert [len(parquet.table("events", day(offset))) for offset in range(3)] == [10, 0, 10]
    assert parquet.metadata("events", DIRTY)["blocked"] == "column city is missing"


def test_a_wrong_type_in_parquet_is_quarantined_row_by_row(parquet):
    write(parquet, "a.parquet", good(DIRTY))
    table = pq.read_table(parquet.feed / "a.parquet")
    words = pa.array(["1.5"] * 9 + ["two"])
    pq.write_table(table.set_column(3, "amount", words), parquet.feed / "a.parquet")
    assert parquet.run(DIRTY).success
    assert parquet.rules(DIRTY) == {10: "amount is double"}


def test_a_folder_without_a_file_says_where_it_looked(parquet):
    run = parquet.run(DIRTY)
    assert not run.success
    assert "no file matches" in run.message
    assert str(parquet.feed) in run.message
    assert "Traceback" not in run.message


def test_an_unreadable_file_of_a_glob_stops_the_run_and_is_named(parquet):
    write(parquet, "a.parquet", good(DIRTY))
    (parquet.feed / "b.parquet").write_bytes(b"PAR1 but not really")
    run = parquet.run(DIRTY)
    assert not run.success
    assert "b.parquet" in run.message
    assert "Traceback" not in run.message
