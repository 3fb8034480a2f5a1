"""Was a row of the ledger changed, or removed, by somebody who could? Each row has a hash of its values and of the row before it.

Triggers refuse a rewrite; whoever owns the database can drop them. What he then changes shows, unless he makes all later hashes
of the chain anew. Rows of one subject, such as decisions on a node, are a chain: writers of one subject wait for each other.

Rows from before there were chains have no hash; the first row after them has one of them all. A column that holds nothing adds
nothing to a hash, so that a column may be added; one that is renamed must keep its former name here.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from factory_resources.records.tables import (
    CERTIFICATES,
    DECISIONS,
    EVALUATIONS,
    ISSUES,
    TAGS,
    TRIALS,
    VERSIONS,
    Database,
    to_json,
)

#: Table -> the columns of a chain's subject: those by which its writers lock.
SUBJECTS: dict[sa.Table, tuple[str, ...]] = {
    VERSIONS: (),
    EVALUATIONS: ("line", "node"),
    DECISIONS: ("line", "node"),
    TAGS: ("line", "node"),
    TRIALS: ("line", "node"),
    CERTIFICATES: ("line",),
    ISSUES: ("stream",),
}
#: Columns that are no value of a row.
ID, CHAIN = "id", "chain"


def append(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of one subject, chained to those that it has. The caller holds the subject (see `tables.writing`)."""
    subject = {name: rows[0][name] for name in SUBJECTS[table]}
    chain, chained = _newest(connection, table, subject), []
    for row in rows:
        chain = _link(chain, table, row)
        chained.append({**row, CHAIN: chain})
    connection.execute(sa.insert(table), chained)


def _newest(connection: sa.Connection, table: sa.Table, subject: Mapping[str, Any]) -> str:
    """The hash at which a chain ends."""
    own = sa.select(table).where(*(table.c[name] == value for name, value in subject.items()))
    last = connection.execute(own.order_by(table.c.id.desc()).limit(1)).mappings().first()
    if last is None:
        return ""
    if last[CHAIN] is not None:
        return str(last[CHAIN])
    chain = ""
    for row in connection.execute(own.order_by(table.c.id)).mappings():
        chain = _link(chain, table, dict(row))
    return chain


def _link(before: str, table: sa.Table, row: Mapping[str, Any]) -> str:
    values = {
        column.name: _plain(column, row[column.name])
        for column in table.c
        if column.name not in (ID, CHAIN) and row.get(column.name) is not None
    }
    text = json.dumps([before, values], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(column: sa.Column[Any], value: Any) -> Any:
    """A value as the database gives it back."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(column.type, sa.JSON):
        return json.loads(to_json(value))
    if isinstance(column.type, sa.Float):
        return float(value)
    return int(value) if isinstance(column.type, sa.Integer) else value


class Chains(Database):
    """The chains of a ledger, to be looked through."""

    def broken(self) -> Iterator[str]:
        """Each row that is not what was written, in a sentence, or that follows one which is gone. All rows are read."""
        with self._open().connect() as connection:
            for table, subject in SUBJECTS.items():
                columns = [table.c[name] for name in subject]
                ends: dict[tuple[Any, ...], tuple[str, bool]] = {}
                for row in connection.execute(sa.select(table).order_by(*columns, table.c.id)).mappings():
                    place = tuple(row[name] for name in subject)
                    before, begun = ends.get(place, ("", False))
                    chain, stored = _link(before, table, dict(row)), row[CHAIN]
                    about = f"{table.name}, row {row[ID]}" + (f" of {'/'.join(map(str, place))}" if place else "")
                    if stored is None and begun:
                        yield f"{about}: it was not written by the factory"
                    elif stored is not None and stored != chain:
                        yield f"{about}: it is not what was written, or a row before it is gone or is not"
                    ends[place] = stored or chain, begun or stored is not None
