"""How does a delivery become rows of `raw`? Every row typed as the contract says and put into its day; nothing is lost.

Text that does not parse stays beside the row in `_unparsed`; columns that the contract does not know stay as text; a
row without a usable time stays with the last day of its file, where the event-time rule will find it.
"""

import datetime as dt
import json
from collections.abc import Sequence

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import SQL_TYPES, Column
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import Stream
from factory_assets.events.sources import Delivery, SourceError

OFFSET = r"(Z|[+-]\d\d:?\d\d)$"
WHOLE = r"\s*[+-]?\d+\s*"


def land(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    delivered: Sequence[Delivery],
    days: Sequence[dt.date],
    today: dt.date,
) -> None:
    """Create the temporary tables `landed` (raw rows of these days) and `deliveries` (what came, per day and source).

    landed: the contract's columns, other delivered columns as text, `_source`, `_unparsed` (JSON or null), `ds`.
    deliveries: ds, source, rows, columns (JSON list).
    Raises SourceError where a file breaks off in the middle.
    """
    extra = sorted({name for delivery in delivered for name in delivery.columns} - set(declared.contract.columns))
    queries = [_placed(con, declared, delivery, extra, days, today) for delivery in delivered]
    body = " UNION ALL BY NAME ".join(queries) or f"SELECT {_empty(declared)} WHERE false"
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE landed AS {body}").fetchall()
    except duckdb.Error as error:
        raise SourceError(f"{declared.stream.name}: a delivery cannot be read: {str(error).splitlines()[0]}") from None
    _note_deliveries(con, delivered)


def _note_deliveries(con: duckdb.DuckDBPyConnection, delivered: Sequence[Delivery]) -> None:
    con.execute("CREATE OR REPLACE TEMP TABLE known (source VARCHAR, day DATE, columns VARCHAR)")
    known = [
        (source, delivery.day, json.dumps(list(delivery.columns)))
        for delivery in delivered
        for source in delivery.sources
    ]
    if known:
        con.executemany("INSERT INTO known VALUES (?, ?, ?)", known)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE deliveries AS
           WITH counted AS (SELECT ds, _source AS source, count(*) AS rows FROM landed GROUP BY ALL)
           SELECT coalesce(counted.ds, known.day) AS ds, source, coalesce(rows, 0) AS rows, columns
           FROM counted FULL JOIN known USING (source) WHERE coalesce(counted.ds, known.day) IS NOT NULL"""
    )


def _placed(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    delivery: Delivery,
    extra: Sequence[str],
    days: Sequence[dt.date],
    today: dt.date,
) -> str:
    typed = typed_rows(declared, delivery, extra)
    if delivery.day is not None:
        return f"SELECT *, DATE '{delivery.day}' AS ds FROM ({typed})"
    # A stamp after today, of the epoch's first day, or none at all says nothing about the row's day.
    day = f"""CASE WHEN event_day <= DATE '{today}' AND event_day <> DATE '1970-01-01' THEN event_day END"""
    timed = f"SELECT * EXCLUDE (event_day), {day} AS ds FROM ({with_event_day(declared, typed)})"
    wanted = f"ds BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"
    lost = con.execute(f"SELECT count(*) FROM ({timed}) WHERE ds IS NULL").fetchall()[0][0]
    if not lost:
        return f"SELECT * FROM ({timed}) WHERE {wanted}"
    last = f"SELECT _source, max(ds) AS last FROM ({timed}) GROUP BY _source"
    fallback = f"DATE '{declared.stream.end or today}'"
    return f"""SELECT * EXCLUDE (ds, last), coalesce(ds, last, {fallback}) AS ds
               FROM ({timed}) JOIN ({last}) USING (_source) WHERE coalesce(ds, last, {fallback})
               BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"""


def typed_rows(declared: DeclaredStream, delivery: Delivery, extra: Sequence[str] = ()) -> str:
    """The delivery with the contract's types; what does not parse becomes null and is kept in `_unparsed`."""
    chosen: list[str] = []
    failures: dict[str, str] = {}
    for name, column in declared.contract.columns.items():
        quoted = identifier(name)
        if name not in delivery.columns:
            chosen.append(f"NULL::{SQL_TYPES[column.type]} AS {quoted}")
            continue
        parsed = _parsed(quoted, column, delivery.columns[name], declared.stream)
        chosen.append(f"{parsed} AS {quoted}")
        if parsed != quoted:
            text = f"{quoted}::VARCHAR"
            failures[quoted] = f"CASE WHEN {text} IS NOT NULL AND {parsed} IS NULL THEN {text} END"
    for name in extra:
        source = f'"{name.replace(chr(34), chr(34) * 2)}"'
        chosen.append(f"{source}::VARCHAR AS {source}" if name in delivery.columns else f"NULL::VARCHAR AS {source}")
    kept = "NULL::VARCHAR"
    if failures:
        any_failed = " OR ".join(f"({failed}) IS NOT NULL" for failed in failures.values())
        packed = ", ".join(f"{quoted} := {failed}" for quoted, failed in failures.items())
        kept = f"CASE WHEN {any_failed} THEN to_json(struct_pack({packed}))::VARCHAR END"
    return f"SELECT {', '.join(chosen)}, _source, {kept} AS _unparsed FROM ({delivery.query})"


def _parsed(value: str, column: Column, found: str, stream: Stream) -> str:
    """SQL that turns a delivered value into the contract's type, or null."""
    wanted = SQL_TYPES[column.type]
    text = found == "VARCHAR"
    if found == wanted:
        return value
    if column.type == "integer" and text:
        return f"CASE WHEN regexp_full_match({value}, '{WHOLE}') THEN TRY_CAST({value} AS BIGINT) END"
    if column.type == "integer" and found in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS BIGINT) END"
    if column.type == "timestamp" and found.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"({value} AT TIME ZONE '{stream.timezone}')"
    if column.format and text:
        literal = column.format.replace("'", "''")
        return f"TRY_CAST(try_strptime({value}, '{literal}') AS {wanted})"
    if column.type == "timestamp" and text:
        zoned = f"TRY_CAST({value} AS TIMESTAMPTZ) AT TIME ZONE '{stream.timezone}'"
        return f"CASE WHEN regexp_matches({value}, '{OFFSET}') THEN {zoned} ELSE TRY_CAST({value} AS TIMESTAMP) END"
    return f"TRY_CAST({value} AS {wanted})"


def with_derived(declared: DeclaredStream, rows: str) -> str:
    """Rows with the stream's derived columns and named rules, each of which may use the ones before it."""
    for name, text in {**declared.stream.derive, **declared.stream.rules}.items():
        rows = f"SELECT *, {expressions.sql(text)} AS {identifier(name)} FROM ({rows})"
    return rows


def utc(stream: Stream, column: str) -> str:
    """SQL for a time column in UTC: it is read in the stream's zone unless that is UTC."""
    quoted = f"CAST({identifier(column)} AS TIMESTAMP)"
    return quoted if stream.timezone == "UTC" else f"(timezone('{stream.timezone}', {quoted}) AT TIME ZONE 'UTC')"


def with_event_day(declared: DeclaredStream, rows: str) -> str:
    """Rows with `event_day`, the UTC day of the event time, or null."""
    stream = declared.stream
    if stream.event_time in declared.contract.columns:
        return f"SELECT *, CAST({utc(stream, stream.event_time)} AS DATE) AS event_day FROM ({rows})"
    added = ", ".join(identifier(name) for name in {**stream.derive, **stream.rules})
    derived = with_derived(declared, rows)
    return f"SELECT * EXCLUDE ({added}), CAST({utc(stream, stream.event_time)} AS DATE) AS event_day FROM ({derived})"


def _empty(declared: DeclaredStream) -> str:
    columns = [
        f"NULL::{SQL_TYPES[column.type]} AS {identifier(name)}" for name, column in declared.contract.columns.items()
    ]
    return ", ".join([*columns, "NULL::VARCHAR AS _source", "NULL::VARCHAR AS _unparsed", "NULL::DATE AS ds"])
