"""How is DuckDB opened? Everywhere by this door: no extensions, no files but those it is opened for, settings that stay.

An expression of a declaration is parsed and written out again before DuckDB sees it (`declarations/expressions.py`). Should one
slip through, the connection itself reads, writes and fetches nothing that its step does not need.

What DuckDB 2.0 cannot close: it has no folders to be read only, so COPY and ATTACH reach those that are open as well; and a
link in such a folder leads out of it. Statements other than SELECT, such as CREATE or ATTACH ':memory:', stay possible: they
end with the connection. File systems of fsspec stay registered with the process's rights, and only paths that are open reach them.
"""

from collections.abc import Collection

import duckdb

#: What every connection refuses. Not only files: a name that is no table would be looked for among Python's variables.
CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}
#: Settings that a step may change: whether rows stay in order, where their order means nothing and costs memory.
FREE = ("preserve_insertion_order",)


def opened(reads: Collection[str] | None = (), **settings: str | int) -> duckdb.DuckDBPyConnection:
    """A connection to a database of its own, in memory, in UTC.

    reads: folders, or prefixes of URIs, whose files it can read; None: whatever the process can, which is for those who do not
        know before what they will read. settings: DuckDB's, such as threads.
    """
    con = duckdb.connect(":memory:", config=CLOSED | settings)
    # Globally: it holds for cursors, too.
    con.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    # Its bar would be drawn over the run's own progress.
    con.execute("SET enable_progress_bar = false").fetchall()
    # Each query on a view of hundreds of days opens all of their files, which are never rewritten.
    con.execute("SET parquet_metadata_cache = true").fetchall()
    con.execute(f"SET allowed_configs = {_listed(FREE)}").fetchall()
    if reads is not None:
        spill = [str(settings["temp_directory"])] if "temp_directory" in settings else []
        con.execute(f"SET allowed_directories = {_listed([*map(_place, reads), *spill])}").fetchall()
        con.execute("SET enable_external_access = false").fetchall()
    con.execute("SET lock_configuration = true").fetchall()
    return con


def _place(uri: str) -> str:
    """A folder as DuckDB is told the files in it."""
    return uri.removeprefix("file://")


def _listed(texts: Collection[str]) -> str:
    quoted = ("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{', '.join(quoted)}]"
