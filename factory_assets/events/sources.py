"""What has been delivered for these days? One contract for every kind of source: relations, and what each holds.

A source yields deliveries. A delivery is a query over rows as they came, every row with `_source`, the file it came
from, and the columns that came. To add a kind, write one function and put it into SOURCES.
"""

import datetime as dt
import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import CsvSource, ParquetSource, SimulationSource, Stream

#: Part of a file's URI that stands for the day.
DAY = "{day}"


class SourceError(Exception):
    """A source cannot be read; the message names the file."""


@dataclass(frozen=True)
class Delivery:
    """Rows that came together: a query with the columns below and `_source`, and the day it was meant for, if any."""

    query: str
    columns: dict[str, str]
    sources: tuple[str, ...]
    day: dt.date | None = None


def deliveries(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    """All deliveries that may hold rows of these days. Raises SourceError."""
    return SOURCES[stream.source.kind](con, stream, days)


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
    source = stream.source
    assert isinstance(source, ParquetSource)
    return [
        delivery
        for day, files in _days_files(source.uri, days)
        for delivery in _alike(con, files, day, lambda listed: f"read_parquet({listed}, filename = true)")
    ]


def _csv(con: duckdb.DuckDBPyConnection, stream: Stream, days: Sequence[dt.date]) -> list[Delivery]:
    source = stream.source
    assert isinstance(source, CsvSource)
    nulls = ", ".join(_quoted(text) for text in source.null_values)

    def reader(listed: str) -> str:
        # The dialect is the declaration's: guessing it file by file would read two days in two ways. A short line is
        # filled with nulls, and so meets the contract's rules, instead of ending the whole read.
        return (
            f"read_csv({listed}, filename = true, all_varchar = true, header = true, auto_detect = false, "
            f"columns = {{COLUMNS}}, delim = {_quoted(source.delimiter)}, quote = {_quoted(source.quote)}, "
            f"escape = {_quoted(source.quote)}, nullstr = [{nulls}], null_padding = true, strict_mode = false)"
        )

    found = []
    for day, files in _days_files(source.uri, days):
        for file in files:
            columns = dict.fromkeys(_header(file, source), "VARCHAR")
            if columns:
                typed = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in columns)
                query = reader(f"[{_quoted(file)}]").replace("{COLUMNS}", f"{{{typed}}}")
                found.append(Delivery(f"SELECT * RENAME (filename AS _source) FROM {query}", columns, (file,), day))
    return found


def _header(file: str, source: CsvSource) -> list[str]:
    import csv

    import fsspec

    try:
        with fsspec.open(file, "rt", encoding="utf-8-sig", newline="", compression="infer") as lines:
            header = next(csv.reader(lines, delimiter=source.delimiter, quotechar=source.quote), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{file} has no header that can be read: {error}") from None
    names = [name.strip() for name in header]
    if len(set(names)) != len(names) or "" in names:
        raise SourceError(f"{file}: column names must be there once each; found {', '.join(map(repr, names))}")
    return names


def _alike(
    con: duckdb.DuckDBPyConnection, files: list[str], day: dt.date | None, reader: Callable[[str], str]
) -> Iterator[Delivery]:
    """Files with the same columns and types are read as one relation."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for file in files:
        try:
            rows = con.execute(f"DESCRIBE SELECT * EXCLUDE (filename) FROM {reader(f'[{_quoted(file)}]')}").fetchall()
        except duckdb.Error as error:
            raise SourceError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
        groups.setdefault(tuple((row[0], row[1]) for row in rows), []).append(file)
    for columns, members in groups.items():
        listed = "[" + ", ".join(map(_quoted, members)) + "]"
        yield Delivery(
            f"SELECT * RENAME (filename AS _source) FROM {reader(listed)}", dict(columns), tuple(members), day
        )


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
        found.append(Delivery(f"SELECT *, '{name}' AS _source FROM {identifier(view)}", columns, (name,), day))
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


SOURCES: dict[str, Callable[[duckdb.DuckDBPyConnection, Stream, Sequence[dt.date]], list[Delivery]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "simulation": _simulation,
}
