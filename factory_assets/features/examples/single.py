"""What is one example made of, by the events as they are now? Its features once more, and the events behind them.

There is one way to compute a feature: these are `rows.build` and `snapshots.snapshot`, asked for the day of the example, over the
events of its own entities. A value does not depend on the events of other entities, nor on whether a view reads events or a
snapshot of them.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration, whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.view import View
from factory_assets.features.examples import rows
from factory_assets.features.point_in_time import history, snapshots
from factory_assets.features.point_in_time.aggregates import columns_read
from factory_assets.features.point_in_time.history import Load, Versions
from factory_assets.features.point_in_time.windows import interval


@dataclass(frozen=True)
class Behind:
    """The events that a view's values of one example are made of.

    entity: column -> value of the example; at: the moment as of which they count, UTC. windows: as declared, such as 7d; delay: how
    long after an event it counts, "" for at once. itself: whether the observed event counts beside them.
    events: how many there are. newest: the newest of them, latest first: id, times, and the columns that the view reads.
    """

    view: str
    stream: str
    entity: dict[str, Any]
    at: dt.datetime
    windows: tuple[str, ...]
    delay: str
    itself: bool
    events: int
    newest: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Single:
    """One row of a line's examples. row: name of the relation that holds it alone; load: see `history.Load`."""

    con: duckdb.DuckDBPyConnection
    declared: DeclaredLine
    row: str
    load: Load

    def again(self) -> dict[str, Any] | None:
        """Feature -> its value, computed from events; None where by today's events there is no such observation."""
        day = self._value("ds")
        query = rows.build(self.con, self.declared, [day], self._of_entities)
        chosen = ", ".join(map(identifier, self.declared.features))
        found = self.con.sql(
            f"SELECT {chosen} FROM ({query}) WHERE example_id = (SELECT example_id FROM {self.row})"
        ).fetchall()
        return dict(zip(self.declared.features, found[0], strict=True)) if found else None

    def behind(self, most: int) -> tuple[Behind, ...]:
        """The events of each view that the line reads. most: of a view's events so many, the newest, are listed."""
        return tuple(self._behind(view, most) for view in self.declared.views.values())

    def _behind(self, view: View, most: int) -> Behind:
        declared, fresh = self.declared.streams[view.stream], view in rows.fresh_views(self.declared)
        day, at = self._value("ds"), self._value("observed_at")
        if not fresh:
            closed = day + dt.timedelta(days=rows.snapshot_offset(self.declared) + 1)
            at = dt.datetime.combine(closed, dt.time())
        key, events = declared.stream.id, "behind"
        first = at.date() - dt.timedelta(days=whole_days(view.reach) + 1)
        history.create(
            self.con, events, Versions(declared, {key, *columns_read(view)}, first, at.date()), self._of_entities
        )
        t, u = f"TIMESTAMP '{at}'", f"event_time + {interval(view.delay)}"
        known = f"""{self._same(view.entity)} AND {expressions.condition(view.where)} AND event_time < {t}
                    AND {u} > {t} - {interval(max(view.windows))} AND {u} <= {t}
                    AND known_at <= {t} AND coalesce(superseded_at > {t}, true)"""
        (count,) = self.con.execute(f"SELECT count(*) FROM {events} WHERE {known}").fetchall()[0]
        names = list(dict.fromkeys([key, "event_time", "known_at", *sorted(columns_read(view) - set(view.entity))]))
        found = self.con.execute(
            f"""SELECT {", ".join(map(identifier, names))} FROM {events} WHERE {known}
                ORDER BY event_time DESC, {identifier(key)} DESC LIMIT {int(most)}"""
        ).fetchall()
        return Behind(
            view.name,
            view.stream,
            {name: self._value(name) for name in view.entity},
            at,
            tuple(map(format_duration, view.windows)),
            format_duration(view.delay) if view.delay else "",
            fresh and view.include_current and view.stream == self.declared.line.observe.stream,
            count,
            tuple(dict(zip(names, values, strict=True)) for values in found),
        )

    def _value(self, column: str) -> Any:
        return self.con.execute(f"SELECT {identifier(column)} FROM {self.row}").fetchall()[0][0]

    def _same(self, keys: tuple[str, ...]) -> str:
        """SQL: whether an event is of the example's entity. Of an empty key no event is."""
        return " AND ".join(f"{identifier(key)} = (SELECT {identifier(key)} FROM {self.row})" for key in keys)

    def _of_entities(self, name: str, table: str, first: dt.date, last: dt.date) -> None:
        """A `Load` of the events of the example's entities, and of snapshots made of these."""
        of, _, kind = table.rpartition("/")
        if of == "features":
            self._snapshot(name, self.declared.views[kind], first, last)
            return
        whole = f"whole_{name}"
        self.load(whole, table, first, last)
        observe = self.declared.line.observe
        entities = [view.entity for view in self.declared.views.values() if view.stream == of]
        tests = [self._same(keys) for keys in entities]
        if of == observe.stream:
            key = identifier(self.declared.observed.stream.id)
            itself = f"{key} = (SELECT example_id FROM {self.row})"
            tests.append(self._same((observe.entity,)) if observe.entity else itself)
        chosen = " OR ".join(f"({test})" for test in dict.fromkeys(tests))
        self.con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {whole} WHERE {chosen}").fetchall()

    def _snapshot(self, name: str, view: View, first: dt.date, last: dt.date) -> None:
        days = [first + dt.timedelta(days=ahead) for ahead in range((last - first).days + 1)]
        query = snapshots.snapshot(self.con, view, self.declared.streams[view.stream], days, self._of_entities)
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE made_{name} AS {query}").fetchall()
        self.con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM made_{name}").fetchall()
