"""Are alarms counted as episodes, and are changes found when, and where, they are put in?"""

import datetime as dt
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Monitor
from factory_assets.measures.habits import MOST, Habit
from factory_assets.measures.profiles import profile, profiles
from factory_assets.models.archived import ReleasedModel
from factory_assets.monitoring.calibration import (
    LOST,
    NULLS,
    SCHEMA,
    SEGMENT,
    Calibration,
    Found,
    Month,
    months,
    put_in,
)
from factory_assets.monitoring.drift.days import DriftDays
from factory_assets.monitoring.performance.losses import Loss

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 3, 27)
FEATURES = ("amount", "channel")


def drifted(node: str, column: str, *offsets: int) -> list[dict[str, Any]]:
    found = {"node": node, "column": column, "part": "values", "verdict": "drifted"}
    return [found | {"ds": FIRST + DAY * offset} for offset in offsets]


def test_days_on_end_are_one_alarm_and_each_column_of_each_node_has_its_own() -> None:
    calm = (3, 4, 5, 6, 9, 10, 11)
    stable = [{"node": "FR", "column": "a", "verdict": "stable", "ds": FIRST + DAY * offset} for offset in calm]
    rows = [*stable, *drifted("FR", "a", 0, 1, 2, 7, 8), *drifted("FR", "b", 1), *drifted("DE", "a", 2, 3)]
    lost = [Loss("FR", FIRST + DAY * offset, FIRST + DAY * 3, "") for offset in (3, 4, 5, 6)]
    assert months(rows, lost) == {
        # An alarm that goes on into April began in March.
        dt.date(2026, 3, 1): Month(days=5, drift=3, performance=1),
        dt.date(2026, 4, 1): Month(days=7, drift=1, performance=0),
    }


def rows(seed: int, days: int, a_day: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    count = days * a_day
    return pa.table(
        {
            "amount": rng.lognormal(3, 1, count),
            "channel": rng.choice(["app", "web", "shop"], count),
            "leaf": rng.choice(["FR/Lyon", "FR/Paris"], count, p=[0.7, 0.3]),
            "ds": pa.array(np.repeat([FIRST + DAY * at for at in range(days)], a_day), pa.date32()),
        }
    )


@pytest.mark.parametrize(("a_day", "few"), [(1000, False), (20, True)])
def test_changes_are_found_the_sooner_the_larger_they_and_the_node_are(a_day: int, few: bool) -> None:
    learnt, table = rows(1, 30, a_day), rows(2, 9, a_day)
    own = profiles(learnt, FEATURES) | {"prediction": profile(learnt["amount"], name="prediction")}
    calm = Habit(MOST, 6, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})
    made = SimpleNamespace(
        features=FEATURES, task="regression", profiles=own, habits=dict.fromkeys(own, calm), parts={"model": b""},
        predict=lambda rows: rows["amount"].to_numpy(), sample=learnt, contributions=lambda rows: None,
    )  # fmt: skip

    def read(first: dt.date, last: dt.date) -> pa.Table:
        days = table["ds"].to_numpy().astype("datetime64[D]")
        return table.filter(pa.array((days >= np.datetime64(first)) & (days <= np.datetime64(last))))

    watched = DriftDays(read, lambda _: cast(ReleasedModel, made), Monitor())
    days = [FIRST + 6 * DAY, FIRST + 8 * DAY]
    found = put_in(watched, days, {day: {"FR": "one"} for day in days})
    # The predictions are judged, and have no column to put a change into.
    assert {change: one.tried for change, one in found.items()} == {"x1.1": 2, "x1.3": 2, NULLS: 4, LOST: 2, SEGMENT: 2}
    assert found[LOST].share(7) == 1 and found["x1.1"].share(7) <= found["x1.3"].share(7)
    assert found[SEGMENT].share(7) <= found["x1.3"].share(7)
    assert found["x1.3"].share(1) <= found["x1.3"].share(7)
    if few:
        assert found["x1.3"].share(7) < 1 and found["x1.1"].share(7) == 0
    else:
        assert found[NULLS].share(1) == 1 and found["x1.3"].share(3) == 1 and found["x1.1"].share(7) == 1


def test_the_table_has_a_row_for_each_month_and_monitor_and_for_each_change_and_number_of_days() -> None:
    found = {NULLS: Found(10, Counter({1: 4, 3: 2, 7: 1})), LOST: Found()}
    month = dt.date(2026, 3, 1)
    calibration = Calibration({month: Month(days=20, drift=2, performance=1)}, found, [FIRST, FIRST + 7 * DAY], 7)
    table = calibration.table()
    assert table.schema.equals(SCHEMA) and set(table["ds"].to_pylist()) == {FIRST + 7 * DAY}
    told = [
        [row[name] for name in ("monitor", "month", "change", "after", "tried", "number")] for row in table.to_pylist()
    ]
    assert told == [
        ["drift", month, None, None, 20, 2],
        ["performance", month, None, None, 20, 1],
        *(["drift", None, NULLS, after, 10, number] for after, number in ((1, 4), (3, 6), (7, 7))),
    ]
