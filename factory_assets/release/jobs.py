"""Jobs on releases in Dagster's UI: approvals, champions taken back, versions made again, the ledger mirrored."""

import random
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from factory_assets.models.names import find
from factory_assets.release.approval import ApprovalRefused, approve
from factory_assets.release.rebuild import Origin, rebuild
from factory_assets.release.request import Request
from factory_assets.release.rollback import RollbackRefused, roll_back
from factory_assets.training.remake import NotRebuildable
from factory_assets.training.run_config import launched, written_out
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.asked_by import asked_by
from factory_resources.certificates import Certificate, Certificates
from factory_resources.decisions import CLAIM, ChampionChanged
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger, VersionRecord
from factory_resources.markdown import literal
from factory_resources.mlflow_mirror import MirrorFailed, MlflowMirror
from factory_resources.tags import Tagging, uuid_of

#: UTC, on Mondays: when people are about to look, and no day is being taken up.
WEEKLY = "15 4 * * 1"
#: A tracking server is for people to look at: a quarter of an hour late is early enough.
OFTEN = "*/15 * * * *"


class Rollback(dg.Config):
    """A champion to be taken back."""

    line: str = Field(description="Name of the line.")
    node: str = Field(description="The node, such as global or FR/Lyon.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who says that they decide it. Kept as a claim, beside who it was.")
    to: str | None = Field(
        default=None,
        description="Version to answer instead, by the beginning of its id, its UUID or a tag such as `@stable`; or "
        "`ancestor`. Absent: whoever answered before.",
    )
    version: str | None = Field(
        default=None, description="The version that is to be taken back, named alike. Absent: whoever answers."
    )


def _request(context: dg.OpExecutionContext, config: "Rollback | Approval") -> Request:
    by = asked_by(context.instance, context.run)
    return Request(config.line, config.node, config.why, by, config.version, claim=config.by)


def observation(made: Sequence[Decision]) -> dg.AssetObservation:
    """A person's decision as it shows on the page of the line's champions."""
    last = made[-1]
    return dg.AssetObservation(
        dg.AssetKey([last.line, "champion"]),
        partition=last.node,
        description=literal(last.reason),
        metadata={
            "verdict": last.verdict,
            "taken_back" if last.verdict == "rollback" else "approved": last.released or "none",
            "champion": last.champion or "an ancestor",
            "reason": last.reason,
            "decided_by": last.decided_by,
            **({"claimed_by": last.evidence[CLAIM]} if CLAIM in last.evidence else {}),
            "from_the_day_after": str(made[0].as_of),
        },
    )


def tag_observation(made: Tagging, before: str | None) -> dg.AssetObservation:
    """A tag that was put on a version, or taken off, as it shows on the page of the line's champions."""
    version = made.version or str(before)
    return dg.AssetObservation(
        dg.AssetKey([made.line, "champion"]),
        partition=made.node,
        description=literal(made.why),
        metadata={
            "tag" if made.version else "tag_taken_off": made.tag,
            "version": version,
            "uuid": uuid_of(made.line, made.node, version),
            "was_on": before or "none",
            "reason": made.why,
            "decided_by": made.by,
        },
    )


@dg.op(
    config_schema=written_out(Rollback),
    tags={"kind": "sql"},
    description="Appends the rollback to the ledger, and notes it on the page of the champions.",
)
def roll_champion_back(
    context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> None:
    config = launched(Rollback, context)
    try:
        made = roll_back(ledger, lake, _request(context, config), config.to)
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
    node: str = Field(description="The node, such as global or FR/Lyon.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who says that they approve it. Kept as a claim, beside who it was.")
    version: str | None = Field(
        default=None,
        description="The version that is meant, by the beginning of its id, its UUID or a tag. Absent: whichever waits.",
    )


@dg.op(
    config_schema=written_out(Approval),
    tags={"kind": "sql"},
    description="Appends the approval to the ledger, and notes it on the page of the champions.",
)
def approve_challenger(
    context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> None:
    try:
        made = approve(ledger, lake, _request(context, launched(Approval, context)))
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

    version: str = Field(default="", description="Its id or the beginning of it, its UUID, or LINE[/NODE]@TAG.")


@dg.op(
    config_schema=written_out(Rebuild),
    description="Makes a released version again from its record and records the certificate; any at random, or the one named.",
)
def rebuild_released(
    context: dg.OpExecutionContext,
    lake: dg.ResourceParam[Lake],
    engine: dg.ResourceParam[Engine],
    archive: dg.ResourceParam[ArchiveFolder],
    ledger: dg.ResourceParam[Ledger],
    certificates: dg.ResourceParam[Certificates],
) -> None:
    try:
        record = chosen(ledger, launched(Rebuild, context).version, seed=context.run_id)
        if record is None:
            context.log.info("no version was champion yet: there is nothing to make again")
            return
        context.log.info(f"making {record.version} of {record.line}, {record.node}, again")
        certificate = rebuild(record, Origin(lake, engine, ledger, archive), by=f"run {context.run_id}")
    except (LookupError, NotRebuildable) as refused:
        raise dg.Failure(str(refused.args[0]), allow_retries=False) from None
    certificates.record(certificate)
    metadata = _metadata(certificate)
    context.log_event(
        dg.AssetObservation(dg.AssetKey([record.line, "champion"]), partition=record.node, metadata=metadata)
    )
    if certificate.verdict == "different":
        raise dg.Failure(f"{record.line} {record.version}: {certificate.message}", metadata, allow_retries=False)
    context.log.info(f"{record.line} {record.version}: {certificate.verdict}; {certificate.message}")


def chosen(ledger: Ledger, version: str, seed: str) -> VersionRecord | None:
    """The version named, or one at random of those that were champion once; None where there is none."""
    if version:
        return find(ledger, version)
    released = ledger.released()
    return random.Random(seed).choice(released) if released else None


def _metadata(certificate: Certificate) -> dict[str, dg.MetadataValue]:
    parts = [
        dg.TableRecord(
            {"part": name, "archived": (then or "-")[:16], "rebuilt": (now or "-")[:16], "equal": then == now}
        )
        for name, (then, now) in certificate.parts.items()
    ]
    metadata = {
        "version": dg.MetadataValue.text(certificate.version),
        "rebuild": dg.MetadataValue.text(certificate.verdict),
        "message": dg.MetadataValue.text(certificate.message),
        "made_from_differs": dg.MetadataValue.json(certificate.made_from),
    }
    return metadata | ({"parts": dg.MetadataValue.table(parts)} if parts else {})


@dg.job(
    description="Makes a released version again from its record, in a fresh process, and compares artefacts by hash."
)
def rebuild_a_release() -> None:
    rebuild_released()


@dg.op(description="Tells the MLflow server at FACTORY_MLFLOW what it does not know yet of the ledger.")
def mirror_ledger(
    context: dg.OpExecutionContext, ledger: dg.ResourceParam[Ledger], mirror: dg.ResourceParam[MlflowMirror]
) -> None:
    try:
        for mirrored in mirror.bring_up_to_date(ledger):
            counts = counted(mirrored.runs, "run"), counted(mirrored.versions, "version")
            new = ", ".join([*counts, counted(mirrored.aliases, "alias", "aliases")])
            context.log.info(f"{mirrored.line}: {new} written to {mirror.address}")
    except MirrorFailed as failed:
        raise dg.Failure(str(failed), allow_retries=False) from None


@dg.job(
    name="mirror",
    description="Copies the ledger to an MLflow tracking server: versions, parameters, metrics, and who is champion. "
    "No line waits for it.",
)
def mirror_job() -> None:
    mirror_ledger()


@dg.schedule(
    name="mirror_often",
    job=mirror_job,
    cron_schedule=OFTEN,
    execution_timezone="UTC",
    description="Every quarter of an hour the MLflow server at FACTORY_MLFLOW is told what is new in the ledger.",
)
def mirror_often(
    context: dg.ScheduleEvaluationContext, mirror: dg.ResourceParam[MlflowMirror]
) -> dg.RunRequest | dg.SkipReason:
    if not mirror.uri:
        return dg.SkipReason("FACTORY_MLFLOW is not set: there is no server to mirror the ledger to")
    unfinished = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    running = context.instance.get_run_records(dg.RunsFilter(job_name=mirror_job.name, statuses=unfinished), limit=1)
    # The first one may take longer than that, and two at once would both write what neither finds there.
    if running:
        return dg.SkipReason(f"run {running[0].dagster_run.run_id} is mirroring the ledger now")
    return dg.RunRequest()


def release_definitions() -> dg.Definitions:
    """The jobs, and the schedules of rebuilds and of the mirror, which are off until somebody switches them on."""
    weekly = dg.ScheduleDefinition(
        name="rebuild_weekly",
        job=rebuild_a_release,
        cron_schedule=WEEKLY,
        execution_timezone="UTC",
        description="Every week a random released version is made again and compared with its archive.",
    )
    jobs = [approve_job, rollback_job, rebuild_a_release, mirror_job]
    return dg.Definitions(jobs=jobs, schedules=[weekly, mirror_often])
