"""The asset checks of a stream: one a concern, on the day's partition of `raw`, judged by Great Expectations.

A failed check that blocks stops the day before it becomes events. In a range run the day is held back by the `events`
asset itself, and the other days go on.
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.events import plan
from factory_assets.events.assets import all_blocked, partitions, today
from factory_assets.events.expectations import CONCERNS, STRETCH_ROWS, Outcome, rows_to_validate, validate
from factory_assets.events.validation import read_arrivals
from factory_assets.materialization import days_of
from factory_resources.engine import Engine
from factory_resources.lake import Lake

DESCRIPTIONS = {
    "schema": "Files and required columns are delivered, values parse as the contract's type, events lie in the day.",
    "completeness": "Columns that may not be empty are not.",
    "ranges": "Values lie between min and max, or among those allowed.",
    "uniqueness": "No id occurs twice in a day.",
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
            for concern in CONCERNS
        ],
    )
    def contract(context: dg.AssetCheckExecutionContext, lake: Lake, engine: Engine) -> Iterator[dg.AssetCheckResult]:
        days = days_of(context)
        outcomes = [
            outcome
            for stretch in _stretches(lake, declared, days)
            for outcome in _validated(lake, engine, declared, stretch)
        ]
        for concern in CONCERNS:
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


def _validated(lake: Lake, engine: Engine, declared: DeclaredStream, days: list[dt.date]) -> list[Outcome]:
    with engine.connect() as con:
        for name in ("raw", "deliveries"):
            lake.view(con, name, f"{declared.stream.name}/{name}", days[0], days[-1], empty_if_absent=True)
        came = read_arrivals(con)
        return validate(declared, con.sql(rows_to_validate(declared)).to_arrow_table(), came, days)


def _finding(outcome: Outcome) -> Finding:
    return Finding(outcome.day, outcome.passed, outcome.blocking, outcome.told, _metadata(outcome))


def _metadata(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {"rows": dg.MetadataValue.int(outcome.rows)}
    if outcome.notes:
        metadata["notes"] = dg.MetadataValue.text("; ".join(outcome.notes))
    if outcome.failures:
        metadata["failures"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "rule": failure.rule,
                        "column": failure.column,
                        "rows": failure.count,
                        "share": round(failure.share, 6),
                        "examples": failure.examples,
                    }
                )
                for failure in outcome.failures
            ]
        )
    return metadata


def collection_plan_check(declared: DeclaredStream) -> dg.AssetChecksDefinition:
    """A warning while a planned field is absent, an error that blocks nothing once it is absent past its date."""
    stream = declared.stream

    @dg.asset_check(
        asset=dg.AssetKey([stream.name, "raw"]),
        name="collection_plan",
        description=f"The newest delivery has the fields that the team plans to have: {', '.join(stream.plan)}.",
    )
    def collection_plan(lake: Lake) -> dg.AssetCheckResult:
        found = plan.gaps(stream, plan.newest_columns(lake, stream), today())
        missing = [gap for gap in found if gap.state != "delivered"]
        overdue = any(gap.state == "overdue" for gap in missing)
        records = [
            dg.TableRecord(
                {
                    "field": gap.field,
                    "state": gap.state,
                    "need": gap.planned.need,
                    "remedy": gap.planned.remedy,
                    "owner": gap.planned.owner,
                    "due": str(gap.planned.due),
                }
            )
            for gap in found
        ]
        return dg.AssetCheckResult(
            passed=not missing,
            severity=dg.AssetCheckSeverity.ERROR if overdue else dg.AssetCheckSeverity.WARN,
            description="; ".join(gap.told for gap in missing) or "every planned field is delivered",
            metadata={"plan": dg.MetadataValue.table(records)},
        )

    return collection_plan
