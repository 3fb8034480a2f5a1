"""Which rows are served, and are those in the store the same? The newest day of a view, and a comparison value by value."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import duckdb

from factory_assets.declarations.days import DAY
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.serving.stores import AS_OF, Snapshot, Store
from factory_resources.delta.day_content import DayContent, content_of
from factory_resources.delta.rows import BATCH_ROWS
from factory_resources.lake import Lake

#: DuckDB's type of a column -> what stores call it. Other types are in no snapshot, or have no like in every store.
KINDS = {
    "BOOLEAN": "boolean", "TINYINT": "integer", "SMALLINT": "integer", "INTEGER": "integer", "BIGINT": "integer",
    "FLOAT": "double", "DOUBLE": "double", "VARCHAR": "string", "DATE": "date", "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}  # fmt: skip
#: Rows that are read back and compared. A part of one in a thousand that differs is among them with a chance of 99.995 %.
SAMPLE = 10_000
#: Differences that a person is shown.
SHOWN = 10


@dataclass(frozen=True)
class Comparison:
    """A store compared with a snapshot. surplus: by how many entities the store has more than the snapshot; negative: fewer."""

    compared: int
    differing: int
    surplus: int
    examples: list[str]

    @property
    def equal(self) -> bool:
        return not self.differing and not self.surplus


def newest(lake: Lake, con: duckdb.DuckDBPyConnection, view: View) -> Snapshot:
    """The newest day of a view that has rows, at the table's version of now. LookupError where there is none."""
    table = f"features/{view.name}"
    version = lake.version(table)
    days = lake.days(table, version) if version is not None else []
    if not days:
        raise LookupError(f"{table} has no rows: materialise it first")
    return at(lake, con, view, days[-1], version)


def at(lake: Lake, con: duckdb.DuckDBPyConnection, view: View, day: dt.date, version: int | None) -> Snapshot:
    """A day of a view at a version of its table, as a table `served` of the connection. Raises LookupError, TypeError."""
    read = lake.view(con, "snapshots", f"features/{view.name}", day, day, version)
    types = {name: str(kind) for name, kind, *_ in con.execute("SELECT * FROM snapshots LIMIT 0").description or ()}
    wanted = [*view.entity, *view.names]
    if absent := [name for name in wanted if name not in types]:
        raise LookupError(f"features/{view.name} has no {', '.join(absent)} yet: materialise {day} again")
    columns = {}
    for name in wanted:
        if types[name] not in KINDS:
            raise TypeError(f"{name} of {view.name} is of type {types[name]}; what can be served: {', '.join(KINDS)}")
        columns[name] = KINDS[types[name]]
    widened = {"integer": "BIGINT", "double": "DOUBLE"}
    chosen = ", ".join(
        f"CAST({identifier(name)} AS {widened[kind]}) AS {identifier(name)}" if kind in widened else identifier(name)
        for name, kind in columns.items()
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE served AS SELECT {chosen} FROM snapshots").fetchall()
    content = sum(map(content_of, con.sql("SELECT * FROM served").to_arrow_reader(BATCH_ROWS)), DayContent())
    return Snapshot(con, view.name, view.entity, columns, _close(day), int(read or 0), content)


def _close(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day + DAY, dt.time(), dt.UTC)


def day_of(as_of: dt.datetime) -> dt.date:
    """The day at whose close a snapshot was taken."""
    return (as_of.astimezone(dt.UTC) - DAY).date()


def compare(store: Store[Any], snapshot: Snapshot) -> Comparison:
    """Read rows back from a store, all or SAMPLE of them, and hold them against the snapshot: floats exactly."""
    given = {}
    for row in snapshot.sample(SAMPLE):
        keys = tuple(row.pop(key) for key in snapshot.entity)
        given[keys if len(keys) > 1 else keys[0]] = row | {AS_OF: snapshot.as_of}
    stored = store.read(snapshot.view, list(given))
    differences = {entity: _differences(row, stored.get(entity)) for entity, row in given.items()}
    different = {entity: difference for entity, difference in differences.items() if difference}
    named = ", ".join(snapshot.entity)
    examples = [f"{named} {entity!r}: {difference}" for entity, difference in list(different.items())[:SHOWN]]
    surplus = store.count(snapshot.view) - snapshot.content.rows
    return Comparison(len(given), len(different), surplus, examples)


def _differences(given: dict[str, Any], stored: dict[str, Any] | None) -> str:
    if stored is None:
        return "not in the store"
    if stored.keys() != given.keys():
        return f"the store has {', '.join(stored)}; the snapshot {', '.join(given)}"
    return ", ".join(
        f"{name} is {stored[name]!r}, in the snapshot {value!r}"
        for name, value in given.items()
        if stored[name] != value and not (stored[name] != stored[name] and value != value)  # NaN is not itself
    )
