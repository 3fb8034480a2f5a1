"""Whatever a feed does to its files: no traceback, no row in another day, and every row that came is accounted for."""

from __future__ import annotations

import datetime as dt
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.stations import CONTRACT, Station, csv, day, row

DAYS = [day(offset) for offset in range(7)]
ROWS = 40
#: Half of them take a minute; the others run with the slow tests.
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in (*range(2, 10), 20270))]
#: Most of a day may be at fault and the rest is still looked at: what is lost would not be seen on blocked days.
LENIENT = CONTRACT.replace("tolerance: 0.3", "tolerance: 0.98")


def rows_of(on: dt.date) -> list[dict[str, object]]:
    number = 1000 * (on - DAYS[0]).days
    return [row(number + place, on) | {"note": f"{on} no {place}"} for place in range(ROWS)]


def inserted(rng: random.Random, content: bytes, pieces: list[bytes], times: int) -> bytes:
    for _ in range(times):
        place = rng.randrange(len(content) + 1)
        content = content[:place] + rng.choice(pieces) + content[place:]
    return content


def mixed_ends(rng: random.Random, content: bytes) -> bytes:
    return b"".join(line + rng.choice([b"\n", b"\r\n", b"\r\n", b"\n\n"]) for line in content.split(b"\n") if line)


def swapped_columns(rng: random.Random, content: bytes) -> bytes:
    lines = [line.split(b",") for line in content.split(b"\n") if line]
    one, other = rng.sample(range(len(lines[0])), 2)
    for line in lines if rng.random() < 0.5 else lines[1:]:
        if max(one, other) < len(line):
            line[one], line[other] = line[other], line[one]
    return b"\n".join(b",".join(line) for line in lines) + b"\n"


def decimal_commas(rng: random.Random, content: bytes) -> bytes:
    quoted = rng.random() < 0.5
    return re.sub(rb",(\d+)\.(\d+),", rb',"\1,\2",' if quoted else rb",\1,\2,", content)


MANGLES = {
    "cut": lambda rng, content: content[: rng.randrange(len(content))],
    "other encoding": lambda rng, content: inserted(rng, content, ["é".encode("latin-1"), b"\xff", "é".encode("utf-16")], 3),
    "control characters": lambda rng, content: inserted(rng, content, [bytes([code]) for code in (1, 7, 8, 11, 12, 27, 127)], 4),
    "zero bytes": lambda rng, content: inserted(rng, content, [b"\x00"], 2),
    "mixed line ends": mixed_ends,
    "quotes": lambda rng, content: inserted(rng, content, [b'"', b'""', b"'"], rng.randrange(1, 4)),
    "swapped columns": swapped_columns,
    "decimal commas": decimal_commas,
    "other delimiters": lambda rng, content: inserted(rng, content, [b",", b";", b"\t"], 3),
    "blank lines": lambda rng, content: inserted(rng, content, [b"\n", b"\n\n"], 3),
}  # fmt: skip


def physical_rows(content: bytes) -> int:
    """Lines with something in them, but for the header: no value of ours holds a line's end."""
    return max(0, len([line for line in re.split(rb"\r\n|\n|\r", content) if line.strip()]) - 1)


def check(station: Station, came: dict[dt.date, int | None]) -> None:
    """came: rows of each day's file; None where nobody can tell."""
    for on in DAYS:
        told = station.metadata("events", on)
        for each in station.table("events", on, ["note", "event_time"]):
            written = re.fullmatch(r"(2024-\d\d-\d\d) no \d+", each["note"] or "")
            assert each["event_time"].date() == on and (written is None or written[1] == str(on))
        if "no file" in told.get("blocked", "") or re.search(
            "cannot be|is not utf-8|must have", told.get("blocked", "")
        ):
            continue
        aside = len(station.table("quarantine", on)) + sum((told.get("excluded_by_rule") or {}).values())
        counted = told["accepted"] + told["duplicates"] + told.get("superseded", 0) + aside
        assert told["rows_delivered"] == counted, (on, told)
        assert came[on] in (None, told["rows_delivered"]), (on, told)


@pytest.mark.parametrize("seed", SEEDS)
def test_mangled_csv_loses_no_row_and_puts_none_into_another_day(seed, tmp_path):
    rng = random.Random(seed)
    station = Station(tmp_path, contract=LENIENT)
    came: dict[dt.date, int | None] = {}
    for place, on in enumerate(DAYS):
        content = csv(rows_of(on)).encode()
        names = [] if place in (0, len(DAYS) - 1) else rng.sample(sorted(MANGLES), rng.choice([1, 1, 2]))
        for name in names:
            content = MANGLES[name](rng, content)
        station.deliver(on, content)
        came[on] = physical_rows(content)
    run = station.run(DAYS[0], DAYS[-1])
    assert run.success, run.message
    check(station, came)
    assert len(station.ids(DAYS[0])) == len(station.ids(DAYS[-1])) == ROWS


def damaged(rng: random.Random, table: pa.Table, file: Path) -> int | None:
    """Write the table with a fault; the number of rows that came, None where the file may not be readable."""
    fault = rng.choice(["cut", "flipped", "swapped", "texts", "control", "twice", "numbers"])
    if fault == "swapped":
        one, other = rng.sample(table.column_names, 2)
        names = [other if name == one else one if name == other else name for name in table.column_names]
        table = table.rename_columns(names)
    if fault in ("texts", "control"):
        noise = {"texts": ",", "control": "\x11"}[fault]
        values = [str(value).replace(".", noise) for value in table["amount"].to_pylist()]
        table = table.set_column(table.column_names.index("amount"), "amount", pa.array(values))
    if fault == "numbers":
        ids = pa.array([float(value) + 0.5 * (place % 2) for place, value in enumerate(table["order_id"].to_pylist())])
        table = table.set_column(table.column_names.index("order_id"), "order_id", ids)
    if fault == "twice":
        table = pa.concat_tables([table, table])
    pq.write_table(table, file)
    content = file.read_bytes()
    if fault == "cut":
        file.write_bytes(content[: rng.randrange(len(content))])
        return None
    if fault == "flipped":
        place = rng.randrange(len(content))
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        return None
    return table.num_rows


@pytest.mark.parametrize("seed", SEEDS)
def test_mangled_parquet_loses_no_row_and_puts_none_into_another_day(seed, tmp_path):
    rng = random.Random(100 + seed)
    station = Station(tmp_path, source="{kind: parquet, uri: 'FEED/orders-{day}.parquet'}", contract=LENIENT)
    came: dict[dt.date, int | None] = {}
    for place, on in enumerate(DAYS):
        table, file = pa.Table.from_pylist(rows_of(on)), station.feed / f"orders-{on}.parquet"
        if place in (0, len(DAYS) - 1):
            pq.write_table(table, file)
        came[on] = ROWS if place in (0, len(DAYS) - 1) else damaged(rng, table, file)
    run = station.run(DAYS[0], DAYS[-1])
    assert run.success, run.message
    check(station, came)
    assert len(station.ids(DAYS[0])) == len(station.ids(DAYS[-1])) == ROWS
