"""The ledger's first tables: versions, their evaluations, and what was decided."""

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import append_only, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ledger_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "version", "segment", "task", "estimator", "candidate"),
        *columns(sa.Date, "as_of", "train_from", "train_to", "holdout_from", "holdout_to"),
        *columns(sa.BigInteger, "rows"),
        sa.Column("positives", sa.BigInteger),
        *columns(sa.JSON, "configuration", "tables", "validation", "importances"),
        *columns(sa.Text, "owner", "archive_uri", "run_id"),
        *columns(sa.DateTime(timezone=True), "started_at", "ended_at"),
        sa.UniqueConstraint("line", "version"),
    )
    op.create_index("ledger_versions_of_node", "ledger_versions", ["line", "segment", "as_of"])
    append_only("ledger_versions", ("line", "version"))
    op.create_table(
        "ledger_evaluations",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "segment", "version"),
        sa.Column("incumbent_version", sa.Text),
        *columns(sa.Date, "as_of", "holdout_from", "holdout_to"),
        *columns(sa.BigInteger, "rows"),
        *columns(sa.JSON, "challenger", "incumbent", "naive"),
        _of_a_version("version"),
        _of_a_version("incumbent_version"),
    )
    op.create_index("ledger_evaluations_of_version", "ledger_evaluations", ["line", "segment", "version"])
    append_only("ledger_evaluations")
    op.create_table(
        "ledger_decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        *columns(sa.Text, "line", "segment"),
        *columns(sa.Integer, "sequence"),
        *columns(sa.Date, "as_of"),
        *columns(sa.Text, "verdict"),
        sa.Column("version", sa.Text),
        sa.Column("champion", sa.Text),
        *columns(sa.Text, "reason", "decided_by"),
        *columns(sa.JSON, "evidence"),
        *columns(sa.DateTime(timezone=True), "decided_at"),
        sa.UniqueConstraint("line", "segment", "sequence"),
        _of_a_version("version"),
        _of_a_version("champion"),
    )
    append_only("ledger_decisions", ("line", "segment", "sequence"))


def _of_a_version(column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["line", column], ["ledger_versions.line", "ledger_versions.version"])
