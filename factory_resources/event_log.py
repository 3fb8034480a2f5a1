"""Where does Dagster keep what happened, when there is no PostgreSQL? In its SQLite files, by the class that dagster.yaml names:

    event_log_storage:
      module: factory_resources.event_log
      class: SqliteEventLog
      config: {base_dir: {env: DAGSTER_HOME}}

The same files as Dagster's own event log, below `<base_dir>/history/runs`, so that either can be configured.
"""

from factory_resources.dagster_private.storages import sqlite_event_log

SqliteEventLog = sqlite_event_log()
