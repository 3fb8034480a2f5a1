"""Is a full disk, or a database that cannot be used, told in a line with an exit code? Is a server waited for that starts up?"""

from __future__ import annotations

import errno
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from deltalake.exceptions import DeltaError

from factory_assets.commands.failures import in_a_line
from factory_resources.ledger import Ledger
from factory_resources.records import tables
from factory_resources.records.tables import LedgerUnusable
from tests import forked


def command(home: Path, ledger: str) -> subprocess.CompletedProcess[str]:
    """A command that asks the ledger alone."""
    environment = forked.environment(FACTORY_HOME=str(home), FACTORY_LEDGER=ledger)
    return forked.factory("history", "delivery_time", "global", env=environment)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that the command says."""
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_ledger_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("to whom it may concern " * 100)
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert told(command(tmp_path, url)) == f"the ledger {url} cannot be used: file is not a database"


def test_a_ledger_of_newer_code_is_named_with_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger(url=url).lines()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE ledger_revision SET version_num = '9999'")
    line = told(command(tmp_path, url))
    assert line.startswith(f"the ledger {url} is of revision 9999") and line.endswith(
        "use the code that brought it there, or newer"
    )


@contextmanager
def nobody_listens() -> Iterator[int]:
    """A port that refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_server_that_refuses_is_asked_again_and_then_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "STARTING_SECONDS", 1)
    with nobody_listens() as port:
        began = time.monotonic()
        with pytest.raises(LedgerUnusable) as raised:
            Ledger(url=f"postgresql+psycopg2://factory:secret@127.0.0.1:{port}/base").lines()
    assert time.monotonic() - began > 1
    message = str(raised.value)
    assert f"127.0.0.1:{port}/base cannot be used, for 1 seconds: " in message and "refused" in message
    assert "secret" not in message


def test_a_server_that_starts_up_is_waited_for(postgres_url: str) -> None:
    """The port of a real one is let through a second after it was first asked."""
    parsed, schema = sa.make_url(postgres_url), f"waited_{uuid.uuid4().hex}"
    with sa.create_engine(parsed).begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    served: list[str] = []
    with nobody_listens() as port:
        pass

    def open_late() -> None:
        time.sleep(1)
        served.append("open")
        forward(port, parsed)

    threading.Thread(target=open_late, daemon=True).start()
    place = f"{parsed.username}@127.0.0.1:{port}/{parsed.database}?options=-csearch_path%3D{schema}"
    ledger = Ledger(url=f"postgresql+psycopg2://{place}")
    assert ledger.lines() == [] and served == ["open"]
    ledger.close()


def forward(port: int, to: sa.URL) -> None:
    """Pass on one connection after another, between the port and the socket of a server."""
    place = f"{to.query['host']}/.s.PGSQL.{to.port or to.query.get('port', 5432)}"
    listening = socket.create_server(("127.0.0.1", port))
    while True:
        client, _ = listening.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(place)
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=pass_on, args=(one, other), daemon=True).start()


def pass_on(one: socket.socket, other: socket.socket) -> None:
    while data := one.recv(65536):
        other.sendall(data)
    other.close()


def full_sqlite() -> None:
    """A database that may not grow says what one on a full disk says."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def full_disk() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x")
        file.flush()


def full_in_a_step() -> None:
    try:
        full_disk()
    except OSError as error:
        raise RuntimeError("the step failed") from error


@pytest.mark.parametrize("fill", [full_sqlite, full_disk, full_in_a_step])
def test_a_full_disk_is_told_as_that_whoever_comes_upon_it(fill: Callable[[], None]) -> None:
    with pytest.raises(Exception) as raised:
        fill()
    line = in_a_line(raised.value)
    assert line is not None and line.startswith("the disk is full: ") and line.endswith("what was made stays")


@pytest.mark.parametrize(
    ("query", "is_of_a_store"),
    [
        ("FROM 'NOWHERE/x.parquet'", True),
        ("SELECT no_such_column", False),
        ("SELECT 'x'::INT", False),
        ("SELEC 1", False),
    ],
)
def test_what_duckdb_cannot_read_is_told_in_a_line_and_what_it_does_not_understand_is_not(
    query: str, is_of_a_store: bool, tmp_path: Path
) -> None:
    with duckdb.connect() as con, pytest.raises(duckdb.Error) as raised:
        con.execute(query.replace("NOWHERE", str(tmp_path))).fetchall()
    line = in_a_line(raised.value)
    assert (line is not None) == is_of_a_store
    assert line is None or (line.startswith("a store cannot be used: ") and "x.parquet" in line)


def test_what_may_be_a_fault_of_the_program_keeps_its_traceback() -> None:
    broken_rule = sa.exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed"))
    for error in (KeyError("x"), OSError(errno.EINVAL, "no"), broken_rule):
        assert in_a_line(error) is None
    assert in_a_line(DeltaError("its log is damaged\n  0: <unknown>")) == "a store cannot be used: its log is damaged"
