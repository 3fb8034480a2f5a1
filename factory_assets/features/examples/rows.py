"""What did we know when each thing was observed? One row an observation, with its complete feature vector.

These rows are trained on, scored and watched for drift alike; there is no second way to compute a feature.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

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
from factory_assets.features.point_in_time.history import Load, Versions
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

    days: ascending, without a gap. An example has the same values whether its day is built alone or with others.
    """
    events = {
        stream: load_events(con, declared, stream, days[0] - dt.timedelta(days=back), days[-1], load)
        for stream, back in lookback(declared).items()
    }
    passing = _along(con, declared, events)
    observations = "observations"
    if not passing or len(passing) < len(fresh_views(declared)):
        observe(con, declared, events, days, observations)
    joins: list[str] = []
    of_views: dict[str, str] = {}
    for view in declared.views.values():
        rows = f"view_{view.name}"
        values = passing[view.name].values if view.name in passing else joined(view, rows)
        of_views |= {f"{view.name}.{name}": value for name, value in values.items()}
        if view.name in passing:
            continue
        if view in fresh_views(declared):
            at = f"(SELECT obs, {entity_of(view.entity)} AS entity, observed_at AS t FROM {observations})"
            same_stream = view.stream == declared.line.observe.stream
            compute(con, view, events[view.stream], at, rows, same_stream=same_stream)
            joins.append(f"LEFT JOIN {rows} ON {rows}.obs = {observations}.obs")
        else:
            joins.append(_join_snapshots(declared, view, days, load, rows, observations))
    of_observation = ["example_id", "leaf", "observed_at", *declared.kept]
    columns = [f"{observations}.{identifier(name)}" for name in of_observation]
    columns += [f"{of_views[name]} AS {identifier(name)}" for name in on_demand.read(declared)]
    source = observations
    if passing:
        observed = _observations(declared, _events(declared, events, days, list(passing.values())))
        source = f"({observed}) AS {observations}"
    query = f"SELECT {', '.join(columns)}, {observations}.ds FROM {source} {' '.join(joins)}"
    if not declared.derived:
        return query
    chosen = [*of_observation, *(name for name in declared.features if "." in name), "ds"]
    return f"SELECT {', '.join(map(identifier, chosen))} FROM ({on_demand.added(query, declared.derived)})"


def _along(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Mapping[str, str]) -> dict[str, Along]:
    """Views of the observed events themselves that one pass over these computes, sparing a table and a join each.

    events: stream -> table of its events.
    """
    stream = declared.line.observe.stream
    views = {view.name: along(con, view, events[stream]) for view in fresh_views(declared) if view.stream == stream}
    return {name: view for name, view in views.items() if view is not None}


def joined(view: View, rows: str) -> dict[str, str]:
    """SQL of the view's features by name, at an observation that may have found none of the view's rows."""
    columns = {name: f"{rows}.{identifier(name)}" for name in view.names}
    if view.flag:
        columns[view.flag] = f"1 - {columns[view.flag]}"
    return filled(view, columns)


def load_events(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredLine,
    stream: str,
    first: dt.date,
    last: dt.date,
    load: Load,
    elsewhere: bool = False,
) -> str:
    """Create a table of a stream's events with the columns that the line reads, see `history.create`; returns its name."""
    events = f"events_{stream}"
    versions = Versions(declared.streams[stream], _columns_read(declared, stream), first, last, elsewhere)
    history.create(con, events, versions, load)
    return events


def _columns_read(declared: DeclaredLine, stream: str) -> set[str]:
    line = declared.line
    columns = {"ds", "event_time", "known_at"}
    texts: list[str | None] = []
    if stream == line.observe.stream:
        columns |= {declared.observed.stream.id, *declared.kept}
        columns |= set(line.label.same)
        texts += [line.observe.where, line.label.expression]
    if stream == line.label.event:
        columns |= {declared.streams[stream].stream.id, *line.label.same}
        columns |= {line.observe.entity} if line.observe.entity else set()
        texts.append(line.label.where)
    for view in declared.views.values():
        if view.stream == stream:
            columns |= columns_read(view)
    return columns | {name for text in texts if text for name in expressions.columns(text)}


def observe(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredLine,
    events: Mapping[str, str],
    days: Sequence[dt.date],
    into: str,
) -> None:
    """Create the table `into` of observations: obs, example_id, leaf, observed_at, columns, ds.

    events: stream -> table of its events.
    """
    of_entities = bool(declared.line.observe.entity)
    rows = _entities(con, declared, events, days) if of_entities else _events(declared, events, days)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS {_observations(declared, rows)}").fetchall()


def _observations(declared: DeclaredLine, rows: str) -> str:
    return f"SELECT *, {segments.leaf_key(declared.line.segments.levels)} AS leaf FROM ({rows})"


def _events(
    declared: DeclaredLine, events: Mapping[str, str], days: Sequence[dt.date], along: Sequence[Along] = ()
) -> str:
    """Query for the observed events, with the columns from which the views along them are computed."""
    stream = declared.observed.stream
    columns = list(map(identifier, declared.kept))
    rows = f"SELECT *, rowid AS obs FROM {events[stream.name]}"
    if along:
        columns += ["event_time", *(column for view in along for column in view.asked)]
        rows = passed(events[stream.name], along)
    return f"""SELECT obs, {identifier(stream.id)} AS example_id, event_time AS observed_at, {", ".join([*columns, "ds"])}
               FROM ({rows})
               WHERE _original AND ds BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'
                 AND {expressions.condition(declared.line.observe.where)}"""


def _entities(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Mapping[str, str], days: Sequence[dt.date]
) -> str:
    """Query for the entities that are active at the close of each day, with the latest known values of carried columns."""
    observe = declared.line.observe
    assert observe.entity is not None
    entities, values = "population", "latest"
    rows = population(declared.line, events[observe.stream], days)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {entities} AS {rows}").fetchall()
    carried = [name for name in declared.carried if name != observe.entity]
    of_entity = f"obs, example_id, t AS observed_at, entity AS {identifier(observe.entity)}"
    if not carried:
        return f"SELECT {of_entity}, ds FROM {entities}"
    latest = View(
        name="latest", stream=observe.stream, entity=observe.entity, owner=declared.line.owner, description="",
        windows=[observe.active], where=observe.where,
        features={f"c{index}": f"last({identifier(name)})" for index, name in enumerate(carried)},
    )  # fmt: skip
    at = f"(SELECT obs, entity, t FROM {entities})"
    compute(con, latest, events[observe.stream], at, values, same_stream=False)
    named = ", ".join(f"{column} AS {identifier(name)}" for column, name in zip(latest.names, carried, strict=True))
    return f"SELECT {of_entity}, {named}, ds FROM {entities} JOIN {values} USING (obs)"


def population(line: Line, events: str, days: Sequence[dt.date]) -> str:
    """Query for the entities observed at the close of each day: obs, example_id ('<entity>@<day>'), entity, t, ds.

    events: name of the table with the events of the observed stream.
    """
    assert line.observe.entity is not None
    active = active_entities(events, [line.observe.entity], days, line.observe.active, line.observe.where)
    return (
        f"SELECT row_number() OVER () AS obs, entity::VARCHAR || '@' || ds AS example_id, entity, t, ds FROM ({active})"
    )


def _join_snapshots(
    declared: DeclaredLine, view: View, days: Sequence[dt.date], load: Load, rows: str, observations: str
) -> str:
    """Load the snapshots of a view as the relation `rows`; the SQL that joins them to the relation of observations."""
    offset = dt.timedelta(days=snapshot_offset(declared))
    load(rows, f"features/{view.name}", days[0] + offset, days[-1] + offset)
    same = " AND ".join(f"{rows}.{identifier(key)} = {observations}.{identifier(key)}" for key in view.entity)
    return f"""LEFT JOIN {rows} ON {same}
               AND {rows}.ds = {observations}.ds + {offset.days}"""


def cold_starts(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, examples: str
) -> dict[dt.date, dict[str, float]]:
    """Day -> flag -> share of the day's examples for whose entity the flag's view had no event."""
    flags = [f"{view.name}.{view.flag}" for view in declared.views.values() if view.flag]
    flags = [name for name in flags if name in declared.features]
    if not flags:
        return {}
    shares = ", ".join(f"avg({identifier(name)})" for name in flags)
    by_day = con.execute(f"SELECT ds, {shares} FROM {examples} GROUP BY ds").fetchall()
    return {day: dict(zip(flags, values, strict=True)) for day, *values in by_day}


def nodes_seen(con: duckdb.DuckDBPyConnection, examples: str) -> Iterable[str]:
    """All segment nodes of the examples, parents first."""
    leaves = [row[0] for row in con.execute(f"SELECT DISTINCT leaf FROM {examples} ORDER BY 1").fetchall()]
    return segments.tree(leaves)


def keys_seen(
    con: duckdb.DuckDBPyConnection, lake: Lake, line: str, first: dt.date | None = None, last: dt.date | None = None
) -> dict[str, tuple[dt.date, dt.date]]:
    """Segment key -> the first and the last of these days on which a line's examples have it."""
    if lake.version(f"{line}/examples") is None:
        return {}
    examples = "examples"
    lake.view(con, examples, f"{line}/examples", first, last, empty_if_absent=True)
    rows = con.execute(f"SELECT leaf, min(ds), max(ds) FROM {examples} GROUP BY leaf").fetchall()
    return {key: (earliest, latest) for key, earliest, latest in rows}


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
