"""Which rules do days of a stream break, concern by concern, and which patch of the contract would let them pass?"""

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
from factory_assets.events.contract.rules import lacking, row_rules
from factory_assets.events.contract.validation import Inputs, judge, judged_rows, led, read_arrivals
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: Name among verdicts of all checks of a contract together.
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


def inputs_to_judge(
    con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredStream, days: Sequence[dt.date]
) -> Inputs:
    """Create the views that `validation.judge` reads; with events of the past where the contract compares days."""
    inputs = _delivered(con, lake, declared, days)
    if not day_rules.looks_back(declared):
        return inputs
    past, table = "past", f"{declared.stream.name}/events"
    stored = lake.columns(table)
    # Events of an older contract have no value of a column that is new to it.
    absent = [f"NULL::{kind} AS {identifier(each)}" for each, kind in declared.types.items() if each not in stored]
    compared = day_rules.days_to_compare(declared, days, lake.days(table)) if stored else []
    if stored:
        first, last = (compared[0], compared[-1]) if compared else (days[0], days[0])
        lake.view(con, "stored", table, first, last, empty_if_absent=True)
        of_days = ", ".join(f"DATE '{day}'" for day in compared) or "NULL"
        rows = f"FROM stored WHERE ds IN ({of_days})"
    else:
        absent, rows = [*absent, "NULL::DATE AS ds"], "WHERE false"
    chosen = ", ".join([*(["*"] if stored else []), *absent])
    con.execute(f"CREATE OR REPLACE TEMP VIEW {past} AS SELECT {chosen} {rows}").fetchall()
    return replace(inputs, past=past)


def _delivered(con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredStream, days: Sequence[dt.date]) -> Inputs:
    """Create views of the days' raw rows and deliveries."""
    inputs = Inputs(raw="raw", deliveries="deliveries")
    for view, table in ((inputs.raw, "raw"), (inputs.deliveries, "deliveries")):
        lake.view(con, view, f"{declared.stream.name}/{table}", days[0], days[-1], empty_if_absent=True)
    return inputs


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
    """Measurements of the rules on whole days: in one pass over the range, since each day is part of the next one's past."""
    with engine.connect() as con:
        inputs = inputs_to_judge(con, lake, declared, days)
        judgement = judge(con, declared, inputs, days, accepted)
        return [one for verdict in judgement.verdicts for one in verdict.measured]


def _validated(
    lake: Lake,
    engine: Engine,
    declared: DeclaredStream,
    days: list[dt.date],
    measured: list[Measured],
    accepted: Collection[str],
) -> list[ConcernResult]:
    with engine.connect() as con:
        inputs = _delivered(con, lake, declared, days)
        rows = con.sql(rows_to_validate(declared, inputs.raw)).to_arrow_table()
        arrived = read_arrivals(con, inputs.deliveries)
        judged = f"(SELECT * FROM ({judged_rows(declared, inputs.raw)}) WHERE _excluded IS NULL)"
        rules = row_rules(declared, lacking(declared, arrived))
        return validate(
            declared, rows, arrived, days, measured, accepted, lambda broken: led(con, declared, judged, rules, broken)
        )


def suggestion(declared: DeclaredStream, outcome: ConcernResult, failure: Failure) -> Suggestion:
    """The patch of the contract under which the failure passes, or the reason why no patch should let it pass."""
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


def suggestions(declared: DeclaredStream, results: Sequence[ConcernResult]) -> dict[str, Suggestion]:
    """One suggestion a broken rule, or new column, for all days together."""
    pooled: dict[str, tuple[ConcernResult, Failure]] = {}
    new: dict[str, list[str]] = {}
    for outcome in results:
        for name, values in outcome.new_columns.items():
            new.setdefault(name, []).extend(values)
        for failure in outcome.failures:
            name = failure.rule.name
            pooled[name] = (outcome, _worse(pooled[name][1], failure) if name in pooled else failure)
    by_rule = {name: suggestion(declared, outcome, failure) for name, (outcome, failure) in pooled.items()}
    return by_rule | {f"new column {name}": new_column(declared, name, values) for name, values in new.items()}


def _worse(one: Failure, other: Failure) -> Failure:
    """Two failures of a rule as one that covers both: all values, and the measurement that lies further out of bounds."""
    extreme = max((one, other), key=lambda failure: (failure.measured.excess if failure.measured else 0, failure.share))
    return replace(extreme, values=tuple(dict.fromkeys([*one.values, *other.values])))


def all_blocked(stream: str, blocked: Mapping[dt.date, Sequence[str]]) -> str:
    """The message of a run in which every day is blocked; days with the same reasons are named together."""
    alike: dict[str, list[dt.date]] = {}
    for day, reasons in blocked.items():
        alike.setdefault(", ".join(reasons), []).append(day)
    reasons_of_days = "; ".join(f"{_span(days)}: {why}" for why, days in alike.items())
    return f"{stream}: blocked, the events that were served stay as they are. {reasons_of_days}"


def _span(days: Sequence[dt.date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
