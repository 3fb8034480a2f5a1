"""What must a kind of source be able to do? Deliver the rows of days, and tell cheaply whether a day has changed."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Generic, TypeVar

import duckdb

from factory_assets.declarations.base import Declared
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream

#: A delivery without a row.
NOTHING = "SELECT NULL::VARCHAR AS _source, NULL::VARCHAR AS _line WHERE false"
#: Fingerprint of a day for which nothing has come.
ABSENT = "absent"

#: What a delivery's query has beside the feed's columns, and by what DuckDB numbers the rows of a table.
OWN = ("_source", "_line", "_file_line", "rowid")
#: What is added to the name of a column whose own is taken.
OF_FEED = " of the feed"

Kind = TypeVar("Kind", bound=Declared)


class SourceError(Exception):
    """A source cannot be read; the message names the file or the table, and never a password."""


@dataclass(frozen=True)
class Delivery:
    """Rows that were delivered together: a query for the columns below, each `of_feed`, `_source`, `_line`, and maybe `_file_line`.

    columns: name in the feed -> type. sources: the values of `_source`; no two deliveries share one.
    period: the days for which the rows were delivered; None where the rows themselves say the day.
    problem: why the delivery cannot be read; then it has no rows.
    folders: column that the names of its folders give -> SQL for its text.
    alone: source -> query for its rows alone, where there are several.
    numbered: whether each row has `_file_line`, by which it is found again in its source: its line, or its place from 1 on.
    """

    query: str
    columns: dict[str, str]
    sources: tuple[str, ...]
    period: Period | None = None
    problem: str | None = None
    folders: Mapping[str, str] = field(default_factory=dict)
    alone: Mapping[str, str] = field(default_factory=dict)
    numbered: bool = False

    @property
    def day(self) -> dt.date | None:
        """The one day of the period; None where it has several, or there is none."""
        return self.period.first if self.period and self.period.first == self.period.last else None

    def called(self, names: Mapping[str, str], added: Mapping[str, str] = MappingProxyType({})) -> "Delivery":
        """The delivery with columns under other names, and with columns of text that are added.

        names: column -> its new name; those that are absent stay. added: name -> SQL.
        """
        new = {name: names.get(name, name) for name in self.columns}
        if not added and all(name == known_as for name, known_as in new.items()):
            return self
        chosen = [f"{of_feed(name)} AS {of_feed(known_as)}" for name, known_as in new.items()]
        chosen += [f"{text} AS {of_feed(name)}" for name, text in added.items()]

        number = ["_file_line"] if self.numbered else []

        def renamed(query: str) -> str:
            return f"SELECT {', '.join([*chosen, '_source', '_line', *number])} FROM ({query})"

        return replace(
            self,
            query=renamed(self.query),
            columns={new[name]: kind for name, kind in self.columns.items()} | dict.fromkeys(added, "VARCHAR"),
            alone={source: renamed(query) for source, query in self.alone.items()},
        )

    def unreadable(self, problem: str) -> "Delivery":
        """The delivery without rows."""
        return replace(self, query=NOTHING, columns={}, problem=problem, folders={}, alone={}, numbered=False)


def of_feed(column: str) -> str:
    """SQL for a column of a delivery's query, by its name in the feed; there, names that are ours have others."""
    plain = column.lower()
    while plain.endswith(OF_FEED):
        plain = plain.removesuffix(OF_FEED)
    # What a name of ours becomes may be the name of another column, which then has one of its own, too.
    return any_name(f"{column}{OF_FEED}" if plain in OWN else column)


def free_name(column: str, taken: Collection[str]) -> str:
    """What a column of the feed is called whose own name is taken. taken: names in lower case, which SQL does not tell apart."""
    while column.lower() in taken:
        column += OF_FEED
    return column


def any_name(text: str) -> str:
    """A name of a feed's own as an identifier of SQL: it may hold anything."""
    return '"' + text.replace('"', '""') + '"'


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

        What cannot be read is a delivery with a problem. Raises SourceError where the source cannot be reached.
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
