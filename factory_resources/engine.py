"""Which DuckDB do the stations compute with? Its threads, memory limit and spill folder are decided here, once."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import duckdb
from pydantic import Field


class Engine(dg.ConfigurableResource):
    """DuckDB, in process and out of core: what does not fit the memory limit spills to disk."""

    threads: int = Field(default=0, description="Threads of a query; 0: one per core.")
    memory_limit: str = Field(default="4GB", description="Memory of a query before it spills, such as 4GB.")

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
                yield con
