"""Evidently's page is complete, offline, reproducible in what it draws, and survives awkward columns."""

from __future__ import annotations

import re
import socket
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.monitoring.report import ROWS, drift_report

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


def scores(page: str) -> dict[str, tuple[bool, float]]:
    """What the page says of each column: drift detected, PSI."""
    panel = r"Drift in column '([^']+)'\", \"label\": \"Data drift (not )?detected\.[^\"]*Drift score: ([0-9.]+)\""
    return {name: (negation == "", float(score)) for name, negation, score in re.findall(panel, page)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the report opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_page_shows_every_column_dots_included_and_loads_nothing() -> None:
    page = drift_report(rows(3000, 0), rows(2500, 1, shift=1.0), NUMERICAL, CATEGORICAL, "card_fraud, global")
    assert len(page) > 100_000
    assert set(scores(page)) == {*NUMERICAL, *CATEGORICAL}
    assert not re.search(r"<script[^>]*\ssrc\s*=", page)
    assert not re.search(r"<link[^>]*\shref\s*=\s*[\"']?http", page)
    assert "<h1" in page and "card_fraud, global" in page
    assert "3,000 reference rows and 2,500 current rows, at most 2,000 of each drawn." in page


def test_the_shifted_column_is_the_one_drawn_as_drifted_and_the_threshold_is_the_callers() -> None:
    before, now = rows(1500, 0), rows(1500, 1, shift=1.0)
    found = scores(drift_report(before, now, NUMERICAL, CATEGORICAL, "t"))
    assert {name for name, (drifted, _) in found.items() if drifted} == {"terminal_risk.risk_7d"}
    tolerant = scores(drift_report(before, now, NUMERICAL, CATEGORICAL, "t", threshold=5.0))
    assert {name: score for name, (_, score) in tolerant.items()} == {name: score for name, (_, score) in found.items()}
    assert not any(drifted for drifted, _ in tolerant.values())


def test_the_same_rows_are_drawn_at_every_call() -> None:
    before, now = rows(3 * ROWS, 0), rows(3 * ROWS, 1)
    first, second = (scores(drift_report(before, now, NUMERICAL, CATEGORICAL, "t")) for _ in range(2))
    assert first == second and len(first) == 5


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
    assert set(scores(page)) == {*NUMERICAL, *CATEGORICAL} - {"TX_AMOUNT"}


def test_missing_categories_are_a_level_and_count() -> None:
    before = pa.table({"customer.country": ["FR", "DE"] * 200})
    now = pa.table({"customer.country": pa.array([*["FR", "DE"] * 100, *[None] * 200])})
    page = drift_report(before, now, [], CATEGORICAL, "t")
    assert scores(page)["customer.country"][0]
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
