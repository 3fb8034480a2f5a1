"""Do cleansing rules put the right values right, count what they did, and treat a row alone as among thousands?"""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

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
from factory_assets.events.contract.cleansing import cleansed
from factory_assets.events.sources import Delivery

DAY = dt.date(2024, 3, 1)
STREAM: dict[str, Any] = {
    "name": "orders", "owner": "team:x", "description": "Orders.", "source": {"kind": "parquet", "uri": "x.parquet"},
    "id": "id", "event_time": "at", "start": DAY,
    "cleanse": {
        "unknown_age": {"column": "age", "null_if": [-1, 999]},
        "typical_age": {"column": "age", "impute": 40},
        "one_spelling": {"column": "city", "to": "lower(trim(city))"},
        "old_names": {"column": "city", "recode": {"lutetia": "paris"}},
        "tips_to_fifty": {"column": "tip", "clip": [0, 50]},
    },
    "derive": {"shares": "tip / 2"},
}  # fmt: skip
CONTRACT = {
    "tolerance": 0.3,
    "columns": {
        "id": {"type": "integer"},
        "at": {"type": "timestamp"},
        "age": {"type": "integer", "min": 0, "max": 120},
        "city": {"type": "string", "allowed": ["paris", "lyon"]},
        "tip": {"type": "double", "nullable": True},
    },
}
TYPES = {"id": "BIGINT", "at": "TIMESTAMP", "age": "BIGINT", "city": "VARCHAR", "tip": "DOUBLE"}
DECLARED = DeclaredStream(Stream.model_validate(STREAM), Contract.model_validate(CONTRACT))


def rows(*, age: list[int | None], city: list[str | None], tip: list[float | None]) -> pa.Table:
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("at", pa.timestamp("us")),
            ("age", pa.int64()),
            ("city", pa.string()),
            ("tip", pa.float64()),
        ]
    )
    at = dt.datetime.combine(DAY, dt.time(12))
    table = pa.table([list(range(len(age))), [at] * len(age), age, city, tip], schema=schema)
    for name in ("_line", "_source"):
        table = table.append_column(name, pa.array([None if name == "_line" else "x"] * len(age), pa.string()))
    return table


def judged(con: duckdb.DuckDBPyConnection, table: pa.Table) -> tuple[validation.DayVerdict, validation.Judgement]:
    con.execute("SET TimeZone = 'UTC'")
    con.register("delivered", table)
    landed = landing.land(
        con, DECLARED, [Delivery("SELECT * FROM delivered", TYPES, ("x",), Period(DAY, DAY))], [DAY], DAY
    )
    judgement = validation.judge(con, DECLARED, validation.Inputs(landed.rows, landed.deliveries), [DAY])
    (verdict,) = judgement.verdicts
    return verdict, judgement


TABLE = rows(
    age=[30, -1, 999, None, 31], city=["paris", " Lyon", "LUTETIA", "lyon", "Rome"], tip=[60.0, -2.0, 10.0, None, 70.0]
)


def test_values_are_put_right_before_the_contract_judges_them():
    with duckdb.connect() as con:
        verdict, judgement = judged(con, TABLE)
        found = con.execute(f"SELECT id, age, city, tip, shares FROM {judgement.accepted} ORDER BY id").fetchall()
    assert found == [
        (0, 30, "paris", 50.0, 25.0),
        (1, 40, "lyon", 0.0, 0.0),
        (2, 40, "paris", 10.0, 5.0),
        (3, 40, "lyon", None, None),
    ]
    assert verdict.quarantined == {"city is one of the allowed": 1}


def test_every_rule_counts_what_it_changed():
    with duckdb.connect() as con:
        verdict, _ = judged(con, TABLE)
    assert verdict.cleansed == {
        "unknown_age": 2, "typical_age": 3, "one_spelling": 3, "old_names": 1, "tips_to_fifty": 3
    }  # fmt: skip


def test_a_row_set_aside_shows_its_values_as_delivered():
    with duckdb.connect() as con:
        _, judgement = judged(con, TABLE)
        ((row,),) = con.execute(f"SELECT raw_row FROM {judgement.quarantined}").fetchall()
    assert json.loads(row)["city"] == "Rome" and json.loads(row)["tip"] == 70.0


def test_a_row_cleansed_alone_is_the_row_cleansed_among_thousands():
    rng = np.random.default_rng(5)
    ages = [int(v) if v < 1000 else None for v in rng.choice([-1, 0, 30, 999, 1000], 3000)]
    cities = [str(v) for v in rng.choice(["paris", " Paris ", "LUTETIA", "lyon", "Rome"], 3000)]
    tips = [float(v) if v > -9 else None for v in rng.choice([-10.0, -1.0, 0.0, 50.0, 50.5], 3000)]
    table = rows(age=ages, city=cities, tip=tips)
    with duckdb.connect() as con:
        con.register("many", table)
        together = con.execute(cleansed(DECLARED, "SELECT * FROM many ORDER BY id")).to_arrow_table().to_pylist()
        for place in rng.choice(3000, 40, replace=False):
            con.register("one", table.slice(int(place), 1))
            assert con.execute(cleansed(DECLARED, "SELECT * FROM one")).to_arrow_table().to_pylist() == [
                together[place]
            ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"column": "wage", "impute": 1}, "'wage' is not a column; columns here: id, at, age, city, tip"),
        ({"column": "age", "impute": "old"}, "'old' is no integer, which 'age' is"),
        ({"column": "age", "null_if": ["NA"]}, "'NA' is no integer, which 'age' is"),
        ({"column": "city", "clip": [0, 1]}, "'city' is of type string; allowed: integer, double"),
        ({"column": "at", "impute": "2024-01-01"}, "'at' is of type timestamp"),
        ({"column": "city", "to": "upper(town)"}, "town"),
    ],
)
def test_a_rule_that_does_not_suit_its_column_is_refused(rule, message):
    stream = Stream.model_validate(STREAM | {"cleanse": {"it": rule}})
    ((path, told),) = stream.check(DECLARED.contract)
    assert path[:2] == ("cleanse", "it") and message in told


def test_a_rule_is_exactly_one_of_its_kinds():
    for wrong in ({"column": "age"}, {"column": "age", "impute": 1, "clip": [0, 1]}, {"column": "age", "clip": [2, 1]}):
        with pytest.raises(ValueError, match=r"exactly one of|is larger than"):
            Stream.model_validate(STREAM | {"cleanse": {"it": wrong}})


@pytest.mark.parametrize(
    ("column", "to", "expected"),
    [
        ("tip", "tip * 1e308", [1e308, None, 0.0]),
        ("tip", "ln(tip)", [0.0, math.log(1e300), None]),
        ("age", "tip / 2", [None, None, 0]),
        ("age", "tip", [1, None, 0]),
        ("age", "round(tip) + 9007199254740992", [None, None, None]),
        ("age", "age + 9007199254740992", [2**53 + 1, 2**53 + 2, 2**53 + 3]),
        ("age", "city", [7, None, None]),
    ],
)
def test_what_a_rule_gives_is_finite_and_an_integer_exact(column: str, to: str, expected: list[Any]) -> None:
    declared = DeclaredStream(
        Stream.model_validate(STREAM | {"cleanse": {"it": {"column": column, "to": to}}, "derive": {}}),
        Contract.model_validate(CONTRACT),
    )
    con = duckdb.connect()
    con.register("given", rows(age=[1, 2, 3], city=["7", "7.5", "x"], tip=[1.0, 1e300, 0.0]))
    found = con.execute(f"SELECT {column} FROM ({cleansed(declared, 'SELECT * FROM given')}) ORDER BY id").fetchall()
    assert [value for (value,) in found] == expected
