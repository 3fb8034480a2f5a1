"""Tags: names that people put on a version, move to another, and take off."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import append_only, columns

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "ledger_tags",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "segment", "tag"),
        *columns(sa.Integer, "sequence"),
        sa.Column("version", sa.Text),
        *columns(sa.Text, "why", "by"),
        *columns(sa.DateTime(timezone=True), "at"),
        sa.UniqueConstraint("line", "segment", "tag", "sequence"),
        sa.ForeignKeyConstraint(["line", "version"], ["ledger_versions.line", "ledger_versions.version"]),
    )
    append_only("ledger_tags", ("line", "segment", "tag", "sequence"))
