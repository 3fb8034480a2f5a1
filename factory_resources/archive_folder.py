"""Where do released models live, and how does one know that they are still what was released?

A version is named by a hash of all that it is: its manifest and the hash of every part. So the same model is stored
once, however often it is made, and a version that was altered or lost a part cannot be loaded as if nothing had been.
Parts are bytes here; nothing of a model is parsed, let alone run.
"""

import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from factory_resources.bounded_json import LARGEST_DECODED, decoded_size, parsed

MANIFEST = "manifest.json"
LINE = re.compile(r"[a-z][a-z0-9_]*")
VERSION = re.compile(r"[0-9a-f]{16}")
#: A plain file name on every file system; no leading dot, so neither "..", nor the name of an unfinished write.
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")

#: A file beyond these is refused unread: no model of ours comes near, and memory is not the archive's to fill.
LARGEST_MANIFEST, LARGEST_PART = 64 * 2**20, 2**30
#: Files are synced side by side: a disk that is asked for several at once takes hardly longer than for one.
SYNCING = ThreadPoolExecutor(8, "archive-sync")


class ArchiveDamaged(Exception):
    """An archived version is not what was stored."""


class Archived(NamedTuple):
    """What was stored of a version: its manifest, and file name -> content of its parts and of its attachments."""

    manifest: dict[str, Any]
    parts: dict[str, bytes]
    attachments: dict[str, bytes]


class ArchiveFolder:
    """Released models below one root, as root/line/version/{parts, attachments, manifest.json}; written once, never changed.

    root: local path or fsspec URI (s3://bucket/prefix, gs://..., az://...).

    >>> import tempfile
    >>> archive = ArchiveFolder(tempfile.mkdtemp())
    >>> version = archive.store("eta", {"estimator": "constant"}, {"model.json": b"3.5"})
    >>> archive.store("eta", {"estimator": "constant"}, {"model.json": b"3.5"}) == version
    True
    >>> archive.load("eta", version).parts
    {'model.json': b'3.5'}
    """

    root: str

    def __init__(self, root: str) -> None:
        self.root = root
        files, path = url_to_fs(root, use_listings_cache=False)
        self._folder = path.rstrip("/") if isinstance(files, LocalFileSystem) else None
        #: Line and version -> the bytes of each of its files, as far as somebody asked.
        self._stored: dict[tuple[str, str], dict[str, int]] = {}

    def store(
        self,
        line: str,
        manifest: Mapping[str, Any],
        parts: Mapping[str, bytes],
        attachments: Mapping[str, bytes] | None = None,
    ) -> str:
        """Keep a model and return its version: 16 hex digits that follow from manifest and parts alone.

        manifest: JSON only: dicts with string keys, lists, strings, finite numbers, booleans, None.
        parts: file name -> content.
        attachments: likewise, of what goes along with the version and is no part of what it is, such as a picture; those
            that were stored first stay.
        The manifest is written last, so a write that was killed is no archive; storing again writes what is absent or
        damaged, and nothing if all is there. Raises ValueError for a name, a manifest or a size that is not allowed.
        """
        _require(LINE, "line", line)
        attached = dict(attachments or {})
        if twice := sorted(set(parts) & set(attached)):
            raise ValueError(f"{', '.join(twice)}: a part and an attachment may not have one name")
        for name, data in (*parts.items(), *attached.items()):
            _require_part(name, len(data))
        content = {"manifest": _plain(manifest, "manifest"), "parts": _listing(parts)}
        version = _version(content)
        attached = self._attached(line, version) or attached
        if attached:
            content["attachments"] = _listing(attached)
        written = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False).encode()
        if (size := decoded_size(written)) > LARGEST_DECODED:
            raise ValueError(
                f"{MANIFEST} could take {size} bytes of memory when it is read; allowed are {LARGEST_DECODED}"
            )
        files = {**parts, **attached, MANIFEST: written}
        absent = {name: data for name, data in files.items() if self._current(line, version, name) != data}
        if absent:
            self._write(line, version, absent)
        return version

    def load(self, line: str, version: str) -> Archived:
        """What was stored of a version, after every byte was found to be the one that was stored.

        Raises FileNotFoundError where there is no such version, ArchiveDamaged naming the file that is not as stored.
        """
        content = self._content(line, version)
        kinds = (content["parts"], content.get("attachments", {}))
        parts, attachments = (
            {name: self._checked(line, version, name, expected) for name, expected in listed.items()}
            for listed in kinds
        )
        return Archived(content["manifest"], parts, attachments)

    def manifest(self, line: str, version: str) -> dict[str, Any]:
        """The manifest of a version, which its name vouches for; its parts are not looked at. Raises as `load` does."""
        found: dict[str, Any] = self._content(line, version)["manifest"]
        return found

    def listing(self, line: str, version: str) -> dict[str, str]:
        """Part -> SHA-256 with which it was stored, and of the manifest. Raises as `load` does."""
        content = self._content(line, version)
        plain = json.dumps(content["manifest"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return {name: str(part["sha256"]) for name, part in content["parts"].items()} | {
            "manifest": _sha256(plain.encode())
        }

    def size(self, line: str, version: str) -> int:
        """Bytes of all files of a version, as they were stored. Raises as `load` does."""
        content = self._content(line, version)
        files = [*content["parts"].values(), *content.get("attachments", {}).values()]
        manifest = self._read(line, version, MANIFEST, LARGEST_MANIFEST) or b""
        return len(manifest) + sum(part["bytes"] for part in files)

    def exists(self, line: str, version: str) -> bool:
        """Whether the version was stored to its end; `load` tells whether it is still whole."""
        files, path = self._locate(line, version, MANIFEST)
        try:
            # Not files.exists(), which takes an unreachable store for one without the version.
            files.info(path)
        except FileNotFoundError:
            return False
        return True

    def lacking(self, line: str, version: str) -> str:
        """A sentence about what is gone or has another size than it was stored with; empty where nothing is.

        Nothing but sizes is looked at, and nothing at all on an object store, where a look at each file costs a request, nor for an
        id that no archive gives; `load` tells whether the version is whole.
        """
        if self._folder is None or not VERSION.fullmatch(version):
            return ""
        folder = f"{self._folder}/{line}/{version}"
        if (stored := self._stored.get((line, version))) is None:
            try:
                content = self._content(line, version)
            except (FileNotFoundError, ArchiveDamaged) as error:
                return str(error)
            listed = {**content["parts"], **content.get("attachments", {})}
            stored = {MANIFEST: os.stat(f"{folder}/{MANIFEST}").st_size}
            stored |= {name: part["bytes"] for name, part in listed.items()}
            # A version never changes, so its manifest is read once.
            self._stored[line, version] = stored
        for name, size in stored.items():
            try:
                found = os.stat(f"{folder}/{name}").st_size
            except (FileNotFoundError, NotADirectoryError):
                gone = f"{name} of {self.uri(line, version)} is missing"
                return f"there is no archived version {self.uri(line, version)}" if name == MANIFEST else gone
            if found != size:
                return f"{name} of {self.uri(line, version)} has {found} bytes, stored were {size}"
        return ""

    def uri(self, line: str, version: str) -> str:
        """The folder of a version, below the root as it was configured."""
        _require(LINE, "line", line)
        _require(VERSION, "version", version)
        return f"{self.root.rstrip('/')}/{line}/{version}"

    def _content(self, line: str, version: str) -> dict[str, Any]:
        """The content of a version's manifest file, if it is the one that gave the version its name."""
        written = self._read(line, version, MANIFEST, LARGEST_MANIFEST)
        if written is None:
            raise FileNotFoundError(f"there is no archived version {self.uri(line, version)}")
        try:
            content: dict[str, Any] = parsed(written)
            found = _version(content)
            for listed in (content["parts"], content.get("attachments", {})):
                for name, part in listed.items():
                    _require_part(name, part["bytes"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(line, version, MANIFEST, f"cannot be read: {error!r:.300}") from error
        if found != version:
            raise self._damaged(line, version, MANIFEST, f"is the manifest of version {found}")
        return content

    def _checked(self, line: str, version: str, name: str, expected: Mapping[str, Any]) -> bytes:
        """A file's content, if it is what the manifest says."""
        data = self._read(line, version, name, expected["bytes"])
        if data is None:
            raise self._damaged(line, version, name, "is missing")
        if len(data) != expected["bytes"]:
            raise self._damaged(line, version, name, f"has {len(data)} bytes, stored were {expected['bytes']}")
        if _sha256(data) != expected["sha256"]:
            raise self._damaged(line, version, name, "does not have the hash with which it was stored")
        return data

    def _current(self, line: str, version: str, name: str) -> bytes | None:
        """A file's content, None where there is none that could be read."""
        try:
            return self._read(line, version, name, LARGEST_PART)
        except ArchiveDamaged:
            return None

    def _attached(self, line: str, version: str) -> dict[str, bytes] | None:
        """The attachments of a version that was stored to its end, None where these or its manifest are not whole."""
        try:
            listed = self._content(line, version).get("attachments", {})
            return {name: self._checked(line, version, name, expected) for name, expected in listed.items()}
        except (FileNotFoundError, ArchiveDamaged):
            return None

    def _damaged(self, line: str, version: str, part: str, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(
            f"{part} of {self.uri(line, version)} {what}; restore it from a copy or rebuild the version"
        )

    def _locate(self, line: str, version: str, name: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system of a file and its path there."""
        # No listings cache: another process may have stored a version since. fsspec keeps one instance per root.
        files, path = url_to_fs(f"{self.uri(line, version)}/{name}", use_listings_cache=False)
        return files, path

    def _read(self, line: str, version: str, name: str, most: int) -> bytes | None:
        """A file's content, None where there is no such file; other failures (rights, network) are raised as they are.

        Raises ArchiveDamaged, before reading a byte, for more bytes than `most` and for what is no file of the archive's own.
        """
        files, path = self._locate(line, version, name)
        try:
            info = files.info(path)
            if info["type"] == "directory":
                return None
            if info["type"] != "file" or info.get("islink"):
                raise self._damaged(line, version, name, "is no plain file: the archive writes no links")
            if info["size"] > most:
                raise self._damaged(line, version, name, f"has {info['size']} bytes, stored were {most} at most")
            return bytes(files.cat_file(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, line: str, version: str, contents: Mapping[str, bytes]) -> None:
        """Write files, in their order, so that a reader sees all of each or none of it."""
        files, folder = url_to_fs(self.uri(line, version), use_listings_cache=False)
        if isinstance(files, LocalFileSystem):
            _replace(Path(folder), contents)
        else:
            # An object store shows an object once it is complete.
            files.makedirs(folder, exist_ok=True)
            for name, data in contents.items():
                files.pipe_file(f"{folder}/{name}", data)


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = {name: folder / f".{uuid.uuid4().hex}" for name in contents}
    try:
        with ExitStack() as opened:
            written = [opened.enter_context(unfinished[name].open("xb")) for name in contents]
            for file, data in zip(written, contents.values(), strict=True):
                file.write(data)
                file.flush()
            # The ledger will name this version: it must outlive a power cut as the ledger's row does.
            list(SYNCING.map(os.fsync, [file.fileno() for file in written]))
        for name, path in unfinished.items():
            path.replace(folder / name)
        with _opened(folder) as directory:
            os.fsync(directory)
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    directory = os.open(folder, os.O_RDONLY)
    try:
        yield directory
    finally:
        os.close(directory)


def _require(pattern: re.Pattern[str], what: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{what} {value!r} is not allowed; it has to match {pattern.pattern}")


def _require_part(name: str, size: int) -> None:
    _require(PART, "part name", name)
    if name == MANIFEST:
        raise ValueError(f"part name {MANIFEST!r} is taken by the archive itself")
    if not 0 <= size <= LARGEST_PART:
        raise ValueError(f"part {name} of {size} bytes is not allowed; at most {LARGEST_PART}")


def _listing(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _version(content: Mapping[str, Any]) -> str:
    """The version id of a manifest file's content. Parts count by hash alone, whatever length is noted for them."""
    named = {
        "manifest": content["manifest"],
        "parts": {name: part["sha256"] for name, part in content["parts"].items()},
    }
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _sha256(canonical.encode())[:16]


def _plain(value: Any, where: str) -> Any:
    """The value in JSON's own types. json.dumps alone would write NaN, which is no JSON, and turn 1 and "1" into one key.

    Raises ValueError that names the place of the first value that has no place in JSON.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    raise ValueError(
        f"{where} is {value!r:.100} of type {type(value).__name__}; a manifest is JSON: "
        "strings, finite numbers, booleans, null, lists, and dicts with string keys"
    )
