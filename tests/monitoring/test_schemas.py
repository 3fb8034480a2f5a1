"""Is another set of delivered columns told on the day on which it came, and apart from what the columns hold?"""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.line import Monitor
from factory_assets.events.stations import deliver
from factory_assets.monitoring import schemas
from factory_assets.monitoring.charts.counts import SCHEMA as COUNTS
from factory_assets.monitoring.charts.counts import series
from factory_assets.monitoring.checks import _control_of_day, _news_of_day, _of_its_day
from factory_assets.monitoring.drift.table import SCHEMA as DRIFT
from factory_assets.monitoring.estimates.windows import SCHEMA as ESTIMATES
from factory_assets.monitoring.monitors import BEHIND, Known, monitors
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from tests.stations import Station, day, row

DAY = dt.timedelta(days=1)
ON = dt.date(2026, 3, 30)
DEMO = Path(__file__).parents[2] / "factory_assets" / "defs"
PARQUET_A_DAY = "{kind: parquet, uri: 'FEED/orders-{day}*.parquet'}"


def source(on: dt.date, columns: dict[str, str] | list[str], **more: Any) -> dict[str, Any]:
    """A row of the deliveries table. columns: with types, or of an earlier release without."""
    types = json.dumps(list(columns.values())) if isinstance(columns, dict) else None
    own = {"ds": on, "rows": 100, "columns": json.dumps(list(columns)), "types": types, "problem": None, "late": False}
    return own | more


USUAL = {"id": "BIGINT", "amount": "DOUBLE"}


def told(rows: list[dict[str, Any]], on: dt.date = ON) -> list[tuple[str, str, str]]:
    """Column, verdict and reason of what the table says of the stream's schema on a day."""
    counts = series(COUNTS.empty_table(), on - BEHIND * DAY, on, {}).until(on, BEHIND + 1)
    known = Known(
        on, "mae", 1, Monitor(), DRIFT.empty_table(), ESTIMATES.empty_table(), {}, counts, 1,
        delivered={"orders": schemas.delivered(rows)},
    )  # fmt: skip
    found = [each for each in monitors("guess", known).to_pylist() if each["monitor"] == "schema"]
    assert {(each["node"], each["n"]) for each in found} <= {("global", 100), ("global", 200)}
    return [(each["column"], each["verdict"], each["reason"]) for each in found]


def test_a_stream_that_is_delivered_as_before_is_one_stable_row() -> None:
    rows = [source(ON - 3 * DAY, USUAL), source(ON, USUAL, rows=60), source(ON, USUAL, rows=40)]
    assert told(rows) == [("orders", "stable", "2 columns, as on 2026-03-27")]


def test_a_column_that_came_is_gone_or_is_of_another_type_is_told_on_that_day_alone() -> None:
    now = {"id": "VARCHAR", "tip": "DOUBLE"}
    rows = [source(ON - DAY, USUAL), source(ON, now), source(ON + DAY, now)]
    assert told(rows) == [
        ("orders.amount", "alarm", "column amount is gone with this day; 2026-03-29 had it: double"),
        ("orders.id", "alarm", "column id is varchar with this day; on 2026-03-29 it was bigint"),
        ("orders.tip", "alarm", "column tip came with this day: double"),
    ]
    assert told(rows, ON + DAY) == [("orders", "stable", "2 columns, as on 2026-03-30")]


def test_what_says_nothing_of_the_schema_is_no_change_of_it() -> None:
    usual = source(ON - DAY, USUAL)
    as_usual = [("orders", "stable", "2 columns, as on 2026-03-29")]
    # A file that cannot be read, one of a later day that brings late rows, a column without a value, and days without types.
    assert told([usual, source(ON, USUAL), source(ON, {"other": "DATE"}, problem="is no CSV")]) == as_usual
    assert told([usual, source(ON, USUAL), source(ON, USUAL | {"late": "DATE"}, late=True)]) == as_usual
    assert told([usual, source(ON, USUAL | {"amount": '"NULL"'})]) == as_usual
    assert told([source(ON - DAY, list(USUAL)), source(ON, USUAL)]) == as_usual
    assert told([usual]) == [], "nothing was delivered"
    first = f"no day of {BEHIND} before it was delivered"
    assert (
        told([source(ON, USUAL)])
        == told([source(ON - 57 * DAY, USUAL), source(ON, USUAL)])
        == [("orders", "no verdict", first)]
    )


def test_the_check_names_the_change_and_its_own_day_however_often_the_column_changed_before() -> None:
    alarm = {
        "node": "global",
        "monitor": "schema",
        "column": "orders.tip",
        "n": 9,
        "verdict": "alarm",
        "reason": "tip came",
    }
    found = [_of_its_day(alarm | {"ds": ON, "since": ON - 5 * DAY, "is_news": False})]
    message = _control_of_day(ON, found, 1, 0).message
    assert message == "schema of orders.tip of global since 2026-03-30: tip came"
    assert _news_of_day(ON, found, 0).message == "new: schema of orders.tip of global: tip came"


def test_columns_and_types_of_files_are_recorded_as_they_were_delivered(tmp_path: Path) -> None:
    station = Station(tmp_path, PARQUET_A_DAY)
    for offset, extra in enumerate([{}, {"tip": 1.5}, {"tip": "none"}, {}]):
        orders = [row(number, day(offset), amount=1.5, **extra) for number in range(3)]
        pq.write_table(pa.Table.from_pylist(orders), station.feed / f"orders-{day(offset)}.parquet")
    run = station.run(day(0), day(3), ["raw"])
    assert run.success, run.message
    days = schemas.delivered(station.lake.read("orders/deliveries").to_pylist())
    found = [[one.reason for one in schemas.changes(days[day(at)], days[day(at + 1)])] for at in range(3)]
    assert found == [
        ["column tip came with this day: double"],
        [f"column tip is varchar with this day; on {day(1)} it was double"],
        [f"column tip is gone with this day; {day(2)} had it: varchar"],
    ]
    assert days[day(0)].rows == 3


def test_the_column_that_the_marketplace_of_the_demo_adds_is_told_as_a_change_of_schema(tmp_path: Path) -> None:
    stream = load(DEMO).streams["orders"]
    added = stream.stream.start + 60 * DAY
    days = [added - DAY, added, added + DAY]
    deliver(Lake(root=str(tmp_path)), Engine(threads=1), stream, days, days[-1] + DAY)
    found = schemas.delivered(Lake(root=str(tmp_path)).read("orders/deliveries").to_pylist())
    assert schemas.changes(found[days[0]], found[added]) == [
        schemas.Change("courier_vehicle", "column courier_vehicle came with this day: varchar")
    ]
    assert schemas.changes(found[added], found[days[2]]) == []
