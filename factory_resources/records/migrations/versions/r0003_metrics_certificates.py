"""Versions tell their metrics and charts; certificates tell what came of making one again."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import append_only, columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("metrics", "charts"):
        op.add_column("ledger_versions", sa.Column(name, sa.JSON))
    op.create_table(
        "ledger_certificates",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "version", "verdict", "told"),
        *columns(sa.JSON, "parts", "made_from"),
        *columns(sa.Text, "by"),
        *columns(sa.DateTime(timezone=True), "at"),
        sa.ForeignKeyConstraint(["line", "version"], ["ledger_versions.line", "ledger_versions.version"]),
    )
    op.create_index("ledger_certificates_of_version", "ledger_certificates", ["line", "version"])
    append_only("ledger_certificates")
