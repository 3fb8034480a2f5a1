"""The job that makes a released version again, and the weekly schedule that has it done to one at random."""

import random

import dagster as dg

from factory_assets.release.rebuild import rebuild
from factory_resources.archive import Archive
from factory_resources.certificates import Certificate, Certificates
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord

#: UTC, on Mondays: when people are about to look, and no day is being taken up.
WEEKLY = "15 4 * * 1"


class Rebuild(dg.Config):
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


def rebuild_definitions() -> dg.Definitions:
    """The job and its schedule, which is off until somebody switches it on."""
    weekly = dg.ScheduleDefinition(
        name="rebuild_weekly",
        job=rebuild_a_release,
        cron_schedule=WEEKLY,
        execution_timezone="UTC",
        description="Every week a random released version is made again and compared with its archive.",
    )
    return dg.Definitions(jobs=[rebuild_a_release], schedules=[weekly])
