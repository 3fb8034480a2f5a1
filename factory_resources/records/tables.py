"""What does the ledger hold, and how do writers wait for each other? Its tables, and transactions: on SQLite and on
PostgreSQL alike. `migrations` makes the tables, with the triggers that refuse a rewrite.
"""

import datetime as dt
import hashlib
import json
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect

from factory_resources.records import migrations

#: NaN and infinity are no JSON: PostgreSQL would refuse what SQLite keeps.
to_json = partial(json.dumps, allow_nan=False)
#: Seconds a writer waits for the others; a write takes milliseconds, so reaching it means a stuck process.
BUSY_SECONDS = 30
#: The deployment's PostgreSQL is shared with Dagster and has about a hundred connections for all of its processes.
MAX_CONNECTIONS = 8


#: Seconds for which a PostgreSQL that starts up, or does not listen yet, is asked again, every half a second.
STARTING_SECONDS = 20
#: What such a server answers, or its machine for it; anything else, such as a wrong password, will be the same a second later.
STARTING = ("starting up", "shutting down", "in recovery mode", "connection refused", "no such file or directory")


class LedgerUnusable(RuntimeError):
    """The ledger's database cannot be used; the message says which it is, and why."""


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """An aware time, kept as UTC. SQLite has no time zones, so there it is kept without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return value.astimezone(dt.UTC) if value else None

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Day(sa.types.TypeDecorator[dt.date]):
    """A date and nothing finer: PostgreSQL would take noon of a day to be after that day, SQLite would not."""

    impl = sa.Date
    cache_ok = True

    def process_bind_param(self, value: dt.date | None, dialect: Dialect) -> dt.date | None:
        if isinstance(value, dt.datetime):
            raise TypeError(f"the ledger counts in days: give a date, not {value!r}")
        return value


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _dates(*names: str) -> list[sa.Column[dt.date]]:
    return [sa.Column(name, Day, nullable=False) for name in names]


def _jsons(*names: str) -> list[sa.Column[Any]]:
    # JSON and not JSONB: PostgreSQL keeps the text itself, so that every float comes back bit for bit.
    return [sa.Column(name, sa.JSON, nullable=False) for name in names]


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _chain() -> sa.Column[str]:
    # See `chain`; rows that are older than chains have none.
    return sa.Column("chain", sa.Text)


def _of_a_registered_version(column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["line", column], ["ledger_versions.line", "ledger_versions.version"])


METADATA = sa.MetaData()

VERSIONS = sa.Table(
    "ledger_versions",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "version", "node", "task", "estimator", "candidate")),
    *_dates("as_of", "train_from", "train_to", "holdout_from", "holdout_to"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("positives", sa.BigInteger),
    *_jsons("configuration", "tables", "validation", "importances"),
    *map(_text, ("owner", "archive_uri", "run_id")),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    # Versions that are older than these columns have none.
    sa.Column("metrics", sa.JSON),
    sa.Column("charts", sa.JSON),
    sa.UniqueConstraint("line", "version"),
    sa.Index("ledger_versions_of_node", "line", "node", "as_of"),
)

EVALUATIONS = sa.Table(
    "ledger_evaluations",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "node", "version")),
    _text("incumbent_version", nullable=True),
    *_dates("as_of", "holdout_from", "holdout_to"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    *_jsons("challenger", "incumbent", "naive"),
    sa.Column("certainty", sa.JSON),
    _text("unsafe", nullable=True),
    sa.Column("disagreement", sa.Float),
    _of_a_registered_version("version"),
    _of_a_registered_version("incumbent_version"),
    sa.Index("ledger_evaluations_of_version", "line", "node", "version"),
)

DECISIONS = sa.Table(
    "ledger_decisions",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "node")),
    # 1, 2, 3 ... within a node: what two writers that did not wait for each other cannot both insert.
    sa.Column("sequence", sa.Integer, nullable=False),
    *_dates("as_of"),
    _text("verdict"),
    _text("version", nullable=True),
    _text("champion", nullable=True),
    *map(_text, ("reason", "decided_by")),
    *_jsons("evidence"),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("line", "node", "sequence"),
    _of_a_registered_version("version"),
    _of_a_registered_version("champion"),
)

#: What the last decision on each node leaves: kept with every decision, and made again from them by the revision 0007.
STANDING = sa.Table(
    "ledger_standing",
    METADATA,
    sa.Column("line", sa.Text, primary_key=True),
    sa.Column("node", sa.Text, primary_key=True),
    # The decision itself, with its evidence, is the node's of this number.
    sa.Column("sequence", sa.Integer, nullable=False),
    *_dates("decided_as_of"),
    _text("verdict"),
    _text("version", nullable=True),
    _text("champion", nullable=True),
    *map(_text, ("reason", "decided_by")),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("waits", sa.Boolean, nullable=False),
    sa.Column("trained_as_of", Day),
    _text("contract", nullable=True),
    sa.Column("changed_as_of", Day),
)

ISSUES = sa.Table(
    "ledger_issues",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("stream", "rule", "kind")),
    sa.Column("day", Day),
    *map(_text, ("event", "message", "owner", "who")),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("ledger_issues_of_stream", "stream", "id"),
)

CERTIFICATES = sa.Table(
    "ledger_certificates",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "version", "verdict", "message")),
    *_jsons("parts", "made_from"),
    _text("by"),
    sa.Column("at", UtcDateTime, nullable=False),
    _of_a_registered_version("version"),
    sa.Index("ledger_certificates_of_version", "line", "version"),
)

TRIALS = sa.Table(
    "ledger_trials",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "node", "candidate", "estimator", "configuration", "search")),
    *_dates("as_of"),
    sa.Column("number", sa.Integer, nullable=False),
    *_jsons("params"),
    _text("metric"),
    sa.Column("value", sa.Double),
    *_jsons("folds"),
    *map(_text, ("state", "message", "run_id")),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    sa.Index("ledger_trials_of_search", "line", "node", "candidate", "as_of", "search"),
)

TAGS = sa.Table(
    "ledger_tags",
    METADATA,
    _id(),
    _chain(),
    *map(_text, ("line", "node", "tag")),
    # 1, 2, 3 ... within a tag of a node.
    sa.Column("sequence", sa.Integer, nullable=False),
    # None: it was taken off.
    _text("version", nullable=True),
    *map(_text, ("why", "by")),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("line", "node", "tag", "sequence"),
    _of_a_registered_version("version"),
)

VERDICTS = sa.Table(
    "ledger_verdicts",
    METADATA,
    *map(_text, ("asset", "check")),
    sa.Column("day", Day, nullable=False),
    _text("stands_on"),
    *_jsons("reasons"),
    _text("run_id"),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.PrimaryKeyConstraint("asset", "check", "day"),
)


class Database:
    """What is recorded in one database, SQLite or PostgreSQL. Safe in threads and across processes.

    All that a process records at one URL goes through one pool of connections.
    """

    def __init__(self, url: str):
        """url: SQLAlchemy's, sqlite:////path/ledger.db or postgresql+psycopg2://user@host/base."""
        self.url = url
        self._pool: _Pool | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({sa.make_url(self.url)!r})"

    def _open(self) -> sa.Engine:
        if self._pool is None or self._pool.closed:
            self._pool = _Pool.of(self.url)
        return self._pool.engine

    def close(self) -> None:
        """Give the connections back; the next call opens them again."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class _Pool:
    """Connections to one URL, shared by all stores of this process that record there; closed when the last store is gone."""

    _opening = threading.Lock()
    _shared: ClassVar["weakref.WeakValueDictionary[str, _Pool]"] = weakref.WeakValueDictionary()

    def __init__(self, url: str):
        self.engine = open_ledger(url)
        self.close = weakref.finalize(self, self.engine.dispose)

    @classmethod
    def of(cls, url: str) -> "_Pool":
        with cls._opening:
            pool = cls._shared.get(url)
            if pool is None or not pool.close.alive or not _is_there(url):
                pool = cls._shared[url] = cls(url)
            return pool

    @property
    def closed(self) -> bool:
        return not self.close.alive


def _is_there(url: str) -> bool:
    """Whether a database may still be the one that was opened: a file that was deleted is another one when it is made again."""
    parsed = sa.make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).exists()


def open_ledger(url: str) -> sa.Engine:
    """Engine of the ledger at this URL; folder, tables and triggers are made, or brought up to date, on first use.

    Any number of processes may open a fresh or an old ledger at once: one of them migrates it, the others wait.
    Raises ValueError for a database other than a SQLite file or PostgreSQL, LedgerTooNew for one of newer code, LedgerUnusable
    for a file that is no database, and for a server that cannot be reached.
    """
    parsed = sa.make_url(url)
    shared: dict[str, Any] = {"json_serializer": to_json, "pool_size": 1, "max_overflow": MAX_CONNECTIONS - 1}
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        # READ COMMITTED: what is read after waiting for a lock is what its previous holder committed.
        engine = sa.create_engine(parsed, isolation_level="READ COMMITTED", pool_pre_ping=True, **shared)
        sa.event.listen(engine, "do_connect", _connect_patiently)
    elif backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, **shared)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        allowed = "sqlite:////path/ledger.db or postgresql+psycopg2://user@host/database"
        raise ValueError(f"ledger url {parsed!r} is neither a SQLite file nor a PostgreSQL database, such as {allowed}")
    try:
        if not _is_current(engine):
            with writing(engine, "tables") as connection:
                migrations.upgrade(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _is_current(engine: sa.Engine) -> bool:
    try:
        with engine.connect() as connection:
            return migrations.is_current(connection)
    except sa.exc.DBAPIError as error:
        is_starting = engine.dialect.name == "postgresql" and _is_starting(error.orig)
        waited = f", for {STARTING_SECONDS} seconds" if is_starting else ""
        why = str(error.orig).strip().splitlines()[0]
        raise LedgerUnusable(f"the ledger {engine.url!r} cannot be used{waited}: {why}") from error


def _connect_patiently(dialect: Dialect, _record: object, arguments: Any, options: Any) -> DBAPIConnection:
    """Connect to a server that may be starting up, as after a restart of its machine: it is waited for."""
    until = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.Error as error:
            if not _is_starting(error) or time.monotonic() > until:
                raise
            time.sleep(0.5)


def _is_starting(error: BaseException | None) -> bool:
    return any(answer in str(error).lower() for answer in STARTING)


@contextmanager
def writing(engine: sa.Engine, *subject: str) -> Iterator[sa.Connection]:
    """A transaction that no one else holds for the same subject, such as a node's (line, node), until it ends.

    SQLite locks the whole file; PostgreSQL an advisory lock per subject, so that nodes do not wait for each other.
    """
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        if connection.dialect.name == "postgresql":
            digest = hashlib.blake2b(to_json(["ledger", *subject]).encode(), digest_size=8).digest()
            key = int.from_bytes(digest, "big", signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.cast(key, sa.BigInteger))))
        yield connection


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # The driver's own implicit BEGIN knows neither IMMEDIATE nor tables: ours replaces it (SQLAlchemy's advice).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # Refused without waiting while another process writes or switches the same file. The mode stays with the file,
    # and no promise depends on it: until some connection has set it, readers merely wait for a writer's commit.
    with suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
