"""Was it somebody who stopped this? A signal that ends a query of DuckDB is told from an error of the query.

DuckDB looks for signals while a query runs. Where their handler raises, it raises a RuntimeError of its own instead, which code
that knows KeyboardInterrupt and Dagster's interrupts takes for a failure: a run would go on to its next step.
"""

from collections.abc import Iterator
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
