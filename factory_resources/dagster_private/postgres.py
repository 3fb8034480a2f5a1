"""How is Dagster's event log in PostgreSQL written to over a connection that stays open? By methods of its storage, made anew.

Dagster 1.13 connects anew for what it writes of an event, twice or more, and a server starts a process for each connection;
and the events that announce the partitions of a run, one each, go one by one even where it is asked for batches. Of a training
of hundreds of nodes that is seconds before the first is fitted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config

from factory_resources.dagster_private.indexed import IndexedInputs
from factory_resources.dagster_private.versions import require

#: Announces a partition of a run.
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
#: Kept open by each process that has the instance, and opened beside it while several threads write or read.
KEPT, MORE = 1, 7
#: Seconds after which a connection is replaced, before something on the way gives it up as idle.
OLD = 900
#: Method that is called or replaced here -> its arguments.
USED = {
    "__init__": ("postgres_url", "should_autocreate_tables", "inst_data", "token_provider"),
    "prepare_insert_event_batch": ("events",),
    "_store_asset_event": ("conn", "event", "event_id"),
    "index_transaction": (),
    "store_event_batch": ("events",),
    "dispose": (),
}
for _name, _arguments in USED.items():
    require(getattr(PostgresEventLogStorage, _name), *_arguments)
require(DagsterPostgresStorage.__init__, "postgres_url", "should_autocreate_tables", "inst_data", "token_provider")
require(pg_url_from_config, "config_value")
require(get_token_provider_from_config, "config_value")


class PostgresEventLog(IndexedInputs, PostgresEventLogStorage):
    """The same tables as Dagster's own event log, so that either can be configured."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ):
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # Asked before it is used whether it still answers: a server may have been started anew in between.
        pool = {"pool_size": KEPT, "max_overflow": MORE, "pool_recycle": OLD, "pool_pre_ping": True}
        self._engine = create_pg_engine(postgres_url, token_provider, isolation_level="AUTOCOMMIT", **pool)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        planned = [event for event in events if event.dagster_event_type is PLANNED]
        if others := [event for event in events if event.dagster_event_type is not PLANNED]:
            super().store_event_batch(others)
        if planned:
            self._store_planned(planned)

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        """All of them or none. Of each asset the last one is what the table of assets says in the end."""
        of_asset = {event.get_dagster_event().asset_key: place for place, event in enumerate(events)}
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self.index_transaction() as connection:
            ids = list(connection.scalars(statement))
            for place in of_asset.values():
                self._store_asset_event(connection, events[place], ids[place])

    def dispose(self) -> None:
        super().dispose()
        self._engine.dispose()


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in PostgreSQL with this event log; configured as Dagster's own, of which it is a `custom` one:

    storage:
      custom:
        module: factory_resources.postgres_event_log
        class: PostgresStorage
        config: {postgres_url: {env: DAGSTER_POSTGRES}}
    """

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PostgresStorage":
        url, token_provider = pg_url_from_config(config_value), get_token_provider_from_config(config_value)
        made = cls(url, config_value.get("should_autocreate_tables", True), inst_data, token_provider)
        # Of the tables, Dagster's own event log has seen to that they are there.
        made._event_log_storage = PostgresEventLog(url, False, token_provider=token_provider)
        return made
