"""What has been delivered for these days? One contract for every kind of source: relations, and what each holds.

A source yields deliveries. A delivery is a query over rows as they came, and the columns that came. Every row has
`_source`, the file it came from, and `_line`, the text of a line that cannot be split into columns, null for all
others. To add a kind, write one function and put it into SOURCES.
"""

import datetime as dt
import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import CsvSource, ParquetSource, SimulationSource, Stream

#: Part of a file's URI that stands for the day.
DAY = "{day}"
#: A delivery without a row.
NOTHING = "SELECT NULL::VARCHAR AS _source, NULL::VARCHAR AS _line WHERE false"
#: DuckDB keeps this much of a line that it cannot split; of a longer one, what follows it may be lost.
LINE_KEPT = 9_990


class SourceError(Exception):
    """A source cannot be read; the message names the file."""


@dataclass(frozen=True)
class Delivery:
    """Rows that came together: a query for the columns below, `_source` and `_line`.

    day: the day that it was meant for; None where the rows themselves say it.
    problem: why it cannot be read; then it has no rows.
    """

    query: str
    columns: dict[str, str]
    sources: tuple[str, ...]
    day: dt.date | None = None
    problem: str | None = None

    def unreadable(self, problem: str) -> "Delivery":
        """The same without rows. Without a day nobody knows what is missing: SourceError."""
        if self.day is None:
            more = f" and {len(self.sources) - 1} files like it" if len(self.sources) > 1 else ""
            raise SourceError(f"{self.sources[0]}{more} {problem}")
        return replace(self, query=NOTHING, columns={}, problem=problem)


def deliveries(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    """All deliveries that may hold rows of these days.

    Of a stream with a file a day, a file that cannot be read is a delivery with a problem, and the other days go on.
    Raises SourceError where the days of an unreadable file are not known.
    """
    scheme, remote, _ = getattr(stream.source, "uri", "").partition("://")
    if remote and scheme not in con.list_filesystems():
        import fsspec

        # DuckDB's own object-store reader is an extension that would have to be downloaded; fsspec is a package.
        con.register_filesystem(fsspec.filesystem(scheme))
    return SOURCES[stream.source.kind](con, stream, days)


def expects_a_file(stream: Stream) -> bool:
    """Whether every day has a file of its own, so that a day without one is late or lost, not empty."""
    return DAY in getattr(stream.source, "uri", "")


def fingerprint(stream: Stream, days: Sequence[dt.date]) -> dict[dt.date, str]:
    """For each day a text that changes when its source may have changed, without reading it."""
    source = stream.source
    if isinstance(source, SimulationSource):
        return dict.fromkeys(days, source.model_dump_json())
    if DAY in source.uri:
        return {day: _stamp(_files(source.uri.replace(DAY, str(day)))) for day in days}
    return dict.fromkeys(days, _stamp(_files(source.uri)))


def _stamp(files: Sequence[str]) -> str:
    states = []
    for file in files:
        if "://" in file:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(file)
            info = filesystem.info(path)
            states.append(f"{file}:{info.get('size')}:{info.get('ETag') or info.get('mtime') or info.get('created')}")
        else:
            state = os.stat(file)
            states.append(f"{file}:{state.st_size}:{state.st_mtime_ns}")
    return hashlib.sha256("\n".join(states).encode()).hexdigest()[:16]


def _files(uri: str) -> list[str]:
    if "://" not in uri:
        return sorted(glob.glob(uri, recursive=True))
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    filesystem.invalidate_cache()  # a process may live for weeks, and files arrive
    return sorted(filesystem.unstrip_protocol(file) for file in filesystem.glob(path))


def _days_files(uri: str, days: Sequence[dt.date]) -> Iterator[tuple[dt.date | None, list[str]]]:
    if DAY in uri:
        for day in days:
            yield day, _files(uri.replace(DAY, str(day)))
        return
    files = _files(uri)
    if not files:
        raise SourceError(f"no file matches {uri}; check the path, or the environment variable that it is made of")
    yield None, files


def _parquet(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    """Files of a day with the same columns and types are one delivery."""
    source = stream.source
    assert isinstance(source, ParquetSource)
    found = []
    for day, files in _days_files(source.uri, days):
        alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for file in files:
            try:
                rows = con.execute(f"DESCRIBE SELECT * EXCLUDE (_source) FROM {_parquet_rows([file])}").fetchall()
            except duckdb.Error as error:
                found.append(Delivery(NOTHING, {}, (file,), day).unreadable(told(error)))
                continue
            alike.setdefault(tuple((row[0], row[1]) for row in rows), []).append(file)
        for columns, members in alike.items():
            query = f"SELECT *, NULL::VARCHAR AS _line FROM {_parquet_rows(members)}"
            found.append(Delivery(query, dict(columns), tuple(members), day))
    return found


def _parquet_rows(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(_quoted, files))}], filename = '_source')"


def _csv(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    source = stream.source
    assert isinstance(source, CsvSource)
    return [
        _csv_file(con, source, Delivery(NOTHING, {}, (file,), day))
        for day, files in _days_files(source.uri, days)
        for file in files
    ]


def _csv_file(con: duckdb.DuckDBPyConnection, source: CsvSource, delivery: Delivery) -> Delivery:
    """The file as a table of text: its rows, and apart from them the lines that have more or fewer values than columns."""
    (file,) = delivery.sources
    try:
        names = _header(file, source)
    except SourceError as error:
        return delivery.unreadable(str(error))
    if not names:
        return delivery
    columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in names)
    nulls = ", ".join(map(_quoted, source.null_values))
    table = identifier(f"csv_{hashlib.sha256(file.encode()).hexdigest()[:16]}")
    # The dialect is the declaration's: guessing it file by file would read two days in two ways.
    rows = (
        f"read_csv([{_quoted(file)}], filename = '_source', columns = {{{columns}}}, all_varchar = true, header = true, "
        f"auto_detect = false, delim = {_quoted(source.delimiter)}, quote = {_quoted(source.quote)}, "
        f"escape = {_quoted(source.quote)}, nullstr = [{nulls}], store_rejects = true)"
    )
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, NULL::VARCHAR AS _line FROM {rows}").fetchall()
    except duckdb.Error as error:
        return delivery.unreadable(told(error))
    rejected = con.execute(
        """SELECT min(line), max(csv_line) FROM reject_errors JOIN reject_scans USING (scan_id, file_id)
           WHERE file_path = ? GROUP BY line_byte_position ORDER BY line_byte_position""",
        [file],
    ).fetchall()
    for number, text in rejected:
        if len(text.encode()) >= LINE_KEPT:
            return delivery.unreadable(f"cannot be split into lines from line {number} on: is a quote left open?")
    # A quote left open takes the lines after it along; each of them counts as the row that it should have been.
    lines = [[file, line] for _, text in rejected for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    if lines:
        con.executemany(f"INSERT INTO {table} (_source, _line) VALUES (?, ?)", lines)
    return replace(delivery, query=f"SELECT * FROM {table}", columns=dict.fromkeys(names, "VARCHAR"))


def _header(file: str, source: CsvSource) -> list[str]:
    """Column names of a file, none where it is empty. Raises SourceError."""
    import csv

    import fsspec

    try:
        with fsspec.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="", compression="infer") as lines:
            header = next(csv.reader(lines, delimiter=source.delimiter, quotechar=source.quote), [])
    except (OSError, EOFError, csv.Error) as error:
        raise SourceError(f"has no header that can be read: {error}") from None
    names = [name.strip() for name in header]
    if len({name.lower() for name in names}) != len(names) or "" in names:
        raise SourceError(f"must have every column name once; found {', '.join(map(repr, names))}")
    return names


def told(error: duckdb.Error) -> str:
    """An engine's error as the end of a sentence about a file."""
    return f"cannot be read: {str(error).splitlines()[0]}"


def _simulation(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    from factory_assets.events.simulation import Marketplace
    from factory_assets.events.simulation import deliveries as day_of_orders

    source = stream.source
    assert isinstance(source, SimulationSource)
    world = Marketplace(seed=source.seed, start=stream.start, orders_per_day=source.orders_per_day)
    found = []
    for day in days:
        view, orders = f"simulated_{day:%Y%m%d}", day_of_orders(world, day)
        con.register(view, orders)
        columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE {identifier(view)}").fetchall()}
        name = f"simulation/{day}"
        query = f"SELECT *, '{name}' AS _source, NULL::VARCHAR AS _line FROM {identifier(view)}"
        found.append(Delivery(query, columns, (name,), day))
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


SOURCES: dict[str, Callable[[duckdb.DuckDBPyConnection, Stream, Sequence[dt.date]], list[Delivery]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "simulation": _simulation,
}
