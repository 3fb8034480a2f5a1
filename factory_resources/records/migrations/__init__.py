"""Is the ledger's database of the revision that this code works with? Whoever opens an older one brings it there.

A change of the tables is a file in `versions`, numbered after the last one, beside the same change in `records.tables`.
A new table is made append-only there, unless it only says again what others hold. What exists keeps its columns: SQLite
alters a table by making it anew, without its triggers; add columns that may be null, or another table.
"""

import threading
from pathlib import Path

import sqlalchemy as sa

HERE = Path(__file__).parent
#: Not alembic's own name for it: Dagster keeps its revision under that one, often in the same database.
TABLE = sa.table("ledger_revision", sa.column("version_num", sa.String))
#: The newest revision, by the names of the files: opening a ledger that is of it needs no alembic.
HEAD = max(path.stem.removeprefix("r")[:4] for path in (HERE / "versions").glob("r[0-9]*.py"))
#: Alembic works through module globals, so that one thread at a time migrates.
_migrating = threading.Lock()


class LedgerTooNew(RuntimeError):
    """The database was made by newer code than this."""


def is_current(connection: sa.Connection) -> bool:
    """Whether nothing is to be done. Raises LedgerTooNew for a database of a revision that this code does not know."""
    found = _revision(connection)
    if found is not None and found > HEAD:
        raise LedgerTooNew(
            f"the ledger {connection.engine.url!r} is of revision {found}, and this code knows those up to {HEAD}: "
            "use the code that brought it there, or newer"
        )
    return found == HEAD


def upgrade(connection: sa.Connection) -> None:
    """Bring a database, empty or of any older revision, to the newest one; all of it in the connection's transaction.

    The caller keeps others from migrating it at the same time. A ledger older than revisions is taken for what it is.
    """
    if is_current(connection):
        return
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    with _migrating:
        tables = sa.inspect(connection)
        if _revision(connection) is None and tables.has_table("ledger_versions"):
            command.stamp(config, "0002" if tables.has_table("ledger_issues") else "0001")
        command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(TABLE.name):
        return None
    return connection.execute(sa.select(TABLE.c.version_num)).scalar_one_or_none()
