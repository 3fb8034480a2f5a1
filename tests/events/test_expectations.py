"""Do the checks by Great Expectations and the row rules in SQL find the same rows? The contract is one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing
from factory_assets.events.contract import validation
from factory_assets.events.contract.expectations import ROW_KINDS, ExpectationsErrored, rows_to_validate, validate
from factory_assets.events.contract.rules import row_rules
from factory_assets.events.contract.warned import rule_names
from factory_assets.events.sources import Delivery

START = dt.date(2024, 3, 1)
DAYS = [START + dt.timedelta(days=offset) for offset in range(24)]

CONTRACT = {
    "tolerance": 0.1,
    "columns": {
        "id": {"type": "integer"},
        "at": {"type": "timestamp"},
        "told": {"type": "timestamp", "nullable": True},
        "city": {"type": "string", "allowed": ["Paris", "Lyon"]},
        "amount": {"type": "double", "min": 0, "max": 100},
        "items": {"type": "integer", "nullable": True, "min": 1},
        "paid": {"type": "boolean", "required": False},
        "born": {"type": "date", "nullable": True, "required": False},
        "tags": {"type": "strings", "nullable": True, "value_count": {"min": 1, "max": 2}},
        "level": {"type": "integer", "nullable": True},
    },
    "rules": {"many_are_paid": "items < 5 or paid", "level_can_be_small": "cast(concat(level, '') as tinyint) > 0"},
    "warn": ["level_can_be_small"],
}
STREAM = {
    "name": "orders", "owner": "team:x", "description": "Orders.", "source": {"kind": "csv", "uri": "orders-{day}.csv"},
    "id": "id", "event_time": "at", "known_at": "told", "timezone": "America/New_York", "start": START, "end": DAYS[-1],
    "derive": {"share": "cast(concat(items, '') as tinyint)"}, "exclude": {"tests": "city = 'test'"},
}  # fmt: skip
DECLARED = DeclaredStream(Stream.model_validate(STREAM), Contract.model_validate(CONTRACT))

#: Column -> what may stand in place of a good value; bounds themselves are good.
FAULTS = {
    "id": [None, "x1", "3.5"],
    "at": [None, "soon", "2031-01-01 00:00:00", "1970-01-01"],
    "told": [None, "later"],
    "city": [None, "Atlantis", "test"],
    "amount": [None, "-1", "0", "100", "101", "nan", "two"],
    "items": [None, "7", "0", "1", "-3", "1.5", "many", "1000"],
    "paid": [None, "perhaps", "false"],
    "born": [None, "31.12.1999"],
    "tags": [None, "[]", "[a, b, c]", "none"],
    "level": ["0", "1000", "high"],
}


def dirty(rng: np.random.Generator, day: dt.date, ids: range) -> list[dict[str, str | None]]:
    """Text as a feed delivers it; how much of it is at fault differs from day to day."""
    rate = rng.choice([0, 0.005, 0.02, 0.3])
    made = []
    for number in ids:
        hour = rng.integers(0, 18)
        good = {
            "id": str(number), "at": f"{day} {hour:02d}:30:00", "told": f"{day} {hour:02d}:40:00", "city": "Lyon",
            "amount": "12.5", "items": "3", "paid": "true", "born": "2001-02-03",
            "tags": "[a, b]", "level": "3", "_line": None,
        }  # fmt: skip
        faulty = {name: str(v) if (v := rng.choice(FAULTS[name])) is not None else None for name in FAULTS}
        row = {name: faulty[name] if name in faulty and rng.random() < rate else value for name, value in good.items()}
        made.append(row)
        for _ in range(rng.integers(0, 4) if rng.random() < rate else 0):
            again = {"amount": str(rng.integers(13, 15))} if rng.random() < 0.7 else {}
            made.append(row | again | ({"told": f"{day} 20:{rng.integers(10, 12)}:00"} if rng.random() < 0.5 else {}))
        if rng.random() < rate / 2:
            made.append(dict.fromkeys(good) | {"_line": "1,2"})
    return made


#: What `con` has landed.
INPUTS = validation.Inputs(landing.Landed.rows, landing.Landed.deliveries)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Views `raw` and `deliveries` of random dirty days: two files each, some without a column, one day without any."""
    rng = np.random.default_rng(11)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        delivered = []
        for place, day in enumerate(DAYS[:-1]):
            for part in (0, 1):
                rows = dirty(rng, day, range(1000 * part, 1000 * part + int(rng.integers(0, 80))))
                name = f"part_{place}_{part}"
                columns = [
                    name for name in CONTRACT["columns"] if not (name == ("paid", "born")[part] and place % 3 == 0)
                ]
                columns = [name for name in columns if not (name == "city" and (place, part) == (5, 1))]
                schema = pa.schema([(column, pa.string()) for column in [*columns, "_line"]])
                table = pa.Table.from_pylist([{key: row[key] for key in schema.names} for row in rows], schema=schema)
                con.register(name, table.append_column("_source", pa.array([name] * len(rows), pa.string())))
                delivered.append(
                    Delivery(f"SELECT * FROM {name}", dict.fromkeys(columns, "VARCHAR"), (name,), Period(day, day))
                )
        landing.land(con, DECLARED, delivered, DAYS, DAYS[-1])
        yield con


def test_checks_and_row_rules_find_the_same_rows_on_every_day(con):
    verdicts = {verdict.day: verdict for verdict in validation.judge(con, DECLARED, INPUTS, DAYS).verdicts}
    rows = con.sql(rows_to_validate(DECLARED, INPUTS.raw)).to_arrow_table()
    outcomes = validate(DECLARED, rows, validation.read_arrivals(con, INPUTS.deliveries), DAYS)
    for day in DAYS:
        found = {
            failure.rule.name: failure.count
            for outcome in outcomes
            if outcome.day == day
            for failure in outcome.failures
            if failure.rule.kind in ROW_KINDS and failure.rule.kind != "once"
        }
        assert found == verdicts[day].broken, day
        assert any(outcome.blocking for outcome in outcomes if outcome.day == day) == bool(verdicts[day].blocked), day
    broken = {rule for verdict in verdicts.values() for rule in verdict.broken}
    rules = {rule.name for rule in row_rules(DECLARED)} | {"id is unique"}
    told = {failure.rule.name for outcome in outcomes for failure in outcome.failures}
    assert told - rules == {"the day is delivered and can be read", "column city is delivered", "every row comes once"}
    assert told <= {*rule_names(DECLARED), "the day is delivered and can be read"}
    assert broken == rules - {"tests can be computed", "many_are_paid can be computed"}, (
        "every rule was put to the test"
    )
    blocked = [verdict for verdict in verdicts.values() if verdict.blocked]
    assert 3 < len(blocked) < len(DAYS) - 3
    assert verdicts[DAYS[5]].blocked == ("column city is missing",)
    assert verdicts[DAYS[-1]].blocked == ("no file was delivered",)


def test_a_rule_that_only_informs_sets_no_row_aside(con):
    verdicts = validation.judge(con, DECLARED, INPUTS, DAYS).verdicts
    assert sum(verdict.broken.get("level_can_be_small", 0) for verdict in verdicts) > 0
    assert not any("level_can_be_small" in verdict.quarantined for verdict in verdicts)


def test_a_correction_takes_the_place_of_the_row_before_it_and_a_contradiction_is_set_aside(con):
    judgement = validation.judge(con, DECLARED, INPUTS, DAYS)
    verdicts, accepted, judged = judgement.verdicts, judgement.accepted, judgement.judged
    assert sum(verdict.superseded for verdict in verdicts) > 10
    assert sum(verdict.duplicates for verdict in verdicts) > 3
    assert sum(verdict.quarantined.get("id is unique", 0) for verdict in verdicts) > 1
    newest = f"""SELECT count(*) FROM {accepted} JOIN {judged} USING (ds, id)
                 WHERE {judged}._repeated = 'superseded' AND {judged}.known_at >= {accepted}.known_at"""
    assert con.execute(newest).fetchall() == [(0,)]
    assert con.execute(f"SELECT count(*) FROM {accepted} GROUP BY ds, id HAVING count(*) > 1").fetchall() == []


def test_the_counts_of_every_day_add_up(con):
    for verdict in validation.judge(con, DECLARED, INPUTS, DAYS).verdicts:
        aside = sum(verdict.quarantined.values()) + sum(verdict.excluded.values())
        assert verdict.rows == verdict.accepted + verdict.duplicates + verdict.superseded + aside


def test_an_expectation_that_cannot_be_evaluated_is_an_error_and_no_verdict(con):
    rows = con.sql(rows_to_validate(DECLARED, INPUTS.raw)).to_arrow_table()
    texts = pa.array(["12.5"] * rows.num_rows)
    wrong = rows.set_column(rows.column_names.index("amount"), "amount", texts)
    with pytest.raises(ExpectationsErrored, match="amount"):
        validate(DECLARED, wrong, validation.read_arrivals(con, INPUTS.deliveries), DAYS)


def test_large_ids_that_differ_in_the_last_digit_are_different_ids(con):
    rows = con.sql(rows_to_validate(DECLARED, INPUTS.raw)).to_arrow_table().slice(0, 3)
    ids = pa.array([2**60 + 1, 2**60 + 2, None], pa.int64())
    day = pa.array([DAYS[0]] * 3, pa.date32())
    rows = rows.set_column(0, "id", ids).set_column(rows.column_names.index("ds"), "ds", day)
    outcomes = validate(DECLARED, rows, {}, [DAYS[0]])
    assert [outcome.passed for outcome in outcomes if outcome.concern == "uniqueness"] == [True]
