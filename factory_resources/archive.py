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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field

MANIFEST = "manifest.json"
LINE = re.compile(r"[a-z][a-z0-9_]*")
VERSION = re.compile(r"[0-9a-f]{16}")
#: A plain file name on every file system; no leading dot, so neither "..", nor the name of an unfinished write.
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class ArchiveDamaged(Exception):
    """An archived version is not what was stored."""


class Archive(dg.ConfigurableResource):
    """Released models below one root, as root/line/version/{parts, manifest.json}; written once, never changed."""

    root: str = Field(
        description="Local path or fsspec URI (s3://bucket/prefix, gs://..., az://...) of the released models; "
        "credentials of an object store come from the environment."
    )

    def store(self, line: str, manifest: Mapping[str, Any], parts: Mapping[str, bytes]) -> str:
        """Keep a model and return its version: 16 hex digits that follow from manifest and parts alone.

        manifest: JSON only: dicts with string keys, lists, strings, finite numbers, booleans, None.
        parts: file name -> content.
        The manifest is written last, so a write that was killed is no archive; storing again writes what is absent or
        damaged, and nothing if all is there. Raises ValueError for a name or a manifest that is not allowed.
        """
        _require(LINE, "line", line)
        for name in parts:
            _require_part(name)
        listing = {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in parts.items()}
        content = {"manifest": _plain(manifest, "manifest"), "parts": listing}
        version = _version(content)
        written = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False).encode()
        for name, data in (*parts.items(), (MANIFEST, written)):
            if self._read(line, version, name) != data:
                self._write(line, version, name, data)
        return version

    def load(self, line: str, version: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Manifest and parts of a version, after every byte was found to be the one that was stored.

        Raises FileNotFoundError where there is no such version, ArchiveDamaged naming the part that is not as stored.
        """
        written = self._read(line, version, MANIFEST)
        if written is None:
            raise FileNotFoundError(f"there is no archived version {self.uri(line, version)}")
        content = self._verified(line, version, written)
        parts = {}
        for name, expected in content["parts"].items():
            data = self._read(line, version, name)
            if data is None:
                raise self._damaged(line, version, name, "is missing")
            if len(data) != expected["bytes"]:
                raise self._damaged(line, version, name, f"has {len(data)} bytes, stored were {expected['bytes']}")
            if _sha256(data) != expected["sha256"]:
                raise self._damaged(line, version, name, "does not have the hash with which it was stored")
            parts[name] = data
        return content["manifest"], parts

    def exists(self, line: str, version: str) -> bool:
        """Whether the version was stored to its end; `load` tells whether it is still whole."""
        files, path = self._locate(line, version, MANIFEST)
        try:
            # Not files.exists(), which takes an unreachable store for one without the version.
            files.info(path)
        except FileNotFoundError:
            return False
        return True

    def uri(self, line: str, version: str) -> str:
        """The folder of a version, below the root as it was configured."""
        _require(LINE, "line", line)
        _require(VERSION, "version", version)
        return f"{self.root.rstrip('/')}/{line}/{version}"

    def _verified(self, line: str, version: str, written: bytes) -> dict[str, Any]:
        """The content of a manifest file, if it is the one that gave the version its name."""
        try:
            content: dict[str, Any] = json.loads(written)
            found = _version(content)
            for name, part in content["parts"].items():
                _require_part(name)
                int(part["bytes"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(line, version, MANIFEST, f"cannot be read: {error!r}") from error
        if found != version:
            raise self._damaged(line, version, MANIFEST, f"is the manifest of version {found}")
        return content

    def _damaged(self, line: str, version: str, part: str, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(
            f"{part} of {self.uri(line, version)} {what}; restore it from a copy or rebuild the version"
        )

    def _locate(self, line: str, version: str, name: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system of a file and its path there."""
        # No listings cache: another process may have stored a version since. fsspec keeps one instance per root.
        files, path = url_to_fs(f"{self.uri(line, version)}/{name}", use_listings_cache=False)
        return files, path

    def _read(self, line: str, version: str, name: str) -> bytes | None:
        """A file's content, None where there is no such file; other failures (rights, network) are raised as they are."""
        files, path = self._locate(line, version, name)
        try:
            return bytes(files.cat_file(path))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _write(self, line: str, version: str, name: str, data: bytes) -> None:
        """Write a file so that a reader sees all of it or none."""
        files, path = self._locate(line, version, name)
        if isinstance(files, LocalFileSystem):
            _replace(Path(path), data)
        else:
            # An object store shows an object once it is complete.
            files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            files.pipe_file(path, data)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            # The ledger will name this version: it must outlive a power cut as the ledger's row does.
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _require(pattern: re.Pattern[str], what: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{what} {value!r} is not allowed; it has to match {pattern.pattern}")


def _require_part(name: str) -> None:
    _require(PART, "part name", name)
    if name == MANIFEST:
        raise ValueError(f"part name {MANIFEST!r} is taken by the archive itself")


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
