"""Where is a small question put to DuckDB? To a database that the process keeps: to open one takes as long as dozens of answers.

Temporary tables and views of a connection, and what is registered with it, are seen by nobody else. All else would be.
"""

import os
from functools import cache

import duckdb

from factory_resources.duck import opened


def scratch() -> duckdb.DuckDBPyConnection:
    """A connection to be closed after use, for what is in memory, fits there and needs one thread.

    An Engine has limits and a folder to spill to.
    """
    return _database(os.getpid()).cursor()


def reader(folder: str) -> duckdb.DuckDBPyConnection:
    """A connection to be closed after use, which reads the files of a folder by as many threads as there are cores."""
    return _reading(os.getpid(), folder).cursor()


# By process: a fork has none of the threads that the databases of its parent work with.


@cache
def _database(_process: int) -> duckdb.DuckDBPyConnection:
    return opened(threads=1)


@cache
def _reading(_process: int, folder: str) -> duckdb.DuckDBPyConnection:
    return opened([folder])
