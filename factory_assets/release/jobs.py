"""Jobs on releases in Dagster's UI: approvals, champions taken back, versions made again, the ledger mirrored."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.identity.nodes import ROOT
from factory_assets.launching import launched, picked, refusing, written_out
from factory_assets.models.names import find
from factory_assets.release.approval import ApprovalRefused, approve
from factory_assets.release.board import board
from factory_assets.release.rebuild import Origin, rebuild
from factory_assets.release.request import Request
from factory_assets.release.rollback import RollbackRefused, roll_back
from factory_assets.release.tagging import TagRefused, put_tag, take_off
from factory_assets.training.remake import NotRebuildable
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.asked_by import asked_by
from factory_resources.dagster_private.refusals import refusal
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger, VersionRecord
from factory_resources.markdown import literal
from factory_resources.mlflow_mirror import MirrorFailed, MlflowMirror
from factory_resources.records.certificates import Certificate, Certificates
from factory_resources.records.decisions import CLAIM, ChampionChanged
from factory_resources.records.tags import Tagging, TagMoved, uuid_of

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


def _request(context: dg.OpExecutionContext, config: "Rollback | Approval | Tag") -> Request:
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


def rollback_job_of(catalogue: Catalogue) -> dg.JobDefinition:
    """catalogue: a launch may name its lines alone; any where it has none."""

    @dg.op(
        config_schema=picked(written_out(Rollback), line=list(catalogue.lines)),
        tags={"kind": "sql"},
        description="Appends the rollback to the ledger, notes it on the page of the champions, and draws the leaderboard.",
    )
    def roll_champion_back(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        engine: dg.ResourceParam[Engine],
    ) -> None:
        config = launched(Rollback, context)
        with refusals():
            made = roll_back(ledger, lake, _request(context, config), config.to)
        context.log_event(observation(made))
        _draw(context, catalogue, config.line, Drawn(lake, ledger, engine))

    @dg.job(
        name="rollback",
        description="Takes a node's champion back: who answered before it answers again, for every day that is still to be "
        "scored. Who and why are kept; the version taken back is not promoted again.",
    )
    def rollback() -> None:
        roll_champion_back()

    return rollback


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


def approve_job_of(catalogue: Catalogue) -> dg.JobDefinition:
    """catalogue: as for `rollback_job_of`."""

    @dg.op(
        config_schema=picked(written_out(Approval), line=list(catalogue.lines)),
        tags={"kind": "sql"},
        description="Appends the approval to the ledger, notes it on the page of the champions, and draws the leaderboard.",
    )
    def approve_challenger(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        engine: dg.ResourceParam[Engine],
    ) -> None:
        config = launched(Approval, context)
        with refusals():
            made = approve(ledger, lake, _request(context, config))
        context.log_event(observation([made]))
        _draw(context, catalogue, config.line, Drawn(lake, ledger, engine))

    @dg.job(
        name="approve",
        description="Lets a challenger that passed the gate and waits for approval answer for its node, for every day that is "
        "still to be scored.",
    )
    def approve_() -> None:
        approve_challenger()

    return approve_


class Tag(dg.Config):
    """A tag to be put on a version, or taken off."""

    line: str = Field(description="Name of the line.")
    tag: str = Field(description="Name of the tag, such as stable or audit-2026.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who says that they decide it. Kept as a claim, beside who it was.")
    node: str = Field(default=ROOT, description="The node, such as global or FR/Lyon.")
    version: str | None = Field(
        default=None,
        description="The version, by the beginning of its id, its UUID or a tag. Absent: the champion of the node.",
    )
    remove: bool = Field(default=False, description="Take the tag off whichever version it is on.")


def tag_job_of(catalogue: Catalogue) -> dg.JobDefinition:
    """catalogue: as for `rollback_job_of`."""

    @dg.op(
        config_schema=picked(written_out(Tag), line=list(catalogue.lines)),
        tags={"kind": "sql"},
        description="Appends the tag to the ledger, notes it on the page of the champions, and draws the leaderboard.",
    )
    def tag_version(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        engine: dg.ResourceParam[Engine],
    ) -> None:
        config = launched(Tag, context)
        with refusals():
            if config.remove and config.version:
                raise TagRefused("a tag is taken off whichever version it is on: give remove without a version")
            made, before = (take_off if config.remove else put_tag)(ledger, config.tag, _request(context, config))
        if made.version == before:
            context.log.info(f"{config.line}/{config.node}@{config.tag} is {made.version} already, {made}")
            return
        context.log_event(tag_observation(made, before))
        _draw(context, catalogue, config.line, Drawn(lake, ledger, engine))

    @dg.job(
        name="tag",
        description="Puts a tag on a version of a node, and off the one that it was on, or takes it off: who asks for the tag gets "
        "the new version from now on.",
    )
    def tag_() -> None:
        tag_version()

    return tag_


@dataclass(frozen=True)
class Drawn:
    """What a leaderboard is drawn from."""

    lake: Lake
    ledger: Ledger
    engine: Engine


def _draw(context: dg.OpExecutionContext, catalogue: Catalogue, line: str, of: Drawn) -> None:
    """Draw the leaderboard after a decision. Of a line that is not declared any more there is none."""
    if (declared := catalogue.lines.get(line)) is not None:
        context.log_event(board(catalogue.resolve(declared), of.lake, of.engine, of.ledger, context.instance))


@contextmanager
def refusals() -> Iterator[None]:
    """What a rule refuses ends the run by what it says, and is not tried again."""
    with refusing(RollbackRefused, ApprovalRefused, TagRefused, ChampionChanged, TagMoved):
        yield


def decisions_jobs(catalogue: Catalogue) -> list[dg.JobDefinition]:
    """What people decide about the models of the lines."""
    return [approve_job_of(catalogue), rollback_job_of(catalogue), tag_job_of(catalogue)]


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
        raise refusal(str(refused.args[0])) from None
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
    return dg.Definitions(jobs=[rebuild_a_release, mirror_job], schedules=[weekly, mirror_often])
