"""Where each node stands is kept beside its decisions, and filled in from those that there are."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from factory_resources.records.migrations.tables import columns

revision = "0007"
down_revision = "0006"

VERSIONS = sa.table("ledger_versions", *map(sa.column, ("line", "version")), sa.column("configuration", sa.JSON))
DECIDED = ("segment", "sequence", "as_of", "verdict", "version", "champion", "reason", "decided_by", "decided_at")
DECISIONS = sa.table("ledger_decisions", *map(sa.column, ("id", "line", *DECIDED)), sa.column("evidence", sa.JSON))
STANDING = sa.table(
    "ledger_standing",
    *map(sa.column, ("line", "segment", "sequence", "decided_as_of", *DECIDED[3:])),
    *map(sa.column, ("waits", "trained_as_of", "contract", "changed_as_of")),
)


def upgrade() -> None:
    # Not append-only: a row says how things stand now. Its writers wait for each other as those of the node's decisions.
    op.create_table(
        "ledger_standing",
        sa.Column("line", sa.Text, primary_key=True),
        sa.Column("segment", sa.Text, primary_key=True),
        *columns(sa.Integer, "sequence"),
        *columns(sa.Date, "decided_as_of"),
        *columns(sa.Text, "verdict"),
        sa.Column("version", sa.Text),
        sa.Column("champion", sa.Text),
        *columns(sa.Text, "reason", "decided_by"),
        *columns(sa.DateTime(timezone=True), "decided_at"),
        *columns(sa.Boolean, "waits"),
        sa.Column("trained_as_of", sa.Date),
        sa.Column("contract", sa.Text),
        sa.Column("changed_as_of", sa.Date),
    )
    op.execute(filled())


def filled() -> sa.Insert:
    """The statement that fills the table in from all decisions."""
    c = DECISIONS.c
    last, trained, changed = _last(sa.true()), _last(c.verdict.not_in(["rollback", "approve"])), _changed()
    noted = sa.func.coalesce(
        trained.c.evidence["contract"].as_string(), VERSIONS.c.configuration["contract"].as_string()
    )
    found = (
        sa.select(
            last.c.line,
            *(last.c[name] for name in DECIDED),
            sa.func.coalesce(last.c.evidence["waits_for_approval"].as_boolean(), sa.false()),
            trained.c.as_of,
            noted,
            changed.c.as_of,
        )
        .select_from(last)
        .outerjoin(trained, _same_node(last, trained))
        .outerjoin(changed, _same_node(last, changed))
        .outerjoin(VERSIONS, (VERSIONS.c.line == trained.c.line) & (VERSIONS.c.version == trained.c.version))
    )
    return sa.insert(STANDING).from_select([column.name for column in STANDING.c], found)


def _last(which: sa.ColumnElement[bool]) -> sa.Subquery:
    """The newest of each node's decisions, by day and then by when they were made."""
    c = DECISIONS.c
    newest_first = sa.func.row_number().over(partition_by=(c.line, c.segment), order_by=(c.as_of.desc(), c.id.desc()))
    ranked = sa.select(DECISIONS, newest_first.label("place")).where(which).subquery()
    return sa.select(ranked).where(ranked.c.place == 1).subquery()


def _changed() -> sa.Subquery:
    """The day as of which each node's champion last became another."""
    c = DECISIONS.c
    earlier = sa.func.lag(c.champion).over(partition_by=(c.line, c.segment), order_by=(c.as_of, c.id))
    steps = sa.select(c.line, c.segment, c.as_of, c.champion, earlier.label("earlier")).subquery()
    s = steps.c
    last = sa.select(s.line, s.segment, sa.func.max(s.as_of).label("as_of"))
    return last.where(s.champion.is_distinct_from(s.earlier)).group_by(s.line, s.segment).subquery()


def _same_node(one: Any, other: Any) -> sa.ColumnElement[bool]:
    return (one.c.line == other.c.line) & (one.c.segment == other.c.segment)
