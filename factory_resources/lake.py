"""Where do tables live, and how is a day of one replaced? Delta Lake tables on a local path or an object store.

A table is partitioned by `ds`, the day. Replacing a day is one atomic commit: readers see all of it or nothing, and
doing it twice gives the same rows. A reader names a version, or gets the newest one consistently.
"""

import datetime as dt
import functools
import operator
import os
import socket
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from factory_resources import duck, scratch
from factory_resources.delta import log as delta_log
from factory_resources.delta.columns import changed_types, column_types, duckdb_type, encoding, quoted
from factory_resources.delta.day_content import DS, DayContent, count
from factory_resources.delta.rows import BATCH_ROWS, Prefetched, one_after_the_other, stretches
from factory_resources.stops import stoppable

#: Table of a line -> what a column was called in its older files -> what it is called. A version that was trained on those is
#: made again from them.
RENAMED = {
    "examples": {"segment": "leaf"},
    "predictions": {"segment": "leaf"},
    "performance": {"segment": "node"},
}
#: Folders whose tables have the names of views.
ROOMS = ("features", "tiles", "totals")
#: How often a part of a day is written anew because others were faster: one of them has written each time.
TRIES = 50
#: Keys of a commit's information: who made it, and a name of the write alone.
WRITER, WRITE = "writer", "write"
#: Threads that delta-rs works in, at least. A writer waits in one of them for its next rows. Where these are read from the lake, as
#: predictions are made of examples, another one has to read them: on a machine with one CPU there is none, and both wait for ever.
RUNTIME_THREADS = 4
#: A table's log is summed up every so many commits, and at once where one of them wrote so many days. A table is opened for each
#: thing asked of it, and to open it each commit since the last sum is read: with the hundred commits that delta-rs waits for, a year
#: of days takes 2.5 times as long to write, and five times as long to open at worst.
SUM_COMMITS, SUM_DAYS = 10, 100
#: Folder of a table to which damaged files are moved. Delta, and a vacuum, pass over names with a leading underscore.
ASIDE = "_damaged"


def _give_threads() -> None:
    """Before the first table is opened, when delta-rs looks how many. Its own default is a thread a CPU."""
    given = os.environ.get("TOKIO_WORKER_THREADS", "")
    threads = int(given) if given.isdecimal() else os.cpu_count() or 1
    os.environ["TOKIO_WORKER_THREADS"] = str(max(threads, RUNTIME_THREADS))


_give_threads()


class LostRace(CommitFailedError):
    """Somebody else wrote the same days, or made the table, while this write was under way. Nothing of it stays."""


@dataclass(frozen=True)
class Written:
    """The outcome of a write: the table's new version and the content of every day that was replaced."""

    table: str
    uri: str
    version: int
    days: dict[dt.date, DayContent] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(day.rows for day in self.days.values())

    def __add__(self, later: "Written") -> "Written":
        return Written(later.table, later.uri, later.version, self.days | later.days)


@dataclass(frozen=True)
class Held:
    """What a table consists of by its log: its version, and day -> path of a file in the table -> its bytes and rows.

    version: None for a table that does not exist, and where the log cannot be read. unreadable: why it cannot.
    """

    version: int | None = None
    files: Mapping[dt.date, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    unreadable: str = ""

    def rows(self, day: dt.date) -> int:
        return sum(rows for _, rows in self.files.get(day, {}).values())


@dataclass(frozen=True)
class Lake:
    """Delta tables below one root.

    root: local path or object-store URI (s3://bucket/prefix, gs://..., az://...).
    storage_options: those of the object store, such as aws_endpoint_url; credentials come from the environment.
    writer: for whom this process writes, such as "run 8c1f"; commits name it beside the process.

    >>> import tempfile
    >>> lake, day = Lake(tempfile.mkdtemp()), dt.date(2026, 1, 31)
    >>> lake.replace("orders/events", pa.table({"id": [1, 2], "ds": [day, day]}), [day]).rows
    2
    >>> lake.replace("orders/events", pa.table({"id": [3], "ds": [day]}), [day]).version
    1
    >>> lake.read("orders/events", columns=["id"])["id"].to_pylist()
    [3]
    >>> lake.read("orders/events", columns=["id"], version=0)["id"].to_pylist()
    [1, 2]
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict)
    writer: str = field(default="", compare=False)

    def uri(self, table: str) -> str:
        return f"{self.root.rstrip('/')}/{table}"

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection that reads these tables, and no other files. Whatever is made on it is to be temporary."""
        # A store's file system has options of this lake's own: its database is not shared.
        is_local = self.root.startswith("file://") or "://" not in self.root
        return scratch.reader(self.root) if is_local else duck.opened([self.root])

    def _open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The table, None while it does not exist. Raises NotADirectoryError where a file lies in place of one of its folders."""
        try:
            return self._existing(table, version)
        except (DeltaError, OSError) as error:
            if in_the_way := self._in_the_way(table):
                raise NotADirectoryError(f"{in_the_way} is a file, where a folder should be: move it away") from None
            if isinstance(error, TableNotFoundError):
                return None
            raise

    def _existing(self, table: str, version: int | None = None) -> DeltaTable:
        return DeltaTable(self.uri(table), version=version, storage_options=dict(self.storage_options) or None)

    def _in_the_way(self, table: str) -> str:
        """A file where the table's log, the table, or a folder above it should be; none in a store without folders."""
        files, log = self._fs(f"{table}/{delta_log.FOLDER}")
        folders = [Path(log), *Path(log).parents] if "file" in files.protocol else []
        return next((str(folder) for folder in folders if folder.is_file()), "")

    def _writable(self, table: str) -> DeltaTable | None:
        """The table opened for whoever is about to write it: a damaged log is mended first."""
        try:
            return self._open(table)
        except DeltaError:
            if not self.mend(table):
                raise
            return self._open(table)

    def version(self, table: str) -> int | None:
        """Newest version of the table, None while it does not exist."""
        opened = self._open(table)
        return opened.version() if opened else None

    def columns(self, table: str, version: int | None = None) -> dict[str, str]:
        """Column -> type of the table, {} while it does not exist."""
        opened = self._open(table, version)
        if opened is None:
            return {}
        former, types = RENAMED.get(_kind(table), {}), column_types(opened.schema())
        return {former.get(name, name): kind for name, kind in types.items()}

    def days(self, table: str, version: int | None = None) -> list[dt.date]:
        """Days of which the table holds rows, ascending."""
        opened = self._open(table, version)
        return _days(opened) if opened else []

    def files(self, table: str) -> dict[dt.date, list[str]]:
        """Day -> names of the files that hold its rows now, {} while the table does not exist.

        Files are never rewritten: while the names are the same, so are the rows.
        """
        opened, found = self._open(table), defaultdict[dt.date, list[str]](list)
        for day, file in self._files(table, opened) if opened else ():
            found[day].append(file.rpartition("/")[2])
        return {day: sorted(names) for day, names in found.items()}

    def rows(self, table: str) -> dict[dt.date, int]:
        """Day -> how many rows the table has of it, by its log alone; {} while it does not exist."""
        opened, found = self._open(table), defaultdict[dt.date, int](int)
        if opened:
            actions = _actions(opened)
            for day, rows in zip(actions[f"partition.{DS}"], actions["num_records"], strict=True):
                found[day.as_py()] += rows.as_py()
        return dict(found)

    def log_mark(self, table: str) -> object:
        """Another value after every commit, and where the newest is gone or another: it costs a listing of the log."""
        return delta_log.mark(*self._fs(f"{table}/{delta_log.FOLDER}"))

    def held(self, table: str, version: int | None = None) -> Held:
        """What the table consists of by its log, and whether that can be read; no other file is looked at.

        version: as it was in that version; absent, as it is now.
        """
        opened, damage = self._looked_at(table, version)
        if opened is None:
            return Held(unreadable=damage.reason if damage else "")
        actions = _actions(opened)
        columns = ("path", "size_bytes", "num_records", f"partition.{DS}")
        files = defaultdict[dt.date, dict[str, tuple[int, int]]](dict)
        for path, size, rows, day in zip(*(actions[name].to_pylist() for name in columns), strict=True):
            files[day][path] = size, rows
        return Held(opened.version(), dict(files))

    def written_at(self, table: str, version: int) -> dt.datetime | None:
        """When a version of the table was written; None where there is no such version any more."""
        opened, _ = self._looked_at(table)
        commits = opened.history() if opened else []
        times = (each["timestamp"] for each in commits if each["version"] == version)
        return next((dt.datetime.fromtimestamp(time / 1000, dt.UTC) for time in times), None)

    def lacking(self, table: str, held: Held) -> dict[dt.date, list[str]]:
        """Day -> a sentence for each of its files that is gone, or has another size than the log says. No file is opened."""
        size_of, found = self._sizes(table), defaultdict[dt.date, list[str]](list)
        for day, files in held.files.items():
            for path, (stated, _) in files.items():
                if (size := size_of(path)) != stated:
                    has = "is gone" if size is None else f"has {size:,} bytes, written were {stated:,}"
                    found[day].append(f"{table}/{path} {has}")
        return dict(found)

    def content(self, table: str, days: Collection[dt.date]) -> dict[dt.date, list[DayContent] | str]:
        """Day -> what it holds, by reading its rows, or the reason where they cannot be read.

        A column that has another name now makes it two contents: a day has the hash that was given under the name of its time.
        """
        wanted, found = set(days), dict[dt.date, list[DayContent] | str]()
        waiting = [sorted(wanted)]
        while waiting:
            part = waiting.pop()
            try:
                found |= self._content(table, part)
            except (duckdb.Error, OSError) as error:
                if len(part) == 1:
                    found[part[0]] = str(error).splitlines()[0]
                else:
                    waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
        return {day: each for day, each in found.items() if day in wanted}

    def _content(self, table: str, days: Sequence[dt.date]) -> dict[dt.date, list[DayContent] | str]:
        """The same of all days from the first to the last. Raises where one of them cannot be read."""
        span = [days[0] + dt.timedelta(ahead) for ahead in range((days[-1] - days[0]).days + 1)]
        former = {new: old for old, new in RENAMED.get(_kind(table), {}).items()}
        under = [{day: DayContent() for day in span} for _ in range(1 + bool(former))]
        with self.connect() as con:
            self.view(con, "rows", table, days[0], days[-1], empty_if_absent=True)
            for batch in con.sql("SELECT * FROM rows").to_arrow_reader(BATCH_ROWS):
                count(batch, under[0])
                if former:
                    names = [former.get(name, name) for name in batch.schema.names]
                    count(batch.rename_columns(names), under[1])
        return {day: [each[day] for each in under] for day in span}

    def mend(self, table: str) -> list[str]:
        """Make a table whose log is damaged one that can be read and written; the names of what was moved aside for that.

        The log stays as far as it can be read. What lies beyond goes to the table's folder `_damaged`.
        """
        _, damage = self._looked_at(table)
        return self._move_aside(table, delta_log.FOLDER, damage.beyond) if damage else []

    def drop_damaged(self, table: str) -> list[dt.date]:
        """Empty the days of a table whose files are gone or cut, of one that is made again where it is needed; those days."""
        self.mend(table)
        days, opened = sorted(self.lacking(table, self.held(table))), self._open(table)
        if opened and days:
            self.replace(table, pa.schema(opened.schema().to_arrow()).empty_table(), days)
        return days

    def set_aside(self, table: str, day: dt.date) -> list[str]:
        """Move the files of a day to the table's folder `_damaged`: from then on they are gone. Returns their names."""
        files, root = self._fs(table)
        there = [path for path in self.held(table).files.get(day, {}) if files.exists(f"{root}/{path}")]
        return self._move_aside(table, "", there)

    def _move_aside(self, table: str, folder: str, names: Sequence[str]) -> list[str]:
        files, root = self._fs(table)
        aside = "/".join(filter(None, (root, ASIDE, f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%f}", folder)))
        for name in names:
            target = f"{aside}/{name}"
            files.makedirs(target.rpartition("/")[0], exist_ok=True)
            files.mv("/".join(filter(None, (root, folder, name))), target)
        return list(names)

    def _looked_at(self, table: str, version: int | None = None) -> tuple[DeltaTable | None, delta_log.Damage | None]:
        """The table, if it exists and its log is whole, and otherwise what is wrong with the log."""
        log = self._fs(f"{table}/{delta_log.FOLDER}")
        try:
            opened = self._open(table, version)
        except NotADirectoryError as error:
            return None, delta_log.Damage(str(error), [])
        except DeltaError:
            # Damage is what its files show. A store that does not answer now is none, and nothing is moved for it.
            if (damage := delta_log.damage(*log)) is None:
                raise
            return None, damage
        if opened is not None and not delta_log.mark(*log).bytes:
            # A commit without a byte is read as one that changes nothing.
            return None, delta_log.damage(*log)
        return opened, None

    def _fs(self, place: str) -> tuple[Any, str]:
        """The file system of a place below the root, and its path there."""
        from fsspec.core import url_to_fs

        files, path = url_to_fs(self.uri(place), **self._fsspec_options())
        return files, path

    def _sizes(self, table: str) -> Callable[[str], int | None]:
        """Path of a file in the table -> its bytes, None where there is none."""
        files, root = self._fs(table)
        if "file" in files.protocol:

            def on_disk(path: str) -> int | None:
                try:
                    return os.stat(f"{root}/{path}").st_size
                except (FileNotFoundError, NotADirectoryError):
                    return None

            return on_disk
        # A listing names a thousand files at once.
        sizes = {name.removeprefix(f"{root}/"): each["size"] for name, each in files.find(root, detail=True).items()}
        return sizes.get

    def latest(self, table: str, column: str) -> dict[dt.date, dt.datetime]:
        """Day -> the latest value of a column of times, by the table's log where it has it; {} while that cannot be read.

        Where the log does not have it, rows are read; a day whose files are damaged is not in the answer then.
        """
        opened, _ = self._looked_at(table)
        if opened is None:
            return {}
        actions, name = _actions(opened), f"max.{column}"
        days = actions[f"partition.{DS}"].to_pylist()
        stated = actions[name].to_pylist() if name in actions.column_names else [None] * len(days)
        found: dict[dt.date, dt.datetime] = {}
        unknown = set[dt.date]()
        for day, value, rows in zip(days, stated, actions["num_records"].to_pylist(), strict=True):
            if value is not None:
                found[day] = max(value, found.get(day, value))
            elif rows:
                # The log has statistics of a table's first columns alone, and none of a column without values.
                unknown.add(day)
        if unknown:
            lacking = self.lacking(table, self.held(table)).keys()
            asked = sorted(unknown - lacking)
            # In one query, unless it would come upon damaged files between these days.
            spans = [(day, day) for day in asked] if lacking else [(asked[0], asked[-1])]
            with self.connect() as con:
                for first, last in spans:
                    self.view(con, "days", table, first, last, opened.version(), empty_if_absent=True)
                    rows_of = con.execute(f"SELECT ds, max({quoted(column)}) FROM days GROUP BY ds").fetchall()
                    found |= {day: value for day, value in rows_of if day in unknown and value is not None}
        return found

    def retyped(self, table: str, schema: pa.Schema) -> bool:
        """Whether the table has a column of the schema as another type."""
        return bool(changed_types(self._writable(table), schema))

    def tables(self) -> list[str]:
        """Names of the tables below the root: two levels, such as orders/events."""
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self.root, **self._fsspec_options())
        if not files.exists(root):
            return []
        folders = [each["name"] for each in files.ls(root, detail=True) if each["type"] == "directory"]
        found = [each["name"] for folder in folders for each in files.ls(folder, detail=True)]
        return sorted("/".join(name.split("/")[-2:]) for name in found if files.exists(f"{name}/_delta_log"))

    def vacuum(
        self, table: str, older_than: dt.timedelta, keep: Collection[int] = (), dry_run: bool = False
    ) -> list[str]:
        """Remove files that no version needs which is newer than `older_than`, or is in `keep`; returns their names.

        keep: versions of the table that stay readable for good. Raises LookupError where the table does not exist, or no
            longer has one of these versions.
        """
        opened = self._open(table)
        if opened is None:
            raise LookupError(f"table {table} does not exist in {self.root}")
        if above := sorted(version for version in keep if version > opened.version()):
            raise LookupError(f"table {table} has no version {above[0]}; its newest is {opened.version()}")
        chosen: dict[str, Any] = {
            "retention_hours": int(older_than.total_seconds() // 3600),
            "enforce_retention_duration": False,
            "full": True,
            "keep_versions": sorted(keep),
        }
        files, root = self._fs(table)
        present = {_in_table(name) for name in files.find(root) if f"/{ASIDE}/" not in name}
        # Those that an earlier vacuum removed are listed again, some of them twice.
        removed = sorted(present & {_in_table(name) for name in opened.vacuum(dry_run=True, **chosen)})
        if removed and not dry_run:
            opened.vacuum(dry_run=False, **chosen)
        return removed

    def replace(self, table: str, rows: pa.RecordBatchReader | pa.Table, days: Sequence[dt.date]) -> Written:
        """Replace these days of a table by the rows, in one commit. Days without a row end up empty.

        rows: have a column `ds`; one outside `days` is a ValueError, and nothing is written. Columns new to the table
            are added to it. Row order does not matter; rows in order of `ds` keep memory flat.
        Raises LostRace, naming who else writes, where these days were written, or the table was made, in the meantime. Of a
        table's first write, rows in memory are written once more, after those of whoever made it.
        A column may change its type only where all days of the table are replaced; otherwise it is a TypeError.
        """
        if not days:
            raise ValueError("no day to replace")
        opened = self._writable(table)
        reader = rows if isinstance(rows, pa.RecordBatchReader) else rows.to_reader(BATCH_ROWS)
        try:
            return self._commit(table, opened, reader, days)
        except LostRace:
            if opened is not None or not isinstance(rows, pa.Table):
                raise
            return self.replace(table, rows, days)

    def replace_part(self, table: str, rows: pa.Table, day: dt.date, column: str, values: Collection[str]) -> Written:
        """Replace those rows of a day that have one of the values in a column; its others stay, also what is written meanwhile.

        rows: all of the day and with these values; a table that is mapped from a file need not fit in memory. Columns that the
            table has beside are null in them, and columns that are new are null in the others.
        Raises LostRace only where others write without end.
        """
        wanted = pa.array(sorted(values), pa.string())
        if strange := sorted(set(rows[column].unique().to_pylist()) - set(values)):
            raise ValueError(f"a row of {column} {strange[0]} among those that replace {', '.join(sorted(values)[:5])}")
        for left in reversed(range(TRIES)):
            opened = self._writable(table)
            # A database of its own, as its settings are of no use to others.
            with duck.opened([self.root]) as con, stoppable():
                readers = [rows.to_reader(BATCH_ROWS)]
                if opened is not None and day in _days(opened):
                    self.view(con, "day", table, day, day, opened.version())
                    con.register("replaced", pa.table({column: wanted}))
                    # Their order means nothing, and to keep it would hold them in memory.
                    con.execute("SET preserve_insertion_order = false").fetchall()
                    others = f"SELECT * FROM day ANTI JOIN replaced USING ({quoted(column)})"
                    readers.append(con.sql(others).to_arrow_reader(BATCH_ROWS))
                try:
                    return self._commit(table, opened, one_after_the_other(readers), [day])
                except LostRace:
                    if not left:
                        raise
        raise AssertionError("every try returned or raised")

    def _commit(
        self, table: str, opened: DeltaTable | None, reader: pa.RecordBatchReader, days: Sequence[dt.date]
    ) -> Written:
        """Replace the days of the table as it was opened, or of one that does not exist yet. Raises LostRace as `replace` does."""
        retyped = changed_types(opened, reader.schema)
        if retyped and opened and not set(_days(opened)) <= set(days):
            changes = ", ".join(f"{name} from {old} to {new}" for name, (old, new) in retyped.items())
            raise TypeError(
                f"{table}: {changes}. A type can change only for all days at once: materialise "
                f"{min(_days(opened))} to {max(_days(opened))} in one run"
            )
        content, write = {day: DayContent() for day in days}, uuid.uuid4().hex
        with Prefetched(reader, content) as batches:
            try:
                write_deltalake(
                    opened or self.uri(table),
                    pa.RecordBatchReader.from_batches(reader.schema, batches),
                    mode="overwrite",
                    partition_by=[DS],
                    predicate=None if retyped else _days_predicate(days),
                    schema_mode="overwrite" if retyped else "merge",
                    writer_properties=encoding(reader.schema),
                    storage_options=dict(self.storage_options) or None,
                    # Whoever names a version years later reads it through the log of that time.
                    post_commithook_properties=PostCommitHookProperties(
                        create_checkpoint=False, cleanup_expired_logs=False
                    ),
                    # Tried again, the first commit of a table would be added to that of whoever was faster: it is not
                    # compared with what the other wrote, and every row would be there twice.
                    commit_properties=CommitProperties({WRITER: self._who(), WRITE: write}, None if opened else 0),
                )
            except Exception as error:
                # What went wrong while the rows were made says more than what the writer makes of it.
                if batches.error is not None:
                    raise batches.error from None
                if not isinstance(error, CommitFailedError):
                    raise
                lost = self._lost(table, days, opened.version() if opened else -1)
                raise lost or error from None
        # An open table moves on to the version that it has just written, which need not be the newest. A write that found no table
        # made version 0, unless somebody made the table before its writer looked.
        now = opened or self._existing(table)
        version = (
            now.version() if opened else next(each["version"] for each in now.history() if each.get(WRITE) == write)
        )
        if len(days) >= SUM_DAYS or version % SUM_COMMITS == SUM_COMMITS - 1:
            now.create_checkpoint()
        return Written(table, self.uri(table), int(version), content)

    def _who(self) -> str:
        process = f"process {os.getpid()} on {socket.gethostname()}"
        return f"{self.writer}, {process}" if self.writer else process

    def _lost(self, table: str, days: Sequence[dt.date], read: int) -> LostRace | None:
        """The error of a write that others overtook, with their names; None where nobody did. read: the version before it."""
        opened = self._open(table)
        since = [] if opened is None else [each for each in opened.history() if each["version"] > read]
        if not since:
            return None
        writers = {str(each.get(WRITER, "a writer without a name")): each["version"] for each in reversed(since)}
        named = " and ".join(f"{who} (version {version})" for who, version in writers.items())
        return LostRace(
            f"{table}: while {min(days)} to {max(days)} were being written, {named} wrote there too. Nothing of this write stays: "
            "run it again when the other has ended"
        )

    def replace_from(
        self, con: duckdb.DuckDBPyConnection, table: str, relation: str, days: Sequence[dt.date], order: str = ""
    ) -> Written:
        """Replace these days of a table by the rows of a relation, a stretch of days a commit: memory stays flat.

        relation: a table, or a view that is cheap to read more than once, with a column `ds`. order: columns to sort by; without
            them a day's rows are written as they come, which costs less than to sort them even where days are mixed.
        As in `replace`, a column that changes its type makes it one commit.
        """
        if not days:
            raise ValueError("no day to replace")
        rows = dict(con.execute(f"SELECT ds, count(*) FROM {relation} GROUP BY ds").fetchall())
        if outside := sorted(set(rows) - set(days)):
            raise ValueError(f"a row of {outside[0]} among those that replace {min(days)} to {max(days)}")
        schema = con.sql(f"SELECT * FROM {relation} LIMIT 0").to_arrow_table().schema
        written: list[Written] = []
        for stretch in [sorted(days)] if self.retyped(table, schema) else stretches(sorted(days), rows):
            within = f"ds BETWEEN DATE '{stretch[0]}' AND DATE '{stretch[-1]}'"
            query = f"SELECT * FROM {relation} WHERE {within}{f' ORDER BY {order}' if order else ''}"
            is_first = not written and self.version(table) is None
            try:
                written.append(self.replace(table, con.sql(query).to_arrow_reader(BATCH_ROWS), stretch))
            except LostRace:
                # The relation can be read again, after what whoever made the table wrote.
                if not is_first:
                    raise
                written.append(self.replace(table, con.sql(query).to_arrow_reader(BATCH_ROWS), stretch))
        return functools.reduce(operator.add, written)

    def view(
        self,
        con: duckdb.DuckDBPyConnection,
        name: str,
        table: str,
        first: dt.date | None = None,
        last: dt.date | None = None,
        version: int | None = None,
        empty_if_absent: bool = False,
    ) -> int | None:
        """Make days `first` to `last` of a table a view called `name` on the connection; returns the version it reads.

        Only the files of those days are opened, and only the columns that a query uses are read. Where the table has
        no row of these days, that is a LookupError, or an empty view if `empty_if_absent`. A table that does not exist
        is always a LookupError: it has no columns to show.
        """
        opened = self._open(table, version)
        if opened is None:
            raise LookupError(f"table {table} does not exist in {self.root}: materialise it first")
        files = [
            file
            for day, file in sorted(self._files(table, opened))
            if (not first or day >= first) and (not last or day <= last)
        ]
        if not files and not empty_if_absent:
            raise LookupError(f"table {table} has no rows from {first} to {last}")
        # Files are older than columns that were added to the table later: its own schema goes first.
        columns = ", ".join(
            f"NULL::{duckdb_type(column.type)} AS {quoted(column.name)}" for column in opened.schema().fields
        )
        query, named = f"SELECT {columns} WHERE false", {column.name for column in opened.schema().fields}
        if files:
            self._register_filesystem(con)
            listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
            query += f""" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = true,
                          hive_partitioning = true, hive_types = {{'{DS}': DATE}})"""
        for old, new in RENAMED.get(_kind(table), {}).items():
            if old in named:
                value = f"coalesce({quoted(new)}, {quoted(old)})" if new in named else quoted(old)
                others = f"{quoted(old)}, {quoted(new)}" if new in named else quoted(old)
                query = f"SELECT * EXCLUDE ({others}), {value} AS {quoted(new)} FROM ({query})"
        con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}").fetchall()
        return int(opened.version())

    def read(
        self,
        table: str,
        first: dt.date | None = None,
        last: dt.date | None = None,
        columns: Sequence[str] = (),
        version: int | None = None,
        empty_if_absent: bool = False,
    ) -> pa.Table:
        """Days of a table as an Arrow table; of a table or days that do not exist, LookupError (see `view`)."""
        with self.connect() as con, stoppable():
            self.view(con, "days", table, first, last, version, empty_if_absent)
            chosen = ", ".join(map(quoted, columns)) or "*"
            return con.sql(f"SELECT {chosen} FROM days").to_arrow_table()

    def _files(self, table: str, opened: DeltaTable) -> Iterator[tuple[dt.date, str]]:
        actions = _actions(opened)
        base = self.uri(table).removeprefix("file://")
        for path, day in zip(actions["path"].to_pylist(), actions[f"partition.{DS}"].to_pylist(), strict=True):
            yield day, f"{base}/{path}"

    def _register_filesystem(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let the connection read below the root where that is an object store."""
        scheme, _, path = self.root.partition("://")
        if not path or scheme == "file" or scheme in con.list_filesystems():
            return
        # DuckDB's own object-store reader is an extension that would have to be downloaded; fsspec is a package.
        import fsspec

        con.register_filesystem(fsspec.filesystem(scheme, **self._fsspec_options()))

    def _fsspec_options(self) -> dict[str, Any]:
        # Files come and go while this process lives: a listing is old as soon as it is made.
        url = self.storage_options.get("aws_endpoint_url")
        return {"use_listings_cache": False} | ({"endpoint_url": url} if url else {})


def _kind(table: str) -> str:
    """Which of its line's tables it is; nothing for a table of a view, whose name is its owner's choice."""
    owner, _, kind = table.rpartition("/")
    return "" if owner in ROOMS else kind


def _days(opened: DeltaTable) -> list[dt.date]:
    return sorted({dt.date.fromisoformat(str(part[DS])) for part in opened.partitions()})


def _actions(opened: DeltaTable) -> pa.Table:
    """What the log tells of each file that the table consists of."""
    # `pa.table` would import pandas, which takes longer than to read the log, to see whether this is one of its frames.
    return pa.RecordBatchReader.from_stream(opened.get_add_actions(flatten=True)).read_all()


def _in_table(path: str) -> str:
    """A data file's path below its table: ds=2026-01-31/part-00000.parquet."""
    return "/".join(path.split("/")[-2:])


def _days_predicate(days: Sequence[dt.date]) -> str:
    ordered = sorted(days)
    if (ordered[-1] - ordered[0]).days + 1 == len(ordered):
        return f"{DS} >= '{ordered[0]}' AND {DS} <= '{ordered[-1]}'"
    listed = ", ".join(f"'{day}'" for day in ordered)
    return f"{DS} IN ({listed})"
