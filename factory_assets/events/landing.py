"""How does a delivery become rows of `raw`? Every row typed as the contract says and put into its day; nothing is lost.

Text that does not parse stays beside the row in `_unparsed`, columns that the contract does not know in `_undeclared`,
a line that is no row in `_line`. A row without a usable time stays with the last day of its file, where the rules
find it.
"""

import datetime as dt
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import duckdb
import pyarrow as pa

from factory_assets.declarations import expressions
from factory_assets.declarations.base import FILE_LINE
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import ELEMENTS, SQL_TYPES, Column
from factory_assets.declarations.days import EPOCH
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream
from factory_assets.events.sources import NOTHING, Delivery, problem_of
from factory_assets.events.sources.base import free_name, of_feed, quoted
from factory_assets.events.sources.files import within
from factory_assets.words import counted

Role = Literal["event_time", "known_at"]

#: Type -> the first whole number that stands for more than one: those next to it have the same bits.
FLOATING = {"DOUBLE": 2**53, "FLOAT": 2**24}
#: The days that Python, and so every reader of a table, can tell.
FIRST_DAY, AFTER_LAST = "DATE '0001-01-01'", "DATE '10000-01-01'"
#: A whole number, as spreadsheets and data frames write it too: 12 and 12.0.
WHOLE = r"\s*[+-]?\d+(\.0*)?\s*"
#: A number of time since 1970.
DECIMAL = r"\s*[+-]?\d+(\.\d*)?\s*"
#: Microseconds in what an epoch counts, as SQL writes them exactly.
EPOCHS = {"s": "1000000", "ms": "1000", "us": "1", "ns": "0.001"}
#: Of columns that nobody knows, so many are named in a message, and so much of each.
NAMED, SHOWN = 20, 60
#: After the first colon of a timestamp's text, a sign or a letter belongs to an offset or the name of a zone.
ZONED = ":.*[-+A-Za-z]"
#: No place on earth is as far from UTC as 16 hours; DuckDB moves a time by 99.
BEYOND = r":.*[-+](1[6-9]|[2-9]\d)"
#: How a time begins where no format is declared. Of two digits DuckDB would make a year of the first century.
YEAR_FIRST = r"^\s*\d{4}[-/]"


@dataclass(frozen=True)
class Arrival:
    """One row of the deliveries table: the columns that a source delivered for a day, or why the source is unreadable.

    columns: by their names in the contract, where it has them.
    late: whether the source is of a later day.
    outside: rows of the source that lie before the stream's first day, or after its last; they are in no table.
    note: what else a person should know of the source.
    """

    source: str
    columns: tuple[str, ...]
    problem: str | None = None
    late: bool = False
    outside: int = 0
    note: str | None = None


def arrivals(rows: Iterable[Mapping[str, Any]]) -> dict[dt.date, list[Arrival]]:
    """Rows of the deliveries table by day; a day for which nothing was delivered is absent."""
    found: dict[dt.date, list[Arrival]] = {}
    for row in rows:
        arrival = Arrival(
            row["source"],
            tuple(json.loads(row["columns"])),
            row["problem"],
            bool(row.get("late")),
            row.get("outside") or 0,
            row.get("note"),
        )
        found.setdefault(row["ds"], []).append(arrival)
    return found


@dataclass(frozen=True)
class Landed:
    """Names of the relations that `land` creates.

    rows: raw rows of the days, a view with the contract's columns, `_unparsed` and `_undeclared` (JSON or null), `_line`,
        `_source`, `ds`, and in a zone other than UTC the instants of delivered times (`instants`).
    deliveries: what was delivered, per day and source, a table of ds, source, rows, columns (JSON list), problem (text or
        null), late (whether it is of a later day), outside (rows before the stream's first day, or after its last), note, types
        (JSON list, of the columns).
    """

    rows: str = "landed"
    deliveries: str = "deliveries"


def land(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    delivered: Sequence[Delivery],
    days: Sequence[dt.date],
    today: dt.date,
    earlier: Callable[[str], Collection[dt.date]] = lambda source: (),
) -> Landed:
    """Create the temporary relations with the raw rows of these days, and with what was delivered.

    earlier: days of which a source held rows when it was last read. Where a file cannot be read and its name does not say its
        days, these lack rows, and so may the last of the days asked for.
    """
    landed = Landed()
    delivered = [_of_stream(con, declared, _as_declared(declared, delivery)) for delivery in delivered]
    try:
        placed = _create(con, landed.rows, declared, delivered, days, today)
    except duckdb.Error:
        # One file takes the whole pass down: find it, so that only its days stay behind.
        alone = [one for delivery in delivered for one in _alone(delivery)]
        delivered = [_tried(con, declared, delivery, days, today) for delivery in alone]
        placed = _create(con, landed.rows, declared, delivered, days, today)
    sources = [
        _Known(source, delivery, placed.get(source, _Placed()), _days_of(delivery, source, days, earlier))
        for delivery in delivered
        for source in delivery.sources
    ]
    _note_deliveries(con, declared.stream, landed, sources, days)
    return landed


@dataclass
class _Placed:
    """What was found of a source while its rows were put into days. before, after: rows outside of the stream's days."""

    problem: str | None = None
    note: str | None = None
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class _Known:
    """A source, and the days for which it was delivered, with rows or without."""

    name: str
    delivery: Delivery
    placed: _Placed
    days: list[dt.date]


def _newest(stream: Stream, today: dt.date) -> dt.date:
    """The newest day of a stream that is over."""
    yesterday = today - dt.timedelta(days=1)
    return min(stream.end or yesterday, yesterday)


def _days_of(
    delivery: Delivery,
    source: str,
    days: Sequence[dt.date],
    earlier: Callable[[str], Collection[dt.date]],
) -> list[dt.date]:
    if delivery.period is not None:
        return [day for day in days if day in delivery.period]
    if delivery.problem is None:
        return []
    return sorted({*earlier(source), max(days)} & {*days})


def _as_declared(declared: DeclaredStream, delivery: Delivery) -> Delivery:
    """The delivery with its columns under the names that the contract gives them, and those that its folders' names give."""
    if delivery.problem is not None:
        return delivery
    columns = declared.contract.columns
    wanted = {column.delivered or name: name for name, column in columns.items()}
    twice = [name for name in wanted if name in delivery.folders and name in delivery.columns]
    given = {wanted[name]: text for name, text in delivery.folders.items() if name in wanted and name not in twice}
    names = {name: wanted[name] for name in delivery.columns if name in wanted}
    rest = [name for name in delivery.columns if name not in wanted]
    # A column of the feed may have the name that the contract gives to another.
    taken = {name.lower() for name in (*names.values(), *given)}
    clashing = [name for name in rest if name in columns or name.lower() in taken]
    taken |= {name.lower() for name in rest}
    for name in clashing:
        names[name] = free_name(name, taken)
        taken.add(names[name].lower())
    return replace(delivery.called(names, given), folders={wanted[name]: delivery.folders[name] for name in twice})


def _alone(delivery: Delivery) -> list[Delivery]:
    """A delivery for each of its sources."""
    if len(delivery.sources) == 1:
        return [delivery]
    return [replace(delivery, query=query, sources=(source,), alone={}) for source, query in delivery.alone.items()]


def _create(
    con: duckdb.DuckDBPyConnection,
    into: str,
    declared: DeclaredStream,
    delivered: Sequence[Delivery],
    days: Sequence[dt.date],
    today: dt.date,
) -> dict[str, _Placed]:
    """Create the view `into` of raw rows; returns what there is to say of sources."""
    none = Delivery(NOTHING, {}, (), Period(days[0], days[0]))
    placed = [_placed(con, declared, delivery, days, today) for delivery in delivered or [none]]
    queries = " UNION ALL BY NAME ".join(query for query, _ in placed)
    # A path takes as much room as all else of a row: there it is a number.
    names = dict.fromkeys(source for delivery in delivered for source in delivery.sources) or [""]
    sources = f"_source::ENUM({', '.join(map(quoted, names))})"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE rows_landed AS SELECT * REPLACE ({sources} AS _source) FROM ({queries})"
    ).fetchall()
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {into} AS SELECT * REPLACE (_source::VARCHAR AS _source) FROM rows_landed"
    ).fetchall()
    return {source: found for _, of_sources in placed for source, found in of_sources.items()}


def _tried(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    delivery: Delivery,
    days: Sequence[dt.date],
    today: dt.date,
) -> Delivery:
    try:
        _create(con, "tried", declared, [delivery], days, today)
    except duckdb.Error as error:
        return delivery.unreadable(problem_of(error))
    return delivery


def _note_deliveries(
    con: duckdb.DuckDBPyConnection,
    stream: Stream,
    landed: Landed,
    sources: Sequence[_Known],
    days: Sequence[dt.date],
) -> None:
    rows = [
        {
            "source": each.name,
            "day": each.delivery.day,
            "columns": json.dumps(list(each.delivery.columns)),
            "types": json.dumps(list(each.delivery.columns.values())),
            "problem": each.delivery.problem or each.placed.problem,
            "note": each.placed.note,
        }
        for each in sources
    ]
    places = [{"source": each.name, "ds": day, "outside": 0} for each in sources for day in each.days]
    ends = ((stream.start, "before"), (stream.end, "after"))
    places += [
        {"source": each.name, "ds": day, "outside": count}
        for each in sources
        for day, side in ends
        if day is not None and (count := getattr(each.placed, side))
    ]
    text, day_type = pa.string(), pa.date32()
    known = pa.schema({"source": text, "day": day_type} | dict.fromkeys(("columns", "types", "problem", "note"), text))
    con.register("known", pa.Table.from_pylist(rows, schema=known))
    placed = pa.schema([("source", text), ("ds", day_type), ("outside", pa.int64())])
    con.register("placed", pa.Table.from_pylist(places, schema=placed))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {landed.deliveries} AS
            WITH counted AS (SELECT ds, _source AS source, count(*) AS rows FROM {landed.rows} GROUP BY ALL),
            outside AS (SELECT ds, source, sum(outside)::BIGINT AS outside FROM placed GROUP BY ALL),
            places AS (SELECT ds, source FROM counted UNION SELECT ds, source FROM outside)
            SELECT ds, source, coalesce(rows, 0) AS rows, columns, problem, coalesce(ds <> known.day, false) AS late,
                   coalesce(outside, 0) AS outside, note, types
            FROM places LEFT JOIN counted USING (ds, source) LEFT JOIN outside USING (ds, source) LEFT JOIN known USING (source)
            WHERE ds BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"""
    ).fetchall()
    con.unregister("known")
    con.unregister("placed")


def _placed(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    delivery: Delivery,
    days: Sequence[dt.date],
    today: dt.date,
) -> tuple[str, dict[str, _Placed]]:
    """Query for the delivery's rows of these days, and what there is to say of its sources."""
    typed = typed_rows(declared, delivery)
    found = {source: _Placed(note=note) for source, note in _contradicted(con, declared, delivery).items()}
    if delivery.day is not None:
        return _of_day(declared, delivery, typed, days), found
    # A stamp after today, of the epoch's first day, or none at all says nothing about the row's day; nor does one of
    # the years before, in a stream that begins later: two digits read as four. Nor does one outside of the file's period.
    stream = declared.stream
    start, end = f"DATE '{stream.start}'", f"DATE '{stream.end or dt.date.max}'"
    believed = f"event_day <= DATE '{today}' AND (event_day > DATE '{EPOCH}' OR event_day >= {start})"
    if delivery.period is not None:
        believed += f" AND event_day BETWEEN DATE '{delivery.period.first}' AND DATE '{delivery.period.last}'"
    timed = f"""SELECT * EXCLUDE (event_day), CASE WHEN {believed} THEN event_day END AS ds
                FROM ({with_event_day(declared, typed)})"""
    wanted = f"ds BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"
    sides = f"count(*) FILTER (ds < {start}), count(*) FILTER (ds > {end})"
    lost, *outside = con.execute(f"SELECT count(*) FILTER (ds IS NULL), {sides} FROM ({timed})").fetchall()[0]
    if any(outside):
        for source, before, after in con.execute(f"SELECT _source, {sides} FROM ({timed}) GROUP BY _source").fetchall():
            place = found.setdefault(source, _Placed())
            place.before, place.after = before, after
    if not lost:
        return f"SELECT * FROM ({timed}) WHERE {wanted}", found
    # Where the file has no day either, or no day of the stream, the row lands on the newest day that is over.
    newest = f"DATE '{_newest(stream, today)}'"
    last = f"SELECT _source, greatest(least(coalesce(max(ds), {newest}), {newest}), {start}) AS _day"
    query = f"""SELECT * FROM (SELECT * EXCLUDE (ds, _day), coalesce(ds, _day) AS ds
                               FROM ({timed}) JOIN ({last} FROM ({timed}) GROUP BY _source) USING (_source))
                WHERE {wanted}"""
    for source, problem in _undated(con, declared, delivery, timed).items():
        found.setdefault(source, _Placed()).problem = problem
    return query, found


def _contradicted(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, delivery: Delivery) -> dict[str, str]:
    """Source -> a note: the names of its folders say something else than its rows, whose own values are taken."""
    notes: dict[str, list[str]] = {}
    for name, text in delivery.folders.items():
        column, stream = declared.contract.columns[name], declared.stream
        own = _parsed(of_feed(name), column, delivery.columns[name], stream)
        of_folder = _parsed(f"({text})", column, "VARCHAR", stream)
        differs = f"{own} <> {of_folder}"
        if column.type == "timestamp":
            # A folder names the day of a time, by the clock of the stream's zone or by UTC.
            universal = f"(timezone('{stream.timezone}', {own}) AT TIME ZONE 'UTC')"
            days = f"CAST({own} AS DATE) <> CAST({of_folder} AS DATE) AND CAST({universal} AS DATE) <> CAST({of_folder} AS DATE)"
            differs = f"CASE WHEN {of_folder} = date_trunc('day', {of_folder}) THEN {days} ELSE {differs} END"
        for source, rows in con.execute(
            f"SELECT _source, count(*) FROM ({delivery.query}) WHERE {differs} GROUP BY _source"
        ).fetchall():
            notes.setdefault(source, []).append(
                f"the folder of {source} gives another {name} than {counted(rows, 'row')} in it, whose own is taken"
            )
    return {source: "; ".join(of_source) for source, of_source in notes.items()}


def _of_day(declared: DeclaredStream, delivery: Delivery, typed: str, days: Sequence[dt.date]) -> str:
    """Query for the rows of a day's file: of that day, and those of days before for which it comes in time."""
    late: dt.timedelta = getattr(declared.stream.source, "late", dt.timedelta(0))
    # A file without a required column is blocked; it must not block days that are in order.
    whole = all(name in delivery.columns for name, column in declared.contract.columns.items() if column.required)
    file_day = f"DATE '{delivery.day}'"
    if not late or not whole or delivery.day is None:
        return f"SELECT *, {file_day} AS ds FROM ({typed})" + ("" if delivery.day in days else " WHERE false")
    # A row that was known before the file's day is not late: its times are wrong, and on the file's day that is found.
    known_after = f"CAST({utc(declared, 'known_at')} AS DATE) >= {file_day}"
    in_time = f"event_day BETWEEN DATE '{delivery.day - late}' AND {file_day} AND {known_after}"
    placed = f"CASE WHEN {in_time} THEN event_day ELSE {file_day} END AS ds"
    return f"""SELECT * FROM (SELECT * EXCLUDE (event_day), {placed} FROM ({with_event_day(declared, typed)}))
               WHERE ds BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"""


def _undated(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, delivery: Delivery, timed: str
) -> dict[str, str]:
    """Source -> its problem: more than the tolerated share of its rows has no day, or none in the file's period.

    Dates read in a wrong format are none or others: 13/2 shows the fault, and 1/2 has silently become 2/1. So the
    source's rows of other days are not trusted either. Rows that the stream leaves out need no day.
    """
    stream = declared.stream
    left_out = " OR ".join(f"coalesce(TRY({expressions.sql(text)}), false)" for text in stream.exclude.values())
    counts = con.execute(
        f"""SELECT _source, count(*), count(*) FILTER (ds IS NULL) FROM ({with_derived(declared, timed)})
            WHERE NOT ({left_out or "false"}) GROUP BY _source"""
    ).fetchall()
    why = _lacks_time(declared, delivery) or "is its format the declared one?"
    within = f" in {delivery.period}" if delivery.period else ""
    return {
        source: f"has no usable {stream.event_time}{within} in {undated} of {rows} rows: {why}"
        for source, rows, undated in counts
        if undated > declared.contract.tolerance * rows
    }


def _lacks_time(declared: DeclaredStream, delivery: Delivery) -> str | None:
    """That columns are missing, where the event time is, or is made of, one of them, and which ones have come."""
    contract, derive = declared.contract.columns, declared.stream.derive
    read, waiting = set[str](), [declared.stream.event_time]
    while waiting:
        name = waiting.pop()
        read.add(name)
        waiting += expressions.columns(derive[name]) - read if name in derive else ()
    missing = [name for name in contract if name not in delivery.columns]
    if not read & {*missing}:
        return None
    missing.sort(key=lambda name: name not in read)
    new = [name for name in delivery.columns if name not in contract]
    # What is no text at all has a first line of any length.
    shown = [repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}...") for name in new[:NAMED]]
    shown += [f"{len(new) - NAMED} more"] if len(new) > NAMED else []
    had = f"it has {', '.join(shown)}, which the contract does not know" if new else "it has no other instead"
    return f"the file lacks {', '.join(map(repr, missing))}; {had}"


def _of_stream(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, delivery: Delivery) -> Delivery:
    """The delivery; where its rows tell their days, and it has neither rows nor columns that could, it is no delivery of the stream.

    A page of an error, or a format that is no text, has a first line, too.
    """
    if delivery.problem is not None or delivery.period is not None or not delivery.columns:
        return delivery
    lacks = _lacks_time(declared, delivery)
    if lacks is None or con.execute(f"SELECT 1 FROM ({delivery.query}) LIMIT 1").fetchall():
        return delivery
    return delivery.unreadable(f"has no rows, and {lacks}")


def typed_rows(declared: DeclaredStream, delivery: Delivery) -> str:
    """The delivery with the contract's types; what does not parse becomes null and is kept in `_unparsed`."""
    chosen: list[str] = []
    failures: dict[str, str] = {}
    for name, column in declared.contract.columns.items():
        quoted = identifier(name)
        if name not in delivery.columns:
            chosen.append(f"NULL::{SQL_TYPES[column.type]} AS {quoted}")
            continue
        delivered_type = delivery.columns[name]
        # In a column of numbers, feeds write NaN for a value that is absent.
        value = f"CASE WHEN NOT isnan({quoted}) THEN {quoted} END" if delivered_type in FLOATING else quoted
        parsed = _parsed(value, column, delivered_type, declared.stream)
        chosen.append(f"{parsed} AS {quoted}")
        if parsed != quoted:
            text = f"CAST({value} AS VARCHAR)"
            failures[quoted] = f"CASE WHEN {text} IS NOT NULL AND {parsed} IS NULL THEN {text} END"
    for role, name in instants(declared).items():
        column, instant = declared.contract.columns[name], "NULL::TIMESTAMP"
        if name in delivery.columns:
            moment = _moment(identifier(name), column, delivery.columns[name], declared.stream, "UTC")
            instant = finite(moment, SQL_TYPES["timestamp"])
        chosen.append(f"{instant} AS _{role}")
    if declared.stream.by_line:
        uri: str = getattr(declared.stream.source, "uri", "")
        numbered = f"{within(uri)} || ':' || _file_line" if delivery.numbered else "NULL::VARCHAR"
        chosen.append(f"{numbered} AS {FILE_LINE}")
    kept = "NULL::VARCHAR"
    if failures:
        any_failed = " OR ".join(f"({failed}) IS NOT NULL" for failed in failures.values())
        packed = ", ".join(f"{quoted} := {failed}" for quoted, failed in failures.items())
        # Merged as a patch, values that did parse, which are null here, are left out.
        kept = f"CASE WHEN {any_failed} THEN json_merge_patch('{{}}', to_json(struct_pack({packed})))::VARCHAR END"
    undeclared = _undeclared([name for name in delivery.columns if name not in declared.contract.columns])
    return (
        f"SELECT {', '.join(chosen)}, {kept} AS _unparsed, {undeclared} AS _undeclared, _line, _source "
        f"FROM ({delivery.query})"
    )


def _undeclared(names: Sequence[str]) -> str:
    """One JSON text for all columns that the contract does not know: they may have any name, and any type tomorrow."""
    if not names:
        return "NULL::VARCHAR"
    pairs = [f"{quoted(name)}, {of_feed(name)}::VARCHAR" for name in names]
    return f"CASE WHEN _line IS NULL THEN json_object({', '.join(pairs)})::VARCHAR END"


def _parsed(value: str, column: Column, delivered_type: str, stream: Stream) -> str:
    """SQL that turns a delivered value into the contract's type, or null. A number or a time is a finite one.

    A whole number that came as a float is one only where no other number has the same bits.
    """
    wanted = SQL_TYPES[column.type]
    if column.type == "timestamp" and delivered_type != wanted:
        return finite(_moment(value, column, delivered_type, stream, stream.timezone), wanted)
    if column.type == "date" and (column.format or delivered_type in ("TIMESTAMP WITH TIME ZONE", "VARCHAR")):
        return finite(f"CAST({_moment(value, column, delivered_type, stream, stream.timezone)} AS DATE)", wanted)
    if column.type in ELEMENTS and delivered_type != wanted:
        return _list(value, column, delivered_type, stream)
    if column.type in ("double", "doubles", "date", "timestamp"):
        return finite(value if delivered_type == wanted else f"TRY_CAST({value} AS {wanted})", wanted)
    if column.type == "integer" and delivered_type == "VARCHAR":
        return (
            f"CASE WHEN regexp_full_match({value}, '{WHOLE}') THEN TRY_CAST(split_part({value}, '.', 1) AS BIGINT) END"
        )
    if column.type == "integer" and delivered_type in FLOATING:
        return f"CASE WHEN {_exact(value, delivered_type)} THEN TRY_CAST({value} AS BIGINT) END"
    if column.type == "integer" and delivered_type.startswith("DECIMAL"):
        return f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS BIGINT) END"
    if column.type == "boolean" and delivered_type != wanted:
        return f"TRY_CAST(CAST({value} AS VARCHAR) AS BOOLEAN)"
    return value if delivered_type == wanted else f"TRY_CAST({value} AS {wanted})"


def _list(value: str, column: Column, delivered_type: str, stream: Stream) -> str:
    """SQL of a list whose values are parsed as a column of them is, or null where one of them does not parse."""
    delivered = f"TRY_CAST({value} AS VARCHAR[])" if delivered_type == "VARCHAR" else value
    kind = "VARCHAR" if delivered_type == "VARCHAR" else delivered_type.removesuffix("[]")
    if kind == delivered_type != "VARCHAR":
        return f"TRY_CAST({value} AS {SQL_TYPES[column.type]})"  # no list
    element = Column(type=ELEMENTS[column.type])
    parsed = _parsed("one", element, kind, stream)
    lost = f"list_filter({delivered}, lambda one: one IS NOT NULL AND ({parsed}) IS NULL)"
    return f"CASE WHEN len({lost}) = 0 THEN list_transform({delivered}, lambda one: {parsed}) END"


def _exact(value: str, floating: str) -> str:
    """SQL of whether a float is a whole number, and no other number has the same bits."""
    return f"{value} = floor({value}) AND abs({value}) < {FLOATING[floating]}"


def finite(value: str, kind: str) -> str:
    """SQL of a value if it is finite, else null: a number, or a time of the years 1 to 9999. kind: its type in DuckDB."""
    usable = usable_of(value, kind)
    return f"CASE WHEN {usable} THEN {value} END" if usable else value


def usable_of(value: str, kind: str) -> str:
    """SQL of whether a value of a type in DuckDB is finite; empty for a type whose values all are."""
    if kind in FLOATING:
        return f"isfinite({value})"
    if kind.removesuffix("[]") in FLOATING:
        return f"len(list_filter({value}, lambda one: NOT isfinite(one))) = 0"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"({value} >= {FIRST_DAY} AND {value} < {AFTER_LAST})"
    return ""


def _moment(value: str, column: Column, delivered_type: str, stream: Stream, zone: str) -> str:
    """SQL for a delivered time as the wall clock of a zone, or null.

    A time that states its offset is taken at its word; one that does not is read in the stream's zone. There an hour
    that the clock shows twice is the second one, an hour that it skips is read as the hour after it.
    """
    stated, naive, condition = f"TRY_CAST({value} AS TIMESTAMPTZ)", f"TRY_CAST({value} AS TIMESTAMP)", "false"
    if delivered_type == "TIMESTAMP WITH TIME ZONE":
        stated, condition = value, "true"
    elif column.epoch:
        stated, condition = f"timezone('UTC', {_since_1970(value, column.epoch, delivered_type)})", "true"
    elif delivered_type == "VARCHAR" and column.format:
        # DuckDB reads infinity and epoch as 1900-01-01, whatever the format.
        parsed = f"CASE WHEN regexp_matches({value}, '[0-9]') THEN try_strptime({value}, {quoted(column.format)}) END"
        stated = naive = parsed
        condition = "true" if "%z" in column.format.lower() else "false"
    elif delivered_type == "VARCHAR":
        condition = f"regexp_matches({value}, '{ZONED}')"
        naive = f"CASE WHEN regexp_matches({value}, '{YEAR_FIRST}') THEN {naive} END"
        near = f"NOT regexp_matches({value}, '{BEYOND}')"
        stated = f"CASE WHEN regexp_matches({value}, '{YEAR_FIRST}') AND {near} THEN {stated} END"
    stated = f"{stated} AT TIME ZONE '{zone}'"
    if zone != stream.timezone:
        naive = f"timezone('{stream.timezone}', {naive}) AT TIME ZONE '{zone}'"
    if condition in ("true", "false"):
        return f"({stated})" if condition == "true" else f"({naive})"
    return f"CASE WHEN {condition} THEN {stated} ELSE {naive} END"


def _since_1970(value: str, epoch: str, delivered_type: str) -> str:
    """SQL for a number of time since 1970 as a timestamp in UTC, or null where it is none, or not exact."""
    if delivered_type in FLOATING:
        # A float has no decimals to count on; the microsecond that it is nearest to is the one that was written.
        micros = f"CASE WHEN abs({value}) < {FLOATING[delivered_type]} THEN round({value} * {EPOCHS[epoch]}) END"
    else:
        text = f"CAST({value} AS VARCHAR)"
        exact = f"floor(CAST({text} AS DECIMAL(28, 9)) * {EPOCHS[epoch]})"
        micros = f"CASE WHEN regexp_full_match({text}, '{DECIMAL}') THEN {exact} END"
    return f"TRY(make_timestamp(CAST({micros} AS BIGINT)))"


def instants(declared: DeclaredStream) -> dict[Role, str]:
    """The stream's times that raw keeps in UTC too, as `_event_time` and `_known_at`: delivered ones, in another zone.

    A column shows the wall clock of the stream's zone, and twice a year that alone does not tell the moment.
    """
    stream, columns = declared.stream, declared.contract.columns
    given: dict[Role, str | None] = {"event_time": stream.event_time, "known_at": stream.known_at}
    if stream.timezone == "UTC":
        return {}
    return {role: name for role, name in given.items() if name in columns and columns[name].type == "timestamp"}


def with_derived(declared: DeclaredStream, rows: str) -> str:
    """Rows with the stream's derived columns and named rules, each of which may use the ones before it.

    `_failed` names the first expression that cannot be computed for a row; the column is null there. So it is where the
    result is not finite.
    """
    stream = declared.stream
    usable = {}
    for name, text in {**stream.derive, **stream.rules}.items():
        value = f"TRY({expressions.sql(text)})"
        usable[name] = usable_of(value, declared.types[name])
        rows = f"SELECT *, {finite(value, declared.types[name])} AS {identifier(name)} FROM ({rows})"
    computed = [
        *stream.derive.items(),
        *stream.rules.items(),
        *stream.exclude.items(),
        *declared.contract.rules.items(),
    ]
    # For an expression that can be computed, IS NULL is true or false; only an error makes it null.
    failing = [
        f"WHEN TRY({expressions.sql(text)} IS NULL) IS NULL{f' OR NOT {usable[name]}' if usable.get(name) else ''} THEN '{name}'"
        for name, text in computed
    ]
    failed = f"CASE {' '.join(failing)} END" if failing else "NULL::VARCHAR"
    return f"SELECT *, {failed} AS _failed FROM ({rows})"


def utc(declared: DeclaredStream, role: Role) -> str:
    """SQL for one of the stream's two times in UTC, over rows of `raw` with derived columns."""
    stream = declared.stream
    column = getattr(stream, role)
    if column is None:
        return utc(declared, "event_time")
    if role in instants(declared):
        return f"_{role}"
    local = f"CAST({identifier(column)} AS TIMESTAMP)"
    return local if stream.timezone == "UTC" else f"(timezone('{stream.timezone}', {local}) AT TIME ZONE 'UTC')"


def with_event_day(declared: DeclaredStream, rows: str) -> str:
    """Rows with `event_day`, the UTC day of the event time, or null."""
    stream = declared.stream
    day = f"CAST({utc(declared, 'event_time')} AS DATE) AS event_day"
    if stream.event_time in declared.contract.columns:
        return f"SELECT *, {day} FROM ({rows})"
    added = ", ".join(identifier(name) for name in [*stream.derive, *stream.rules, "_failed"])
    return f"SELECT * EXCLUDE ({added}), {day} FROM ({with_derived(declared, rows)})"
