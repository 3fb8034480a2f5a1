"""Does a version come out equal, byte for byte, when it is made again from what its record names?

It is trained in a fresh process from the table versions and the configuration of the record, into a folder that is thrown
away, and compared part by part with what is archived.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from factory_assets.training.remake import NotRebuildable, Remade
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.certificates import Certificate, Comparison


@dataclass(frozen=True)
class Origin:
    """Where a version comes from: its tables and an engine to read them by, its record, its archive."""

    lake: Lake
    engine: Engine
    ledger: Ledger
    archive: ArchiveFolder


def rebuild(record: VersionRecord, origin: Origin, by: str, restore: bool = False) -> Certificate:
    """Make the version again and compare.

    restore: put back what the archive lacks, if it comes out equal.
    Raises NotRebuildable where nothing could be made from what the record names.
    """
    with tempfile.TemporaryDirectory(prefix="factory-rebuild-") as folder:
        scratch = ArchiveFolder(folder)
        made = in_a_fresh_process(record, origin, scratch)
        if restore and made.version == record.version:
            origin.archive.store(record.line, *scratch.load(record.line, made.version))
        return compared(record, made, origin.archive, scratch, by)


def in_a_fresh_process(record: VersionRecord, origin: Origin, into: ArchiveFolder) -> Remade:
    """The version as `training.remake` makes it. That process learns nothing from this one but where things are."""
    lake, engine = origin.lake, origin.engine
    asked = {
        "line": record.line,
        "version": record.version,
        "ledger": origin.ledger.url,
        "lake": {"root": lake.root, "storage_options": dict(lake.storage_options)},
        "engine": {"threads": engine.threads, "memory_limit": engine.memory_limit, "reads": engine.reads},
        "archive": origin.archive.root,
        "into": into.root,
    }
    # By standard input: an address may hold a password, and arguments are seen by everyone on the machine.
    done = subprocess.run(
        [sys.executable, "-m", "factory_assets.training.remake"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise NotRebuildable(f"{record.line} {record.version}: {reason}")
    return Remade(**json.loads(done.stdout))


def _archived(archive: ArchiveFolder, record: VersionRecord) -> dict[str, str]:
    """Part -> SHA-256 as archived, every byte read and found to be as stored; {} where that is not so."""
    try:
        archive.load(record.line, record.version)
        return archive.listing(record.line, record.version)
    except (FileNotFoundError, ArchiveDamaged):
        return {}


def compared(
    record: VersionRecord, made: Remade, archive: ArchiveFolder, scratch: ArchiveFolder, by: str
) -> Certificate:
    """The version in the archive against the version made again in the scratch archive."""
    then, now = _archived(archive, record), scratch.listing(record.line, made.version)
    differing = _differing(record.configuration, made)
    libraries = [name for name in differing if name in made.libraries]
    verdict: Comparison
    if made.version == record.version and then == now:
        verdict, reason = "equal", "every part is equal"
    elif made.version == record.version:
        verdict, reason = "different", "it comes out equal, and the archive does not hold it whole; restore it"
    elif libraries:
        reason = ", ".join(f"{name} {differing[name][0]} then, {differing[name][1]} now" for name in libraries)
        verdict, reason = "not comparable", f"not comparable: {reason}"
    else:
        names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
        verdict, reason = "different", f"{', '.join(names)} differ; version {made.version} came out"
    parts = {name: (then.get(name), now.get(name)) for name in sorted(then.keys() | now.keys())}
    return Certificate(record.line, record.version, verdict, reason, parts, differing, by)


def _differing(configuration: dict[str, Any], made: Remade) -> dict[str, tuple[str, str]]:
    """What differs in what the model is made from: name -> value then, value now."""
    then: dict[str, Any] = {"code": configuration["code"]} | configuration["libraries"]
    then |= {f"rows: {name}": value for name, value in configuration["data"].items()}
    now: dict[str, Any] = {"code": made.code} | made.libraries
    now |= {f"rows: {name}": value for name, value in made.data.items()}
    return {name: (str(then.get(name)), str(now[name])) for name in now if then.get(name) != now[name]}


def tables_named(records: Iterable[VersionRecord]) -> dict[str, set[int]]:
    """Table -> its versions that the records name: those that must stay readable."""
    named: dict[str, set[int]] = {}
    for record in records:
        for table, version in record.tables.items():
            named.setdefault(table, set()).add(version)
    return named
