"""Which storage does a deployment's dagster.yaml get: ours, or Dagster's own, which keeps the same files and tables?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from factory_resources.dagster_private.versions import private


def sqlite_event_log() -> type[Any]:
    """The class of an event log in SQLite, with a `base_dir` for configuration."""

    def take() -> type[Any]:
        from factory_resources.dagster_private.sqlite import SqliteEventLog

        return SqliteEventLog

    return private("event log in SQLite", take) or _own_sqlite()


def postgres_storage() -> type[Any]:
    """The class of a storage in PostgreSQL, configured as Dagster's own."""

    def take() -> type[Any]:
        from factory_resources.dagster_private.postgres import PostgresStorage

        return PostgresStorage

    return private("event log in PostgreSQL", take) or _own_postgres()


def _own_sqlite() -> type[Any]:
    try:
        # Dagster documents this name for dagster.yaml.
        from dagster._core.storage.event_log import SqliteEventLogStorage
    except ImportError as moved:
        advice = "take `event_log_storage` out of dagster.yaml: Dagster then writes into the same files by itself"
        raise ImportError(
            f"Dagster {dg.__version__} has no SqliteEventLogStorage where it was ({moved}); {advice}"
        ) from moved

    class SqliteEventLog(SqliteEventLogStorage):
        """Dagster's own, in the files where ours would be."""

        @classmethod
        def from_config_value(cls, inst_data: Any, config_value: Any) -> Any:
            files = str(Path(config_value["base_dir"], "history", "runs"))
            return SqliteEventLogStorage.from_config_value(inst_data, {**config_value, "base_dir": files})

    return SqliteEventLog


def _own_postgres() -> type[Any]:
    from dagster_postgres import DagsterPostgresStorage

    class PostgresStorage(DagsterPostgresStorage):
        """Dagster's own, in the same tables."""

        @classmethod
        def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Any:
            return DagsterPostgresStorage.from_config_value(inst_data, config_value)  # type: ignore[arg-type]

    return PostgresStorage
