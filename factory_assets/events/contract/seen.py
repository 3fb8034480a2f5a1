"""What do the rows of a feed show of it: which values are codes, which columns tell rows apart, which days it is of?

Rules of thumb, each with its limits here: a proposal is read by a person, who knows what a column means.
"""

import datetime as dt
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.declarations.contract import Column
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract.day_rules import MIN_PAST, MIN_ROWS_OF_A_SHAPE, bin_of, divergence

#: Fewer rows say little about values that were not seen.
DOMAIN_ROWS = 1000
#: A text with more different values than this is no domain.
DOMAIN = 20
#: Whole numbers with more different values than this are amounts, and so are larger and negative ones.
CODES, LARGEST_CODE = 12, 99
#: Words in the names of whole numbers that are counted or measured, however few of them were seen.
MEASURED = {
    "count",
    "cnt",
    "num",
    "n",
    "number",
    "qty",
    "quantity",
    "amount",
    "total",
    "sum",
    "size",
    "age",
    "price",
    "cost",
    "fee",
}
MEASURED |= {"distance", "dist", "duration", "dur", "delay", "minute", "second", "hour", "year", "passenger"}
#: The words of a name: of my_column and of MyColumn two.
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: Words in the names of columns that tell rows apart.
NAMED_ID = re.compile(r"(^|_)(id|key|uuid|guid|no|nr|number|code)$|[a-z](Id|ID|No|Nr|Key)$|^instant$", re.IGNORECASE)
#: Columns of most different values, among which an id is looked for, and how many may make one.
ID_CANDIDATES, ID_COLUMNS = 8, 3
#: Rows by which columns are dismissed that do not tell rows apart, before all rows are asked.
ID_ROWS = 20_000
#: Words in the names of times that are numbers; of other numbers a few may look like times.
NAMED_TIME = re.compile(
    r"time|date|stamp|epoch|unix|created|updated|_at$|_on$|_ts$|^ts$|^at$|^t$|when|seen", re.IGNORECASE
)
#: Years of numbers that are taken for times: of later and earlier ones more are something else.
EPOCH_YEARS = (1990, 2050)
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: Share of a column's values that may be another thing than the rest: a fault of the feed.
FAULTS = 0.001
#: A day, or days apart from the others, with a smaller share of the usual rows is a stray date; so many rows may have one.
STRAY = 0.01
#: Days without a row that part a stray date from the days of a file.
APART = dt.timedelta(days=28)
#: Days that must have been compared with their past before a bound is proposed; it lets pass twice the most seen, but no less than
#: this, and where it would let pass more than half of all there is, the column has no shape to hold on to.
SHIFT_DAYS, LEAST_SHIFT, MOST_SHIFT = 7, 0.05, 0.5
#: Days of the past that a day is compared with, as in a contract that says nothing else.
PAST = dt.timedelta(days=28)
#: A day, or a month, in the name of a file.
DATED = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_.]?(0[1-9]|1[0-2])(?:[-_.]?(0[1-9]|[12]\d|3[01]))?(?!\d)")


@dataclass(frozen=True)
class Days:
    """The days of a file: of those that were seen, without stray ones; rows by day, and rows of stray days."""

    rows: Mapping[dt.date, int]
    stray: Mapping[dt.date, int]


def domain(con: duckdb.DuckDBPyConnection, rows: str, name: str, kind: str) -> list[str | int]:
    """The values of a column of codes: a text of few values, or a small whole number; none where others are likely to come.

    The share of rows with a value not seen so far is about that of the values seen once (Good 1953).
    rows: name of the table of typed rows.
    """
    if kind not in ("string", "integer"):
        return []
    counted = con.execute(
        f"""SELECT {identifier(name)}, count(*) FROM {rows} WHERE {identifier(name)} IS NOT NULL GROUP BY ALL
            ORDER BY ALL LIMIT {DOMAIN + 1}"""
    ).fetchall()
    values, times = [value for value, _ in counted], [number for _, number in counted]
    if len(values) > DOMAIN or sum(times) < DOMAIN_ROWS:
        return []
    if kind == "string" or values == [0, 1]:
        return values if min(times) > 1 else []
    small = 2 <= len(values) <= CODES and values[0] >= 0 and values[-1] <= LARGEST_CODE
    return values if small and min(times) > 1 and not _measured(name) else []


def _measured(name: str) -> bool:
    words = {word.lower() for word in WORD.findall(name)}
    return bool(MEASURED & (words | {word.removesuffix("s") for word in words}))


def of_the_day(con: duckdb.DuckDBPyConnection, rows: str, names: Sequence[str]) -> set[str]:
    """Columns that have one value each day, and none that comes again after another, such as a year: tomorrow's may be a new one.

    rows: name of the relation of rows with their day.
    """
    found = set()
    for name in names:
        value = identifier(name)
        most, different, changes = con.execute(
            f"""SELECT max(n), count(DISTINCT v), count(*) FILTER (v <> earlier) FROM (
                    SELECT n, v, lag(v) OVER (ORDER BY event_day) AS earlier FROM (
                        SELECT event_day, count(DISTINCT {value}) AS n, min({value}) AS v FROM {rows}
                        WHERE {value} IS NOT NULL GROUP BY event_day))"""
        ).fetchall()[0]
        if most == 1 < different == changes + 1:
            found.add(name)
    return found


def epoch(con: duckdb.DuckDBPyConnection, values: str) -> str | None:
    """What a column of numbers counts since 1970, if nearly all of them are then of EPOCH_YEARS. values: query for `value`."""
    first, after = (int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) for year in EPOCH_YEARS)
    number = "TRY_CAST(value AS DOUBLE)"
    within = [f"count(*) FILTER ({number} >= {first * unit} AND {number} < {after * unit})" for unit in UNITS.values()]
    total, *counts = con.execute(f"SELECT count(value), {', '.join(within)} FROM ({values})").fetchall()[0]
    fitting = [unit for unit, count in zip(UNITS, counts, strict=True) if total and count >= (1 - FAULTS) * total]
    return fitting[0] if fitting else None


def identifying(con: duckdb.DuckDBPyConnection, rows: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The fewest columns, ID_COLUMNS at most, that tell every row from every other; () if there are none.

    kinds: type of each column that is never empty; a row whose value is no such thing is set aside anyway.
    Among as few, those that are named like an id, and stand first.
    """
    names = [name for name, kind in kinds.items() if kind in ("integer", "string", "timestamp", "date")]
    if not names:
        return ()
    counts = ", ".join(f"approx_count_distinct({identifier(name)})" for name in names)
    different = dict(zip(names, con.execute(f"SELECT {counts} FROM {rows}").fetchall()[0], strict=True))
    timed = {name for name in names if kinds[name] in ("timestamp", "date")}
    most = sorted(different, key=lambda name: -different[name])[:ID_CANDIDATES]
    ranked = sorted(most, key=lambda name: (name in timed, not NAMED_ID.search(name), names.index(name)))
    some = f"(SELECT * FROM {rows} LIMIT {ID_ROWS})"
    for size in range(1, ID_COLUMNS + 1):
        for columns in itertools.combinations(ranked, size):
            if all(_unique(con, those, columns) for those in (some, rows)):
                return tuple(sorted(columns, key=names.index))
    return ()


def _unique(con: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]) -> bool:
    listed = ", ".join(map(identifier, columns))
    given = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in columns)
    total, groups = con.execute(
        f"SELECT sum(times), count(*) FROM (SELECT count(*) AS times FROM {rows} WHERE {given} GROUP BY {listed})"
    ).fetchall()[0]
    return bool(total == groups and total)


def period_of(source: str) -> tuple[dt.date, dt.date] | None:
    """The day or month in the name of a file, as its first and its last day."""
    found = DATED.findall(source.rpartition("/")[2])
    if len(found) != 1:
        return None
    year, month, day = found[0]
    try:
        first = dt.date(int(year), int(month), int(day or 1))
    except ValueError:
        return None
    after = (first + dt.timedelta(days=31)).replace(day=1)
    return (first, first) if day else (first, after - dt.timedelta(days=1))


def times_of_files(
    con: duckdb.DuckDBPyConnection, rows: str, names: Sequence[str], sources: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """For each time: the share of rows that lie outside of the day or month in the name of their file, and days a file has.

    A file with no day in its name has no row outside.
    """
    periods = {source: period for source in sources if (period := period_of(source))}
    cases = " ".join(
        f"WHEN '{_text(source)}' THEN day BETWEEN DATE '{first}' AND DATE '{last}'"
        for source, (first, last) in periods.items()
    )
    inside = f"CASE _source {cases} ELSE true END" if cases else "true"
    found = {}
    for name in names:
        outside, days = con.execute(
            f"""SELECT coalesce(sum(rows) FILTER (NOT {inside}) / sum(rows), 0), count(*) / count(DISTINCT _source)
                FROM (SELECT _source, CAST({identifier(name)} AS DATE) AS day, count(*) AS rows FROM {rows} GROUP BY ALL)
                WHERE day IS NOT NULL"""
        ).fetchall()[0]
        found[name] = (float(outside), float(days or 0))
    return found


def _text(source: str) -> str:
    return source.replace("'", "''")


def days_of(rows: Mapping[dt.date, int]) -> Days:
    """The days of a file, in order, and those that a few rows have by mistake. rows: day -> its rows."""
    total, passed, usual = sum(rows.values()), 0, 0
    for count in sorted(rows.values()):
        # The size of the day in which the middle row lies: stray days are many, and their rows are few.
        passed, usual = passed + count, count
        if 2 * passed >= total:
            break
    stretches: list[list[dt.date]] = []
    for day in sorted(day for day, count in rows.items() if count >= STRAY * usual):
        if not stretches or day - stretches[-1][-1] > APART:
            stretches.append([])
        stretches[-1].append(day)
    largest = max(stretches, key=lambda days: sum(rows[day] for day in days), default=[])
    kept = {day: rows[day] for day in sorted(rows) if largest and largest[0] <= day <= largest[-1]}
    stray = {day: rows[day] for day in sorted(rows) if day not in kept}
    if sum(stray.values()) > max(1, STRAY * total):
        return Days({day: rows[day] for day in sorted(rows)}, {})
    return Days(kept, stray)


def shift(con: duckdb.DuckDBPyConnection, rows: str, name: str, column: Column, days: Sequence[dt.date]) -> float:
    """The largest divergence of one of the days from those before it, as a contract measures it; 1 where too few can be compared.

    rows: name of the relation of rows with their day.
    """
    bins: dict[dt.date, dict[str, int]] = {}
    for day, value, count in con.execute(
        f"""SELECT * FROM (SELECT event_day, {bin_of(name, column)} AS bin, count(*) FROM {rows} GROUP BY 1, 2)
            WHERE bin IS NOT NULL"""
    ).fetchall():
        bins.setdefault(day, {})[value] = count
    seen = []
    for day in days:
        past = [bins[other] for other in days if day - PAST <= other < day and other in bins]
        pooled: dict[str, int] = {}
        for earlier in past:
            for value, count in earlier.items():
                pooled[value] = pooled.get(value, 0) + count
        now = bins.get(day, {})
        if len(past) >= MIN_PAST and min(sum(now.values()), sum(pooled.values())) >= MIN_ROWS_OF_A_SHAPE:
            seen.append(divergence(now, pooled))
    return max(seen) if len(seen) >= SHIFT_DAYS else 1.0
