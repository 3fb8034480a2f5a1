"""Evaluations tell why a challenger that is good enough may not be served."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("ledger_evaluations", sa.Column("unsafe", sa.Text))
