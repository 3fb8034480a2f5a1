"""Is a day as a whole what was to be expected? Presence, volume, variety and shape, against bounds and the recent past.

A day is compared with the median, or the pooled distribution, of the days before it that were fit for use. Until
there are MIN_PAST of them no change is judged. After that every day is: where the recent past has fewer, as after weeks that
were blocked, the last MIN_PAST that were fit stand for it, however long ago.
"""

import datetime as dt
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Amount, Column, Presence
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract.rules import Rule

#: Fewer days of the past do not distinguish a change from the course of a week.
MIN_PAST = 7
#: Rows below which neither a share nor a distribution says anything.
MIN_ROWS = 20
MIN_ROWS_OF_A_SHAPE = 100
VOLUME = Rule("volume", "volume", "", "number of rows", "")
FRESHNESS = Rule("volume", "freshness", "", "hours without an event before the close", "")
HOUR, DAY_HOURS = dt.timedelta(hours=1), 24.0


@dataclass(frozen=True)
class Measured:
    """The measurement of a rule on whole days: a number and the bounds that it must keep. None is no bound.

    usual: the median of the past, where the day is compared with it. last: the newest day of that past, where it is none of the
        recent past.
    """

    day: dt.date
    rule: Rule
    place: str
    observed: float
    low: float | None
    high: float | None
    usual: float | None = None
    last: dt.date | None = None

    @property
    def holds(self) -> bool:
        return self.excess == 0

    @property
    def excess(self) -> float:
        """How far the number lies out of its bounds, 0 within."""
        below = 0.0 if self.low is None else self.low - self.observed
        above = 0.0 if self.high is None else self.observed - self.high
        return max(0.0, below, above)

    @property
    def message(self) -> str:
        """The number against its bounds, in a sentence."""
        bounds = [
            f"at least {self.low:.6g}" if self.low is not None else "",
            f"at most {self.high:.6g}" if self.high is not None else "",
        ]
        where = f" ({self.place})" if self.place else ""
        against = f", as on the {MIN_PAST} days up to {self.last}, the last that were fit for use" if self.last else ""
        return f"{self.rule.name}{where} is {self.observed:.6g}, expected {' and '.join(filter(None, bounds))}{against}"


@dataclass(frozen=True)
class Measurable:
    """The rows that rules on whole days measure.

    judged: name of a relation of the days' rows, with `_excluded` and `_repeated`. past: name of a relation of the events of
        the days before, read where a rule compares days. lacking: column -> sources that were delivered without it; a
        presence rule leaves their rows out.
    """

    judged: str
    past: str
    lacking: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Past:
    """The days with which a day is compared, oldest first. last: their newest, where it is none of the recent past."""

    days: Sequence["Summary"]
    last: dt.date | None = None


@dataclass
class Summary:
    """One day in numbers: rows, different values of columns, and counts of values in bins."""

    rows: int = 0
    newest: dt.datetime | None = None
    distinct: dict[str, int] = field(default_factory=dict)
    bins: dict[str, Counter[str]] = field(default_factory=dict)


def days_to_compare(declared: DeclaredStream, days: Sequence[dt.date], known: Collection[dt.date]) -> list[dt.date]:
    """The days before these whose events `measure` needs as the past, of those known to have some."""
    first = days[0] - declared.contract.past
    recent = sorted(day for day in known if first <= day < days[0])
    if len(recent) >= MIN_PAST and len(days) == 1:
        return recent
    return sorted(day for day in known if day < first)[-MIN_PAST:] + recent


def looks_back(declared: DeclaredStream) -> bool:
    """Whether any rule compares a day with the days before it."""
    amounts = [declared.contract.volume, *(column.distinct for column in declared.contract.columns.values())]
    shapes = [column.max_shift for column in declared.contract.columns.values()]
    return any(amount and amount.max_change is not None for amount in amounts) or any(shapes)


def applies(declared: DeclaredStream) -> bool:
    """Whether the contract has rules on whole days."""
    columns = declared.contract.columns.values()
    return (
        declared.contract.volume is not None
        or declared.contract.freshness is not None
        or any(column.presence or column.distinct or column.max_shift for column in columns)
    )


def day_rules(declared: DeclaredStream) -> list[Rule]:
    """The rules on whole days; the number of rows is one also where the contract gives it no bounds: a day may be an outage."""
    rules = [VOLUME, *([FRESHNESS] if declared.contract.freshness else [])]
    for name, column in declared.contract.columns.items():
        if column.presence:
            rules += [
                _presence_rule(name, column.presence),
                *([_values_rule(name)] if column.presence.min_count else []),
            ]
        rules += [_distinct_rule(name)] if column.distinct else []
        rules += [_shift_rule(name)] if column.max_shift is not None else []
    return rules


def measure(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    rows: Measurable,
    days: Sequence[dt.date],
    unfit: Collection[dt.date],
    informing: Collection[str],
) -> list[Measured]:
    """Measure rows day by day.

    unfit: days that are blocked for other reasons: none of them is part of another day's past.
    informing: rules that block no day; a day that breaks only these is part of the past.
    """
    if not applies(declared):
        return []
    kept = _keep(con, declared, rows)
    measured = list(_presences(con, declared, kept, rows.lacking))
    summaries = _summaries(con, declared, kept, repeated=True)
    past = _summaries(con, declared, rows.past, repeated=False) if looks_back(declared) else {}
    failing = {one.day for one in measured if not one.holds and one.rule.name not in informing}
    for day in sorted(days):
        summary = summaries.get(day, Summary())
        of_day = list(_amounts(declared, day, summary, _past_of(declared, day, past)))
        measured += of_day
        if day in unfit or day in failing or any(not one.holds and one.rule.name not in informing for one in of_day):
            past.pop(day, None)
        elif summary.rows:
            past[day] = summary
    return measured


def _keep(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, rows: Measurable) -> str:
    """Keep the rows that are not left out, with the columns that are measured, in a table: each rule reads it. Its name."""
    kept = "measured"
    names = {"ds", "event_time", "_repeated", *(["_source"] if rows.lacking else [])}
    for name, column in declared.contract.columns.items():
        if column.presence or column.distinct or column.max_shift is not None:
            names.add(name)
        if column.presence and column.presence.by:
            names.add(column.presence.by)
    chosen = ", ".join(map(identifier, sorted(names)))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {kept} AS SELECT {chosen} FROM {rows.judged} WHERE _excluded IS NULL"
    ).fetchall()
    return kept


def _past_of(declared: DeclaredStream, day: dt.date, fit: Mapping[dt.date, Summary]) -> Past:
    before = sorted(other for other in fit if other < day)
    recent = [other for other in before if other >= day - declared.contract.past]
    if len(recent) >= MIN_PAST or len(before) < MIN_PAST:
        return Past([fit[other] for other in recent])
    chosen = before[-MIN_PAST:]
    return Past([fit[other] for other in chosen], None if recent else chosen[-1])


def _presences(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, rows: str, lacking: Mapping[str, Sequence[str]]
) -> Iterator[Measured]:
    for name, column in declared.contract.columns.items():
        wanted = column.presence
        if wanted is None:
            continue
        rule, place = _presence_rule(name, wanted), _place(wanted)
        absent = ", ".join("'" + source.replace("'", "''") + "'" for source in lacking.get(name, ()))
        delivered = f"WHERE _source NOT IN ({absent})" if absent else ""
        for day, where, count, given in con.execute(
            f"""SELECT ds, {place}, count(*), count({identifier(name)}) FROM {rows}
                {delivered} GROUP BY ALL ORDER BY ALL"""
        ).fetchall():
            if not where or count >= MIN_ROWS:
                yield Measured(day, rule, where, given / count, wanted.min_fraction, None)
        if wanted.min_count:
            counted = _values_rule(name)
            for day, given in con.execute(
                f"SELECT ds, count({identifier(name)}) FROM {rows} {delivered} GROUP BY ds ORDER BY ds"
            ).fetchall():
                yield Measured(day, counted, "", given, wanted.min_count, None)


def _presence_rule(name: str, wanted: Presence) -> Rule:
    scope = (" in every hour" if wanted.every == "hour" else "") + (f" for every {wanted.by}" if wanted.by else "")
    return Rule("completeness", "presence", name, f"share of rows with {name}{scope}", "")


def _values_rule(name: str) -> Rule:
    return Rule("completeness", "presence", name, f"values of {name}", "")


def _distinct_rule(name: str) -> Rule:
    return Rule("distribution", "distinct", name, f"different values of {name}", "")


def _shift_rule(name: str) -> Rule:
    return Rule("distribution", "shift", name, f"shift of {name} against the past", "")


def _place(wanted: Presence) -> str:
    """SQL that names the part of a day for which a share must hold; '' is all of it."""
    parts = ["strftime(event_time, '%H:00')"] if wanted.every == "hour" else []
    if wanted.by:
        parts.append(f"'{wanted.by} ' || coalesce({identifier(wanted.by)}::VARCHAR, 'null')")
    return f"concat_ws(', ', {', '.join(parts)})" if parts else "''"


def _summaries(
    con: duckdb.DuckDBPyConnection, declared: DeclaredStream, rows: str, repeated: bool
) -> dict[dt.date, Summary]:
    """The days of a relation in numbers. repeated: whether it has rows delivered twice, to be counted once."""
    columns = declared.contract.columns
    counted = "count(*) FILTER (_repeated IS NULL)" if repeated else "count(*)"
    varied = [name for name, column in columns.items() if column.distinct]
    chosen = ", ".join([counted, "max(event_time)", *(f"count(DISTINCT {identifier(name)})" for name in varied)])
    summaries = {
        day: Summary(count, newest, dict(zip(varied, values, strict=True)))
        for day, count, newest, *values in con.execute(f"SELECT ds, {chosen} FROM {rows} GROUP BY ds").fetchall()
    }
    for name, column in columns.items():
        if column.max_shift is not None:
            for day, value, count in con.execute(
                f"SELECT * FROM (SELECT ds, {bin_of(name, column)} AS bin, count(*) FROM {rows} GROUP BY 1, 2) WHERE bin IS NOT NULL"
            ).fetchall():
                summaries[day].bins.setdefault(name, Counter())[value] = count
    return summaries


def bin_of(name: str, column: Column) -> str:
    """SQL of the bin that a value falls into, the same for all days: the hour of a time, the size of a large number."""
    quoted = identifier(name)
    if column.type == "timestamp":
        return f"hour({quoted})::VARCHAR"
    if column.type == "date":
        return f"dayofweek({quoted})::VARCHAR"
    if column.type in ("string", "boolean"):
        return f"{quoted}::VARCHAR"
    # Small whole numbers are codes as often as amounts and stay apart; other numbers go by steps of a quarter.
    size = f"sign({quoted})::INT || 'e' || floor(ln(abs({quoted})) / ln(1.25))::BIGINT"
    small = f"{quoted} = 0" if column.type == "double" else f"abs({quoted}) < 20"
    return f"CASE WHEN {small} THEN {quoted}::BIGINT::VARCHAR WHEN {quoted} IS NOT NULL THEN {size} END"


def _amounts(declared: DeclaredStream, day: dt.date, summary: Summary, past: Past) -> Iterator[Measured]:
    contract = declared.contract
    if contract.volume and not (summary.rows == 0 and contract.is_quiet(day)):
        yield _amount(day, VOLUME, summary.rows, contract.volume, [one.rows for one in past.days], past.last)
    if contract.freshness and not (summary.rows == 0 and contract.is_quiet(day)):
        close = dt.datetime.combine(day, dt.time()) + DAY_HOURS * HOUR
        quiet = DAY_HOURS if summary.newest is None else max(0.0, (close - summary.newest) / HOUR)
        yield Measured(day, FRESHNESS, "", quiet, None, contract.freshness / HOUR)
    if not summary.rows:
        return
    for name, column in contract.columns.items():
        if column.distinct:
            # Days of an older contract do not have the column at all.
            earlier = [one.distinct[name] for one in past.days if one.distinct.get(name)]
            yield _amount(day, _distinct_rule(name), summary.distinct.get(name, 0), column.distinct, earlier, past.last)
        if column.max_shift is not None:
            pooled: Counter[str] = sum((one.bins.get(name, Counter()) for one in past.days), Counter())
            now = summary.bins.get(name, Counter())
            if len(past.days) >= MIN_PAST and min(now.total(), pooled.total()) >= MIN_ROWS_OF_A_SHAPE:
                shift = divergence(now, pooled)
                yield Measured(day, _shift_rule(name), "", shift, None, column.max_shift, last=past.last)


def _amount(
    day: dt.date, rule: Rule, observed: int, wanted: Amount, past: Sequence[int], last: dt.date | None
) -> Measured:
    low: float | None = wanted.min
    high: float | None = wanted.max
    usual = None
    if wanted.max_change is not None and len(past) >= MIN_PAST:
        usual = statistics.median(past)
        least, most = usual * (1 - wanted.max_change), usual * (1 + wanted.max_change)
        low = least if low is None else max(low, least)
        high = most if high is None else min(high, most)
    return Measured(day, rule, "", observed, low, high, usual, None if usual is None else last)


def divergence(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two counts in bits: 0 for the same shares, 1 where no value is shared (Lin 1991)."""
    n, m = sum(one.values()), sum(other.values())
    total = 0.0
    for value in sorted({*one, *other}):
        p, q = one.get(value, 0) / n, other.get(value, 0) / m
        mean = (p + q) / 2
        total += sum(share * math.log2(share / mean) / 2 for share in (p, q) if share)
    return min(max(total, 0.0), 1.0)
