"""Where do pages for people go, and at which address does one read them? HTML files below one root, and what was computed for them."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import fsspec
from fsspec.implementations.local import LocalFileSystem


@dataclass(frozen=True)
class Reports:
    """A folder, or an object-store prefix, of reports.

    root: local path or fsspec URI. address: under which a web server serves the root; empty where none does. dagster: that of
    Dagster's web server, to whose runs pages lead; empty where none is known.
    """

    root: str
    address: str = ""
    dagster: str = ""

    def write(self, name: str, text: str) -> str:
        """Store a page, or another text, under a name such as line/drift/2026-01-31.html; returns where it is.

        Whoever reads it meanwhile sees the page before or this one, never a part.
        """
        target = f"{self.root.rstrip('/')}/{name}"
        filesystem, path = fsspec.core.url_to_fs(target)
        filesystem.makedirs(filesystem._parent(path), exist_ok=True)
        if isinstance(filesystem, LocalFileSystem):
            _replace(Path(path), text.encode())
        else:
            filesystem.pipe_file(path, text.encode())
        return target

    def holds(self, name: str) -> bool:
        """Whether there is a page under this name."""
        filesystem, path = fsspec.core.url_to_fs(f"{self.root.rstrip('/')}/{name}")
        return bool(filesystem.exists(path))

    def read(self, name: str) -> str | None:
        """What `write` stored under this name; None where there is nothing, or no text."""
        filesystem, path = fsspec.core.url_to_fs(f"{self.root.rstrip('/')}/{name}")
        try:
            return bytes(filesystem.cat_file(path)).decode()
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def url(self, name: str) -> str:
        """Where a browser finds a page: below `address`, as a file of this machine, or at the store's own URI."""
        if self.address:
            return f"{self.address.rstrip('/')}/{quote(name)}"
        filesystem, path = fsspec.core.url_to_fs(f"{self.root.rstrip('/')}/{name}")
        if isinstance(filesystem, LocalFileSystem):
            return Path(path).absolute().as_uri()
        return f"{self.root.rstrip('/')}/{quote(name)}"


def _replace(path: Path, content: bytes) -> None:
    """Under a name of its own first; its rights are those of every file that this process writes."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
