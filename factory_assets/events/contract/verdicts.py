"""What is to be said of days of a stream, concern by concern, and which patch of the contract would let them pass?"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract import day_rules
from factory_assets.events.contract.day_rules import Measured
from factory_assets.events.contract.expectations import STRETCH_ROWS, ConcernResult, Failure, rows_to_validate, validate
from factory_assets.events.contract.patches import Anomaly, Refusal, Suggestion, suggest
from factory_assets.events.contract.validation import judge, read_arrivals
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: Name of the checks of a contract together, among verdicts.
CONTRACT = "contract"


def outcomes(
    lake: Lake, engine: Engine, declared: DeclaredStream, days: list[dt.date], accepted: Collection[str] = ()
) -> list[ConcernResult]:
    """Validate days of `raw`. accepted: rules whose failures somebody has accepted."""
    measured = _measured(lake, engine, declared, days, accepted) if day_rules.applies(declared) else []
    return [
        outcome
        for stretch in _stretches(lake, declared, days)
        for outcome in _validated(
            lake, engine, declared, stretch, [one for one in measured if one.day in stretch], accepted
        )
    ]


def views_to_judge(
    con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredStream, days: Sequence[dt.date]
) -> None:
    """The views that `validation.judge` reads: raw rows, deliveries, and events of the past where days are compared."""
    name = declared.stream.name
    for view in ("raw", "deliveries"):
        lake.view(con, view, f"{name}/{view}", days[0], days[-1], empty_if_absent=True)
    if day_rules.looks_back(declared):
        before = days[0] - declared.contract.past
        held = lake.columns(f"{name}/events")
        # Events of an older contract have no value of a column that is new to it.
        lacking = [f"NULL::{kind} AS {identifier(each)}" for each, kind in declared.types.items() if each not in held]
        if held:
            lake.view(con, "held", f"{name}/events", before, days[0] - dt.timedelta(days=1), empty_if_absent=True)
            rows = "FROM held"
        else:
            lacking, rows = [*lacking, "NULL::DATE AS ds"], "WHERE false"
        chosen = ", ".join([*(["*"] if held else []), *lacking])
        con.execute(f"CREATE OR REPLACE TEMP VIEW past AS SELECT {chosen} {rows}").fetchall()


def _stretches(lake: Lake, declared: DeclaredStream, days: list[dt.date]) -> Iterator[list[dt.date]]:
    """Whole days together, as long as their rows fit STRETCH_ROWS."""
    rows: dict[dt.date, int] = {}
    table = lake.read(f"{declared.stream.name}/deliveries", days[0], days[-1], ["ds", "rows"], empty_if_absent=True)
    for row in table.to_pylist():
        rows[row["ds"]] = rows.get(row["ds"], 0) + row["rows"]
    stretch: list[dt.date] = []
    for day in days:
        if stretch and sum(rows.get(other, 0) for other in [*stretch, day]) > STRETCH_ROWS:
            yield stretch
            stretch = []
        stretch.append(day)
    yield stretch


def _measured(
    lake: Lake, engine: Engine, declared: DeclaredStream, days: list[dt.date], accepted: Collection[str]
) -> list[Measured]:
    """What the rules on whole days find: in one pass over the range, since each day is part of the next one's past."""
    with engine.connect() as con:
        views_to_judge(con, lake, declared, days)
        return [one for verdict in judge(con, declared, days, accepted) for one in verdict.measured]


def _validated(
    lake: Lake,
    engine: Engine,
    declared: DeclaredStream,
    days: list[dt.date],
    measured: list[Measured],
    accepted: Collection[str],
) -> list[ConcernResult]:
    with engine.connect() as con:
        for name in ("raw", "deliveries"):
            lake.view(con, name, f"{declared.stream.name}/{name}", days[0], days[-1], empty_if_absent=True)
        came = read_arrivals(con)
        rows = con.sql(rows_to_validate(declared)).to_arrow_table()
        return validate(declared, rows, came, days, measured, accepted)


def suggestion(declared: DeclaredStream, outcome: ConcernResult, failure: Failure) -> Suggestion:
    """The patch of the contract under which the failure passes, or the words that no patch should."""
    rule, measured = failure.rule, failure.measured
    if rule.kind == "delivery":
        return Refusal("a day that is not delivered, or cannot be read, has no rows", "have it delivered again")
    values: tuple[Any, ...] = failure.values
    if rule.kind == "exists":
        values = tuple(outcome.new_columns)
    observed = measured.observed if measured else failure.share if rule.kind == "null" else None
    if rule.kind == "volume" and measured is None:
        observed = 0.0
    usual = measured.usual if measured else None
    return suggest(declared, Anomaly(rule.kind, rule.column, rule.name, values, observed, usual, failure.share))


def new_column(declared: DeclaredStream, name: str, values: Sequence[str]) -> Suggestion:
    """The patch that adds a column of the feed which the contract does not know."""
    return suggest(declared, Anomaly("undeclared", name, "", tuple(values)))


def suggestions(declared: DeclaredStream, found: Sequence[ConcernResult]) -> dict[str, Suggestion]:
    """One suggestion a broken rule, or new column, for all days together."""
    pooled: dict[str, tuple[ConcernResult, Failure]] = {}
    new: dict[str, list[str]] = {}
    for outcome in found:
        for name, values in outcome.new_columns.items():
            new.setdefault(name, []).extend(values)
        for failure in outcome.failures:
            name = failure.rule.name
            pooled[name] = (outcome, _worse(pooled[name][1], failure) if name in pooled else failure)
    told = {name: suggestion(declared, outcome, failure) for name, (outcome, failure) in pooled.items()}
    return told | {f"new column {name}": new_column(declared, name, values) for name, values in new.items()}


def _worse(one: Failure, other: Failure) -> Failure:
    """Two failures of a rule as one that covers both: all values, and what was measured further out of bounds."""
    extreme = max((one, other), key=lambda failure: (failure.measured.excess if failure.measured else 0, failure.share))
    return replace(extreme, values=tuple(dict.fromkeys([*one.values, *other.values])))


def all_blocked(stream: str, blocked: Mapping[dt.date, Sequence[str]]) -> str:
    """The end of a run in which every day is blocked; days with the same reasons in one breath."""
    alike: dict[str, list[dt.date]] = {}
    for day, reasons in blocked.items():
        alike.setdefault(", ".join(reasons), []).append(day)
    told = "; ".join(f"{_span(days)}: {why}" for why, days in alike.items())
    return f"{stream}: blocked, the events that were served stay as they are. {told}"


def _span(days: Sequence[dt.date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
