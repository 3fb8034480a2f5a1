"""Does an example hold what was not known when it was observed? A sample, computed again from events cut at its moment.

For each observation of the sample the events that were known at its moment are copied to a table of their own, without the
columns that reveal the label before it is known. The same views are computed from these; a feature that differs holds
something of the future. So does a declaration that picks rows, their segment or their entity by such a column.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.on_demand import observed
from factory_assets.declarations.view import View
from factory_assets.features import on_demand
from factory_assets.features.examples.rows import fresh_views, joined, snapshot_offset
from factory_assets.features.point_in_time import history
from factory_assets.features.point_in_time.aggregates import columns_read, named
from factory_assets.features.point_in_time.history import Load, Versions
from factory_assets.features.point_in_time.windows import compute, interval

#: Name of the check, among verdicts.
NO_LEAK = "no_leak"
#: Observations that are looked at in a run.
SAMPLE = 200


@dataclass(frozen=True)
class Leak:
    """A feature that differs from its value without the future: for how many of the sample, and for example for which.

    declared: in place of the values, how the declaration lets every row leak, in a sentence.
    """

    feature: str
    count: int
    example_id: Any = None
    value: Any = None
    value_known: Any = None
    declared: str = ""

    @property
    def message(self) -> str:
        if self.declared:
            return self.declared
        return f"{self.feature} of {self.example_id} is {self.value}, but what was known gives {self.value_known}"


def version(declared: DeclaredLine) -> str:
    """Changes with the label's fields on when it is known; the version of the examples does not change with these."""
    return declared.line.label.model_dump_json(exclude={"freshness"}) + "; ".join(of_declaration(declared).values())


def of_declaration(declared: DeclaredLine) -> dict[str, str]:
    """What is declared, and lets rows, segments or entities depend on the label before it is known -> how, in a sentence."""
    line, hidden = declared.line, declared.revealing
    reads = {"observe.where": expressions.columns(line.observe.where) if line.observe.where else set[str]()}
    reads |= {f"segments.levels, {level}": {level} for level in line.segments.levels}
    reads |= {f"the entity of {view.name}": set(view.entity) for view in declared.views.values()}
    return {
        place: f"{place}: {', '.join(sorted(names & hidden))} tells of the label before that is known"
        for place, names in reads.items()
        if names & hidden
    }


def leaks(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], load: Load
) -> tuple[int, list[Leak]]:
    """Size of the sample from the examples of these days, and the features of it that hold something of the future."""
    load("stored", f"{declared.line.name}/examples", days[0], days[-1])
    rows = "sample"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {rows} AS SELECT row_number() OVER () AS _obs, * FROM
            (SELECT * FROM stored ORDER BY hash(example_id::VARCHAR || ds::VARCHAR) LIMIT {SAMPLE})"""
    ).fetchall()
    (size,) = con.execute(f"SELECT count(*) FROM {rows}").fetchall()[0]
    sample = _Sample(declared, days, rows, declared.revealing)
    found = [Leak(place, size, declared=how) for place, how in of_declaration(declared).items() if size]
    found += [
        leak
        for name in declared.row_features
        if name in sample.hidden
        for leak in _differing(con, rows, name, f"SELECT _obs, NULL AS {identifier(name)} FROM {rows}")
    ]
    tables: dict[str, str] = {}
    for view in declared.views.values():
        again = _again(con, sample, view, load)
        for name in declared.features:
            of_view, _, feature = name.partition(".")
            if of_view == view.name:
                values = f"SELECT _obs, {identifier(feature)} AS {identifier(name)} FROM {again}"
                found += _differing(con, rows, name, values)
        if declared.derived:
            tables[view.name] = f"again_{view.name}"
            con.execute(f"CREATE OR REPLACE TEMP TABLE {tables[view.name]} AS SELECT * FROM {again}").fetchall()
    derived = _derived_again(sample, tables) if declared.derived else ""
    return size, found + [
        leak
        for name in declared.features
        if name in declared.derived
        for leak in _differing(con, rows, name, f"SELECT _obs, {identifier(name)} FROM ({derived})")
    ]


@dataclass(frozen=True)
class _Sample:
    """A sample of a line's examples of some days.

    rows: name of the table of the sample, with the number `_obs`.
    hidden: columns of the observed event that reveal the label and are not known yet; computed again, they are empty.
    """

    declared: DeclaredLine
    days: Sequence[dt.date]
    rows: str
    hidden: frozenset[str]


def _derived_again(sample: _Sample, tables: Mapping[str, str]) -> str:
    """Query for _obs and the features computed on demand. tables: view -> the table of the view computed again."""
    declared, rows = sample.declared, sample.rows
    values = {
        f"{view.name}.{name}": value
        for view in declared.views.values()
        for name, value in joined(view, tables[view.name]).items()
    }
    joins = " ".join(f"LEFT JOIN {table} ON {table}._obs = {rows}._obs" for table in tables.values())
    chosen = {name: values[name] for name in on_demand.read(declared)}
    for name in observed(declared.features, declared.derived):
        hidden = name in sample.hidden
        chosen[name] = f"NULL::{declared.observed.types[name]}" if hidden else f"{rows}.{identifier(name)}"
    return on_demand.added(f"SELECT {rows}._obs, {named(chosen)} FROM {rows} {joins}", declared.derived)


def _again(con: duckdb.DuckDBPyConnection, sample: _Sample, view: View, load: Load) -> str:
    """A relation of _obs and the view's features, computed from a table of the events known at each observation."""
    declared, days = sample.declared, sample.days
    stream, versions, cut, values = declared.streams[view.stream], "past", "cut", "recomputed"
    fresh = view in fresh_views(declared)
    same = fresh and view.stream == declared.line.observe.stream
    moment = "observed_at" if fresh else f"(ds + {snapshot_offset(declared) + 1})::TIMESTAMP"
    columns = columns_read(view)
    first = days[0] - dt.timedelta(days=whole_days(view.reach) + 1)
    history.create(con, versions, Versions(stream, {*columns, stream.stream.id}, first, days[-1]), load)
    masked = sorted(columns & sample.hidden) if view.stream == declared.line.observe.stream else []
    of_label = interval(declared.line.label.silence)
    hidden = [
        f"CASE WHEN e.event_time + {of_label} <= s.t THEN e.{identifier(c)} END AS {identifier(c)}" for c in masked
    ]
    shown = [f"e.{identifier(c)}" for c in sorted(columns - set(masked) | {"event_time", "known_at"})]
    chosen = ", ".join(["s._obs", *hidden, *shown, "NULL::TIMESTAMP AS superseded_at"])
    observations = f"(SELECT *, {moment} AS t FROM {sample.rows}) AS s"
    alike = " AND ".join(f"s.{identifier(key)} = e.{identifier(key)}" for key in view.entity)
    query = f"""SELECT {chosen}, false AS _current FROM {observations} JOIN {versions} AS e ON {alike}
                WHERE e.event_time < s.t AND e.event_time > s.t - {interval(view.reach)}
                  AND e.known_at <= s.t AND coalesce(e.superseded_at > s.t, true)"""
    if same:
        query += f""" UNION ALL BY NAME SELECT {chosen}, true AS _current FROM {observations}
                      JOIN {versions} AS e ON s.ds = e.ds AND s.example_id = e.{identifier(stream.stream.id)} AND e._original"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {cut} AS {query}").fetchall()
    has_entity = " AND ".join(f"{identifier(key)} IS NOT NULL" for key in view.entity)
    asked = f"(SELECT _obs AS obs, _obs AS entity, {moment} AS t FROM {sample.rows} WHERE {has_entity})"
    if same:
        asked = f"(SELECT rowid AS obs, _obs AS entity, event_time AS t FROM {cut} WHERE _current AND {has_entity})"
    alone = view.model_copy(update={"entity": ("_obs",)})
    compute(con, alone, cut, asked, values, same_stream=same)
    if not same:
        return f"(SELECT obs AS _obs, * EXCLUDE (obs) FROM {values})"
    return f"""(SELECT {cut}._obs, {values}.* EXCLUDE (obs) FROM {values} JOIN {cut} ON {cut}.rowid = obs
                WHERE _current AND {has_entity})"""


def _differing(con: duckdb.DuckDBPyConnection, rows: str, name: str, again: str) -> list[Leak]:
    """The leak of a feature that differs in the sample, or nothing. rows: the sample. again: query for its new values."""
    feature = identifier(name)
    row = con.execute(
        f"""SELECT count(*), min_by((example_id, {rows}.{feature}, again.{feature}), _obs)
            FROM {rows} JOIN ({again}) AS again USING (_obs) WHERE {rows}.{feature} IS DISTINCT FROM again.{feature}"""
    ).fetchall()[0]
    return [Leak(name, row[0], *row[1])] if row[0] else []
