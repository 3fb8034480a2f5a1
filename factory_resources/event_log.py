"""Where does Dagster keep what happened, when there is no PostgreSQL? In its SQLite files, by the class that dagster.yaml names:

    event_log_storage:
      module: factory_resources.event_log
      class: SqliteEventLog
      config: {base_dir: {env: DAGSTER_HOME}}

The same files as Dagster's own event log, below `<base_dir>/history/runs`, so that either can be configured.
"""

from factory_resources.dagster_private.storages import sqlite_event_log
from factory_resources.private_files import keep_files_private

# Dagster's web server, daemon and commands come by no other code of ours before they write.
keep_files_private()

SqliteEventLog = sqlite_event_log()
