"""Where is a small question put to DuckDB? To a database that the process keeps: to open one takes as long as dozens of answers."""

from functools import cache

import duckdb

from factory_resources.duck import opened


def scratch() -> duckdb.DuckDBPyConnection:
    """A connection to be closed after use. Nobody else sees its temporary tables and what is registered with it.

    For what fits in memory and needs one thread; an Engine has limits and a folder to spill to.
    """
    return _database().cursor()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return opened(threads=1)
