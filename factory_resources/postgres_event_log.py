"""Where does Dagster keep what happened, where there is a PostgreSQL? In its own tables, by the class that dagster.yaml names:

storage:
  custom:
    module: factory_resources.postgres_event_log
    class: PostgresStorage
    config: {postgres_url: {env: DAGSTER_POSTGRES}}
"""

from factory_resources.dagster_private.storages import postgres_storage
from factory_resources.private_files import keep_files_private

# As of `event_log`.
keep_files_private()

PostgresStorage = postgres_storage()
