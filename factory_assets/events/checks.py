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
from factory_assets.events.contract import verdicts as judged_days
from factory_assets.events.contract.expectations import ConcernResult, Failure, concerns
from factory_assets.events.contract.patches import Patch, Suggestion
from factory_assets.events.contract.rules import Concern
from factory_assets.events.contract.verdicts import CONTRACT, all_blocked
from factory_assets.identity.inputs import judgement
from factory_assets.identity.partitions import partitions
from factory_assets.launching import launchpad
from factory_assets.materialization import days_of, input_stamps
from factory_resources.clock import today
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.markdown import literal
from factory_resources.records.issues import NEVER_ACCEPTED, BrokenRule, Issues
from factory_resources.records.verdicts import Judged, Reason, Verdicts

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
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        issues: dg.ResourceParam[Issues],
        verdicts: dg.ResourceParam[Verdicts],
    ) -> Iterator[dg.AssetCheckResult]:
        days = days_of(context)
        stamps = input_stamps(context.instance, key, days)
        accepted = issues.accepted(stream.name)
        outcomes = judged_days.outcomes(lake, engine, declared, days, accepted)
        issues.note(stream.name, stream.owner, days, _serious(outcomes))
        # The patch that adds a new column is shown where a person looks first, on the newest day that has it.
        newest = max((outcome.day for outcome in outcomes if outcome.new_columns), default=None)
        for concern in concerns(declared):
            of_concern = [outcome for outcome in outcomes if outcome.concern == concern]
            findings = [_finding(declared, outcome, outcome.day == newest) for outcome in of_concern]
            yield report(context, key, concern, findings)
        # Last: a verdict that is known was shown. One that a killed run has not come to is given by the next one.
        judged = {day: Judged(judgement(stamps.get(str(day), "")), _reasons(outcomes, day)) for day in days}
        verdicts.note("/".join(key.path), CONTRACT, judged, context.run.run_id)
        blocked: dict[dt.date, list[str]] = {}
        for outcome in outcomes:
            if outcome.blocking:
                blocked.setdefault(outcome.day, []).append(outcome.message)
        if len(blocked) == len(days):
            raise dg.Failure(all_blocked(stream.name, blocked))

    return contract


def _reasons(outcomes: list[ConcernResult], day: dt.date) -> dict[str, Reason]:
    """Rule -> why the day may not become events, also where somebody has accepted it: that can be taken back."""
    return {
        failure.rule.name: Reason(outcome.concern, failure.message)
        for outcome in outcomes
        if outcome.day == day
        for failure in outcome.failures
        if failure.serious and not failure.leader
    }


def _serious(outcomes: list[ConcernResult]) -> dict[dt.date, list[BrokenRule]]:
    """The issues: every failure that stops a day, or would if nobody had accepted it."""
    broken: dict[dt.date, list[BrokenRule]] = {}
    for outcome in outcomes:
        for failure in outcome.failures:
            if failure.serious and not failure.leader:
                finding = BrokenRule(failure.rule.name, failure.rule.kind, failure.message)
                broken.setdefault(outcome.day, []).append(finding)
    return broken


def _finding(declared: DeclaredStream, outcome: ConcernResult, newest: bool) -> Finding:
    return Finding(outcome.day, outcome.passed, outcome.blocking, outcome.message, _metadata(declared, outcome, newest))


def _metadata(declared: DeclaredStream, outcome: ConcernResult, newest: bool) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {"rows": dg.MetadataValue.int(outcome.rows)}
    if outcome.notes:
        metadata["notes"] = dg.MetadataValue.text(outcome.notes)
    if outcome.new_columns and newest:
        patches = [
            judged_days.new_column(declared, name, values).message for name, values in outcome.new_columns.items()
        ]
        metadata["patches"] = dg.MetadataValue.text("; ".join(patches))
    suggested = [judged_days.suggestion(declared, outcome, failure) for failure in outcome.failures]
    if suggested:
        records = [
            dg.TableRecord(_row(failure, each)) for failure, each in zip(outcome.failures, suggested, strict=True)
        ]
        metadata["failures"] = dg.MetadataValue.table(records)
    if "patches" in metadata or any(isinstance(each, Patch) for each in suggested):
        asked = {"stream": declared.stream.name, "day": str(outcome.day)}
        metadata["to_patch"] = launchpad("contract_patch", "suggest_patch", asked)
    if let_through := next((failure.rule for failure in outcome.failures if _may_be_let_through(failure)), None):
        asked = {"stream": declared.stream.name, "rule": let_through.name, "decision": "accept", "why": "", "by": ""}
        metadata["to_let_through"] = launchpad("issue", "decide_issue", asked)
    return metadata


def _may_be_let_through(failure: Failure) -> bool:
    """Whether the failure blocks its day until the owner lets it through."""
    return failure.serious and not failure.accepted and not failure.leader and failure.rule.kind not in NEVER_ACCEPTED


def _row(failure: Failure, suggested: Suggestion) -> dict[str, str | int | float]:
    return {
        "rule": failure.rule.name,
        "column": failure.rule.column,
        "rows": failure.count,
        "share": round(failure.share, 6),
        "examples": failure.examples,
        "verdict": "accepted" if failure.accepted else "blocks the day" if failure.serious else "informs",
        "patch": suggested.message,
    }


def collection_plan_check(declared: DeclaredStream) -> dg.AssetChecksDefinition:
    """A warning while a planned field is absent, an error that blocks nothing once it is absent past its date."""
    stream = declared.stream

    @dg.asset_check(
        asset=dg.AssetKey([stream.name, "raw"]),
        name="collection_plan",
        description=f"The newest delivery has the fields that the team plans to have: {', '.join(stream.plan)}.",
    )
    def collection_plan(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        gaps = plan.gaps(stream, plan.newest_columns(lake, stream), today())
        missing = [gap for gap in gaps if gap.state != "delivered"]
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
            for gap in gaps
        ]
        return dg.AssetCheckResult(
            passed=not missing,
            severity=dg.AssetCheckSeverity.ERROR if overdue else dg.AssetCheckSeverity.WARN,
            description=literal("; ".join(gap.message for gap in missing) or "every planned field is delivered"),
            metadata={"plan": dg.MetadataValue.table(records)},
        )

    return collection_plan
