"""How does a check report its finding on each day? One result for a day, one evaluation a partition for a range.

Dagster records the partition of a check only in runs of one partition. In a range run the evaluations of the days are
logged one by one, and one result over all of them decides whether the run goes on.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from factory_assets.launching import is_launchpad
from factory_assets.materialization import table_shown
from factory_assets.words import counted
from factory_resources.dagster_private.recording import record_evaluations
from factory_resources.markdown import literal


@dataclass(frozen=True)
class Finding:
    """A check's finding on a day; `blocking` only where the day must not go on."""

    day: dt.date
    passed: bool
    blocking: bool = False
    message: str | None = None
    metadata: Mapping[str, dg.MetadataValue] = field(default_factory=dict)

    @property
    def outcome(self) -> dict[str, Any]:
        """As Dagster's result and its evaluation take it alike."""
        return {
            "passed": self.passed,
            "severity": dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN,
            "description": None if self.message is None else literal(self.message),
            "metadata": dict(self.metadata),
        }


def report(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, name: str, findings: Sequence[Finding]
) -> dg.AssetCheckResult:
    """The result of a check over the days of this run.

    The result over a range blocks only when every day is blocked: one bad day must not hold the others back.
    """
    if len(findings) == 1:
        (finding,) = findings
        return dg.AssetCheckResult(asset_key=key, check_name=name, **finding.outcome)
    evaluations = [
        dg.AssetCheckEvaluation(asset_key=key, check_name=name, partition=str(finding.day), **finding.outcome)
        for finding in findings
    ]
    by_day = {} if record_evaluations(context, evaluations) else {"by_day": _by_day(findings)}
    failed = [str(finding.day) for finding in findings if not finding.passed]
    blocked = [str(finding.day) for finding in findings if finding.blocking]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if len(blocked) == len(findings) else dg.AssetCheckSeverity.WARN,
        description=literal(_over(findings)),
        metadata={
            "days": len(findings),
            "days_failed": ", ".join(failed) or "none",
            "days_blocked": ", ".join(blocked) or "none",
            **_links(findings),
            **by_day,
        },
    )


def _newest(findings: Sequence[Finding]) -> Finding:
    """The newest that failed, or the newest of all."""
    failed = [finding for finding in findings if not finding.passed]
    return max(failed or findings, key=lambda finding: finding.day)


def _links(findings: Sequence[Finding]) -> dict[str, dg.MetadataValue]:
    """Where a person goes from the newest day that failed: the range shows on the check's first page, its days do not."""
    return {name: value for name, value in _newest(findings).metadata.items() if is_launchpad(value)}


def _over(findings: Sequence[Finding]) -> str:
    """What a range says of itself: how many days failed, and the message of the newest that did, or of the newest of all."""
    failed = [finding for finding in findings if not finding.passed]
    newest = _newest(findings)
    summary = (
        f"{len(failed)} of {counted(len(findings), 'day')} failed; the newest"
        if failed
        else "no day failed; the newest"
    )
    return f"{summary}, {newest.day}: {newest.message}" if newest.message else f"{summary}, {newest.day}"


def _by_day(findings: Sequence[Finding]) -> dg.TableMetadataValue:
    """A table of the findings by day, where the days have no evaluations of their own."""
    return table_shown(
        {
            "day": str(each.day),
            "passed": each.passed,
            "blocking": each.blocking,
            "message": each.message or "",
            **{name: str(value.value) for name, value in each.metadata.items() if _is_short(value)},
        }
        for each in findings
    )


def _is_short(value: dg.MetadataValue) -> bool:
    return isinstance(value.value, (str, int, float))
