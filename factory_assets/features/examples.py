"""What did we know when each thing was observed? One row an observation, with its complete feature vector.

These rows are trained on, scored and watched for drift alike; there is no second way to compute a feature.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration, whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.line import Line
from factory_assets.declarations.view import View
from factory_assets.features import segments
from factory_assets.features.windows import active_entities, compute

#: Load days of a stream's events, or of a view's snapshots, as a view of the given name.
Load = Callable[[str, str, dt.date, dt.date], None]


def fresh_views(declared: DeclaredLine) -> list[View]:
    """Views computed at the observation. For an entity at the close of a day, that is the day's snapshot."""
    if declared.line.observe.entity:
        return []
    return [view for view in declared.views.values() if view.name not in declared.line.snapshot]


def snapshot_offset(declared: DeclaredLine) -> int:
    """Which day's snapshot an observation reads: its own day's for an entity at the close, else the day before's."""
    return 0 if declared.line.observe.entity else -1


def lookback(declared: DeclaredLine) -> dict[str, int]:
    """Stream -> days of events before the observation that the examples need."""
    needed = {declared.line.observe.stream: 0}
    if declared.line.observe.entity:
        needed[declared.line.observe.stream] = whole_days(declared.line.observe.active)
    for view in fresh_views(declared):
        needed[view.stream] = max(needed.get(view.stream, 0), whole_days(view.reach))
    return needed


def build(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], load: Load) -> str:
    """A query for the examples of the days: example_id, segment, observed_at, carried columns, features, ds."""
    for stream, back in lookback(declared).items():
        load_events(con, declared, stream, days[0] - dt.timedelta(days=back), days[-1], load)
    observe(con, declared, days)
    joins, chosen = [], []
    for view in declared.views.values():
        wanted = [name for name in declared.features if name.partition(".")[0] == view.name]
        joins.append(_join(con, declared, view, days, load))
        chosen += [f"{_default(view, name)} AS {identifier(name)}" for name in wanted]
    carried = [
        f"observations.{identifier(name)}"
        for name in dict.fromkeys([*_keys(declared), *declared.carried, *declared.row_features])
    ]
    order = {name: index for index, name in enumerate(declared.features)}
    chosen.sort(key=lambda text: order[text.rpartition(' AS "')[2][:-1]])
    columns = ", ".join(["example_id", "segment", "observed_at", *carried, *chosen, "observations.ds AS ds"])
    return f"SELECT {columns} FROM observations {' '.join(joins)} ORDER BY ds, observed_at, example_id"


def _keys(declared: DeclaredLine) -> list[str]:
    """Entity columns of an observation, by which views are joined."""
    line = declared.line
    return (
        [line.observe.entity] if line.observe.entity else list(dict.fromkeys(v.entity for v in declared.views.values()))
    )


def load_events(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, stream: str, first: dt.date, last: dt.date, load: Load
) -> None:
    """Make `events_<stream>` a table of the columns that the line reads."""
    load("events_of_stream", f"{stream}/events", first, last)
    columns = ", ".join(identifier(name) for name in sorted(_columns_read(declared, stream)))
    con.execute(f"CREATE OR REPLACE TEMP TABLE events_{stream} AS SELECT {columns} FROM events_of_stream").fetchall()


def _columns_read(declared: DeclaredLine, stream: str) -> set[str]:
    line = declared.line
    columns = {"ds", "event_time", "known_at"}
    texts: list[str | None] = []
    if stream == line.observe.stream:
        columns |= {declared.streams[stream].stream.id, *declared.carried, *declared.row_features}
        columns |= {line.observe.entity} if line.observe.entity else set(_keys(declared))
        texts += [line.observe.where, line.label.expression]
    if stream == line.label.event and line.observe.entity:
        columns.add(line.observe.entity)
        texts.append(line.label.where)
    for view in declared.views.values():
        if view.stream == stream:
            columns.add(view.entity)
            texts.append(view.where)
            columns |= {name for text in view.features.values() for name in expressions.aggregate(text).columns}
    return columns | {name for text in texts if text for name in expressions.columns(text)}


def observe(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date]) -> None:
    """Create the table `observations` from `events_<stream>`: obs, example_id, segment, observed_at, columns, ds."""
    line = declared.line
    segment = f"{segments.leaf_key(line.segments.levels)} AS segment"
    if not line.observe.entity:
        stream = declared.observed.stream
        kept = dict.fromkeys([*_keys(declared), *declared.carried, *declared.row_features])
        columns = ", ".join(map(identifier, kept)) + (", " if kept else "")
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE observations AS
                SELECT rowid AS obs, {identifier(stream.id)} AS example_id, {segment}, event_time AS observed_at, {columns} ds
                FROM events_{stream.name} WHERE ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}' AND {_where(line)}"""
        ).fetchall()
        return
    con.execute(f"CREATE OR REPLACE TEMP TABLE population AS {population(line, days)}").fetchall()
    carried, join = "", ""
    if declared.carried:
        window = format_duration(line.observe.active)
        latest = View(
            name="carried", stream=line.observe.stream, entity=line.observe.entity, owner=line.owner, description="",
            windows=[line.observe.active], where=line.observe.where,
            features={f"c{index}": f"last({name})" for index, name in enumerate(declared.carried)},
        )  # fmt: skip
        compute(
            con,
            latest,
            f"events_{line.observe.stream}",
            "(SELECT obs, entity, t FROM population)",
            "latest",
            same_stream=False,
        )
        carried = "".join(f"c{index}_{window} AS {identifier(name)}, " for index, name in enumerate(declared.carried))
        join = "JOIN latest USING (obs)"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE observations AS
            SELECT *, {segment} FROM (
                SELECT obs, example_id, t AS observed_at, entity AS {identifier(line.observe.entity)}, {carried} ds
                FROM population {join})"""
    ).fetchall()


def population(line: Line, days: Sequence[dt.date]) -> str:
    """Query for the entities observed at the close of each day: obs, example_id ('<entity>@<day>'), entity, t, ds."""
    assert line.observe.entity is not None
    active = active_entities(
        f"events_{line.observe.stream}", line.observe.entity, days, line.observe.active, line.observe.where
    )
    return (
        f"SELECT row_number() OVER () AS obs, entity::VARCHAR || '@' || ds AS example_id, entity, t, ds FROM ({active})"
    )


def _where(line: Line) -> str:
    return expressions.sql(line.observe.where) if line.observe.where else "true"


def _join(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, view: View, days: Sequence[dt.date], load: Load
) -> str:
    """Compute or load a view and say how it joins `observations`."""
    if view in fresh_views(declared):
        same = view.stream == declared.line.observe.stream
        at = f"(SELECT obs, {identifier(view.entity)} AS entity, observed_at AS t FROM observations)"
        compute(con, view, f"events_{view.stream}", at, f"view_{view.name}", same_stream=same)
        return f"LEFT JOIN view_{view.name} ON view_{view.name}.obs = observations.obs"
    offset = dt.timedelta(days=snapshot_offset(declared))
    load(f"view_{view.name}", f"features/{view.name}", days[0] + offset, days[-1] + offset)
    entity = identifier(view.entity)
    return f"""LEFT JOIN view_{view.name} ON view_{view.name}.{entity} = observations.{entity}
               AND view_{view.name}.ds = observations.ds + {offset.days}"""


def _default(view: View, canonical: str) -> str:
    """An entity that the view does not know has the default, and no events: a count of 0."""
    name = canonical.partition(".")[2]
    column = f"view_{view.name}.{identifier(name)}"
    feature = next(key for key in view.features if name.startswith(f"{key}_") and "_" not in name[len(key) + 1 :])
    if expressions.aggregate(view.features[feature]).function in ("count", "distinct"):
        return f"coalesce({column}, 0)"
    return column if view.default is None else f"coalesce({column}, {view.default!r})"


def nodes_seen(con: duckdb.DuckDBPyConnection) -> Iterable[str]:
    """All segment nodes of the `observations`, parents first."""
    leaves = [row[0] for row in con.execute("SELECT DISTINCT segment FROM observations ORDER BY 1").fetchall()]
    return segments.tree(leaves)
