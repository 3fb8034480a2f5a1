"""What is a table of the ledger made with? Columns that are filled in, and triggers that refuse to change or remove a row."""

from typing import Any

import sqlalchemy as sa
from alembic import op

REFUSAL = "the ledger is append-only: add a decision instead"


def columns(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Columns of one type, without null."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def append_only(table: str, *keys: tuple[str, ...]) -> None:
    """Guard a table that the revision has just made. keys: its unique constraints, by columns, beside the id."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _sqlite(table, [("id",), *keys]) if is_sqlite else _postgresql(table):
        op.execute(statement)


def _sqlite(table: str, keys: list[tuple[str, ...]]) -> list[str]:
    taken = " OR ".join("(" + " AND ".join(f"{name} = NEW.{name}" for name in key) + ")" for key in keys)
    events = {
        "update": f"UPDATE ON {table}",
        "delete": f"DELETE ON {table}",
        # INSERT OR REPLACE removes the old row without firing a DELETE trigger.
        "replace": f"INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {taken})",
    }
    return [
        f"CREATE TRIGGER {table}_no_{name} BEFORE {event} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for name, event in events.items()
    ]


def _postgresql(table: str) -> list[str]:
    return [
        "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
    ]
