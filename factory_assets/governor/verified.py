"""Is everything still what was recorded of it? What a plan asks at every turn, and what it cannot afford: every byte is read.

A plan compares names, sizes and counts. Here the rows of each day are hashed, every model is loaded, and each training is
compared with what was recorded of its days when it began.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb

from factory_assets.declarations.days import DAY
from factory_assets.evaluation.again import otherwise
from factory_assets.evaluation.scores import nodes_of, of_node, view
from factory_assets.governor.work import days_in_words
from factory_assets.identity.damage import ROWS, beside, counted
from factory_assets.identity.inputs import Recorded
from factory_assets.words import listed
from factory_resources import duck
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.delta.day_content import DayContent
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.chain import Chains

#: Nodes of a day whose rows are told.
TOLD = 3


class Records(Protocol):
    """What was recorded of days, and what a plan finds damaged of them."""

    def recorded(self, name: str) -> Mapping[dt.date, Recorded]: ...

    def damaged(self, name: str) -> Mapping[dt.date, str]: ...

    def recorded_before(
        self, name: str, days: Sequence[dt.date], moment: dt.datetime
    ) -> Mapping[dt.date, Recorded]: ...


@dataclass(frozen=True)
class Mismatch:
    """Something that is not as it was recorded. table, day: where a day's files are to be set aside, for the day to be made again."""

    what: str
    message: str
    table: str = ""
    day: dt.date | None = None

    def __str__(self) -> str:
        return f"{self.what}{f' {self.day}' if self.day else ''}: {self.message}"


@dataclass(frozen=True)
class Hole:
    """A training that learnt from fewer or other rows than were recorded when it began, with its versions."""

    line: str
    as_of: dt.date
    versions: tuple[VersionRecord, ...]
    message: str


def days_of_assets(records: Records, lake: Lake, assets: Iterable[str]) -> Iterator[Mismatch]:
    """Days of assets whose files, or rows, are not those that were recorded. The rows of every day are read."""
    for name in assets:
        recorded, damaged = records.recorded(name), records.damaged(name)
        for day, why in sorted(damaged.items()):
            yield Mismatch(name, why, day=day)
        whole = {day: each.data for day, each in recorded.items() if ROWS.fullmatch(each.data) and day not in damaged}
        others = [of for table in counted(name) if (of := _content(lake, table, whole))]
        for day, found in sorted(_content(lake, name, whole).items()):
            if isinstance(found, str):
                yield Mismatch(name, found, name, day)
            # An older release told the rows of the table alone.
            elif whole[day] not in [
                one.hash for each in found for one in (_with(each, [of[day] for of in others if day in of]), each)
            ]:
                message = (
                    f"its rows are not those that were recorded: content {found[0].hash}, recorded was {whole[day]}"
                )
                yield Mismatch(name, message, name, day)


def _content(lake: Lake, table: str, days: Collection[dt.date]) -> dict[dt.date, list[DayContent] | str]:
    """What days of a table hold; nothing of a table that does not exist, or whose log is damaged."""
    held = lake.held(table)
    return lake.content(table, days) if days and held.version is not None else {}


def _with(content: DayContent, others: Sequence[list[DayContent] | str]) -> DayContent:
    """A day's content as its data version tells it. What cannot be read is told of its own table."""
    return content.beside(of[0] for of in others if not isinstance(of, str))


def other_tables(lake: Lake, assets: Iterable[str]) -> Iterator[Mismatch]:
    """Tables without a record of their days, as far as their logs and files tell. assets: those of `days_of_assets`."""
    for table in sorted({*lake.tables()} - {*assets}):
        held = lake.held(table)
        if held.unreadable:
            yield Mismatch(table, f"its log is damaged: {held.unreadable}")
            continue
        lacking = lake.lacking(table, held)
        for day, reasons in sorted(lacking.items()):
            yield Mismatch(table, "; ".join(reasons), day=day)
        whole = held.files.keys() - lacking.keys()
        for day, found in sorted(lake.content(table, whole).items() if whole else ()):
            if isinstance(found, str):
                yield Mismatch(table, found, table, day)
            elif found[0].rows != held.rows(day):
                yield Mismatch(table, f"it has {found[0].rows} rows, written were {held.rows(day)}", table, day)


def in_the_way(records: Records, lake: Lake, daily: Collection[str], others: Iterable[str]) -> Iterator[Mismatch]:
    """Files where the folder of a table should be that has no record yet: the others are told by `days_of_assets`.

    daily: names of the assets that are recorded by day; others: of assets, or tables, that are not.
    """
    new = [name for name in daily if not records.recorded(name)]
    tables = {*others, *new, *(table for name in new for table in beside(name))}
    tables |= {table for name in daily for table in counted(name)}
    told = set[str]()
    for table in sorted(tables - {*lake.tables()}):
        why = lake.held(table).unreadable
        # One file may be in the way of many tables.
        if why and why not in told:
            told.add(why)
            yield Mismatch(table, why)


def scores(lake: Lake, ledger: Ledger, lines: Iterable[str]) -> Iterator[Mismatch]:
    """Rows of evaluations from which other metrics come out than the ledger has of the meeting."""
    for line in lines:
        table = f"{line}/evaluation"
        held = lake.held(table)
        for day in sorted(held.files.keys() - lake.lacking(table, held).keys()):
            records = {(record.node, record.version): record for record in ledger.evaluations(line, as_of=day)}
            try:
                with duck.opened([lake.root]) as con:
                    rows = view(con, lake, line, day)
                    others = {node: otherwise(of_node(con, rows, node), records) for node in nodes_of(con, rows)}
            except (duckdb.Error, OSError):
                # Files that cannot be read are told of every table.
                continue
            if told := [f"{node}: {why}" for node, why in others.items() if why]:
                yield Mismatch(
                    table, f"its rows are not those that were measured: {listed(told, TOLD, 'node')}", table, day
                )


def models(ledger: Ledger, archive: ArchiveFolder) -> Iterator[Mismatch]:
    """Versions that the archive does not hold as they were stored. Every byte is read."""
    for line, node, version in ledger.identities():
        try:
            archive.load(line, version)
        except (FileNotFoundError, ArchiveDamaged) as error:
            yield Mismatch(f"{line}/model", f"{node}: {error}")


def rows_of_ledger(chains: Chains) -> Iterator[Mismatch]:
    """Rows of the ledger that are not what was written, or that follow one which is gone."""
    for message in chains.broken():
        yield Mismatch("ledger", message)


def standing(ledger: Ledger, lines: Iterable[str]) -> Iterator[Mismatch]:
    """Nodes that do not stand where the decisions on them leave them."""
    for line in lines:
        for node, message in ledger.misplaced(line).items():
            yield Mismatch(f"ledger of {line}", f"{node}: {message}")


def unknown_versions(lake: Lake, ledger: Ledger, lines: Iterable[str]) -> Iterator[Mismatch]:
    """Versions that predictions name, and the ledger does not know."""
    for line in lines:
        table, registered = f"{line}/predictions", {version for _, _, version in ledger.identities(line)}
        held = lake.held(table)
        for day in sorted(held.files.keys() - lake.lacking(table, held).keys()):
            named = lake.read(table, day, day, ["version"])["version"].drop_null().unique().to_pylist()
            if unknown := sorted(set(named) - registered):
                yield Mismatch(table, f"the ledger has no version {', '.join(unknown)}", day=day)


def holes(records: Records, lake: Lake, ledger: Ledger, lines: Iterable[str]) -> Iterator[Hole]:
    """Trainings whose tables had not the rows that were recorded of their days when they began.

    A version of a table that was written after the training began is another one than it read; it tells nothing.
    """
    for line in lines:
        trainings: dict[tuple[object, ...], list[VersionRecord]] = {}
        for record in ledger.versions(line, refits=True):
            key = (
                record.as_of,
                record.train_from,
                record.holdout_to,
                record.started_at,
                *sorted(record.tables.items()),
            )
            trainings.setdefault(key, []).append(record)
        for versions in trainings.values():
            first = versions[0]
            if found := [each for table in sorted(first.tables) for each in _lacked(records, lake, first, table)]:
                yield Hole(line, first.as_of, tuple(versions), "; ".join(found))


def _lacked(records: Records, lake: Lake, record: VersionRecord, table: str) -> Iterator[str]:
    version = record.tables[table]
    written = lake.written_at(table, version)
    if written is None or written > record.started_at:
        return
    read = [(record.train_from, record.train_to)]
    # Of the holdout the examples alone are read, as what a model is to be compared with.
    read += [(record.holdout_from, record.holdout_to)] if table == f"{record.line}/examples" else []
    days = [first + ahead * DAY for first, last in read for ahead in range((last - first).days + 1)]
    held = lake.held(table, version)
    alike: dict[str, list[dt.date]] = {}
    for day, each in records.recorded_before(table, days, record.started_at).items():
        counted = ROWS.fullmatch(each.data)
        if counted and int(counted[1]) != held.rows(day):
            alike.setdefault(f"it read {held.rows(day):,} rows a day, recorded were {int(counted[1]):,}", []).append(
                day
            )
    for message, of in alike.items():
        yield f"{table} at version {version}, {days_in_words(sorted(of))}: {message}"
