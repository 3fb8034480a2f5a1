"""Does an expression come to the same over one row as in the engine? To the last bit, or it is left to the engine."""

from __future__ import annotations

import random
import struct
from typing import Any

import duckdb
import pytest

from factory_assets.declarations import expressions
from factory_assets.features.online.rows import Beyond, compiled
from factory_assets.features.point_in_time.aggregates import finite

KINDS = {"x": "DOUBLE", "y": "DOUBLE", "n": "BIGINT", "m": "BIGINT"}
DOUBLES = [
    None,
    0.0,
    -0.0,
    1.0,
    -3.5,
    0.1,
    1 / 3,
    1e308,
    -1e308,
    5e-324,
    9007199254740993.0,
    float("nan"),
    float("inf"),
]
WHOLE = [None, 0, 1, -1, 7, 2**53 + 1, 2**62, -(2**63), 2**63 - 1]


def expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([*KINDS, *KINDS, "0", "2", "17", "0.5", "0.1", "12.345"])
    one, other = expression(rng, depth - 1), expression(rng, depth - 1)
    return rng.choice(
        [
            f"({one}) {rng.choice('+-*/')} ({other})", f"{one} {rng.choice('+-*/')} {other}", f"nullif({one}, {other})",
            f"nullif({one}, 0)", f"coalesce({one}, {other})", f"-({one})",
        ]
    )  # fmt: skip


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("d", value)


def test_arithmetic_over_one_row_is_the_engine_s_to_the_last_bit() -> None:
    rng = random.Random(3)
    rows: list[dict[str, Any]] = [
        {"x": rng.choice(DOUBLES), "y": rng.choice(DOUBLES), "n": rng.choice(WHOLE), "m": rng.choice(WHOLE)}
        for _ in range(60)
    ]
    rows += [
        {"x": rng.uniform(-9, 9), "y": rng.gauss(0, 1e9), "n": rng.randint(-99, 99), "m": rng.randint(0, 10**12)} for _ in range(60)
    ]  # fmt: skip
    with duckdb.connect() as con:
        con.execute("CREATE TABLE given (x DOUBLE, y DOUBLE, n BIGINT, m BIGINT)")
        con.executemany("INSERT INTO given VALUES (?, ?, ?, ?)", [list(row.values()) for row in rows])
        taken = beyond = 0
        for _ in range(400):
            text = expressions.sql(expression(rng, rng.randint(1, 3)))
            formula = compiled(text, KINDS)
            if formula is None:
                continue
            taken += 1
            try:
                found = [formula(row) for row in rows]
            except Beyond:
                beyond += 1
                with pytest.raises(duckdb.Error, match=r"Overflow|out of range"):
                    con.execute(f"SELECT {finite(text)} FROM given").fetchall()
                continue
            engine = [value for (value,) in con.execute(f"SELECT {finite(text)} FROM given").fetchall()]
            assert list(map(bits, found)) == list(map(bits, engine)), text
    assert taken > 150 and beyond > 5


@pytest.mark.parametrize(
    "text",
    ["x > 1", "abs(x)", "case when x > 1 then 1 end", "n * 0.5", "coalesce(n, 0.5)", "2 * 3", "s || 'a'", "n // 2", "x % 2",
     "cast(n as double)", "f * 2", "nullif(n, x)", "-0.5 * x", "3000000000 * n", "1e3 * x"],
)  # fmt: skip
def test_what_is_not_plain_arithmetic_of_known_types_is_the_engine_s(text: str) -> None:
    assert compiled(expressions.sql(text), KINDS | {"s": "VARCHAR", "f": "INTEGER"}) is None
