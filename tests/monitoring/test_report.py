"""Evidently's page is complete, offline, reproducible in what it draws, and survives awkward columns."""

from __future__ import annotations

import re
import socket
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.habits import Habit
from factory_assets.measures.profiles import profile
from factory_assets.monitoring.drift.report import ROWS, drift_report
from factory_assets.monitoring.drift.verdicts import Drift, drift

#: A column whose weeks differ by no more than as many independent rows.
CALM = Habit(8, 8, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})
NUMERICAL = ["TX_AMOUNT", "terminal_risk.risk_7d", "is_night", "prediction"]
CATEGORICAL = ["customer.country"]


def rows(count: int, seed: int, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "TX_AMOUNT": rng.gamma(2, 30, count),
            "terminal_risk.risk_7d": pa.array(rng.normal(shift, 1, count), mask=rng.random(count) < 0.1),
            "is_night": rng.random(count) < 0.2,
            "prediction": rng.random(count).astype(np.float32),
            "customer.country": pa.array(rng.choice(["FR", "DE", None], count).tolist()).dictionary_encode(),
        }
    )


def told(page: str) -> dict[str, tuple[str, str]]:
    """What the page says of each column, in its order: the verdict, and the reason."""
    data = re.findall(r"var metric_\w+ = (.*?);\n", page)[0]
    panels = re.findall(r'"value": "([^"]+): (stable|drifted|no verdict|not judged)", "label": "([^"]*)"', data)
    return {name: (verdict, reason) for name, verdict, reason in panels}


def judged(before: pa.Table, now: pa.Table) -> list[Drift]:
    return [
        drift(profile(before[name], name=name), CALM, now[name], false_alarm_rate=0.001)
        for name in [*NUMERICAL, *CATEGORICAL]
    ]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the report opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_page_shows_every_column_dots_included_and_loads_nothing() -> None:
    page = drift_report(rows(3000, 0), rows(2500, 1, shift=1.0), NUMERICAL, CATEGORICAL, "card_fraud, global")
    assert len(page) > 100_000
    assert set(told(page)) == {*NUMERICAL, *CATEGORICAL}
    assert not re.search(r"<script[^>]*\ssrc\s*=", page)
    assert not re.search(r"<link[^>]*\shref\s*=\s*[\"']?http", page)
    assert "<h1" in page and "card_fraud, global" in page
    assert "3,000 reference rows and 2,500 current rows, at most 2,000 of each drawn." in page


def test_the_page_tells_our_verdicts_and_none_of_its_own_the_worst_first() -> None:
    before, now = rows(1500, 0), rows(1500, 1, shift=1.0)
    verdicts = judged(before, now)
    drifted = [("global", each) for each in verdicts if each.verdict == "drifted"]
    page = drift_report(before, now, NUMERICAL, CATEGORICAL, "t", verdicts, [*drifted, ("FR", drifted[0][1])])
    found = told(page)
    assert {name: verdict for name, (verdict, _) in found.items()} == {each.column: each.verdict for each in verdicts}
    assert next(iter(found)) == "terminal_risk.risk_7d" and [each.column for _, each in drifted] == [
        "terminal_risk.risk_7d"
    ]
    assert found["terminal_risk.risk_7d"][1] == drifted[0][1].reason
    assert "drift detected" not in page.lower() and "not detected" not in page
    assert (
        "Drifted of all nodes, the worst first: global: values of terminal_risk.risk_7d, PSI" in page
        and "; FR: values of terminal_risk" in page
    )
    calm = drift_report(before, before, NUMERICAL, CATEGORICAL, "t")
    assert {verdict for verdict, _ in told(calm).values()} == {
        "not judged"
    } and "No column of any node has drifted." in calm


def test_the_same_rows_are_drawn_at_every_call() -> None:
    before, now = rows(3 * ROWS, 0), rows(3 * ROWS, 1)
    first, second = (drawn(drift_report(before, now, NUMERICAL, CATEGORICAL, "t")) for _ in range(2))
    assert first == second and len(first) == 5


def drawn(page: str) -> list[str]:
    """The pictures' data."""
    return re.findall(r'"y": \{?"?[^\]}]{40,}', page)[:5]


@pytest.mark.parametrize(
    ("empty", "side"),
    [
        (pa.nulls(500), "current"),
        (pa.array([np.nan, np.inf] * 250), "reference"),
        (pa.nulls(500, pa.float64()), "both"),
    ],
)
def test_a_column_without_values_is_left_out_and_named(empty: pa.Array, side: str) -> None:
    before, now = rows(500, 0), rows(500, 1)
    position = before.column_names.index("TX_AMOUNT")
    if side in ("reference", "both"):
        before = before.set_column(position, "TX_AMOUNT", empty)
    if side in ("current", "both"):
        now = now.set_column(position, "TX_AMOUNT", empty)
    page = drift_report(before, now, NUMERICAL, CATEGORICAL, "t")
    named = "reference and current" if side == "both" else side
    assert f"Left out: TX_AMOUNT, without a value in the rows drawn of the {named}." in page
    assert set(told(page)) == {*NUMERICAL, *CATEGORICAL} - {"TX_AMOUNT"}


def test_missing_categories_are_a_level_and_count() -> None:
    before = pa.table({"customer.country": ["FR", "DE"] * 200})
    now = pa.table({"customer.country": pa.array([*["FR", "DE"] * 100, *[None] * 200])})
    page = drift_report(before, now, [], CATEGORICAL, "t")
    assert "customer.country" in told(page)
    assert '"(null)"' in page


@pytest.mark.parametrize(("before", "now"), [(1, 1), (2, 3), (1, 400)])
def test_a_handful_of_rows_is_no_error(before: int, now: int) -> None:
    assert len(drift_report(rows(before, 0), rows(now, 3), ["TX_AMOUNT", "is_night"], [], "t")) > 100_000


def test_without_rows_or_columns_the_page_says_what_is_missing() -> None:
    page = drift_report(rows(0, 0), rows(10, 0), ["TX_AMOUNT"], [], "card_fraud")
    assert "card_fraud" in page and "0 reference rows" in page and "Left out: TX_AMOUNT" in page


def test_markup_in_a_level_or_a_title_stays_text() -> None:
    attack = "</script><script>alert(1)</script>"
    table = pa.table({"country": [attack, "FR"] * 100})
    page = drift_report(table, table, [], ["country"], attack)
    assert attack not in page
    assert "\\u003c/script>\\u003cscript>alert(1)" in page
    assert "&lt;/script&gt;" in page


def test_a_column_that_a_table_lacks_is_named() -> None:
    with pytest.raises(KeyError, match="absent"):
        drift_report(rows(200, 0), rows(200, 1), ["absent"], [], "t")
