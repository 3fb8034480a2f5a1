"""`factory` commands in processes that are forked from one which has read the libraries: they are most of a small run's time.

A command is asked for by a line of JSON on standard input, and answered by a line with the exit code. This module imports nothing of
the factory: who asks may want it to be read in the fork.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any


def serve(libraries: Iterable[str], prepare: Callable[[dict[str, Any]], None]) -> None:
    """Answer what `forked.Forked` asks. libraries: read before. prepare: is called in the child, before the command."""
    for name in libraries:
        importlib.import_module(name)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                _run(json.loads(line), prepare)
            finally:
                os._exit(70)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)  # noqa: T201 - the answer


def _run(asked: dict[str, Any], prepare: Callable[[dict[str, Any]], None]) -> None:
    os.environ |= asked["environment"]
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    prepare(asked)
    from factory_assets.cli import main

    sys.argv = ["factory", *asked["arguments"]]
    main()
