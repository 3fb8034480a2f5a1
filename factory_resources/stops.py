"""Did somebody stop this? A stop is told from an error, and heard where a library does not listen.

DuckDB looks for signals while a query runs. Where their handler raises, it raises a RuntimeError of its own instead, which code
that knows KeyboardInterrupt and Dagster's interrupts takes for a failure: a run would go on to its next step. Dagster notes
a signal that comes between the steps of a run, and forgets it at the run's end: the next run would begin.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What DuckDB says of such a query.
INTERRUPTED = "Query interrupted"


def is_stop(name: str, message: str) -> bool:
    """Whether an error with this class name and message is that of somebody who stops a process, or a run of Dagster's.

    >>> is_stop("RuntimeError", "Query interrupted"), is_stop("RuntimeError", "no such row")
    (True, False)
    """
    if name == "RuntimeError":
        return INTERRUPTED in message
    return name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt where a signal has ended a query."""
    try:
        yield
    except RuntimeError as error:
        if is_stop("RuntimeError", str(error)):
            raise KeyboardInterrupt from error
        raise


@contextmanager
def listening() -> Iterator[Callable[[], bool]]:
    """A function that says whether this process was told to stop since, whatever the signal's handler did with it."""
    if threading.current_thread() is not threading.main_thread():
        # Python handles signals in the main thread alone.
        yield lambda: False
        return
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)

    def stopped() -> bool:
        with contextlib.suppress(BlockingIOError):
            return bool({signal.SIGINT, signal.SIGTERM} & set(os.read(reads, 4096)))
        return False

    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    try:
        yield stopped
    finally:
        signal.set_wakeup_fd(before)
        os.close(reads)
        os.close(writes)
