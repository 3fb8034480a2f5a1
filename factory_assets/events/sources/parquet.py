"""Parquet files as a source. Files of a day with the same columns and types are one delivery."""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations.stream import ParquetSource
from factory_assets.events.sources.base import NOTHING, Delivery, problem_of, quoted
from factory_assets.events.sources.files import Files


class Parquet(Files[ParquetSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        found = []
        for day, files in self.days_files(con, days):
            alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
            for file in files:
                try:
                    rows = con.execute(f"DESCRIBE SELECT * EXCLUDE (_source) FROM {_rows([file])}").fetchall()
                except duckdb.Error as error:
                    found.append(Delivery(NOTHING, {}, (file,), day).unreadable(problem_of(error)))
                    continue
                alike.setdefault(tuple((row[0], row[1]) for row in rows), []).append(file)
            for columns, members in alike.items():
                query = f"SELECT *, NULL::VARCHAR AS _line FROM {_rows(members)}"
                found.append(Delivery(query, dict(columns), tuple(members), day))
        return found


def _rows(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(quoted, files))}], filename = '_source')"
