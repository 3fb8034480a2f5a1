"""Does an example hold what was not known when it was observed? A sample, computed again from events cut at its moment.

For each observation of the sample the events that were there at its moment are copied to a table of their own, without what
the label tells before it is known. The same views are computed from these; whatever differs came from the future.
"""

import datetime as dt
from collections.abc import Collection, Sequence
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
from factory_assets.features.point_in_time.history import Load
from factory_assets.features.point_in_time.windows import compute, interval

#: Name of the check, among verdicts.
NO_LEAK = "no_leak"
#: Observations that are looked at in a run.
SAMPLE = 200


@dataclass(frozen=True)
class Leak:
    """A feature that differs from what it is without the future: of how many of the sample, and one of them."""

    feature: str
    count: int
    example_id: Any
    found: Any
    known: Any

    @property
    def told(self) -> str:
        return f"{self.feature} of {self.example_id} is {self.found}, but what was known gives {self.known}"


def version(declared: DeclaredLine) -> str:
    """Changes with what the label says of when it is known, beside which the examples' own declaration does not."""
    return declared.line.label.model_dump_json(exclude={"freshness"})


def leaks(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], load: Load
) -> tuple[int, list[Leak]]:
    """Size of the sample from the examples of these days, and the features of it that hold something of the future."""
    load("stored", f"{declared.line.name}/examples", days[0], days[-1])
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE sample AS SELECT row_number() OVER () AS _obs, * FROM
            (SELECT * FROM stored ORDER BY hash(example_id::VARCHAR || ds::VARCHAR) LIMIT {SAMPLE})"""
    ).fetchall()
    (size,) = con.execute("SELECT count(*) FROM sample").fetchall()[0]
    untold = told_by_label(declared)
    found = [
        leak
        for name in declared.row_features
        if name in untold
        for leak in _differing(con, name, f"SELECT _obs, NULL AS {identifier(name)} FROM sample")
    ]
    for view in declared.views.values():
        again = _again(con, declared, view, days, untold, load)
        for name in declared.features:
            own, _, feature = name.partition(".")
            if own == view.name:
                found += _differing(con, name, f"SELECT _obs, {identifier(feature)} AS {identifier(name)} FROM {again}")
        if declared.derived:
            con.execute(f"CREATE OR REPLACE TEMP TABLE again_{view.name} AS SELECT * FROM {again}").fetchall()
    derived = _derived_again(declared, untold) if declared.derived else ""
    return size, found + [
        leak
        for name in declared.features
        if name in declared.derived
        for leak in _differing(con, name, f"SELECT _obs, {identifier(name)} FROM ({derived})")
    ]


def _derived_again(declared: DeclaredLine, untold: Collection[str]) -> str:
    """Query for _obs and the features computed on demand, from the tables of the views computed again.

    untold: columns of the observed event that are not known yet, and so are empty.
    """
    values = {
        f"{view.name}.{name}": value
        for view in declared.views.values()
        for name, value in joined(view, f"again_{view.name}").items()
    }
    joins = " ".join(f"LEFT JOIN again_{name} ON again_{name}._obs = sample._obs" for name in declared.views)
    chosen = {name: values[name] for name in on_demand.read(declared)}
    for name in observed(declared.features, declared.derived):
        chosen[name] = f"NULL::{declared.observed.types[name]}" if name in untold else f"sample.{identifier(name)}"
    return on_demand.added(f"SELECT sample._obs, {named(chosen)} FROM sample {joins}", declared.derived)


def told_by_label(declared: DeclaredLine) -> set[str]:
    """Columns of the observed stream that say something of the label before it is known."""
    label = declared.line.label
    if label.expression is None or not label.silence:
        return set()
    stream = declared.observed.stream
    texts = {**stream.derive, **stream.rules}
    read, todo = set(), [*expressions.columns(label.expression)]
    while todo:
        name = todo.pop()
        read.add(name)
        todo += expressions.columns(texts[name]) - read if name in texts else ()
    read -= {*label.known, *texts, stream.id, stream.event_time, stream.known_at}
    told = set(read)
    for name, text in texts.items():
        if expressions.columns(text) & told and name not in label.known:
            told.add(name)
    return told


def _again(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredLine,
    view: View,
    days: Sequence[dt.date],
    untold: set[str],
    load: Load,
) -> str:
    """A relation of _obs and the view's features, computed for each observation from a table of what it could know."""
    stream = declared.streams[view.stream]
    fresh = view in fresh_views(declared)
    same = fresh and view.stream == declared.line.observe.stream
    moment = "observed_at" if fresh else f"(ds + {snapshot_offset(declared) + 1})::TIMESTAMP"
    columns = columns_read(view)
    first = days[0] - dt.timedelta(days=whole_days(view.reach) + 1)
    history.create(con, "past", stream, {*columns, stream.stream.id}, first, days[-1], load)
    masked = sorted(columns & untold) if view.stream == declared.line.observe.stream else []
    of_label = interval(declared.line.label.silence)
    hidden = [
        f"CASE WHEN e.event_time + {of_label} <= s.t THEN e.{identifier(c)} END AS {identifier(c)}" for c in masked
    ]
    shown = [f"e.{identifier(c)}" for c in sorted(columns - set(masked) | {"event_time", "known_at"})]
    chosen = ", ".join(["s._obs", *hidden, *shown, "NULL::TIMESTAMP AS superseded_at"])
    sample = f"(SELECT *, {moment} AS t FROM sample) AS s"
    alike = " AND ".join(f"s.{identifier(key)} = e.{identifier(key)}" for key in view.entity)
    query = f"""SELECT {chosen}, false AS _current FROM {sample} JOIN past AS e ON {alike}
                WHERE e.event_time < s.t AND e.event_time > s.t - {interval(view.reach)}
                  AND e.known_at <= s.t AND coalesce(e.superseded_at > s.t, true)"""
    if same:
        query += f""" UNION ALL BY NAME SELECT {chosen}, true AS _current FROM {sample}
                      JOIN past AS e ON s.ds = e.ds AND s.example_id = e.{identifier(stream.stream.id)} AND e.original"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE cut AS {query}").fetchall()
    named = " AND ".join(f"{identifier(key)} IS NOT NULL" for key in view.entity)
    asked = f"(SELECT _obs AS obs, _obs AS entity, {moment} AS t FROM sample WHERE {named})"
    if same:
        asked = f"(SELECT rowid AS obs, _obs AS entity, event_time AS t FROM cut WHERE _current AND {named})"
    alone = view.model_copy(update={"entity": ("_obs",)})
    compute(con, alone, "cut", asked, "recomputed", same_stream=same)
    if not same:
        return "(SELECT obs AS _obs, * EXCLUDE (obs) FROM recomputed)"
    return f"""(SELECT cut._obs, recomputed.* EXCLUDE (obs) FROM recomputed JOIN cut ON cut.rowid = obs
                WHERE _current AND {named})"""


def _differing(con: duckdb.DuckDBPyConnection, name: str, again: str) -> list[Leak]:
    feature = identifier(name)
    row = con.execute(
        f"""SELECT count(*), min_by((example_id, sample.{feature}, again.{feature}), _obs)
            FROM sample JOIN ({again}) AS again USING (_obs) WHERE sample.{feature} IS DISTINCT FROM again.{feature}"""
    ).fetchall()[0]
    return [Leak(name, row[0], *row[1])] if row[0] else []
