"""What a run prints goes where its command prints.

Dagster copies it into files instead, by four processes of its own for each run, and from there back to the terminal. Ctrl-C
reaches those as well, and each prints a traceback of its own above the line that says what is done and what is not. Besides, a
step that asks whether it prints on a terminal is told that it does not.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from factory_resources.dagster_private.versions import private, require

#: What Dagster's page of such a run shows as its output.
ELSEWHERE = "Printed in the terminal of the command that made this run.\n"


def _take() -> tuple[type[Any], Callable[[Any, Sequence[str]], AbstractContextManager[Any]]]:
    from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    require(LocalComputeLogManager.capture_logs, "log_key")
    require(LocalComputeLogManager.open_log_stream, "log_key", "io_type")
    require(LocalComputeLogManager.complete_artifact_path, "log_key")
    require(CapturedLogContext.__new__, "cls", "log_key")

    @contextmanager
    def noted(manager: Any, log_key: Sequence[str]) -> Iterator[Any]:
        with manager.open_log_stream(log_key, ComputeIOType.STDOUT) as stream:
            stream.write(ELSEWHERE)
        # At once: nothing more comes, even if the run is killed.
        Path(manager.complete_artifact_path(log_key)).touch()
        yield CapturedLogContext(log_key)

    return LocalComputeLogManager, noted


def print_where_asked(instance: dg.DagsterInstance) -> None:
    """Let what this process's runs print go where it prints. Where the owner set up another keeper than files, that one keeps it."""
    if (taken := private("printing", _take)) is None:
        return
    local, noted = taken
    manager = instance.compute_log_manager
    if type(manager) is local:
        # mypy knows no method of one object alone.
        setattr(manager, "capture_logs", functools.partial(noted, manager))  # noqa: B010
