"""Verdicts of blocking checks on days, so that one which was never completed, or failed, stays known."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import columns

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "ledger_verdicts",
        *columns(sa.Text, "asset", "check"),
        *columns(sa.Date, "day"),
        *columns(sa.Text, "stands_on"),
        *columns(sa.JSON, "reasons"),
        *columns(sa.Text, "run_id"),
        *columns(sa.DateTime(timezone=True), "at"),
        sa.PrimaryKeyConstraint("asset", "check", "day"),
    )
