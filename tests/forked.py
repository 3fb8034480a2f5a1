"""Commands whose outcome alone is asked for, each in a fork of one process a test worker: see `forking`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def environment(**own: str) -> dict[str, str]:
    """This process's, but for what is the factory's or Dagster's, and with what is given."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FACTORY_", "DAGSTER_"))} | own


class Server:
    """The process that forks, and how it is asked."""

    def __init__(self, module: str = "tests.forking", **own: str):
        """module: calls `forking.serve` when it is executed. own: what its environment has more, which libraries read."""
        self._folder = tempfile.TemporaryDirectory(prefix="forked-")
        self._errors = Path(self._folder.name, "server.txt")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module], env=environment(**own), text=True, cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def run(
        self, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, timeout: int = 300, together: bool = False,
        **how: Any,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """As of subprocess.run. env: the whole environment. together: what goes to stderr is written among what goes to stdout.

        how: as the module takes it; code: is executed in place of the command.
        """
        assert self._process.stdin and self._process.stdout
        output = Path(self._folder.name, "stdout.txt")
        errors = output if together else Path(self._folder.name, "stderr.txt")
        asked = {
            "arguments": arguments, "environment": dict(env), "folder": str(cwd or Path.cwd()), "seconds": timeout,
            "stdout": str(output), "stderr": str(errors), **how,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the server ended with {self._process.wait()}: {self._errors.read_text()}"
        code, told = json.loads(answer), output.read_text()
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(arguments, timeout, told)
        return subprocess.CompletedProcess(arguments, code, told, "" if together else errors.read_text())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


@functools.cache
def _server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


def factory(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    """Outcome of the `factory` command in a process of its own. env: its whole environment."""
    return _server().run(*arguments, env=env, cwd=cwd, timeout=timeout)


def python(code: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Outcome of `python -c` in a process that has read the libraries, and nothing of the factory but its switches."""
    return _server().run(*arguments, env=os.environ if env is None else env, code=code)
