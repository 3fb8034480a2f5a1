"""Trials: sets of parameters that were tried for a candidate."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import append_only, columns

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "ledger_trials",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "segment", "candidate", "estimator", "configuration", "search"),
        *columns(sa.Date, "as_of"),
        *columns(sa.Integer, "number"),
        *columns(sa.JSON, "params"),
        *columns(sa.Text, "metric"),
        sa.Column("value", sa.Double),
        *columns(sa.JSON, "folds"),
        *columns(sa.Text, "state", "told", "run_id"),
        *columns(sa.Double, "seconds"),
        *columns(sa.DateTime(timezone=True), "ended_at"),
    )
    op.create_index("ledger_trials_of_search", "ledger_trials", ["line", "segment", "candidate", "as_of", "search"])
    append_only("ledger_trials")
