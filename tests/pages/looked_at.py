"""A line with three months behind it, as tables and a ledger, for the tests of its page: one node has become worse, one drifts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.evaluation.scores import SIDES, schema, version_of
from factory_assets.governor.work import Called
from factory_assets.monitoring.estimates.windows import SCHEMA as ESTIMATES
from factory_assets.monitoring.monitors import SCHEMA
from factory_assets.monitoring.performance.measured import schema as measured_schema
from factory_assets.pages.details import Reported, Tables
from factory_assets.pages.line_page import line_page
from factory_assets.release.request import Request
from factory_assets.release.rollback import roll_back
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import Decision
from tests.features.lines import OF_EVENTS, declared_line
from tests.resources.test_ledger import a_version, an_evaluation

LINE, LAST = "question", dt.date(2026, 6, 30)
DAYS = [LAST - ago * DAY for ago in reversed(range(80))]
#: As of which the first and the second champion were trained; since when the worse node is worse, and the column drifts.
FIRST, SECOND, WORSE, DRIFTS = DAYS[10], DAYS[40], DAYS[-20], DAYS[-9]
NOW = dt.datetime(2026, 7, 1, 6, tzinfo=dt.UTC)
#: Of which node there are metrics that fall, and which drifts.
FALLS, DRIFTING = "FR", "DE"


@dataclass
class Made:
    """A line's tables and ledger."""

    lake: Lake
    ledger: Ledger
    folder: Path

    @property
    def tables(self) -> Tables:
        return Tables(self.lake, Engine(threads=1, memory_limit="1GB"), self.ledger)

    def page(
        self, called: Called | None = None, state: Any = "current", reported: Reported | None = None, **declared: Any
    ) -> str:
        asked = declared_line(**OF_EVENTS, **declared)
        return line_page(asked, self.tables, called or Called(), state, NOW, reported or Reported())


def made(
    folder: Path, nodes: Sequence[str] = ("global", "FR", "DE"), column: str = "amount", why: str = "looked fine"
) -> Made:
    """Every node with champions of its own. column: which drifts. why: of the decisions."""
    lake, ledger = Lake(root=str(folder / "lake")), Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
    for node in nodes:
        for as_of, version in ((FIRST, f"a {node}"), (SECOND, f"b {node}")):
            ledger.register(a_version(version, line=LINE, node=node, as_of=as_of))
            own = {
                "average_precision": 0.61,
                "calibration_error": 0.01,
                "rows of new": 40.0,
                "average_precision of new": 0.5,
            }
            ledger.record_evaluation(an_evaluation(version, line=LINE, node=node, as_of=as_of, challenger=own))
            ledger.decide(Decision(LINE, node, as_of, "promote", version, version, why, "gate", {}))
    lake.replace(f"{LINE}/monitors", pa.Table.from_pylist([*looks(nodes, column)], schema=SCHEMA), DAYS)
    lake.replace(
        f"{LINE}/performance", pa.Table.from_pylist([*measured(nodes)], schema=measured_schema("binary")), DAYS
    )
    lake.replace(f"{LINE}/estimates", pa.Table.from_pylist([*estimated(nodes)], schema=ESTIMATES), DAYS)
    lake.replace(f"{LINE}/evaluation", pa.concat_tables([evaluated(node, f"b {node}") for node in nodes]), [SECOND])
    return Made(lake, ledger, folder)


def looks(nodes: Sequence[str], column: str) -> Iterator[dict[str, Any]]:
    for day in DAYS:
        for node in nodes:
            for name in (column, "items"):
                drifts = node == DRIFTING and name == column and day >= DRIFTS
                yield {
                    "line": LINE, "node": node, "monitor": "drift", "column": name, "value": 0.4 if drifts else 0.02, "limit": 0.1,
                    "n": 900, "verdict": "alarm" if drifts else "stable", "reason": f"PSI of {name}", "ds": day,
                }  # fmt: skip


def measured(nodes: Sequence[str]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for day in DAYS:
        for node in nodes:
            falls = 0.2 if node == FALLS and day >= WORSE else 0.0
            whole = (LAST - day).days >= 1
            value = 0.6 - falls + 0.02 * rng.standard_normal() if whole else None
            yield {
                "node": node, "predicted": 200, "labelled": 190 if whole else 12, "ds": day, "naive_average_precision": 0.1,
                "average_precision": value, "low": value and value - 0.05, "high": value and value + 0.05,
            }  # fmt: skip


def estimated(nodes: Sequence[str]) -> Iterator[dict[str, Any]]:
    for day in DAYS:
        for node in nodes:
            yield {
                "node": node, "metric": "average_precision", "estimate": 0.6, "low": 0.5, "high": 0.7, "final": 0.58,
                "verdict": "final", "rows": 900, "reason": "as estimated", "ds": day,
            }  # fmt: skip


def evaluated(node: str, version: str, rows: int = 600) -> pa.Table:
    """What the champion and the naive guess predicted of a holdout of three weeks; it is right on average."""
    rng = np.random.default_rng(1)
    p = rng.random(rows)
    columns = {"node": node, "task": "binary", version_of("challenger"): version, "leaf": node, "ds": SECOND}
    table = [
        {
            **columns, "example_id": str(at), "observed_at": dt.datetime(2026, 5, 1), "day": SECOND - (at % 21) * DAY,
            "label": float(rng.random() < p[at]), "challenger_prediction": float(p[at]), "naive_prediction": 0.5,
        }
        for at in range(rows)
    ]  # fmt: skip
    assert "naive" in SIDES
    return pa.Table.from_pylist(table, schema=schema("binary"))


def taken_back(made: Made, node: str, why: str = "it was unfair") -> None:
    """What `factory rollback` does."""
    roll_back(made.ledger, made.lake, Request(LINE, node, why, "ana", None), None)


class Screen(HTMLParser):
    """What stands on a page: the text of each of its cards, and all of it; its badges; addresses not on the page or beside it."""

    def __init__(self, html: str):
        super().__init__()
        self.cards: dict[str, str] = {}
        self.text, self.elsewhere, self.ids = "", list[str](), set[str]()
        self.links: list[str] = []
        self.badges: list[str] = []
        self._is_badge = False
        self._card, self._hidden = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if "id" in of:
            self.ids.add(str(of["id"]))
        if tag == "div" and "card" in str(of.get("class")).split():
            self._card = str(of["id"])
        if tag == "span" and "badge" in str(of.get("class")).split():
            self._is_badge = True
        if tag == "section" and of.get("aria-label") != "How it stands":
            self._card = ""
        self._hidden = tag in ("style", "script")
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            address = of.get(name)
            if address and tag == "a":
                self.links.append(address)
            if (
                address
                and not address.startswith("#")
                and not (tag == "a" and ":" not in address and "//" not in address)
            ):
                self.elsewhere.append(address)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag not in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.text += f"{data} "
            if self._is_badge:
                self.badges.append(data)
                self._is_badge = False
            if self._card:
                self.cards[self._card] = f"{self.cards.get(self._card, '')} {data.strip()}"
