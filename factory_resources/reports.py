"""Where do pages for people go? HTML files below one root."""

from dataclasses import dataclass

import fsspec


@dataclass(frozen=True)
class Reports:
    """A folder, or an object-store prefix, of reports.

    root: local path or fsspec URI.
    """

    root: str

    def write(self, name: str, html: str) -> str:
        """Store a page under a name such as line/drift/2026-01-31.html; returns where it is."""
        target = f"{self.root.rstrip('/')}/{name}"
        filesystem, path = fsspec.core.url_to_fs(target)
        filesystem.makedirs(filesystem._parent(path), exist_ok=True)
        filesystem.pipe_file(path, html.encode())
        return target
