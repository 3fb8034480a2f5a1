"""Which DuckDB do the stations compute with? Its threads, memory limit and spill folder are decided here, once."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from factory_resources.duck import opened
from factory_resources.stops import stoppable


@dataclass(frozen=True)
class Engine:
    """DuckDB, in process and out of core: what does not fit the memory limit spills to disk.

    threads: of a query; 0: one per core. memory_limit: of a query before it spills, such as 4GB. reads: folders or prefixes
    of URIs that every step reads; None: a step reads what its process can.

    >>> with Engine(threads=1, memory_limit="100MB").connect() as con:
    ...     con.execute("SELECT sum(range)::INTEGER FROM range(4)").fetchall()
    [(6,)]
    """

    threads: int = 0
    memory_limit: str = "4GB"
    reads: Sequence[str] | None = None

    @contextmanager
    def connect(self, *more: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one step. more: folders that it reads beside those of the engine. A signal that ends a query is a stop."""
        with (
            tempfile.TemporaryDirectory(prefix="factory-spill-") as spill,
            opened(
                None if self.reads is None else [*self.reads, *more],
                threads=self.threads or os.cpu_count() or 1,
                memory_limit=self.memory_limit,
                temp_directory=spill,
            ) as con,
            stoppable(),
        ):
            yield con


def folder_of(con: duckdb.DuckDBPyConnection) -> str | None:
    """The folder that the connection spills to and reads whatever else it may; None where it has none yet."""
    folder = str(con.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
    return folder if Path(folder).is_dir() else None


def memory_of(con: duckdb.DuckDBPyConnection) -> int:
    """Bytes that a query of the connection may use before it spills."""
    return int(con.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0][0])
