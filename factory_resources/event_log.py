"""Where does Dagster keep what happened, when there is no PostgreSQL? In its SQLite files, by connections that stay open.

Dagster 1.13 makes a database engine for every event and closes its connection after it: the statements are compiled anew,
and SQLite folds its write-ahead log into the file each time. For a training of hundreds of nodes, whose every partition is
an event, that is most of what the event log costs.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

#: Files kept open, of which there is one a run and one for all: the runs that one process may have under way.
OPEN = 16


class SqliteEventLog(SqliteEventLogStorage):
    """The same files as Dagster's own event log, below `<base_dir>/history/runs`, so that either can be configured.

        event_log_storage:
          module: factory_resources.event_log
          class: SqliteEventLog
          config: {base_dir: {env: DAGSTER_HOME}}

    An event survives the death of a process at once, and a power cut within moments: what is lost then is done again.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        super().__init__(str(Path(base_dir, "history", "runs")), inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "SqliteEventLog":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        # One connection a file is used by one thread at a time: the lock that the parent holds as well.
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def dispose(self) -> None:
        while self._engines:
            self._engines.popitem()[1].dispose()
        super().dispose()

    def _engine(self, shard: str) -> sa.Engine:
        if shard not in self._engines:
            while len(self._engines) >= OPEN:
                self._engines.popitem(last=False)[1].dispose()
            arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
            engine = sa.create_engine(self.conn_string_for_shard(shard), poolclass=StaticPool, connect_args=arguments)
            sa.event.listen(engine, "connect", _without_waiting_for_the_disk)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        return self._engines[shard]


def _without_waiting_for_the_disk(connection: Any, _: Any) -> None:
    # With a write-ahead log the file stays whole whatever happens.
    connection.execute("PRAGMA synchronous=NORMAL")
