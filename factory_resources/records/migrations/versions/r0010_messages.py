"""What an issue, a certificate or a trial says is its message, as everywhere else."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = ("issues", "certificates", "trials")


def upgrade() -> None:
    # Renamed in place, on SQLite too: the triggers that refuse a rewrite stay, and no row is written.
    for name in TABLES:
        op.execute(sa.text(f"ALTER TABLE ledger_{name} RENAME COLUMN told TO message"))
