"""Which failures are no fault of the program? Those of disks and databases are told in a line, without a traceback."""

import errno
from collections.abc import Iterator

#: How systems and databases say that a disk is full.
FULL = ("no space left on device", "database or disk is full", "disk quota exceeded")
#: Modules whose errors are about a database, or about a table's files; `_internal` is delta-rs.
OF_STORES = ("sqlalchemy.exc", "sqlite3", "psycopg2", "_internal", "_duckdb")


def in_a_line(error: BaseException) -> str | None:
    """What happened, and what is to be done, in a line; None for what may be a fault of the program: that needs its traceback."""
    chain = list(_chain(error))
    if full := next((each for each in chain if _is_full(each)), None):
        return f"the disk is full: {_first_line(full)}. Free some space and run again; what was made stays"
    from factory_resources.records.migrations import LedgerTooNew
    from factory_resources.records.tables import LedgerUnusable

    for each in chain:
        if isinstance(each, (LedgerTooNew, LedgerUnusable)):
            return str(each)
        if isinstance(each, PermissionError):
            return f"{_first_line(each)}: this user may not read or write there"
        if type(each).__module__.startswith(OF_STORES) and not _is_of_the_program(each):
            return f"a store cannot be used: {_first_line(each)}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came of, the last first."""
    seen = set[int]()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(text in str(error).lower() for text in FULL)


def _is_of_the_program(error: BaseException) -> bool:
    """Whether a database refuses what it was told, rather than to work: that is a fault in a statement."""
    names = {each.__name__ for each in type(error).__mro__}
    return not names & {"OperationalError", "DatabaseError", "DeltaError", "IOException"} or bool(
        names
        & {"IntegrityError", "ProgrammingError", "DataError", "InterfaceError", "NotSupportedError", "InternalError"}
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
