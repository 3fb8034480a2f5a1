"""Rows are chained: each has a hash of its values and of the row before it. Older rows have none."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

TABLES = ("versions", "evaluations", "decisions", "issues", "certificates", "trials", "tags")


def upgrade() -> None:
    for name in TABLES:
        op.add_column(f"ledger_{name}", sa.Column("chain", sa.Text))
