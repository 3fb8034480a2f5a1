"""The book of data issues joins the ledger."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import append_only, columns

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "ledger_issues",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "stream", "rule", "kind"),
        sa.Column("day", sa.Date),
        *columns(sa.Text, "event", "told", "owner", "who"),
        *columns(sa.DateTime(timezone=True), "at"),
    )
    op.create_index("ledger_issues_of_stream", "ledger_issues", ["stream", "id"])
    append_only("ledger_issues")
