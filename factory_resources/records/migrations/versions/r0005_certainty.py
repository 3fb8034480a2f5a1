"""Evaluations tell how sure it is that the challenger is better."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("ledger_evaluations", sa.Column("certainty", sa.JSON))
