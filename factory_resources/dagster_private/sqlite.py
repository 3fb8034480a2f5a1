"""How is Dagster's event log in SQLite written to, when its connections stay open? By methods of its storage, made anew.

Dagster 1.13 makes a database engine for every event and closes its connection after it: the statements are compiled anew,
and SQLite folds its write-ahead log into the file each time; and it writes the events of a batch one by one. For a training
of hundreds of nodes, whose every partition is announced by an event and reported by another, that is most of what the event
log costs.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

from factory_resources.dagster_private.indexed import IndexedInputs
from factory_resources.dagster_private.versions import require

#: Files kept open, of which there is one a run and one for all: the runs that one process may have under way.
OPEN = 16
#: Method that is called or replaced here -> its arguments.
USED = {
    "__init__": ("base_dir", "inst_data"),
    "_initdb": ("engine",),
    "_connect": ("shard",),
    "_event_to_row": ("event",),
    "_store_asset_event": ("conn", "event", "event_id"),
    "_store_asset_event_tags": ("conn", "events", "event_ids"),
    "_has_asset_key_col_on_connection": ("conn", "column_name"),
    "has_table": ("table_name",),
    "run_connection": ("run_id",),
    "index_transaction": (),
    "conn_string_for_shard": ("shard_name",),
    "store_event": ("event",),
    "store_event_batch": ("events",),
    "dispose": (),
}
for _name, _arguments in USED.items():
    require(getattr(SqliteEventLogStorage, _name), *_arguments)


class SqliteEventLog(IndexedInputs, SqliteEventLogStorage):
    """The same files as Dagster's own event log, below `<base_dir>/history/runs`, so that either can be configured.

        event_log_storage:
          module: factory_resources.event_log
          class: SqliteEventLog
          config: {base_dir: {env: DAGSTER_HOME}}

    An event survives the death of a process at once, and a power cut within moments: what is lost then is done again.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._tables, self._columns = set[str](), set[str]()
        super().__init__(str(Path(base_dir, "history", "runs")), inst_data)
        # A batch is written into two files at once.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

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

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All of a run's events that are about assets, or none of them."""
        of_run: dict[str, list[EventLogEntry]] = {}
        for event in events:
            if event.dagster_event_type in ASSET_EVENTS:
                of_run.setdefault(event.run_id, []).append(event)
            else:
                self.store_event(event)
        for run_id, entries in of_run.items():
            self._store_asset_events(run_id, entries)

    def _store_asset_events(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        """Into the run's own file and, with what is asked across runs, into the file of all."""
        rows = [self._event_to_row(event) for event in events]
        # What the table of assets says of one in the end is what the last event of each type says.
        last = {(event.get_dagster_event().asset_key, event.dagster_event_type): at for at, event in enumerate(events)}
        numbered = SqlEventLogStorageTable.insert().returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        with self.run_connection(run_id) as own, self.index_transaction() as shared:
            own.execute(SqlEventLogStorageTable.insert(), rows)
            ids = shared.scalars(numbered, rows).all()
            self._store_asset_event_tags(shared, events, ids)
            for at in last.values():
                self._store_asset_event(shared, events[at], ids[at])

    # Both are asked again for every event; what is there stays.
    def has_table(self, table_name: str) -> bool:
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_col_on_connection(self, conn: sa.Connection, column_name: str) -> bool:
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

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
