"""Which DuckDB do the stations compute with? Its threads, memory limit and spill folder are decided here, once."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb


@dataclass(frozen=True)
class Engine:
    """DuckDB, in process and out of core: what does not fit the memory limit spills to disk.

    threads: of a query; 0: one per core. memory_limit: of a query before it spills, such as 4GB.

    >>> with Engine(threads=1, memory_limit="100MB").connect() as con:
    ...     con.execute("SELECT sum(range)::INTEGER FROM range(4)").fetchall()
    [(6,)]
    """

    threads: int = 0
    memory_limit: str = "4GB"

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one step. It can read files; it never fetches an extension from the network."""
        with tempfile.TemporaryDirectory(prefix="factory-spill-") as spill:
            config: dict[str, str | bool | int | float | list[str]] = {
                "threads": self.threads or os.cpu_count() or 1,
                "memory_limit": self.memory_limit,
                "temp_directory": spill,
                "autoinstall_known_extensions": False,
            }
            with duckdb.connect(":memory:", config=config) as con:
                con.execute("SET TimeZone = 'UTC'")
                # Each query on a view of hundreds of days opens all of their files, which are never rewritten.
                con.execute("SET parquet_metadata_cache = true")
                yield con


def memory_of(con: duckdb.DuckDBPyConnection) -> int:
    """Bytes that a query of the connection may use before it spills."""
    return int(con.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0][0])
