"""What did we know when each thing was observed? One row an observation, with its complete feature vector.

These rows are trained on, scored and watched for drift alike; there is no second way to compute a feature.
"""

import datetime as dt
from collections.abc import Iterable, Sequence

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.base import whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.line import Line
from factory_assets.declarations.view import View
from factory_assets.features import on_demand
from factory_assets.features.point_in_time import history
from factory_assets.features.point_in_time.aggregates import columns_read, entity_of, filled
from factory_assets.features.point_in_time.history import Load
from factory_assets.features.point_in_time.stretches import VALUE_BYTES, Read, cut
from factory_assets.features.point_in_time.windows import Along, active_entities, along, compute, passed
from factory_assets.identity import nodes as segments
from factory_resources.engine import memory_of
from factory_resources.lake import Lake


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


def in_stretches(
    con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredLine, days: Sequence[dt.date]
) -> list[list[dt.date]]:
    """The days in order, as many together as the connection computes in memory."""
    reads = [Read(lake.rows(f"{stream}/events"), back) for stream, back in lookback(declared).items()]
    columns = len(declared.features) + sum(len(_columns_read(declared, stream)) for stream in lookback(declared))
    return list(cut(days, reads, memory_of(con) // (VALUE_BYTES * columns)))


def build(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date], load: Load) -> str:
    """A query for the examples of the days: example_id, leaf, observed_at, carried columns, features, ds.

    days: ascending, without a gap. Of several days together an example has the values that it has of its day alone.
    """
    for stream, back in lookback(declared).items():
        load_events(con, declared, stream, days[0] - dt.timedelta(days=back), days[-1], load)
    passing = _along(con, declared)
    if not passing or len(passing) < len(fresh_views(declared)):
        observe(con, declared, days)
    joins: list[str] = []
    of_views: dict[str, str] = {}
    for view in declared.views.values():
        values = passing[view.name].values if view.name in passing else joined(view, f"view_{view.name}")
        of_views |= {f"{view.name}.{name}": value for name, value in values.items()}
        if view.name not in passing:
            joins.append(_join(con, declared, view, days, load))
    own = ["example_id", "leaf", "observed_at", *_kept(declared)]
    columns = [f"observations.{identifier(name)}" for name in own]
    columns += [f"{of_views[name]} AS {identifier(name)}" for name in on_demand.read(declared)]
    observations = "observations"
    if passing:
        observations = f"({_observations(declared, _events(declared, days, list(passing.values())))}) AS observations"
    query = f"SELECT {', '.join(columns)}, observations.ds FROM {observations} {' '.join(joins)}"
    if not declared.derived:
        return query
    chosen = [*own, *(name for name in declared.features if "." in name), "ds"]
    return f"SELECT {', '.join(map(identifier, chosen))} FROM ({on_demand.added(query, declared.derived)})"


def _along(con: duckdb.DuckDBPyConnection, declared: DeclaredLine) -> dict[str, Along]:
    """Views of the observed events themselves that one pass over these computes, sparing a table and a join each."""
    stream = declared.line.observe.stream
    found = {view.name: along(con, view, f"events_{stream}") for view in fresh_views(declared) if view.stream == stream}
    return {name: view for name, view in found.items() if view is not None}


def joined(view: View, rows: str) -> dict[str, str]:
    """SQL of the view's features by name, at an observation that may have found none of the view's rows."""
    columns = {name: f"{rows}.{identifier(name)}" for name in view.names}
    if view.flag:
        columns[view.flag] = f"1 - {columns[view.flag]}"
    return filled(view, columns)


def _kept(declared: DeclaredLine) -> list[str]:
    """Columns of an observation itself: entities, by which views are joined, carried columns and row features."""
    observed = declared.line.observe.entity
    entities = [observed] if observed else [key for view in declared.views.values() for key in view.entity]
    return list(dict.fromkeys([*entities, *declared.carried, *declared.row_features]))


def load_events(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, stream: str, first: dt.date, last: dt.date, load: Load
) -> None:
    """Make `events_<stream>` a table of the columns that the line reads: see `history.create`."""
    columns = _columns_read(declared, stream)
    history.create(con, f"events_{stream}", declared.streams[stream], columns, first, last, load)


def _columns_read(declared: DeclaredLine, stream: str) -> set[str]:
    line = declared.line
    columns = {"ds", "event_time", "known_at"}
    texts: list[str | None] = []
    if stream == line.observe.stream:
        columns |= {declared.observed.stream.id, *_kept(declared)}
        texts += [line.observe.where, line.label.expression]
    if stream == line.label.event and line.observe.entity:
        columns.add(line.observe.entity)
        texts.append(line.label.where)
    for view in declared.views.values():
        if view.stream == stream:
            columns |= columns_read(view)
    return columns | {name for text in texts if text for name in expressions.columns(text)}


def observe(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date]) -> None:
    """Create the table `observations` from `events_<stream>`: obs, example_id, leaf, observed_at, columns, ds."""
    observations = _entities(con, declared, days) if declared.line.observe.entity else _events(declared, days)
    con.execute(f"CREATE OR REPLACE TEMP TABLE observations AS {_observations(declared, observations)}").fetchall()


def _observations(declared: DeclaredLine, rows: str) -> str:
    return f"SELECT *, {segments.leaf_key(declared.line.segments.levels)} AS leaf FROM ({rows})"


def _events(declared: DeclaredLine, days: Sequence[dt.date], along: Sequence[Along] = ()) -> str:
    """Query for the observed events, with the columns that the views along them are made of."""
    stream = declared.observed.stream
    columns = list(map(identifier, _kept(declared)))
    rows = f"SELECT *, rowid AS obs FROM events_{stream.name}"
    if along:
        columns += ["event_time", *(column for view in along for column in view.asked)]
        rows = passed(f"events_{stream.name}", along)
    return f"""SELECT obs, {identifier(stream.id)} AS example_id, event_time AS observed_at, {", ".join([*columns, "ds"])}
               FROM ({rows})
               WHERE original AND ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'
                 AND {expressions.condition(declared.line.observe.where)}"""


def _entities(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, days: Sequence[dt.date]) -> str:
    """Entities that are active at the close of each day, with the latest known values of what they carry."""
    observe = declared.line.observe
    assert observe.entity is not None
    con.execute(f"CREATE OR REPLACE TEMP TABLE population AS {population(declared.line, days)}").fetchall()
    carried = [name for name in declared.carried if name != observe.entity]
    own = f"obs, example_id, t AS observed_at, entity AS {identifier(observe.entity)}"
    if not carried:
        return f"SELECT {own}, ds FROM population"
    latest = View(
        name="latest", stream=observe.stream, entity=observe.entity, owner=declared.line.owner, description="",
        windows=[observe.active], where=observe.where,
        features={f"c{index}": f"last({identifier(name)})" for index, name in enumerate(carried)},
    )  # fmt: skip
    population_at = "(SELECT obs, entity, t FROM population)"
    compute(con, latest, f"events_{observe.stream}", population_at, "latest", same_stream=False)
    values = ", ".join(f"{column} AS {identifier(name)}" for column, name in zip(latest.names, carried, strict=True))
    return f"SELECT {own}, {values}, ds FROM population JOIN latest USING (obs)"


def population(line: Line, days: Sequence[dt.date]) -> str:
    """Query for the entities observed at the close of each day: obs, example_id ('<entity>@<day>'), entity, t, ds."""
    assert line.observe.entity is not None
    active = active_entities(
        f"events_{line.observe.stream}", [line.observe.entity], days, line.observe.active, line.observe.where
    )
    return (
        f"SELECT row_number() OVER () AS obs, entity::VARCHAR || '@' || ds AS example_id, entity, t, ds FROM ({active})"
    )


def _join(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, view: View, days: Sequence[dt.date], load: Load
) -> str:
    """Compute or load a view and say how it joins `observations`."""
    if view in fresh_views(declared):
        own = view.stream == declared.line.observe.stream
        at = f"(SELECT obs, {entity_of(view.entity)} AS entity, observed_at AS t FROM observations)"
        compute(con, view, f"events_{view.stream}", at, f"view_{view.name}", same_stream=own)
        return f"LEFT JOIN view_{view.name} ON view_{view.name}.obs = observations.obs"
    offset = dt.timedelta(days=snapshot_offset(declared))
    load(f"view_{view.name}", f"features/{view.name}", days[0] + offset, days[-1] + offset)
    same = " AND ".join(f"view_{view.name}.{identifier(key)} = observations.{identifier(key)}" for key in view.entity)
    return f"""LEFT JOIN view_{view.name} ON {same}
               AND view_{view.name}.ds = observations.ds + {offset.days}"""


def cold_starts(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, examples: str
) -> dict[dt.date, dict[str, float]]:
    """Of each day and each flag the share of its examples of whose entity the view knew nothing."""
    flags = [f"{view.name}.{view.flag}" for view in declared.views.values() if view.flag]
    flags = [name for name in flags if name in declared.features]
    if not flags:
        return {}
    shares = ", ".join(f"avg({identifier(name)})" for name in flags)
    found = con.execute(f"SELECT ds, {shares} FROM {examples} GROUP BY ds").fetchall()
    return {day: dict(zip(flags, values, strict=True)) for day, *values in found}


def nodes_seen(con: duckdb.DuckDBPyConnection, examples: str) -> Iterable[str]:
    """All segment nodes of the examples, parents first."""
    leaves = [row[0] for row in con.execute(f"SELECT DISTINCT leaf FROM {examples} ORDER BY 1").fetchall()]
    return segments.tree(leaves)


def keys_seen(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, first: dt.date | None = None, last: dt.date | None = None
) -> dict[str, tuple[dt.date, dt.date]]:
    """Of each segment key among a line's examples of these days, the first and the last day that have it."""
    if lake.version(f"{line}/examples") is None:
        return {}
    lake.view(con, "examples", f"{line}/examples", first, last, empty_if_absent=True)
    found = con.execute("SELECT leaf, min(ds), max(ds) FROM examples GROUP BY leaf").fetchall()
    return {key: (earliest, latest) for key, earliest, latest in found}


def keys_in_reach(
    con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredLine, as_of: dt.date | None = None
) -> dict[str, tuple[dt.date, dt.date]]:
    """`keys_seen` of the days that a training as of a day, the newest if absent, looks back on."""
    line = declared.line
    last = as_of or max(lake.days(f"{line.name}/examples"), default=None)
    if last is None:
        return {}
    reach = line.train.window + line.train.holdout + dt.timedelta(days=2 * line.horizon_days)
    return keys_seen(con, lake, line.name, last - reach, last)
