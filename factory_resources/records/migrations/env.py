"""How does alembic reach the ledger? By the connection, already in a transaction, that `upgrade` hands over."""

from alembic import context

from factory_resources.records.migrations import TABLE

context.configure(connection=context.config.attributes["connection"], version_table=TABLE.name)
with context.begin_transaction():
    context.run_migrations()
