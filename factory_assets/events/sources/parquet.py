"""Parquet files as a source. Files of a period with the same columns and types are one delivery."""

import datetime as dt
import re
from collections.abc import Sequence

import duckdb

from factory_assets.declarations.stream import ParquetSource
from factory_assets.events.sources.base import NOTHING, Delivery, SourceError, any_name, of_feed, problem_of, quoted
from factory_assets.events.sources.files import NO_VALUE, Files, folders, pattern

#: An instant, whatever its unit: DuckDB has a type of its own for each, and reads microseconds.
INSTANT = "TIMESTAMP WITH TIME ZONE"
INSTANTS = ("TIMESTAMPTZ_NS", "TIMESTAMP_NS WITH TIME ZONE")
#: The column in which DuckDB numbers a file's rows, from 0 on. It does so in no file that has such a column itself.
ROW_NUMBER = "file_row_number"
#: What DuckDB makes of a name that it has seen.
NUMBERED = re.compile(r"(.+)_\d+")


class Parquet(Files[ParquetSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        found = []
        for period, files in self.periods_files(con, days):
            alike: dict[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], list[str]] = {}
            for file in files:
                try:
                    columns = _columns(con, file)
                except (duckdb.Error, SourceError) as error:
                    problem = str(error) if isinstance(error, SourceError) else problem_of(error)
                    found.append(Delivery(NOTHING, {}, (file,), period).unreadable(problem))
                    continue
                alike.setdefault((columns, tuple(folders(file))), []).append(file)
            for (columns, given), members in alike.items():
                kinds = {name: INSTANT if kind in INSTANTS else kind for name, kind in columns}
                folder = {name: _of_folder(name) for name in given}
                numbered = self.stream.by_line
                alone = {file: _query(columns, [file], numbered) for file in members} if len(members) > 1 else {}
                query = _query(columns, members, numbered)
                found.append(
                    Delivery(query, kinds, tuple(members), period, folders=folder, alone=alone, numbered=numbered)
                )
        return found


def _columns(con: duckdb.DuckDBPyConnection, file: str) -> tuple[tuple[str, str], ...]:
    """Names and types. Raises SourceError where two names differ in case alone: DuckDB gives one of them a number."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {_files([file])}").fetchall()
    numbered = [row[0] for row in rows if NUMBERED.fullmatch(row[0])]
    if numbered:
        schema = con.execute(f"SELECT name FROM parquet_schema({quoted(pattern(file))})").fetchall()
        names = [name for (name,) in schema[1:]]
        if added := [name for name in numbered if name not in names]:
            of = {NUMBERED.sub(r"\1", name).lower() for name in added}
            alike = ", ".join(repr(name) for name in names if name.lower() in of)
            raise SourceError(f"has columns whose names differ in case alone, or not at all: {alike}")
    return tuple((row[0], row[1]) for row in rows)


def _query(columns: Sequence[tuple[str, str]], files: Sequence[str], numbered: bool) -> str:
    held = {name.lower() for name, _ in columns}
    source = "source"
    while source in held:
        source += "_"
    chosen = [
        f"{any_name(name)}{f'::{INSTANT}' if kind in INSTANTS else ''} AS {of_feed(name)}" for name, kind in columns
    ]
    chosen += [f"{source} AS _source", "NULL::VARCHAR AS _line"]
    named = f", filename = {quoted(source)}"
    if not numbered:
        return f"SELECT {', '.join(chosen)} FROM {_files(files, named)}"
    if ROW_NUMBER not in held:
        chosen.append(f"{ROW_NUMBER} + 1 AS _file_line")
        return f"SELECT {', '.join(chosen)} FROM {_files(files, f'{named}, {ROW_NUMBER} = true')}"
    # A window without an order numbers rows as they are read, which of one file is the order in which it has them.
    chosen.append("row_number() OVER () AS _file_line")
    return " UNION ALL ".join(f"SELECT {', '.join(chosen)} FROM {_files([file], named)}" for file in files)


def _of_folder(name: str) -> str:
    """SQL for what the folder of a row's file says, as `folders` tells it; of several of one name the last."""
    value = f"regexp_extract('/' || _source, '^(?s:.*)/{name}=([^/]*)/', 1)"
    return f"nullif(coalesce(TRY(url_decode({value})), {value}), {quoted(NO_VALUE)})"


def _files(files: Sequence[str], more: str = "") -> str:
    # A column is what the file holds; what its folders say is told apart.
    return f"read_parquet([{', '.join(quoted(pattern(file)) for file in files)}], hive_partitioning = false{more})"
