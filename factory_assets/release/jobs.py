"""What can be launched of a release in Dagster's UI: approving a challenger, taking a champion back, making a version again."""

import random
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from factory_assets.release.approval import ApprovalRefused, approve
from factory_assets.release.rebuild import rebuild
from factory_assets.release.rollback import RollbackRefused, roll_back
from factory_resources.archive import Archive
from factory_resources.certificates import Certificate, Certificates
from factory_resources.decisions import ChampionChanged
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger, VersionRecord

#: UTC, on Mondays: when people are about to look, and no day is being taken up.
WEEKLY = "15 4 * * 1"


class Rollback(dg.Config):
    """A champion to be taken back."""

    line: str = Field(description="Name of the line.")
    segment: str = Field(description="The node, such as global or FR/Lyon.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who decides it.")
    to: str | None = Field(
        default=None,
        description="Version to answer instead, by the beginning of its id, or `ancestor`. Absent: whoever answered before.",
    )


def observation(made: Sequence[Decision]) -> dg.AssetObservation:
    """What a person decided as it shows on the page of the line's champions."""
    last = made[-1]
    return dg.AssetObservation(
        dg.AssetKey([last.line, "champion"]),
        partition=last.segment,
        description=last.reason,
        metadata={
            "verdict": last.verdict,
            "taken_back" if last.verdict == "rollback" else "approved": last.version or "none",
            "champion": last.champion or "an ancestor",
            "reason": last.reason,
            "decided_by": last.decided_by,
            "from_the_day_after": str(made[0].as_of),
        },
    )


@dg.op(
    tags={"kind": "sql"}, description="Appends the rollback to the ledger, and notes it on the page of the champions."
)
def roll_champion_back(context: dg.OpExecutionContext, config: Rollback, lake: Lake, ledger: Ledger) -> None:
    try:
        made = roll_back(ledger, lake, config.line, config.segment, config.why, config.by, config.to)
    except (RollbackRefused, ChampionChanged) as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None
    context.log_event(observation(made))


@dg.job(
    name="rollback",
    description="Takes a node's champion back: who answered before it answers again, for every day that is still to be "
    "scored. Who and why are kept; the version taken back is not promoted again.",
)
def rollback_job() -> None:
    roll_champion_back()


class Approval(dg.Config):
    """A challenger to be approved."""

    line: str = Field(description="Name of the line.")
    segment: str = Field(description="The node, such as global or FR/Lyon.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who approves it.")
    version: str | None = Field(
        default=None, description="The version that is meant, by the beginning of its id. Absent: whichever waits."
    )


@dg.op(
    tags={"kind": "sql"}, description="Appends the approval to the ledger, and notes it on the page of the champions."
)
def approve_challenger(context: dg.OpExecutionContext, config: Approval, lake: Lake, ledger: Ledger) -> None:
    try:
        made = approve(ledger, lake, config.line, config.segment, config.why, config.by, config.version)
    except (ApprovalRefused, ChampionChanged) as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None
    context.log_event(observation([made]))


@dg.job(
    name="approve",
    description="Lets a challenger that passed the gate and waits for approval answer for its node, for every day that is "
    "still to be scored.",
)
def approve_job() -> None:
    approve_challenger()


class Rebuild(dg.Config):
    """A version to be made again; one at random if none is named."""

    version: str = ""


@dg.op(
    description="Makes a released version again from its record and records the certificate; any at random, or the one named."
)
def rebuild_released(
    context: dg.OpExecutionContext,
    config: Rebuild,
    lake: Lake,
    engine: Engine,
    archive: Archive,
    ledger: Ledger,
    certificates: Certificates,
) -> None:
    record = chosen(ledger, config.version, seed=context.run_id)
    if record is None:
        context.log.info("no version was champion yet: there is nothing to make again")
        return
    context.log.info(f"making {record.version} of {record.line}, {record.segment}, again")
    certificate = rebuild(record, lake, engine, ledger, archive, by=f"run {context.run_id}")
    certificates.record(certificate)
    metadata = _metadata(certificate)
    context.log_event(
        dg.AssetObservation(dg.AssetKey([record.line, "champion"]), partition=record.segment, metadata=metadata)
    )
    if certificate.verdict == "different":
        raise dg.Failure(f"{record.line} {record.version}: {certificate.told}", metadata, allow_retries=False)
    context.log.info(f"{record.line} {record.version}: {certificate.verdict}; {certificate.told}")


def chosen(ledger: Ledger, version: str, seed: str) -> VersionRecord | None:
    """The version named, or one at random of those that were champion once; None where there is none."""
    if version:
        return ledger.find(version)
    released = ledger.released()
    return random.Random(seed).choice(released) if released else None


def _metadata(certificate: Certificate) -> dict[str, dg.MetadataValue]:
    parts = [
        dg.TableRecord(
            {"part": name, "archived": (then or "-")[:16], "rebuilt": (now or "-")[:16], "equal": then == now}
        )
        for name, (then, now) in certificate.parts.items()
    ]
    told = {
        "version": dg.MetadataValue.text(certificate.version),
        "rebuild": dg.MetadataValue.text(certificate.verdict),
        "told": dg.MetadataValue.text(certificate.told),
        "made_from_differs": dg.MetadataValue.json(certificate.made_from),
    }
    return told | ({"parts": dg.MetadataValue.table(parts)} if parts else {})


@dg.job(
    description="Makes a released version again from its record, in a fresh process, and compares artefacts by hash."
)
def rebuild_a_release() -> None:
    rebuild_released()


def release_definitions() -> dg.Definitions:
    """The jobs, and the schedule of rebuilds, which is off until somebody switches it on."""
    weekly = dg.ScheduleDefinition(
        name="rebuild_weekly",
        job=rebuild_a_release,
        cron_schedule=WEEKLY,
        execution_timezone="UTC",
        description="Every week a random released version is made again and compared with its archive.",
    )
    return dg.Definitions(jobs=[approve_job, rollback_job, rebuild_a_release], schedules=[weekly])
