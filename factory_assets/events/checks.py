"""The asset checks of a stream: one a concern, on the day's partition of `raw`, judged by Great Expectations.

A failed check that blocks stops the day before it becomes events. In a range run the day is held back by the `events`
asset itself, and the other days go on.
"""

import datetime as dt
from collections.abc import Collection, Iterator

import dagster as dg

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.events import day_rules
from factory_assets.events.assets import all_blocked, partitions, views_to_judge
from factory_assets.events.day_rules import Measured
from factory_assets.events.expectations import STRETCH_ROWS, Failure, Outcome, concerns, rows_to_validate, validate
from factory_assets.events.rules import Concern
from factory_assets.events.validation import judge, read_arrivals
from factory_assets.materialization import days_of
from factory_resources.engine import Engine
from factory_resources.issues import Finding as IssueFinding
from factory_resources.issues import Issues
from factory_resources.lake import Lake

DESCRIPTIONS: dict[Concern, str] = {
    "schema": "Files and required columns are delivered, values parse as the contract's type, events lie in the day.",
    "completeness": "Columns that may not be empty are not.",
    "ranges": "Values lie between min and max, or among those allowed.",
    "uniqueness": "No id occurs twice in a day.",
    "volume": "As many rows are delivered as the contract expects, and none only on quiet days.",
    "columns": "Rules over several columns hold.",
    "distribution": "Columns have about as many different values as before, and about as often.",
}


def contract_checks(declared: DeclaredStream) -> dg.AssetChecksDefinition:
    stream = declared.stream
    key = dg.AssetKey([stream.name, "raw"])

    @dg.multi_asset_check(
        name=f"{stream.name}__contract",
        specs=[
            dg.AssetCheckSpec(
                concern,
                asset=key,
                blocking=True,
                partitions_def=partitions(declared),
                description=f"{DESCRIPTIONS[concern]} Contract version {declared.contract.version}, tolerance "
                f"{declared.contract.tolerance:.1%} of a day's rows a rule.",
            )
            for concern in concerns(declared)
        ],
    )
    def contract(
        context: dg.AssetCheckExecutionContext, lake: Lake, engine: Engine, issues: Issues
    ) -> Iterator[dg.AssetCheckResult]:
        days = days_of(context)
        accepted = issues.accepted(stream.name)
        measured = _measured(lake, engine, declared, days, accepted) if day_rules.applies(declared) else []
        outcomes = [
            outcome
            for stretch in _stretches(lake, declared, days)
            for outcome in _validated(
                lake,
                engine,
                declared,
                stretch,
                [one for one in measured if stretch[0] <= one.day <= stretch[-1]],
                accepted,
            )
        ]
        issues.note(stream.name, stream.owner, days, _serious(outcomes))
        for concern in concerns(declared):
            yield report(
                context, key, concern, [_finding(outcome) for outcome in outcomes if outcome.concern == concern]
            )
        blocked: dict[dt.date, list[str]] = {}
        for outcome in outcomes:
            if outcome.blocking:
                blocked.setdefault(outcome.day, []).append(outcome.told)
        if len(blocked) == len(days):
            raise all_blocked(stream.name, blocked)

    return contract


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


def _serious(outcomes: list[Outcome]) -> dict[dt.date, list[IssueFinding]]:
    """What is an issue: every failure that stops a day, or would."""
    found: dict[dt.date, list[IssueFinding]] = {}
    for outcome in outcomes:
        for failure in outcome.failures:
            if failure.serious:
                finding = IssueFinding(failure.rule.name, failure.rule.kind, failure.told)
                found.setdefault(outcome.day, []).append(finding)
    return found


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
) -> list[Outcome]:
    with engine.connect() as con:
        for name in ("raw", "deliveries"):
            lake.view(con, name, f"{declared.stream.name}/{name}", days[0], days[-1], empty_if_absent=True)
        came = read_arrivals(con)
        rows = con.sql(rows_to_validate(declared)).to_arrow_table()
        return validate(declared, rows, came, days, measured, accepted)


def _finding(outcome: Outcome) -> Finding:
    return Finding(outcome.day, outcome.passed, outcome.blocking, outcome.told, _metadata(outcome))


def _metadata(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {"rows": dg.MetadataValue.int(outcome.rows)}
    if outcome.notes:
        metadata["notes"] = dg.MetadataValue.text("; ".join(outcome.notes))
    if outcome.failures:
        metadata["failures"] = dg.MetadataValue.table([dg.TableRecord(_row(failure)) for failure in outcome.failures])
    return metadata


def _row(failure: Failure) -> dict[str, str | int | float]:
    return {
        "rule": failure.rule.name,
        "column": failure.rule.column,
        "rows": failure.count,
        "share": round(failure.share, 6),
        "examples": failure.examples,
        "verdict": "accepted" if failure.accepted else "blocks the day" if failure.serious else "informs",
    }
