"""How is a version put back that the archive has lost, or does not hold whole?

It is made again from its record, and kept if it comes out equal.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import replace

from factory_assets.identity.nodes import lineage
from factory_assets.training.remake import NotRebuildable, before_of, remake
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord


def restore(
    records: Iterable[VersionRecord], lake: Lake, engine: Engine, ledger: Ledger, archive: ArchiveFolder
) -> dict[str, str]:
    """Put back the versions of these records that the archive does not hold whole; id -> why it could not be, of the others."""
    failed: dict[str, str] = {}
    for record in records:
        if is_whole(archive, record):
            continue
        try:
            _restore(record, lake, engine, ledger, archive)
        except NotRebuildable as error:
            failed[record.version] = str(error)
    return failed


def is_whole(archive: ArchiveFolder, record: VersionRecord) -> bool:
    """Whether every byte of the version is the one that was stored."""
    try:
        archive.load(record.line, record.version)
    except (FileNotFoundError, ArchiveDamaged):
        return False
    return True


def _restore(record: VersionRecord, lake: Lake, engine: Engine, ledger: Ledger, archive: ArchiveFolder) -> None:
    stands_on, champions = before_of(record, ledger, archive), ledger.champions(record.line, before=record.as_of)
    answered = {node: str(champions[node].champion) for node in lineage(record.node) if node in champions}
    now = {table: lake.version(table) or 0 for table in record.tables}
    reasons = []
    # A table that was lost as well is another one since it was made again. Its rows may be the same: the version's id tells.
    for tables in (record.tables, now):
        with tempfile.TemporaryDirectory(prefix="factory-restore-") as folder:
            scratch = ArchiveFolder(folder)
            try:
                made = remake(replace(record, tables=tables), lake, engine, scratch, stands_on, answered)
            except NotRebuildable as error:
                reasons.append(str(error))
                continue
            if made.version == record.version:
                archive.store(record.line, *scratch.load(record.line, made.version))
                return
        read = ", ".join(f"{table} at version {version}" for table, version in tables.items())
        reasons.append(f"from {read} it comes out as {made.version}")
    raise NotRebuildable(f"{'; '.join(dict.fromkeys(reasons))}. Put it back from a copy, or let another version answer")
