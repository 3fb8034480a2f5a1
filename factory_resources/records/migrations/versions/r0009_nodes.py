"""What was called a segment is a node of the tree, as everywhere else."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TABLES = ("versions", "evaluations", "decisions", "standing", "trials", "tags")


def upgrade() -> None:
    # Renamed in place, on SQLite too: the triggers that refuse a rewrite stay, and no row is written.
    for name in TABLES:
        op.execute(sa.text(f"ALTER TABLE ledger_{name} RENAME COLUMN segment TO node"))
