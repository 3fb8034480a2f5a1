"""What must a kind of source be able to do? Deliver the rows of days, and tell cheaply whether a day has changed."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import duckdb

from factory_assets.declarations.base import Declared
from factory_assets.declarations.stream import Stream

#: A delivery without a row.
NOTHING = "SELECT NULL::VARCHAR AS _source, NULL::VARCHAR AS _line WHERE false"
#: Fingerprint of a day for which nothing has come.
ABSENT = "absent"

Kind = TypeVar("Kind", bound=Declared)


class SourceError(Exception):
    """A source cannot be read; the message names the file or the table, and never a password."""


@dataclass(frozen=True)
class Delivery:
    """Rows that were delivered together: a query for the columns below, `_source` and `_line`.

    sources: the values of `_source`; no two deliveries share one.
    day: the day for which the rows were delivered; None where the rows themselves say it.
    problem: why the delivery cannot be read; then it has no rows.
    """

    query: str
    columns: dict[str, str]
    sources: tuple[str, ...]
    day: dt.date | None = None
    problem: str | None = None

    def unreadable(self, problem: str) -> "Delivery":
        """The delivery without rows. Raises SourceError where it has no day: nobody knows then which rows are missing."""
        if self.day is None:
            more = f" and {len(self.sources) - 1} files like it" if len(self.sources) > 1 else ""
            raise SourceError(f"{self.sources[0]}{more} {problem}")
        return replace(self, query=NOTHING, columns={}, problem=problem)


class Source(ABC, Generic[Kind]):
    """A kind of source, of one stream.

    declared: the stream's `source`, as its declaration says it.
    """

    def __init__(self, declared: Kind, stream: Stream):
        self.declared = declared
        self.stream = stream

    @abstractmethod
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        """All deliveries that may hold rows of these days, as queries that the connection can run.

        What cannot be read is a delivery with a problem where its day is known, and SourceError where it is not.
        """

    @abstractmethod
    def fingerprint(self, days: Sequence[dt.date]) -> dict[dt.date, str]:
        """Day -> a text that is the same as long as the day's content is, ABSENT while there is none.

        The fingerprint is asked for more often than rows are: the less it reads, the better. Raises SourceError.
        """

    def written_since(self, day: dt.date) -> set[dt.date]:
        """Days that were written to since a day, where the source knows them: they are looked at first."""
        return set()


def problem_of(error: Exception) -> str:
    """An engine's error as the `problem` of a delivery: the end of a sentence about a file."""
    return f"cannot be read: {str(error).splitlines()[0]}"


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
