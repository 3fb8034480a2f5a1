"""Evaluations tell which share of the newest day a challenger would answer otherwise than who answered then."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("ledger_evaluations", sa.Column("disagreement", sa.Float))
