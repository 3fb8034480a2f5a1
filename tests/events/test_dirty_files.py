"""What becomes of a delivery that is not as agreed? Each fault has its own outcome, and takes no good row with it.

All faults stand in one feed, a day each between clean days, and one range run goes over all of them: what one test
finds on its day is also what the others' faults did not do to it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stations import CONTRACT, Run, Station, csv, day, row

Rows = list[dict[str, Any]]


def good(on: dt.date, first: int = 1, count: int = 10) -> Rows:
    return [row(first + number, on) for number in range(count)]


def without(column: str, rows: Rows) -> Rows:
    return [{name: value for name, value in each.items() if name != column} for each in rows]


def broken_line(on: dt.date, count: int) -> str:
    """A file in which a quote opens in the eighth of the rows and never closes."""
    lines = csv(good(on, count=count)).splitlines()
    lines[8] = lines[8].replace("hi", '"hi')
    return "\n".join(lines) + "\n"


def well_formed(on: dt.date) -> str:
    """Unusual, but nothing is wrong: BOM, Windows line ends, blank lines, a value with quotes, a comma and a new line."""
    lines = csv(good(on)).splitlines()
    lines[3] = lines[3].replace("hi", '"a ""b"",\r\nc"')
    return "\ufeff" + "\r\n\r\n".join(lines) + "\r\n   \r\n"


FAULTS: dict[str, Callable[[dt.date], Rows | str | bytes | None]] = {
    "clean": good,
    "column missing": lambda on: without("city", good(on)),
    "column in capitals": lambda on: csv(good(on)).replace("city", "CITY"),
    "wrong type": lambda on: [*good(on), row(11, on, amount="two euro")],
    "not a number": lambda on: [*good(on), row(11, on, amount="nan"), row(12, on, amount="inf")],
    "future": lambda on: [*good(on), row(11, on, placed_at="2031-01-01T00:00:00")],
    "exact duplicates": lambda on: good(on) * 3,
    "conflict": lambda on: [*good(on), row(3, on, amount=99, placed_at=f"{on}T00:30:00"), row(4, on, amount=99)],
    "conflicts": lambda on: [*good(on), *(each | {"amount": 99} for each in good(on))],
    "empty": lambda on: csv([], list(row(1, on))),
    "no file": lambda on: None,
    "no byte": lambda on: "",
    "more columns": lambda on: [each | {"Vehicle type": "bike", "ds": "x", "rule": "y"} for each in good(on)],
    "optional column absent": lambda on: without("note", good(on)),
    "half the files without a column": lambda on: without("channel", good(on)),
    "above tolerance": lambda on: [*good(on, 1, 6), *(row(20 + n, on, city="Atlantis") for n in range(4))],
    "line too long, line cut off": lambda on: csv(good(on)) + f"11,{on}T01:00:00,Paris,1,no,comma,too,many\n12,{on}T02",
    "quote left open": lambda on: broken_line(on, 10),
    "quote left open in a long file": lambda on: broken_line(on, 2000),
    "well formed": well_formed,
    "column twice": lambda on: csv(good(on)).replace("note", "amount"),
    "UTF-16": lambda on: csv(good(on)).encode("utf-16"),
    "Latin-1": lambda on: csv([*good(on), row(11, on, note="café")]).encode("latin-1"),
    "expression fails": lambda on: [*good(on), row(11, on, ref="Nope"), row(12, on, ref="")],
    "excluded": lambda on: [*good(on), *(row(20 + n, on, note="test", city="Atlantis") for n in range(20))],
    "clean again": good,
}
DAYS = {fault: day(place) for place, fault in enumerate(FAULTS)}
BLOCKED = {
    "column missing": "column city is missing",
    "column in capitals": "column city is missing",
    "conflicts": "10 of 20 rows break 'order_id is unique' (tolerated: 30.0%)",
    "no file": "no file was delivered",
    "no byte": "column order_id is missing; column placed_at is missing; column city is missing; column amount is missing",
    "above tolerance": "4 of 10 rows break 'city is one of the allowed' (tolerated: 30.0%)",
    "quote left open in a long file": "cannot be split into lines from line 9 on: is a quote left open?",
    "column twice": "must have every column name once",
    "UTF-16": "is not utf-8 but, by its first bytes, utf-16: declare the source's `encoding`",
    "Latin-1": "is not utf-8 in line 12: declare the `encoding` of the source, such as latin-1",
}


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """All faults, delivered and materialised in one range run."""
    station = Station(tmp_path_factory.mktemp("feed"))
    for fault, content in FAULTS.items():
        delivered = content(DAYS[fault])
        if delivered is not None:
            station.deliver(DAYS[fault], delivered)
    late = DAYS["half the files without a column"]
    station.deliver(late, [row(20, late), row(21, late, channel="")], part="-late")
    assert (run := station.run(day(0), day(len(FAULTS) - 1))).success, run.message
    return station


@pytest.mark.parametrize("fault", FAULTS)
def test_a_range_run_holds_back_the_days_that_are_not_fit_and_no_other(feed, fault):
    on = DAYS[fault]
    told = feed.metadata("events", on).get("blocked")
    severities = {
        feed.check(concern, on).severity.name for concern in ("schema", "completeness", "ranges", "uniqueness")
    }
    if fault in BLOCKED:
        assert BLOCKED[fault] in told
        assert feed.ids(on) == []
        assert "ERROR" in severities, "the day's own check says so too"
    else:
        assert told is None
        assert feed.ids(on) or fault == "empty"
        assert severities == {"WARN"}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_row_delivered_is_accepted_quarantined_a_duplicate_or_excluded(feed, fault):
    told = feed.metadata("events", DAYS[fault])
    aside, excluded = feed.table("quarantine", DAYS[fault]), sum((told.get("excluded_by_rule") or {}).values())
    assert told["rows_delivered"] == len(feed.table("raw", DAYS[fault], ["ds"]))
    assert told["rows_delivered"] == told["accepted"] + len(aside) + told["duplicates"] + excluded


def test_the_page_of_what_was_delivered_opens_with_how_much_by_whom_and_what_cannot_be_read(feed):
    late = DAYS["half the files without a column"]
    assert feed.metadata("raw", DAYS["clean"])["in_short"] == "10 rows delivered by 1 source"
    assert feed.metadata("raw", late)["in_short"] == "12 rows delivered by 2 sources"
    assert feed.metadata("raw", DAYS["empty"])["in_short"] == "0 rows delivered by 1 source"
    assert feed.metadata("raw", DAYS["no file"])["in_short"] == "nothing was delivered"
    unread = feed.metadata("raw", DAYS["UTF-16"])
    assert unread["in_short"].endswith("delivered by 1 source, of which 1 could not be read as declared")
    ((source, problem),) = unread["problems"].items()
    assert source.endswith(".csv") and BLOCKED["UTF-16"] in problem


def test_a_clean_day_passes_every_check_on_its_own_partition(feed):
    for fault in ("clean", "clean again", "empty"):
        for concern in ("schema", "completeness", "ranges", "uniqueness"):
            assert feed.check(concern, DAYS[fault]).passed
    assert feed.ids(DAYS["clean"]) == list(range(1, 11))


def test_a_missing_column_is_named_and_no_row_is_blamed_for_it(feed):
    on = DAYS["column missing"]
    assert feed.check("schema", on).description == "column city is delivered: not so for 10 rows, 100.0%"
    assert feed.broken("schema", on) == {"column city is delivered": 10}
    assert feed.check("completeness", on).passed
    assert feed.table("quarantine", on) == []
    assert len(feed.table("raw", on)) == 10


def test_a_wrong_type_is_quarantined_under_column_and_type_with_its_text(feed):
    on = DAYS["wrong type"]
    (aside,) = feed.table("quarantine", on)
    assert aside["rule"] == "amount is double"
    assert '"amount":"two euro"' in aside["unparsed"]
    assert feed.rules(on) == {11: "amount is double"}
    assert feed.ids(on) == list(range(1, 11))
    assert feed.broken("schema", on) == {"amount is double": 1}
    assert feed.check("completeness", on).passed, "a value that does not parse is not an empty one"
    assert feed.rules(DAYS["not a number"]) == {11: "amount is double", 12: "amount is double"}


def test_a_future_date_is_quarantined(feed):
    assert feed.rules(DAYS["future"]) == {11: "placed_at lies in the day"}
    assert feed.broken("schema", DAYS["future"]) == {"placed_at lies in the day": 1}
    assert feed.ids(DAYS["future"]) == list(range(1, 11))


def test_exact_duplicates_are_collapsed_and_counted_and_block_nothing(feed):
    on = DAYS["exact duplicates"]
    assert feed.ids(on) == list(range(1, 11))
    assert feed.table("quarantine", on) == []
    assert feed.metadata("events", on)["duplicates"] == 20
    assert feed.broken("uniqueness", on) == {"every row comes once": 20}


def test_of_conflicting_rows_with_one_id_the_first_known_is_kept_and_the_other_quarantined(feed):
    on = DAYS["conflict"]
    assert feed.ids(on) == list(range(1, 11))
    assert feed.rules(on) == {3: "order_id is unique", 4: "order_id is unique"}
    assert [each["amount"] for each in feed.table("events", on) if each["order_id"] == 3] == [99]
    assert feed.broken("uniqueness", on) == {"order_id is unique": 2}


def test_an_empty_day_is_served_empty(feed):
    assert feed.metadata("events", DAYS["empty"])["dagster/row_count"] == 0
    assert feed.versions("orders/events")[str(DAYS["empty"])] != "blocked"


def test_undeclared_columns_are_kept_as_text_and_noted_and_do_not_reach_the_events(feed):
    on = DAYS["more columns"]
    assert {each["_undeclared"] for each in feed.table("raw", on)} == {'{"Vehicle type":"bike","ds":"x","rule":"y"}'}
    assert {each["_undeclared"] for each in feed.table("raw", DAYS["clean"])} == {None}
    assert feed.check("schema", on).passed
    note = "columns that the contract does not know: Vehicle type, ds, rule"
    assert feed.check("schema", on).metadata["notes"].value == note
    assert not any("ehicle" in name for name in feed.lake.columns("orders/events"))
    assert feed.ids(on) == list(range(1, 11))


def test_an_optional_column_may_be_absent_but_not_empty_where_it_is_delivered(feed):
    absent, half = DAYS["optional column absent"], DAYS["half the files without a column"]
    assert {each["note"] for each in feed.table("events", absent)} == {None}
    assert feed.check("completeness", absent).passed
    assert feed.rules(half) == {21: "channel is not null"}
    assert feed.broken("completeness", half) == {"channel is not null": 1}
    assert feed.ids(half) == [*range(1, 11), 20]


def test_lines_of_the_wrong_length_are_quarantined_as_they_came(feed):
    on = DAYS["line too long, line cut off"]
    rule = "the line has a value for every column"
    assert {each["line"]: each["rule"] for each in feed.table("quarantine", on)} == {
        f"11,{on}T01:00:00,Paris,1,no,comma,too,many": rule,
        f"12,{on}T02": rule,
    }
    assert feed.broken("schema", on) == {rule: 2}
    assert feed.check("completeness", on).passed
    assert feed.ids(on) == list(range(1, 11))


def test_a_quote_left_open_costs_the_lines_that_it_swallows_and_each_is_counted(feed):
    on = DAYS["quote left open"]
    assert feed.ids(on) == list(range(1, 8))
    assert feed.metadata("events", on)["quarantined"] == 3


def test_bom_blank_lines_and_quoted_newlines_are_no_faults(feed):
    on = DAYS["well formed"]
    assert feed.ids(on) == list(range(1, 11))
    assert {each["note"] for each in feed.table("events", on)} == {"hi", 'a "b",\r\nc'}
    assert feed.table("quarantine", on) == []


def test_a_row_for_which_an_expression_fails_is_quarantined_under_its_name(feed):
    on = DAYS["expression fails"]
    assert feed.rules(on) == {11: "ref_number can be computed"}
    assert feed.broken("schema", on) == {"ref_number can be computed": 1}
    assert {each["order_id"]: each["ref_number"] for each in feed.table("events", on)} == {
        **dict.fromkeys(range(1, 11), 7),
        12: None,
    }


def test_excluded_rows_are_counted_and_never_judged(feed):
    assert feed.metadata("events", DAYS["excluded"])["excluded_by_rule"] == {"tests": 20}
    assert feed.ids(DAYS["excluded"]) == list(range(1, 11))
    assert feed.check("ranges", DAYS["excluded"]).passed


def told_without_traceback(run: Run) -> str:
    assert not run.success
    assert "Traceback" not in run.message
    return run.message


def test_a_single_blocked_day_fails_at_its_check_and_what_was_served_stays(tmp_path):
    s, on = Station(tmp_path), day(0)
    s.deliver(on, good(on))
    assert s.run(on).success
    served, version = s.table("events", on), s.versions("orders/events")
    for content, told in {
        "column missing": "column city is delivered",
        "above tolerance": "city is one of the allowed: not so for 4 rows, 40.0%",
        "no file": "no file was delivered",
    }.items():
        (s.feed / f"orders-{on}.csv").unlink()
        if (rows := FAULTS[content](on)) is not None:
            s.deliver(on, rows)
        run = s.run(on)
        assert told in told_without_traceback(run)
        assert run.steps == {"orders__contract"}
        assert ("orders/events", str(on)) not in run.materialised
        assert "ERROR" in {s.check(concern, on).severity.name for concern in ("schema", "ranges")}
        assert s.table("events", on) == served
        assert s.versions("orders/events") == version


def test_a_day_blocked_in_a_range_keeps_what_it_served_and_its_data_version(tmp_path):
    s = Station(tmp_path)
    for offset in range(3):
        s.deliver(day(offset), good(day(offset)))
    s.run(day(0), day(2))
    before = s.versions("orders/events")
    s.deliver(day(1), without("city", good(day(1), 50)))
    assert s.run(day(0), day(2)).success
    assert s.ids(day(1)) == list(range(1, 11))
    assert s.versions("orders/events") == before
    assert s.metadata("events", day(1))["blocked"] == "column city is missing"


def test_an_undeclared_column_may_join_the_contract_as_a_number(tmp_path):
    s, on = Station(tmp_path), day(0)
    s.deliver(on, [each | {"tip": "1.5"} for each in good(on)])
    assert s.run(on).success
    s.contract_file.write_text(s.contract_file.read_text() + "  tip: {type: double}\n")
    s.load()
    assert s.run(on).success
    assert {each["tip"] for each in s.table("events", on)} == {1.5}


@pytest.fixture
def parquet(tmp_path: Path) -> Station:
    return Station(tmp_path, source="{kind: parquet, uri: 'FEED/*.parquet'}")


def write(s: Station, name: str, rows: Rows, **columns: pa.Array) -> None:
    table = pa.Table.from_pylist(rows)
    typed = {
        "placed_at": pa.array([dt.datetime.fromisoformat(each["placed_at"]) for each in rows]),
        "amount": pa.array([float(each["amount"]) for each in rows]),
    }
    for column, values in (typed | columns).items():
        table = table.set_column(table.column_names.index(column), column, values)
    pq.write_table(table, s.feed / name)


def test_rows_of_a_glob_of_files_go_to_their_days_whatever_is_wrong_with_some(parquet):
    lost = [row(50, day(1), placed_at="2099-01-01T00:00:00"), row(51, day(1), placed_at="1970-01-01T00:00:00")]
    write(parquet, "a.parquet", good(day(0)) + good(day(1), 11) + lost)
    write(parquet, "b.parquet", good(day(2), count=9), amount=pa.array([*["1.5"] * 8, "two"]))
    write(parquet, "c.parquet", good(day(3)))
    table = pq.read_table(parquet.feed / "c.parquet").drop_columns(["city"])
    pq.write_table(table, parquet.feed / "c.parquet")
    assert parquet.run(day(0), day(4)).success
    assert [len(parquet.table("events", day(offset))) for offset in range(5)] == [10, 10, 8, 0, 0]
    assert parquet.rules(day(1)) == dict.fromkeys((50, 51), "placed_at lies in the day"), "the last day of their file"
    assert parquet.rules(day(2)) == {9: "amount is double"}
    assert parquet.metadata("events", day(3))["blocked"] == "column city is missing"
    assert "blocked" not in parquet.metadata("events", day(4)), "without a file a day, a day without rows is empty"
    assert [parquet.check("schema", day(offset)).passed for offset in range(5)] == [True, False, False, False, True]


def test_a_glob_that_finds_nothing_or_a_file_that_it_cannot_read_is_named(parquet):
    told = told_without_traceback(parquet.run(day(0)))
    assert "no file matches" in told
    assert str(parquet.feed) in told
    write(parquet, "a.parquet", good(day(0)))
    (parquet.feed / "b.parquet").write_bytes(b"PAR1 but not really")
    assert not parquet.run(day(0)).success, "its days are not known, and the only one that was asked for is blocked"
    assert "b.parquet cannot be read" in parquet.check("schema", day(0)).description
    assert parquet.check("schema", day(0)).severity == dg.AssetCheckSeverity.ERROR


def test_a_list_has_as_many_values_as_the_contract_says(tmp_path):
    contract = CONTRACT.replace("tolerance: 0.3", "tolerance: 0.5")
    contract += "  tags: {type: strings, nullable: true, value_count: {min: 1, max: 2}}\n"
    station = Station(tmp_path, source="{kind: parquet, uri: 'FEED/orders-{day}.parquet'}", contract=contract)
    lists = [["a"], ["a", "b"], [], ["a", "b", "c"], None, ["x"]]
    rows = [row(number, day(0)) | {"tags": tags} for number, tags in enumerate(lists)]
    pq.write_table(pa.Table.from_pylist(rows), station.feed / f"orders-{day(0)}.parquet")
    assert station.run(day(0), assets=("raw", "events", "statistics")).success
    assert station.broken("ranges", day(0)) == {"tags has 1 to 2 values": 2}
    assert station.rules(day(0)) == dict.fromkeys((2, 3), "tags has 1 to 2 values")
    assert [each["tags"] for each in station.table("events", day(0))] == [["a"], ["a", "b"], None, ["x"]]


def test_a_column_that_joins_the_contract_is_held_against_a_past_that_does_not_know_it(tmp_path):
    station = Station(tmp_path, contract=CONTRACT + "volume: {max_change: 0.5}\n")
    days = [day(offset) for offset in range(9)]
    for place, on in enumerate(days):
        station.deliver(on, [row(100 * place + number, on) | {"tip": number} for number in range(10)])
    assert station.run(days[0], days[7]).success
    grown = (
        CONTRACT + "  tip: {type: integer, distinct: {max_change: 0.5}, max_shift: 0.5}\nvolume: {max_change: 0.5}\n"
    )
    station.contract_file.write_text(grown)
    station.load()
    assert station.run(days[8]).success
    assert [each["tip"] for each in station.table("events", days[8])] == list(range(10))
