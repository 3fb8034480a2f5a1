"""Delimited text as a source: tables of text, and apart from them the lines that have more or fewer values than columns."""

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import CsvSource
from factory_assets.events.sources.base import NOTHING, Delivery, SourceError, problem_of, quoted
from factory_assets.events.sources.files import Files

#: DuckDB keeps this much of a line that it cannot split; of a longer one, what follows it may be lost.
LINE_KEPT = 9_990


class Csv(Files[CsvSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        return [
            _file(con, self.declared, Delivery(NOTHING, {}, (file,), day))
            for day, files in self.days_files(con, days)
            for file in files
        ]


def _file(con: duckdb.DuckDBPyConnection, source: CsvSource, delivery: Delivery) -> Delivery:
    """The file as a table of text: its rows, and apart from them the lines that have more or fewer values than columns."""
    (file,) = delivery.sources
    try:
        names = _header(file, source)
    except SourceError as error:
        return delivery.unreadable(str(error))
    if not names:
        return delivery
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    nulls = ", ".join(map(quoted, source.null_values))
    table = identifier(f"csv_{hashlib.sha256(file.encode()).hexdigest()[:16]}")
    # The dialect is the declaration's: guessing it file by file would read two days in two ways.
    rows = (
        f"read_csv([{quoted(file)}], filename = '_source', columns = {{{columns}}}, all_varchar = true, header = true, "
        f"auto_detect = false, delim = {quoted(source.delimiter)}, quote = {quoted(source.quote)}, "
        f"escape = {quoted(source.quote)}, nullstr = [{nulls}], store_rejects = true)"
    )
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, NULL::VARCHAR AS _line FROM {rows}").fetchall()
    except duckdb.Error as error:
        return delivery.unreadable(problem_of(error))
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
