"""What has been delivered for these days? One contract for every kind of source, `Source`, and one module a kind.

A source yields deliveries. A delivery is a query for rows as they were delivered, and their columns. Every row has
`_source`, the file or table that it was read from, and `_line`, the text of a line that cannot be split into columns, null for
all others. To add a kind: its fields in declarations/stream.py, a subclass of `Source` in a module here, a line in
SOURCES, and a case in tests/events/source_checks.py, which holds every kind to the same behaviour.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import duckdb

from factory_assets.declarations import periods
from factory_assets.declarations.stream import Stream
from factory_assets.events.sources.base import ABSENT, NOTHING, Delivery, Source, SourceError, problem_of
from factory_assets.events.sources.csv import Csv
from factory_assets.events.sources.files import folder
from factory_assets.events.sources.parquet import Parquet
from factory_assets.events.sources.postgres import Postgres
from factory_assets.events.sources.simulation import Simulation

__all__ = [
    "ABSENT", "NOTHING", "SOURCES", "Delivery", "Source", "SourceError",
    "deliveries", "expects_a_file", "fingerprint", "places", "problem_of", "source_of",
]  # fmt: skip

SOURCES: dict[str, type[Source[Any]]] = {
    "parquet": Parquet,
    "csv": Csv,
    "postgres": Postgres,
    "simulation": Simulation,
}


def source_of(stream: Stream) -> Source[Any]:
    return SOURCES[stream.source.kind](stream.source, stream)


def deliveries(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    """All deliveries that may hold rows of these days.

    A file that cannot be read is a delivery with a problem, and the others go on. Raises SourceError where a source cannot be
    reached.
    """
    return source_of(stream).deliveries(con, days)


def places(stream: Stream) -> list[str]:
    """Folders, or prefixes of URIs, in which all files of the source are; none where it is read otherwise."""
    uri = getattr(stream.source, "uri", None)
    return [] if uri is None else [folder(uri)]


def expects_a_file(stream: Stream) -> bool:
    """Whether every day is in a file of its day, month or year, so that a day without one is late or lost, not empty."""
    return periods.unit(getattr(stream.source, "uri", "")) is not None


def fingerprint(stream: Stream, days: Sequence[dt.date]) -> dict[dt.date, str]:
    """For each day a text that changes when its content has changed, ABSENT where there is none. Raises SourceError."""
    return source_of(stream).fingerprint(days)
