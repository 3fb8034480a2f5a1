"""How is a model tried as a server would run it? In a process that began afresh, one for all that this process would release.

`models.safety` runs there. A version that ends the process, or does not answer in time, is not safe to serve; the next one gets a
process of its own. To begin takes two seconds, most of it imports, and a training and the refits after it ask one after the other.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from factory_assets.models.safety import Limits
from factory_resources.archive_folder import ArchiveFolder

#: Seconds within which a process has to begin, and a version to be tried: for hangs alone; a sound one takes .1 s.
SECONDS = 300.0
#: One thread, so that memory does not grow with the machine's cores, and a request is measured as one of many.
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class NotTried(RuntimeError):
    """Whether a version is safe to serve could not be found out, for a reason that is not the model's."""


#: The process that waits for whoever asks next, if one does: whose child it is, the path that it imports from, and what it is.
_waiting: list[tuple[int, str, "subprocess.Popen[bytes]"]] = []


class FreshProcess:
    """A process that tries versions of a line: one that waits, or one that begins with the first version that is asked for."""

    def __init__(self, archive: ArchiveFolder, line: str, limits: Limits, seconds: float = SECONDS) -> None:
        self._asked: dict[str, Any] = {"archive": archive.root, "line": line, "limits": asdict(limits)}
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._path = _path()
        self._read, self._answered = b"", True

    def __enter__(self) -> "FreshProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._answered and not _waiting:
            _waiting.append((os.getpid(), self._path, self._process))
            self._process = None
        self._end()

    def unsafe(self, version: str) -> str | None:
        """Why the version may not be served, in words; None where nothing is found. Raises NotTried."""
        process = self._process or self._take() or self._begin()
        assert process.stdin is not None
        self._answered = False
        # Its stores are reached by what is set now, which may be more than was when it began.
        asked = self._asked | {"version": version, "environment": os.environ | ALONE}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        deadline, doing = time.monotonic() + self._seconds, "loads its archive"
        while True:
            try:
                told = self._told(process, deadline)
            except TimeoutError:
                self._end()
                return f"its process {doing} for more than {self._seconds:g} s"
            if told is None:
                return f"its process ended, {self._ended()}, while it {doing}"
            doing = told.get("doing", doing)
            self._answered = "doing" not in told
            if "failed" in told:
                raise NotTried(f"whether {version} is safe to serve could not be tried: {told['failed']}")
            if "unsafe" in told:
                found: str | None = told["unsafe"]
                return found

    def _take(self) -> "subprocess.Popen[bytes] | None":
        """The process that waits, where it is this one's and imports from the same path; any other is ended."""
        while _waiting:
            owner, path, process = _waiting.pop()
            if owner != os.getpid():
                continue
            self._process = process
            if path == self._path and process.poll() is None:
                return process
            self._end()
        return None

    def _begin(self) -> "subprocess.Popen[bytes]":
        # By standard input: an address may hold a password, and arguments are seen by everyone on the machine.
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "factory_assets.models.safety"],
            env=os.environ | ALONE | {"PYTHONPATH": self._path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for whoever asks: this process ends once nobody can ask any more.
            start_new_session=True,
        )
        try:
            if self._told(process, time.monotonic() + SECONDS) is None:
                raise NotTried(f"the process in which models are tried ended at its start, {self._ended()}")
        except TimeoutError:
            self._end()
            raise NotTried(f"the process in which models are tried did not begin within {SECONDS:g} s") from None
        return process

    def _told(self, process: "subprocess.Popen[bytes]", deadline: float) -> dict[str, Any] | None:
        """The next line that the process tells; None where it ended instead. Raises TimeoutError."""
        assert process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                return None
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def _ended(self) -> str:
        """How the process ended that closed its output, in words."""
        process = self._process
        assert process is not None
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            code = 0
        self._end()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def _end(self) -> None:
        process, self._process, self._read = self._process, None, b""
        if process is None:
            return
        process.kill()
        process.communicate()


def _path() -> str:
    return os.pathsep.join(filter(None, sys.path))
