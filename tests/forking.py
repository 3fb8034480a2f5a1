"""`factory` commands in processes that are forked from one which has read the libraries: they are most of a small run's time.

A command is asked for by a line of JSON on standard input, and answered by a line with the exit code. This module imports nothing of
the factory: who asks may want it to be read in the fork. That is also how what a module reads of the environment when it is imported,
such as a terminal's width, is what the command is given.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

#: What most commands read in the end. Importing them starts no thread and opens no connection.
LIBRARIES = (
    "dagster", "great_expectations.expectations", "lightgbm", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "matplotlib.dates", "PIL.Image", "scipy.stats", "sklearn.linear_model", "duckdb",
    "dagster._core.storage.event_log", "dagster.components", "dagster_postgres", "deltalake", "pyarrow.parquet", "pandas",
    "sqlalchemy", "sqlite3", "psycopg2", "alembic.command", "sqlglot.optimizer", "typer", "rich.progress", "rich.table",
)  # fmt: skip


def serve(libraries: Iterable[str], prepare: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Answer what `forked.Server` asks. libraries: read before. prepare: is called in the child, before the command."""
    for name in libraries:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code: object = 1
            try:
                _run(json.loads(line), prepare)
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)  # noqa: T201 - the answer


def _run(asked: dict[str, Any], prepare: Callable[[dict[str, Any]], None] | None) -> None:
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["folder"])
    # Nobody catches it: a command that hangs, wherever it does, dies of it.
    signal.alarm(asked["seconds"])
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, file, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, asked["stdout"], written),
        (2, asked["stderr"], written),
    ):
        opened = os.open(file, how)
        os.dup2(opened, number)
        os.close(opened)
    if asked["stdout"] == asked["stderr"]:
        os.dup2(1, 2)
    sys.stdin = os.fdopen(0)
    if package := sys.modules.get("factory_assets"):
        # It gives the environment what it lacks, which may be another now.
        importlib.reload(package)
    if prepare:
        prepare(asked)
    sys.argv = ["factory", *asked["arguments"]]
    if "code" in asked:
        exec(asked["code"], {"__name__": "__main__"})
        return
    from factory_assets.cli import main

    main()


if __name__ == "__main__":
    import factory_assets  # noqa: F401 - switches of libraries

    serve(LIBRARIES)
