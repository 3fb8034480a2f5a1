"""How does a check say what it found on each day? One result for a day, one evaluation a partition for a range.

Dagster records the partition of a check only in runs of one partition. In a range run the evaluations of the days are
logged one by one, and one result over all of them decides whether the run goes on.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg


@dataclass(frozen=True)
class Finding:
    """What a check found on a day; `blocking` only where the day must not go on."""

    day: dt.date
    passed: bool
    blocking: bool = False
    told: str | None = None
    metadata: Mapping[str, dg.MetadataValue] = field(default_factory=dict)

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        return dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN


def report(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, name: str, findings: Sequence[Finding]
) -> dg.AssetCheckResult:
    """The result of a check over the days of this run.

    The result over a range blocks only when every day is blocked: one bad day must not hold the others back.
    """
    if len(findings) == 1:
        (found,) = findings
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=found.passed,
            severity=found.severity,
            description=found.told,
            metadata=dict(found.metadata),
        )
    for found in findings:
        context.op_execution_context.log_event(
            dg.AssetCheckEvaluation(  # type: ignore[arg-type]  # works, but Dagster's annotation does not say so
                asset_key=key,
                check_name=name,
                passed=found.passed,
                severity=found.severity,
                description=found.told,
                metadata=dict(found.metadata),
                partition=str(found.day),
            )
        )
    failed = [str(found.day) for found in findings if not found.passed]
    blocked = [str(found.day) for found in findings if found.blocking]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if len(blocked) == len(findings) else dg.AssetCheckSeverity.WARN,
        metadata={
            "days": len(findings),
            "days_failed": ", ".join(failed) or "none",
            "days_blocked": ", ".join(blocked) or "none",
        },
    )
