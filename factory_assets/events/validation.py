"""Which rows of a day may be used, which are set aside and why, and is the day as a whole fit for use?

The contract is compiled to row rules in SQL. A row that breaks one goes to quarantine with the rule's name. A day with
a required column missing, or with more than the tolerated share of rows breaking one rule, is blocked as a whole.
"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Column
from factory_assets.declarations.expressions import identifier
from factory_assets.events.landing import utc, with_derived


@dataclass(frozen=True)
class Rule:
    """One thing that every row must satisfy. `broken` is SQL that is true for a row that does not."""

    concern: str
    column: str
    name: str
    broken: str


@dataclass(frozen=True)
class Verdict:
    """What validation found in one day."""

    day: dt.date
    rows: int
    accepted: int
    duplicates: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    blocked: tuple[str, ...]


def row_rules(declared: DeclaredStream, lacking: dict[str, list[str]] | None = None) -> list[Rule]:
    """The rules of a stream in the order in which a row is judged.

    lacking: for optional columns, the sources that came without them; there, an empty value breaks nothing.
    """
    stream = declared.stream
    rules = []
    for name, column in declared.contract.columns.items():
        rules += _type_rule(name, column)
        if not column.nullable or name == stream.id:
            rules.append(_null_rule(name, (lacking or {}).get(name, [])))
        rules += _value_rules(name, column)
    broken = "event_time IS NULL OR CAST(event_time AS DATE) <> ds"
    rules.append(Rule("schema", stream.event_time, f"{stream.event_time} lies in the day", broken))
    return rules


def _type_rule(name: str, column: Column) -> list[Rule]:
    if column.type == "string":
        return []
    broken = f"_unparsed IS NOT NULL AND json_extract_string(_unparsed, '$.\"{name}\"') IS NOT NULL"
    return [Rule("schema", name, f"{name} is {column.type}", broken)]


def _null_rule(name: str, lacking: Sequence[str]) -> Rule:
    broken = f"{identifier(name)} IS NULL"
    if lacking:
        listed = ", ".join("'" + source.replace("'", "''") + "'" for source in lacking)
        broken += f" AND _source NOT IN ({listed})"
    return Rule("completeness", name, f"{name} is not null", broken)


def _value_rules(name: str, column: Column) -> list[Rule]:
    quoted, rules = identifier(name), []
    if column.min is not None:
        rules.append(Rule("ranges", name, f"{name} >= {column.min:g}", f"{quoted} < {column.min!r}"))
    if column.max is not None:
        rules.append(Rule("ranges", name, f"{name} <= {column.max:g}", f"{quoted} > {column.max!r}"))
    if column.allowed is not None:
        listed = ", ".join(_literal(value) for value in column.allowed)
        rules.append(Rule("ranges", name, f"{name} is one of the allowed", f"{quoted} NOT IN ({listed})"))
    return rules


def _literal(value: str | int | float | bool) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def judge(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: Sequence[dt.date]) -> list[Verdict]:
    """Judge the rows of views `raw` and `deliveries`; create tables `accepted` and `quarantined`, a verdict per day.

    accepted: the columns of the events table and `ds`, blocked days left out.
    quarantined: ds, rule, source, raw_row (JSON of the row as it came).
    """
    missing, lacking = _absent_columns(con, declared)
    rules = row_rules(declared, lacking)
    stream = declared.stream
    derived = with_derived(declared, "SELECT * FROM raw")
    known = utc(stream, stream.known_at) if stream.known_at else utc(stream, stream.event_time)
    times = f"{utc(stream, stream.event_time)} AS event_time, {known} AS known_at"
    taken = [name for name in ("event_time", "known_at") if name in declared.contract.columns or name in stream.derive]
    keep = f"* EXCLUDE ({', '.join(taken)})" if taken else "*"
    broken = " ".join(f"WHEN {rule.broken} THEN '{rule.name}'" for rule in rules)
    left_out = " ".join(f"WHEN {expressions.sql(text)} THEN '{name}'" for name, text in stream.exclude.items())
    excluded = f"CASE {left_out} END" if left_out else "NULL::VARCHAR"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE judged AS
            SELECT *, CASE WHEN excluded IS NOT NULL THEN NULL {broken} END AS rule
            FROM (SELECT {keep}, {times}, {excluded} AS excluded FROM ({derived}))"""
    ).fetchall()
    _mark_duplicates(con, declared)
    verdicts = _verdicts(con, declared, rules, missing, days)
    _split(con, declared, [verdict.day for verdict in verdicts if verdict.blocked])
    return verdicts


def _absent_columns(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream
) -> tuple[dict[dt.date, list[str]], dict[str, list[str]]]:
    """Required columns missing per day, and the sources that lack an optional one."""
    missing: dict[dt.date, list[str]] = {}
    lacking: dict[str, list[str]] = {}
    for day, source, columns in con.execute("SELECT ds, source, columns FROM deliveries").fetchall():
        absent = set(declared.contract.columns) - set(json.loads(columns))
        for name in sorted(absent):
            if declared.contract.columns[name].required:
                missing.setdefault(day, [])
                if name not in missing[day]:
                    missing[day].append(name)
            elif source not in lacking.setdefault(name, []):
                lacking[name].append(source)
    return missing, lacking


def _mark_duplicates(con: duckdb.DuckDBPyConnection, declared: DeclaredStream) -> None:
    """A row delivered twice is kept once; of different rows with one id, the first known is kept, the rest set aside."""
    key = identifier(declared.stream.id)
    content = f"hash({', '.join(identifier(name) for name in declared.contract.columns)})"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeated AS
            SELECT rowid AS row, {content} = first_value({content}) OVER same AS identical, row_number() OVER same AS place
            FROM judged JOIN (SELECT ds, {key} FROM judged WHERE rule IS NULL AND excluded IS NULL
                              GROUP BY ALL HAVING count(*) > 1) USING (ds, {key})
            WHERE rule IS NULL AND excluded IS NULL
            WINDOW same AS (PARTITION BY ds, {key} ORDER BY known_at, {content})"""
    ).fetchall()
    con.execute("ALTER TABLE judged ADD COLUMN duplicate BOOLEAN DEFAULT false")
    con.execute("UPDATE judged SET duplicate = true FROM repeated WHERE judged.rowid = row AND place > 1 AND identical")
    con.execute(
        f"""UPDATE judged SET rule = '{declared.stream.id} is unique'
            FROM repeated WHERE judged.rowid = row AND place > 1 AND NOT identical"""
    )


def _verdicts(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    rules: Sequence[Rule],
    missing: dict[dt.date, list[str]],
    days: Sequence[dt.date],
) -> list[Verdict]:
    counts = ", ".join(f"count(*) FILTER (excluded IS NULL AND ({rule.broken}))" for rule in rules)
    table = {
        row[0]: row[1:]
        for row in con.execute(
            f"""SELECT ds, count(*), count(*) FILTER (rule IS NULL AND excluded IS NULL AND NOT duplicate),
                   count(*) FILTER (duplicate), {counts} FROM judged GROUP BY ds"""
        ).fetchall()
    }
    aside: dict[dt.date, dict[str, int]] = {}
    for day, rule, count in con.execute(
        "SELECT ds, rule, count(*) FROM judged WHERE rule IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        aside.setdefault(day, {})[rule] = count
    left_out: dict[dt.date, dict[str, int]] = {}
    for day, name, count in con.execute(
        "SELECT ds, excluded, count(*) FROM judged WHERE excluded IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        left_out.setdefault(day, {})[name] = count
    delivered = {row[0] for row in con.execute("SELECT DISTINCT ds FROM deliveries").fetchall()}
    verdicts = []
    for day in days:
        rows, accepted, duplicates, *broken = table.get(day, (0, 0, 0, *[0] * len(rules)))
        reasons = [f"column {name} is missing" for name in missing.get(day, [])]
        if not reasons:
            reasons = [
                f"{count} of {rows} rows break '{rule.name}' (tolerated: {declared.contract.tolerance:.1%})"
                for rule, count in zip(rules, broken, strict=True)
                if rows and count / rows > declared.contract.tolerance
            ]
        if day not in delivered and "{day}" in getattr(declared.stream.source, "uri", ""):
            reasons = ["no file was delivered"]
        verdicts.append(
            Verdict(
                day,
                rows,
                0 if reasons else accepted,
                duplicates,
                aside.get(day, {}),
                left_out.get(day, {}),
                tuple(reasons),
            )
        )
    return verdicts


def _split(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, blocked: Sequence[dt.date]) -> None:
    columns = ", ".join(identifier(name) for name in declared.types)
    closed = ", ".join(f"DATE '{day}'" for day in blocked) or "NULL::DATE"
    delivered = [identifier(name) for name in declared.contract.columns if name not in ("event_time", "known_at")]
    packed = ", ".join(f"{name} := {name}" for name in delivered)
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW accepted AS SELECT {columns}, ds FROM judged
            WHERE rule IS NULL AND excluded IS NULL AND NOT duplicate AND NOT coalesce(ds IN ({closed}), false)"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW quarantined AS
            SELECT ds, rule, _source AS source, _unparsed AS unparsed, to_json(struct_pack({packed}))::VARCHAR AS raw_row
            FROM judged WHERE rule IS NOT NULL"""
    )
