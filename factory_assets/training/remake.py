"""How is a version made once more, from what its record names and nothing else?

`python -m factory_assets.training.remake` does it in a process of its own: it reads from standard input where tables and
ledger are, which version is meant, and a folder in which to archive what comes out.
"""

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import duckdb
from deltalake.exceptions import DeltaError

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.definitions import declared_from
from factory_assets.measures.compared import metric_of
from factory_assets.models.archived import ModelRefused, ReleasedModel, load
from factory_assets.training.archiving import release
from factory_assets.training.dataset import RefitRows, TrainingRows, learnt_rows, past_stretches, training_rows
from factory_assets.training.fit.again import again_of, refitted
from factory_assets.training.fit.fitting import Fitted, NotTrained, fit_node
from factory_assets.training.fit.warm import read
from factory_assets.training.fit.warm_fit import Parents
from factory_assets.training.made import made_of
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord


class NotRebuildable(Exception):
    """The version cannot be made again; the message says what is missing."""


@dataclass(frozen=True)
class Remade:
    """The version made again, in the scratch archive, and what it was made from (see made.Made)."""

    version: str
    data: dict[str, str]
    code: str
    libraries: dict[str, str]


@dataclass(frozen=True)
class Before:
    """What a version stands on, in the archive. parents: what it continues, by candidate. judged: what it is a refit of."""

    parents: Parents = field(default_factory=dict)
    judged: ReleasedModel | None = None


#: Of a version that stands on no other.
ALONE = Before()


def remake(
    record: VersionRecord,
    lake: Lake,
    engine: Engine,
    into: ArchiveFolder,
    before: Before = ALONE,
    answered: Mapping[str, str] = MappingProxyType({}),
) -> Remade:
    """Train from the tables and the configuration of the record, and archive the model. Raises NotRebuildable.

    before: the versions that it stands on, see `before_of`. answered: see `archiving.release`.
    """
    configuration, node = record.configuration, record.node
    declared, span = declared_of(record), span_of(record)
    past = past_stretches(declared, span)
    if "past_from" in configuration:
        # What is archived of a declaration does not say when its stream began.
        past = replace(past, from_day=dt.date.fromisoformat(configuration["past_from"]))
    every: TrainingRows | RefitRows
    with reading(record.tables), engine.connect() as con:
        if record.judged:
            every = RefitRows(learnt_rows(con, lake, record.line, span, record.tables)[0])
        else:
            every, _ = training_rows(con, lake, record.line, span, past, record.tables)
    rows = every.of(node)
    made = made_of(declared, span, node, declared.line, rows)
    if before.judged is not None:
        again = again_of(record, before.parents)
        outcome, found = refitted(into, declared, span, declared.line, before.judged, again, rows.train, answered)
    else:
        outcome = fit_node(declared.line, rows.train, declared.features, node, metric_of(declared), before.parents)
        found = release(into, declared, span, past, outcome, rows, answered) if isinstance(outcome, Fitted) else None
    if found is None:
        reason = outcome.reason if isinstance(outcome, NotTrained) else "nothing came of it"
        raise NotRebuildable(f"{node} is not trained from what the record names: {reason}")
    return Remade(found.version, made.data, made.code, made.libraries)


def declared_of(record: VersionRecord, recipe: Mapping[str, Any] | None = None) -> DeclaredLine:
    """The line as the record has it. recipe: another one than its own. Raises NotRebuildable where the record has none."""
    require_recorded(record)
    return declared_from(record.configuration["definitions"], recipe or record.configuration["recipe"])


def require_recorded(record: VersionRecord) -> None:
    """Raise NotRebuildable where the record does not say what the model is made from."""
    if not record.configuration.get("definitions"):
        raise NotRebuildable(f"{record.version} was recorded before records held what a model is made from")


def span_of(record: VersionRecord) -> Timeline:
    """The days of its training."""
    span = Timeline(record.as_of, record.train_from, record.train_to, record.holdout_from, record.holdout_to)
    return span.refit if record.judged else span


@contextmanager
def reading(tables: Mapping[str, int]) -> Iterator[None]:
    """While tables are read as of these versions: raises NotRebuildable where one of them is gone."""
    try:
        yield
    except (LookupError, duckdb.Error, DeltaError) as error:
        named = ", ".join(f"{table} at version {version}" for table, version in tables.items())
        raise NotRebuildable(f"{named} cannot be read any more: {str(error).splitlines()[0]}") from error


def before_of(record: VersionRecord, ledger: Ledger, archive: ArchiveFolder) -> Before:
    """The versions that this one stands on. Raises NotRebuildable where one of them cannot be read."""
    found = Before()
    if record.judged is not None:
        with _needed(f"it is a refit of {record.judged}"):
            found = replace(found, judged=load(archive, record.line, record.judged))
    if "warm_from" in record.configuration:
        version = record.configuration["warm_from"]["version"]
        with _needed(f"it continues {version}"):
            found = replace(found, parents={record.candidate: read(archive, ledger.version(record.line, version))})
    return found


@contextmanager
def _needed(how: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ArchiveDamaged, ModelRefused) as error:
        raise NotRebuildable(f"{how}; restore that first: {error}") from error


def main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    ledger = Ledger(url=asked["ledger"])
    try:
        record = ledger.version(asked["line"], asked["version"])
        before = before_of(record, ledger, ArchiveFolder(asked["archive"]))
        made = remake(record, Lake(**asked["lake"]), Engine(**asked["engine"]), ArchiveFolder(asked["into"]), before)
    except NotRebuildable as error:
        sys.exit(str(error))
    finally:
        ledger.close()
    sys.stdout.write(json.dumps(asdict(made)))


if __name__ == "__main__":
    main()
