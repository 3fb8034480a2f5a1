"""Which rows of a day may be used, which are set aside and why, and is the day as a whole fit for use?

The contract is compiled to row rules in SQL. A row that breaks one goes to quarantine with the rule's name. A day that
was not delivered in full, or with more than the tolerated share of rows breaking one rule, is blocked as a whole.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract import day_rules
from factory_assets.events.contract.cleansing import cleansed, literal
from factory_assets.events.contract.day_rules import Measured
from factory_assets.events.contract.rules import Rule, lacking, missing_columns, row_rules, undelivered, unique_rule
from factory_assets.events.landing import Arrival, arrivals, utc, with_derived


@dataclass(frozen=True)
class DayVerdict:
    """The verdict on one day: the counts of its rows, and the reasons why it is blocked.

    rows = accepted + duplicates + superseded + all quarantined + all excluded. Accepted rows of a blocked day are held back.
    superseded: rows to which a correction was delivered, the same id known later.
    cleansed: rows that each cleansing rule changed.
    broken: rows that break each rule, an earlier rule notwithstanding; rules that none breaks are left out.
    """

    day: dt.date
    rows: int
    accepted: int
    duplicates: int
    superseded: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    cleansed: dict[str, int]
    blocked: tuple[str, ...]
    broken: dict[str, int] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Names of the relations that `judge` reads.

    raw: raw rows of the days. deliveries: what was delivered for each day.
    past: events of the days before; empty where the contract compares no day with the recent past.
    """

    raw: str
    deliveries: str
    past: str = ""


@dataclass(frozen=True)
class Judgement:
    """A verdict per day, and the names of the views that `judge` creates of the rows.

    judged: all rows with `_rule`, the first that each breaks, `_excluded` and `_repeated`, or null.
    accepted: the columns of the events table and `ds`, blocked days left out.
    superseded: the same columns of rows that were corrected, and `superseded_at`, when the correction was known.
    quarantined: ds, rule (the first that the row breaks), rules (all that it breaks), source, unparsed (JSON of the texts that
        do not parse), line (text that is no row), raw_row (JSON of the row's values as delivered).
    """

    verdicts: list[DayVerdict]
    judged: str
    accepted: str = "accepted"
    superseded: str = "superseded"
    quarantined: str = "quarantined"


@dataclass(frozen=True)
class _Rows:
    """Names of the relations with judged rows.

    Most rows are in order. To hold them costs more than to read and judge them again when they are asked for, so `judged` is
    a view of all rows, and the table `doubtful` holds the others alone: rows that break a rule, are left out, or seem to have
    another row's id (`_again`). repeated: a table of the doubtful rows that are not the first with their id.
    """

    judged: str = "judged"
    doubtful: str = "doubtful"
    repeated: str = "repeated"


def judge(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    inputs: Inputs,
    days: Sequence[dt.date],
    accepted: Collection[str] = (),
) -> Judgement:
    """Judge the raw rows of these days.

    accepted: rules whose failures somebody has accepted: they block no day.
    """
    arrived = read_arrivals(con, inputs.deliveries)
    rules = row_rules(declared, lacking(declared, arrived))
    rows = _judge_rows(con, declared, inputs.raw, [rule for rule in rules if rule.name not in declared.contract.warn])
    _mark_repeated(con, declared, rows)
    informing = {*declared.contract.warn, *accepted}
    counted = _count(con, declared, inputs.raw, rows, rules)
    leaders = led(con, declared, f"(SELECT * FROM {rows.judged} WHERE _excluded IS NULL)", rules, counted.broken)
    verdicts = _verdicts(declared, counted, arrived, days, _Waived(informing, leaders))
    measurable = day_rules.Measurable(rows.judged, inputs.past, lacking(declared, arrived))
    judgement = Judgement(_with_measures(con, declared, measurable, verdicts, informing), rows.judged)
    _split(con, declared, rows, judgement, rules)
    return judgement


def _judge_rows(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, raw: str, strict: Sequence[Rule]) -> _Rows:
    """Create the relations `judged` and `doubtful`."""
    rows = _Rows()
    key = identifier(declared.stream.id)
    broken = " ".join(f"WHEN {rule.broken} THEN '{rule.name}'" for rule in strict)
    rule = f"CASE WHEN _excluded IS NOT NULL THEN NULL {broken} END"
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW rows_with_rule AS SELECT *, {rule} AS _rule FROM ({judged_rows(declared, raw)})"
    ).fetchall()
    # Sorted hashes take half the time of groups. Two ids with one hash are found to be different later on.
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeated_ids AS SELECT DISTINCT ds, h FROM (
                SELECT ds, h FROM (SELECT ds, hash({key}) AS h FROM rows_with_rule WHERE _excluded IS NULL AND {key} IS NOT NULL)
                QUALIFY h = lag(h) OVER (PARTITION BY ds ORDER BY h))"""
    ).fetchall()
    # A feed may call its columns as ours are called: ours are named with their table.
    same = f"known.ds = seen.ds AND hash(known.{key}) = seen.h"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {rows.doubtful} AS
            SELECT known.*, NULL::VARCHAR AS _repeated, seen.ds IS NOT NULL AS _again
            FROM rows_with_rule AS known LEFT JOIN repeated_ids AS seen ON {same}
            WHERE _rule IS NOT NULL OR _excluded IS NOT NULL OR _again"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW {rows.judged} AS
            SELECT * REPLACE (NULL::VARCHAR AS _rule, NULL::VARCHAR AS _excluded), NULL::VARCHAR AS _repeated
            FROM rows_with_rule AS known ANTI JOIN repeated_ids AS seen ON {same} WHERE _rule IS NULL AND _excluded IS NULL
            UNION ALL SELECT * EXCLUDE (_again) FROM {rows.doubtful}"""
    ).fetchall()
    return rows


def judged_rows(declared: DeclaredStream, raw: str) -> str:
    """Query for raw rows cleansed, with derived columns, `event_time`, `known_at` and `_excluded`.

    raw: name of the relation with the raw rows.
    _excluded: the name under which the stream leaves the row out on purpose, or null; such a row is not judged.
    """
    stream = declared.stream
    times = ", ".join(f"{utc(declared, role)} AS {role}" for role in ("event_time", "known_at"))
    taken = [name for name in ("event_time", "known_at") if name in {*declared.contract.columns, *stream.derive}]
    keep = f"* EXCLUDE ({', '.join(taken)})" if taken else "*"
    left_out = " ".join(f"WHEN TRY({expressions.sql(text)}) THEN '{name}'" for name, text in stream.exclude.items())
    excluded = f"CASE {left_out} END" if left_out else "NULL::VARCHAR"
    rows = with_derived(declared, cleansed(declared, f"SELECT * FROM {raw}"))
    return f"SELECT {keep}, {times}, {excluded} AS _excluded FROM ({rows})"


def read_arrivals(con: duckdb.DuckDBPyConnection, deliveries: str) -> dict[dt.date, list[Arrival]]:
    """Day -> its arrivals. deliveries: name of the relation with the rows of the deliveries table."""
    names = ("ds", "source", "columns", "problem", "late", "outside", "note")
    rows = con.execute(f"SELECT {', '.join(names)} FROM {deliveries} ORDER BY ALL").fetchall()
    return arrivals(dict(zip(names, row, strict=True)) for row in rows)


def _mark_repeated(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, rows: _Rows) -> None:
    """Create the table `repeated`, and mark its rows in `doubtful`.

    A row delivered twice is kept once. Among different rows with one id the last known is kept, as a correction.

    Rows with one id that differ, though none is known later than the other, contradict each other: one is kept, the
    rest set aside. Where the stream has no `known_at`, all are of that kind, and the earliest is kept.
    """
    stream = declared.stream
    key, content = identifier(stream.id), row_content(declared)
    order = "known_at DESC" if stream.known_at else "known_at"
    corrected = "known_at < max(known_at) OVER (PARTITION BY ds, id)" if stream.known_at else "false"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {rows.repeated} AS
            WITH those AS (SELECT {rows.doubtful}.rowid AS row, ds, {key} AS id, known_at, {content} AS content
                           FROM {rows.doubtful} WHERE _again AND _rule IS NULL AND _excluded IS NULL)
            SELECT row, CASE WHEN row_number() OVER (PARTITION BY ds, id, content ORDER BY row) > 1 THEN 'duplicate'
                             WHEN {corrected} THEN 'superseded' ELSE 'contradiction' END AS kind,
                   min(known_at) OVER (PARTITION BY ds, id ORDER BY known_at RANGE BETWEEN INTERVAL 1 MICROSECOND FOLLOWING
                                       AND UNBOUNDED FOLLOWING) AS superseded_at,
                   row_number() OVER (PARTITION BY ds, id, known_at ORDER BY content, row) = 1 AS kept
            FROM those QUALIFY row_number() OVER (PARTITION BY ds, id ORDER BY {order}, content, row) > 1"""
    ).fetchall()
    con.execute(
        f"""UPDATE {rows.doubtful} SET _repeated = again.kind
            FROM {rows.repeated} AS again WHERE {rows.doubtful}.rowid = again.row AND again.kind <> 'contradiction'"""
    ).fetchall()
    con.execute(
        f"""UPDATE {rows.doubtful} SET _rule = '{unique_rule(stream)}'
            FROM {rows.repeated} AS again WHERE {rows.doubtful}.rowid = again.row AND again.kind = 'contradiction'"""
    ).fetchall()


def row_content(declared: DeclaredStream) -> str:
    """SQL of a number that two rows share when they are equal in every column of the contract, and in both times."""
    names = dict.fromkeys([*declared.contract.columns, "event_time", "known_at"])
    return f"hash({', '.join(map(identifier, names))})"


@dataclass(frozen=True)
class _Counts:
    """Rows of each day, counted.

    delivered: all rows, accepted ones, duplicates and superseded ones. broken: rows that break each rule, an earlier rule
    notwithstanding. aside, left_out, cleansed: rows by the rule that sets them aside, the name under which they are left out,
    and the cleansing rule that changed them.
    """

    delivered: dict[dt.date, tuple[int, int, int, int]]
    broken: dict[dt.date, dict[str, int]]
    aside: dict[dt.date, dict[str, int]]
    left_out: dict[dt.date, dict[str, int]]
    cleansed: dict[dt.date, dict[str, int]]


def _count(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, raw: str, rows: _Rows, rules: Sequence[Rule]
) -> _Counts:
    delivered = {
        row[0]: row[1:]
        for row in con.execute(
            f"""SELECT ds, delivered, delivered - coalesce(set_aside, 0), coalesce(duplicates, 0), coalesce(superseded, 0)
                FROM (SELECT ds, count(*) AS delivered FROM {raw} GROUP BY ds) LEFT JOIN (
                    SELECT ds, count(*) FILTER (_rule IS NOT NULL OR _excluded IS NOT NULL OR _repeated IS NOT NULL) AS set_aside,
                        count(*) FILTER (_repeated = 'duplicate') AS duplicates,
                        count(*) FILTER (_repeated = 'superseded') AS superseded
                    FROM {rows.doubtful} GROUP BY ds) USING (ds)"""
        ).fetchall()
    }
    broken = _breaking(con, declared, rows.judged, rules)
    for day, count in con.execute(_conflicts(declared, rows.doubtful)).fetchall():
        broken.setdefault(day, {})[unique_rule(declared.stream)] = count
    return _Counts(
        delivered,
        broken,
        _counted(con, rows.doubtful, "_rule"),
        _counted(con, rows.doubtful, "_excluded"),
        _cleansed(con, declared, rows.judged),
    )


@dataclass(frozen=True)
class _Waived:
    """Rules that block no day: those that only warn, those accepted, and those that are part of an issue that was accepted."""

    informing: Collection[str]
    leaders: Mapping[dt.date, Mapping[str, str]]

    def __call__(self, day: dt.date, rule: str) -> bool:
        return rule in self.informing or self.leaders.get(day, {}).get(rule) in self.informing


def led(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    rows: str,
    rules: Sequence[Rule],
    broken: Mapping[dt.date, Mapping[str, int]],
) -> dict[dt.date, dict[str, str]]:
    """Day -> rule that a column is not null -> the first such rule that the very same rows break, if it is another one.

    Columns that go empty together have one cause, and make one issue: that of the first. Rules that only warn make none.

    rows: query for judged rows of the days, without those left out. broken: day -> rule -> how many rows break it.
    """
    warned = declared.contract.warn
    nulls = {rule.name: rule for rule in rules if rule.kind == "null" and rule.name not in warned}
    alike: dict[dt.date, list[str]] = {}
    for day, counts in broken.items():
        times = Counter(count for name, count in counts.items() if name in nulls)
        if together := [name for name in nulls if times[counts.get(name, 0)] > 1]:
            alike[day] = together
    if not alike:
        return {}
    asked = [name for name in nulls if any(name in names for names in alike.values())]
    flags = ", ".join(nulls[name].broken for name in asked)
    listed = ", ".join(f"DATE '{day}'" for day in sorted(alike))
    flagged = f"SELECT ds, [{flags}] AS flags FROM {rows} WHERE ds IN ({listed})"
    found = con.execute(
        f"SELECT DISTINCT ds, flags FROM ({flagged}) WHERE list_contains(flags, true) ORDER BY ds, flags"
    ).fetchall()
    kinds: dict[dt.date, list[list[bool]]] = {}
    for day, of_row in found:
        kinds.setdefault(day, []).append(of_row)
    leaders: dict[dt.date, dict[str, str]] = {}
    for day, of_day in kinds.items():
        first: dict[tuple[bool, ...], str] = {}
        for name, rows_of in zip(asked, zip(*of_day, strict=True), strict=True):
            if any(rows_of) and first.setdefault(rows_of, name) != name:
                leaders.setdefault(day, {})[name] = first[rows_of]
    return leaders


def _verdicts(
    declared: DeclaredStream,
    counted: _Counts,
    arrived: Mapping[dt.date, Sequence[Arrival]],
    days: Sequence[dt.date],
    waived: _Waived,
) -> list[DayVerdict]:
    """A verdict per day by its deliveries and rows, without the rules on whole days."""
    verdicts = []
    for day in days:
        rows, fit, duplicates, superseded = counted.delivered.get(day, (0, 0, 0, 0))
        broken, excluded = counted.broken.get(day, {}), counted.left_out.get(day, {})
        intolerable = {name: count for name, count in broken.items() if not waived(day, name)}
        reasons = (
            undelivered(declared, day, arrived.get(day))
            or [f"column {name} is missing" for name in missing_columns(declared, arrived.get(day))]
            or _intolerable(intolerable, rows - sum(excluded.values()), declared.contract.tolerance)
        )
        aside, cleansed = counted.aside.get(day, {}), counted.cleansed.get(day, {})
        verdicts.append(
            DayVerdict(day, rows, fit, duplicates, superseded, aside, excluded, cleansed, tuple(reasons), broken)
        )
    return verdicts


def _with_measures(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    rows: day_rules.Measurable,
    verdicts: Sequence[DayVerdict],
    informing: Collection[str],
) -> list[DayVerdict]:
    """Verdicts with the measurements of the rules on whole days; a day that breaks one is blocked as well."""
    unfit = {verdict.day for verdict in verdicts if verdict.blocked}
    days = [verdict.day for verdict in verdicts]
    measured = day_rules.measure(con, declared, rows, days, unfit, informing)
    completed = []
    for verdict in verdicts:
        of_day = tuple(one for one in measured if one.day == verdict.day)
        reasons = [one.message for one in of_day if not one.holds and one.rule.name not in informing]
        # A day without rows for a reason given breaks no rule about its rows.
        blocked = verdict.blocked or tuple(reasons)
        completed.append(replace(verdict, blocked=blocked, measured=of_day))
    return completed


def _intolerable(broken: Mapping[str, int], rows: int, tolerance: float) -> list[str]:
    """The rules that more than the tolerated share of a day's rows break, in words."""
    return [
        f"{count} of {rows} rows break '{name}' (tolerated: {tolerance:.1%})"
        for name, count in broken.items()
        if count / rows > tolerance
    ]


def _conflicts(declared: DeclaredStream, doubtful: str) -> str:
    """Query for the number of rows of each day whose id another, different row has, which is no correction of it."""
    key = identifier(declared.stream.id)
    version = "known_at" if declared.stream.known_at else "NULL"
    return f"""SELECT ds, sum(different - 1)::BIGINT FROM (
                   SELECT ds, {key} AS id, {version} AS version, count(DISTINCT {row_content(declared)}) AS different
                   FROM {doubtful} WHERE _again AND _excluded IS NULL GROUP BY ALL)
               GROUP BY ds HAVING sum(different - 1) > 0"""


def _breaking(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, judged: str, rules: Sequence[Rule]
) -> dict[dt.date, dict[str, int]]:
    """Rows of each day that break each rule, an earlier rule notwithstanding."""
    # A row that is not set aside breaks at most rules that warn; the many rules are tried on the few rows that are.
    warned = [rule.broken for rule in rules if rule.name in declared.contract.warn]
    suspect = " OR ".join(["_rule IS NOT NULL", *(f"({broken})" for broken in warned)])
    counts = ", ".join(f"count(*) FILTER ({rule.broken})" for rule in rules)
    found = con.execute(
        f"SELECT ds, {counts} FROM (SELECT * FROM {judged} WHERE _excluded IS NULL AND ({suspect})) GROUP BY ds"
    ).fetchall()
    names = [rule.name for rule in rules]
    return {day: {name: n for name, n in zip(names, counts, strict=True) if n} for day, *counts in found}


def _counted(con: duckdb.DuckDBPyConnection, rows: str, name: str) -> dict[dt.date, dict[str, int]]:
    """Rows of each day by the value of a column."""
    counts: dict[dt.date, dict[str, int]] = {}
    for day, value, count in con.execute(
        f"SELECT ds, {name}, count(*) FROM {rows} WHERE {name} IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        counts.setdefault(day, {})[value] = count
    return counts


def _cleansed(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, judged: str) -> dict[dt.date, dict[str, int]]:
    """Rows of each day that each cleansing rule changed."""
    if not declared.stream.cleanse:
        return {}
    return _counted(con, f"(SELECT ds, unnest(_cleansed) AS name FROM {judged})", "name")


def _split(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, rows: _Rows, judgement: Judgement, rules: Sequence[Rule]
) -> None:
    """Create the views that the judgement names. rules: row rules, also those that set no row aside."""
    blocked = [verdict.day for verdict in judgement.verdicts if verdict.blocked]
    columns = ", ".join(identifier(name) for name in declared.types)
    own = ", ".join(f"known.{identifier(name)}" for name in [*declared.types, "ds"])
    closed = ", ".join(f"DATE '{day}'" for day in blocked) or "NULL::DATE"
    delivered = [identifier(name) for name in declared.contract.columns if name not in ("event_time", "known_at")]
    row = f"to_json(struct_pack({', '.join(f'{name} := {name}' for name in delivered)}))"
    if declared.stream.cleanse:
        row = f"json_merge_patch({row}, _was)"
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW {judgement.accepted} AS SELECT {columns}, ds FROM {rows.judged}
            WHERE _rule IS NULL AND _excluded IS NULL AND _repeated IS NULL AND NOT coalesce(ds IN ({closed}), false)"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW {judgement.superseded} AS SELECT {own}, again.superseded_at
            FROM {rows.doubtful} AS known JOIN {rows.repeated} AS again ON known.rowid = again.row
            WHERE again.kind = 'superseded' AND again.kept AND NOT coalesce(known.ds IN ({closed}), false)"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW {judgement.quarantined} AS
            SELECT ds, _rule AS rule, {_all_broken(declared, rules)} AS rules, _source AS source, _unparsed AS unparsed,
                   _line AS line, {row}::VARCHAR AS raw_row
            FROM {rows.doubtful} WHERE _rule IS NOT NULL"""
    ).fetchall()


def _all_broken(declared: DeclaredStream, rules: Sequence[Rule]) -> str:
    """SQL of the names of all rules that a row in quarantine breaks, in their order."""
    broken = ", ".join(f"CASE WHEN {rule.broken} THEN {literal(rule.name)} END" for rule in rules)
    # Rows that contradict each other are those that break no rule of rows.
    unique = literal(unique_rule(declared.stream))
    return f"list_filter([{broken}, CASE WHEN _rule = {unique} THEN {unique} END], lambda name: name IS NOT NULL)"
