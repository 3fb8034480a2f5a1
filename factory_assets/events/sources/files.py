"""Which files does a day have, and has their content changed? What all kinds of files have in common.

A file is known by its name and its content, wherever it lies and whenever it was written: the same bytes delivered
once more, or a folder moved elsewhere, are nothing new. An object store has hashed what it holds, and its checksum
counts. The bytes of all other files are hashed, by each process once as long as size and time stay the same; a local
gigabyte takes 0.8 s (two cores, a warm cache).
"""

import bisect
import contextlib
import datetime as dt
import fnmatch
import glob
import hashlib
import itertools
import operator
import os
import re
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from factory_assets.declarations import periods
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import CsvSource, ParquetSource
from factory_assets.events.sources.base import ABSENT, Source, SourceError, quoted

#: What Hive and Spark call the folder of rows without a value.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
#: What file systems call a hash of the content, by how they are asked: Azure nests it, and Google's ETag is none.
CHECKSUMS = ("md5Hash", "content_md5", "ETag")

FileKind = TypeVar("FileKind", bound=ParquetSource | CsvSource)

_hashes: dict[tuple[str, object, object], str] = {}


class Files(Source[FileKind]):
    """A source with a `uri`: of a file a day, month or year where it has a placeholder, else of files that together hold all days."""

    def periods_files(
        self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]
    ) -> Iterator[tuple[Period | None, list[str]]]:
        """Periods with their files, which the connection can read; None where the rows themselves say the day."""
        uri = self.declared.uri
        scheme, remote, _ = uri.partition("://")
        if remote and scheme not in con.list_filesystems():
            import fsspec

            # DuckDB's own object-store reader is an extension that would have to be downloaded; fsspec is a package.
            with _reached(uri):
                con.register_filesystem(fsspec.filesystem(scheme))
        if periods.unit(uri) is None:
            files = listed(uri)
            if not files:
                raise SourceError(
                    f"no file matches {uri}; check the path, or the environment variable that it is made of"
                )
            yield None, files
            return
        bringing = {periods.period(uri, day + dt.timedelta(days=ago)) for day in days for ago in self._late}
        for each in sorted(bringing, key=lambda period: period.first):
            yield each, listed(periods.name(uri, each.first))

    def fingerprint(self, days: Sequence[dt.date]) -> dict[dt.date, str]:
        """Without a placeholder in the URI, a new file may hold rows of any day: it changes all of them."""
        uri = self.declared.uri
        if periods.unit(uri) is None:
            return dict.fromkeys(days, _stamp(listed(uri)))
        brought = {day: [periods.period(uri, day + dt.timedelta(days=ago)) for ago in self._late] for day in days}
        names = {each: periods.name(uri, each.first) for each in {each for of in brought.values() for each in of}}
        found = listed_each(names.values())
        files = {each: found[name] for each, name in names.items()}
        stamps = {of: _stamp([file for each in of for file in files[each]]) for of in {*map(tuple, brought.values())}}
        # A day whose own file has not come is awaited, whatever others already hold of it.
        return {day: stamps[tuple(of)] if files[of[0]] else ABSENT for day, of in brought.items()}

    @property
    def _late(self) -> range:
        """By how many days the file that brings an event may be later than the event."""
        return range(self.declared.late.days + 1)


def within(uri: str) -> str:
    """SQL of the name of `_source` within the feed: its path below the last folder that all files of a uri share."""
    fixed = re.split(r"[*?\[{]", uri, maxsplit=1)[0].rpartition("/")[0]
    begin = "^([A-Za-z][A-Za-z0-9+.-]*:/)?/*"
    shared = re.sub(begin, "", fixed) + "/"
    path = f"regexp_replace(_source, {quoted(begin)}, '')"
    if shared == "/":
        return path
    return f"CASE WHEN starts_with({path}, {quoted(shared)}) THEN substr({path}, {len(shared) + 1}) ELSE {path} END"


def pattern(file: str) -> str:
    """The name of a file for an engine that takes it for a pattern."""
    scheme, remote, path = file.rpartition("://")
    return scheme + remote + glob.escape(path)


def folder(uri: str) -> str:
    """The folder in which all files are that a URI names, with placeholders or as a pattern."""
    scheme, remote, path = uri.rpartition("://")
    fixed = re.split(r"[*?\[{]", path, maxsplit=1)[0]
    inside = fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else "" if remote else ".")
    return scheme + remote + inside


def folders(file: str) -> dict[str, str]:
    """What the names of a file's folders say, as in region=EU/2024.parquet: column -> text."""
    return {
        key: _decoded(value)
        for key, value in re.findall(r"(?<=/)([A-Za-z_][A-Za-z0-9_]*)=([^/]*)(?=/)", f"/{file}")
        if value != NO_VALUE
    }


def _decoded(value: str) -> str:
    """The text that a folder's name stands for; as it is where that would be no text."""
    try:
        return urllib.parse.unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value


def listed(uri: str) -> list[str]:
    if "://" not in uri:
        return sorted(glob.glob(uri, recursive=True))
    import fsspec

    with _reached(uri):
        filesystem, path = fsspec.core.url_to_fs(uri)
        filesystem.invalidate_cache()  # a process may live for weeks, and files arrive
        return sorted(filesystem.unstrip_protocol(file) for file in filesystem.glob(path))


def listed_each(uris: Collection[str]) -> dict[str, list[str]]:
    """URI -> what `listed` gives of it. A folder of many of them is listed once: else a year of days would list it 365 times."""
    of_folder: dict[str, list[str]] = {}
    found: dict[str, list[str]] = {}
    for uri in uris:
        inside, name = uri[: uri.rfind("/") + 1], uri.rpartition("/")[2]
        if glob.has_magic(inside) or "**" in name:
            found[uri] = listed(uri)
        else:
            of_folder.setdefault(inside, []).append(uri)
    for inside, of in of_folder.items():
        if len(of) == 1:
            found[of[0]] = listed(of[0])
            continue
        held, translated = _held(inside)
        names = sorted(held)
        for uri in of:
            wanted = uri.removeprefix(inside)
            begins = re.split(r"[*?[]", wanted, maxsplit=1)[0]
            # In order, names that begin alike lie side by side: only they are held against the pattern.
            first = bisect.bisect_left(names, begins)
            alike = itertools.takewhile(operator.methodcaller("startswith", begins), names[first:])
            fits = re.compile(translated(wanted)).match
            found[uri] = [held[each] for each in alike if fits(each)]
    return found


def _held(inside: str) -> tuple[dict[str, str], Callable[[str], str]]:
    """Name -> file, of all in a folder, and how a pattern of names becomes a regular expression.

    inside: the folder's path, to the last slash. Raises SourceError where it may not be listed.
    """
    if "://" not in inside:
        place = Path(inside or ".")
        try:
            held = {each.name: inside + each.name for each in place.iterdir()} if place.is_dir() else {}
        except OSError as error:
            raise SourceError(f"{place} cannot be listed: {error.strerror or error}") from None
        return held, lambda name: fnmatch.translate(name) if name[:1] == "." else rf"(?!\.){fnmatch.translate(name)}"
    from fsspec.utils import glob_translate

    return {file.rpartition("/")[2]: file for file in listed(f"{inside}*")}, glob_translate


@contextlib.contextmanager
def _reached(uri: str) -> Iterator[None]:
    """Whatever goes wrong with an object store is a SourceError: each store's client has exceptions of its own."""
    try:
        yield
    except Exception as error:
        message = (str(error).splitlines() or [""])[0]
        raise SourceError(f"{uri} cannot be reached: {type(error).__name__}: {message}") from error


def _stamp(files: Sequence[str]) -> str:
    if not files:
        return ABSENT
    states = sorted(f"{file.rpartition('/')[2]}:{content(file)}" for file in files)
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:16]


def content(file: str) -> str:
    """A text that tells the file's content from any other. Raises SourceError."""
    if "://" in file:
        with _reached(file):
            return _remote(file)
    try:
        return _local(file)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from None


def _local(file: str) -> str:
    state = os.stat(file)
    return _hashed(Path(file).open, (file, state.st_size, state.st_mtime_ns))


def _remote(file: str) -> str:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(file)
    info = filesystem.info(path)
    checksums = {**(info.get("content_settings") or {}), **info}
    for name in CHECKSUMS:
        if checksums.get(name):
            return str(checksums[name])
    written = info.get("mtime") or info.get("created") or info.get("last_modified")
    return _hashed(lambda mode: filesystem.open(path, mode), (file, info.get("size"), written))


def _hashed(opening: Callable[[str], Any], state: tuple[str, object, object]) -> str:
    """Hash of the bytes; the hash of the last time while the file's state is the same."""
    if state not in _hashes:
        with opening("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if state[-1] is None:
            return digest  # without a time, another file could look like this one
        _hashes[state] = digest
    return _hashes[state]
