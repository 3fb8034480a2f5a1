"""Which contract do these data suggest? A proposal for a person to read, under which the same data pass.

The proposal has only what data show: types, formats, empty values, codes, rows a day, how far days differ, and which columns are the
id and the event time. It invents no bounds: whoever knows the meaning of a value says what the value may not become.
"""

import datetime as dt
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from factory_assets.declarations.base import COLUMN, TIMES, reserved
from factory_assets.declarations.contract import ELEMENTS, WEEKDAYS, Column, Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.edits import flow
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import Stream
from factory_assets.events.contract import seen
from factory_assets.events.contract.seen import FAULTS
from factory_assets.events.landing import typed_rows, with_event_day
from factory_assets.events.sources import Delivery
from factory_assets.words import counted as in_words
from factory_resources.scratch import scratch

#: Share of a day's rows that may break one rule, in a proposal.
TOLERANCE = 0.05
#: Days from which the size of other days can be guessed: a week has every weekday.
VOLUME_DAYS = 7
#: So many times the days of another time that a file has are those of something that does not happen on the file's day.
WIDER = 1.5
#: Values on which formats are tried before all values are read with those that are left.
FIRST_TRIED = 200
#: A number that is written as a whole one.
WHOLE = r"\s*[+-]?\d+\s*"
#: Beyond these years a stamp in text was read in a wrong order.
YEARS = (1900, 2100)
#: What stands for an empty value where a column has no other.
NOTHING = frozenset(["", "na", "n/a", "nan", "nil", "none", "null", "\\n", "-", "--", "?", "."])
#: What may separate values, where another mark was declared.
DELIMITERS = ",;\t|"
ORDERS = ("%Y{0}%m{0}%d", "%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%y{0}%m{0}%d", "%d{0}%m{0}%y", "%m{0}%d{0}%y")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S.%f")
FORMATS = tuple(order.format(mark) + clock for mark in "-/." for order in ORDERS for clock in CLOCKS)
ISO_DAY, ISO_TIME = r"\d{4}-\d{2}-\d{2}", r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}.*"
#: Type of values -> what they are called.
CALLED = {"integer": "numbers", "double": "numbers", "date": "dates", "timestamp": "times"}
#: Type of values -> that of lists of them.
LISTED: dict[str, str] = {element: type for type, element in ELEMENTS.items()}


@dataclass(frozen=True)
class Guess:
    """The type that values suggest, the format they are written in, and what a person should know about it."""

    type: str
    format: str | None = None
    note: str = ""
    epoch: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A proposed contract: fields by column, notes on some columns, columns that no contract can hold, days seen.

    id: columns that together tell rows apart; () if no few do. event_time: the column that gives the days, others the times that
    could as well. sources: files that were looked at. unread: others, with the reasons why they cannot be read.
    """

    rows: int
    columns: dict[str, dict[str, Any]]
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    days: tuple[dt.date, ...] = ()
    volume: dict[str, int | float] = field(default_factory=dict)
    quiet: tuple[str, ...] = ()
    day_note: str = ""
    id: tuple[str, ...] = ()
    event_time: str = ""
    others: tuple[str, ...] = ()
    sources: int = 1
    unread: tuple[str, ...] = ()

    @property
    def declared(self) -> dict[str, Any]:
        """The fields of the stream that the contract is of, as far as rows show them."""
        found: dict[str, Any] = {
            "id": self.id[0] if len(self.id) == 1 else "row_id" if self.id else {"file_line": True}
        }
        if self.event_time:
            found["event_time"] = self.event_time
        if len(self.id) > 1:
            found["derive"] = {"row_id": f"concat_ws('|', {', '.join(map(identifier, self.id))})"}
        return found

    @property
    def _comments(self) -> list[str]:
        """What the stream's declaration has beside the contract: the id and the event time, and why these."""
        fields = self.declared
        alone = f"{self.id[0]} has another value in every row" if len(self.id) == 1 else ""
        if alone and self.columns[self.id[0]]["type"] in ("timestamp", "date"):
            alone += "; it is a time, which two events may share some day"
        together = f"no column, but these together have other values in every row: {', '.join(self.id)}"
        none = "no column, no two and no three together tell every row from the others: each line of a file is an event"
        lines = [
            "# The stream's declaration:",
            f"#   id: {flow(fields['id'])}   ({alone or (together if self.id else none)})",
        ]
        if "derive" in fields:
            lines.append(f"#   derive: {flow(fields['derive'])}")
        if self.event_time:
            of = f"of {self.event_time}, {', '.join(self.others)}: " if self.others else ""
            lines.append(f"#   event_time: {self.event_time}   ({of}{self._why_time})")
        return lines

    @property
    def _why_time(self) -> str:
        if not self.others:
            return "the only column that is a time"
        return "never empty, and nearest to the day that a file is of; the others may be meant as well"

    @property
    def text(self) -> str:
        """The contract as a file: a line a column, with the notes as comments."""
        span = f" of {len(self.days)} days, {self.days[0]} to {self.days[-1]}" if self.days else ""
        span = f" in {self.sources} files{span}" if self.sources > 1 else span
        lines = [
            f"# Proposed from {self.rows:,} rows{span}. It says what was seen; what may come is for you to say.",
            *(f"# Not looked at: {one}" for one in self.unread),
            *self._comments,
            "version: 1",
            f"tolerance: {TOLERANCE}            # share of a day's rows that may break one rule before the day is blocked",
        ]
        if self.volume:
            lines.append(f"volume: {flow(self.volume)}   # {self.day_note}")
        elif self.day_note:
            lines.append(f"# no volume: {self.day_note}")
        if self.quiet:
            lines.append(f"quiet: {flow(list(self.quiet))}            # nothing came on these")
        lines.append("columns:")
        for name, fields in self.columns.items():
            note = f"   # {self.notes[name]}" if name in self.notes else ""
            lines.append(f"  {name}: {flow(fields)}{note}")
        lines += [f"  # {name!r} is left out: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines) + "\n"


def infer(
    con: duckdb.DuckDBPyConnection, stream: Stream, delivered: Sequence[Delivery], time: str | None = None
) -> Proposal:
    """Propose a contract for what a stream delivers.

    stream: by its source, values are text or typed; its derived columns and times, where they fit, give the days.
    time: the delivered column that gives the days instead of the stream's event time.
    Raises ValueError where there is nothing to infer from.
    """
    unread = tuple(f"{source} {each.problem}" for each in delivered if each.problem for source in each.sources)
    delivered = [delivery for delivery in delivered if not delivery.problem and delivery.columns]
    if not delivered:
        raise ValueError("; ".join(unread) or "the files are empty; a contract needs data to be proposed from")
    undivided = _undivided(stream, delivered)
    feed = _names([name for delivery in delivered for name in delivery.columns])
    delivered = [delivery.called({given: name for name, given in feed.items()}) for delivery in delivered]
    rows_delivered, rows_typed, rows_dated = "delivered", "typed", "dated"
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {rows_delivered} AS "
        + " UNION ALL BY NAME ".join(f"SELECT * FROM ({delivery.query}) WHERE _line IS NULL" for delivery in delivered)
    ).fetchall()
    guesses, left_out = _guesses(con, stream, delivered, rows_delivered)
    guesses = _with_epochs(con, rows_delivered, guesses)
    if not guesses:
        why = "; ".join(map(": ".join, left_out.items()))
        raise ValueError(f"no column can be in a contract: {why}{f'; {undivided}' if undivided else ''}")
    first = {
        name: Column(type=guess.type, format=guess.format, epoch=guess.epoch, nullable=True)  # type: ignore[arg-type]
        for name, guess in guesses.items()
    }
    plain = DeclaredStream(stream, Contract(columns=first))
    typed = " UNION ALL BY NAME ".join(f"({typed_rows(plain, delivery)})" for delivery in delivered)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {rows_typed} AS SELECT * FROM ({typed}) WHERE _line IS NULL").fetchall()
    rows = con.execute(f"SELECT count(*) FROM {rows_typed}").fetchall()[0][0]
    columns = {
        name: ({"delivered": feed[name]} if name in feed else {}) | _fields(con, rows_typed, name, guess, delivered)
        for name, guess in guesses.items()
    }
    sources = [source for each in delivered for source in each.sources]
    notes = _notes(guesses, delivered) | (dict.fromkeys(guesses, undivided) if undivided else {})
    never_empty = {name: fields["type"] for name, fields in columns.items() if not {"nullable", "required"} & {*fields}}
    known = seen.identifying(con, rows_typed, never_empty)
    if len(known) == 1:
        columns[known[0]].pop("allowed", None)
    facts: dict[str, Any] = {"id": known, "sources": len(sources), "unread": unread}
    times = _times(con, rows_typed, columns, sources)
    dated, why = _dated(plain, time, columns, times)
    if dated is None:
        return Proposal(rows, columns, notes, left_out, day_note=why, **facts)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {rows_dated} AS "
        f"SELECT * FROM ({with_event_day(dated, f'SELECT * FROM {rows_typed}')}) WHERE event_day IS NOT NULL"
    ).fetchall()
    days = seen.days_of(
        dict(con.execute(f"SELECT event_day, count(*) FROM {rows_dated} GROUP BY event_day").fetchall())
    )
    _add_presence(con, rows_dated, columns)
    _leave_out_calendar(con, rows_dated, columns)
    if len(days.rows) >= VOLUME_DAYS:
        _add_shifts(con, rows_dated, columns, [*days.rows], known[0] if len(known) == 1 else "")
    facts |= {
        "event_time": dated.stream.event_time,
        "others": tuple(name for name in times if name != dated.stream.event_time),
    }
    return Proposal(rows, columns, notes, left_out, *_days(days), **facts)


def _with_epochs(con: duckdb.DuckDBPyConnection, rows: str, guesses: dict[str, Guess]) -> dict[str, Guess]:
    """The guesses, of which numbers that count the time since 1970 are times: by their name, or where there is no other time.

    rows: name of the relation of delivered rows.
    """
    counting = {
        name: unit
        for name, guess in guesses.items()
        if guess.type in ("integer", "double")
        and (unit := seen.epoch(con, f"SELECT {identifier(name)} AS value FROM {rows}"))
    }
    named = [name for name in counting if seen.NAMED_TIME.search(name)]
    has_time = any(guess.type in ("timestamp", "date") for guess in guesses.values()) or bool(named)
    plain = [name for name in counting if not seen.NAMED_ID.search(name)]
    times = named or ([] if has_time else plain)
    found = dict(guesses)
    for name, unit in counting.items():
        found[name] = (
            Guess("timestamp", epoch=unit, note=f"numbers that are read as a time since 1970, in {unit}")
            if name in times
            else Guess(guesses[name].type, note=f"could be a time since 1970: {{type: timestamp, epoch: {unit}}}")
        )
    return found


def _undivided(stream: Stream, delivered: Sequence[Delivery]) -> str:
    """A question about the delimiter, where a table of text has one column, whose name holds another mark; else empty."""
    name, *others = dict.fromkeys(name for delivery in delivered for name in delivery.columns)
    marks = [mark for mark in DELIMITERS if mark in name and stream.source.kind == "csv" and not others]
    return (
        f"the only column: is {marks[0]!r} the delimiter? Then give it by --delimiter, or in the source"
        if marks
        else ""
    )


def _notes(guesses: dict[str, Guess], delivered: Sequence[Delivery]) -> dict[str, str]:
    """What a person should know of columns: of their values, and of files that lack them."""
    files, found = sum(len(each.sources) for each in delivered), {}
    for name, guess in guesses.items():
        lacking = [source for each in delivered if name not in each.columns for source in each.sources]
        shown = ", ".join(source.rpartition("/")[2] for source in lacking[:3]) + (" ..." if len(lacking) > 3 else "")
        absent = f"{len(lacking)} of {files} files lack it: {shown}" if lacking else ""
        if note := "; ".join(filter(None, (guess.note, absent))):
            found[name] = note
    return found


def _times(
    con: duckdb.DuckDBPyConnection, rows: str, columns: dict[str, dict[str, Any]], sources: Sequence[str]
) -> list[str]:
    """Columns that are times, the likeliest event time first: never empty, and of the day or month that the file is of.

    rows: name of the table of typed rows.
    """
    times = [name for name, fields in columns.items() if fields["type"] in ("timestamp", "date")]
    found = seen.times_of_files(con, rows, times, sources)
    least = min((days for _, days in found.values()), default=0)

    def rank(name: str) -> tuple[Any, ...]:
        outside, days = found[name]
        # A birthday, or a day of expiry, lies anywhere: its days are more than those of what happens.
        wide = days > WIDER * least
        return columns[name].get("nullable", False), round(outside, 2), wide, columns[name]["type"] == "date"

    return sorted(times, key=rank)


def _leave_out_calendar(con: duckdb.DuckDBPyConnection, rows: str, columns: dict[str, dict[str, Any]]) -> None:
    """Take back the codes of columns that have one value a day, and another one tomorrow. rows: name of the dated rows."""
    for name in seen.of_the_day(con, rows, [name for name, fields in columns.items() if "allowed" in fields]):
        values = columns[name].pop("allowed")
        if columns[name]["type"] == "integer" and values[0] >= 0:
            columns[name]["min"] = 0


def _add_shifts(
    con: duckdb.DuckDBPyConnection,
    rows: str,
    columns: dict[str, dict[str, Any]],
    days: Sequence[dt.date],
    known: str,
) -> None:
    """Give numbers whose days are alike a bound on how far a day may be from the days before it: twice the most that was seen.

    known: the column that is the id, of which every day has others; empty if no column is.
    """
    for name, fields in columns.items():
        if fields["type"] in ("integer", "double") and name != known:
            bound = max(2 * seen.shift(con, rows, name, Column(type=fields["type"]), days), seen.LEAST_SHIFT)
            if bound <= seen.MOST_SHIFT:
                fields["max_shift"] = round_up(bound)


def _names(delivered: Sequence[str]) -> dict[str, str]:
    """Names for columns of a feed whose own can be no name in a contract -> that name."""
    taken, found = {name.lower() for name in delivered}, dict[str, str]()
    for name in dict.fromkeys(delivered):
        if COLUMN.fullmatch(name) and (not reserved(name) or name in TIMES):
            continue
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
        plain = plain if COLUMN.fullmatch(plain) and not reserved(plain) else f"column_{plain}".rstrip("_")
        while plain.lower() in taken:
            plain += "_"
        taken.add(plain.lower())
        found[plain] = name
    return found


def _guesses(
    con: duckdb.DuckDBPyConnection, stream: Stream, delivered: Sequence[Delivery], rows: str
) -> tuple[dict[str, Guess], dict[str, str]]:
    """Guesses by column, and the reasons why other columns are left out. rows: name of the relation of delivered rows."""
    guesses: dict[str, Guess] = {}
    left_out: dict[str, str] = {}
    kinds = {row[0]: row[1] for row in con.execute(f"DESCRIBE {rows}").fetchall()}
    for name in dict.fromkeys(name for delivery in delivered for name in delivery.columns):
        if not con.execute(f"SELECT count({identifier(name)}) FROM {rows}").fetchall()[0][0]:
            left_out[name] = "no value was seen: its type is for you to say; it is kept in raw"
        elif kinds[name] == "VARCHAR" and stream.source.kind == "csv":
            values = f"SELECT {identifier(name)} AS value FROM {rows}"
            given = con.execute(f"SELECT DISTINCT value FROM ({values}) WHERE value IS NOT NULL LIMIT 2").fetchall()
            if len(given) == 1 and (word := given[0][0]).strip().lower() in NOTHING:
                left_out[name] = (
                    f"no value but {word!a} was seen: if it stands for none, name it in null_values of the source; "
                    "its type is for you to say; it is kept in raw"
                )
            else:
                guesses[name] = _guess_text(con, values)
        elif kind := _column_type(kinds[name]):
            guesses[name] = Guess(kind)
        else:
            left_out[name] = f"{kinds[name].partition('(')[0]} is no type of a contract; it is kept in raw"
    return guesses, left_out


def _column_type(kind: str) -> str | None:
    """The contract's type for one of DuckDB's, None where there is none."""
    if kind.endswith("[]"):
        return LISTED.get(_column_type(kind[:-2]) or "")
    if kind.endswith("INT") or kind == "INTEGER":
        return "integer"
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        return "double"
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    if kind in ("VARCHAR", "UUID") or kind.startswith(("ENUM", "TIME")):
        return "string"
    return {"BOOLEAN": "boolean", "DATE": "date"}.get(kind)


def guess_texts(texts: Sequence[str]) -> Guess:
    """The type that all of these texts have."""
    with scratch() as con:
        con.execute("CREATE TEMP TABLE given (value VARCHAR)").fetchall()
        if texts:
            con.executemany("INSERT INTO given VALUES (?)", [[text] for text in texts])
        return _guess_text(con, "SELECT value FROM given")


def _guess_text(con: duckdb.DuckDBPyConnection, values: str) -> Guess:
    """The narrowest type as which every value can be read; text where that is open."""
    texts = "texts"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {texts} AS "
        f"SELECT value, count(*) AS times FROM ({values}) WHERE value IS NOT NULL GROUP BY value"
    ).fetchall()
    tests = {
        "whole": f"regexp_full_match(value, '{WHOLE}') AND TRY_CAST(value AS BIGINT) IS NOT NULL",
        "padded": r"regexp_full_match(value, '\s*[+-]?0\d+\s*')",
        "number": "coalesce(isfinite(TRY_CAST(value AS DOUBLE)), false)",
        "flag": "TRY_CAST(value AS BOOLEAN) IS NOT NULL",
        "day": f"regexp_full_match(value, '{ISO_DAY}') AND TRY_CAST(value AS DATE) IS NOT NULL",
        "time": f"regexp_full_match(value, '{ISO_TIME}') AND TRY_CAST(value AS TIMESTAMPTZ) IS NOT NULL",
        "numbered": "regexp_matches(value, '[0-9]')",
    }
    counted = ", ".join(f"coalesce(sum(times) FILTER ({test}), 0)" for test in tests.values())
    total, *sums = con.execute(f"SELECT coalesce(sum(times), 0), {counted} FROM {texts}").fetchall()[0]
    counts = dict(zip(tests, map(int, sums), strict=True))
    if not total:
        return Guess("string", note="no value seen")
    if counts["padded"]:
        return Guess("string", note="digits with leading zeros: taken for a name, not a number")
    if counts["whole"] == total:
        days = _formats(con, texts, ("%Y%m%d",))
        return Guess("integer", note="could be days, with format '%Y%m%d'" if days else "")
    if counts["number"] == total:
        return Guess("double")
    if counts["flag"] == total:
        return Guess("boolean")
    if counts["day"] == total:
        return Guess("date")
    if counts["time"] == total:
        return Guess("timestamp")
    most = max(("number", "day", "time"), key=counts.__getitem__)
    # DuckDB reads infinity and epoch as 1900-01-01, whatever the format.
    numbered = f"(SELECT * FROM {texts} WHERE {tests['numbered']})"
    if counts[most] < counts["numbered"] and (formats := _formats(con, numbered, FORMATS)):
        guess = _guess_format(con, numbered, formats)
        if counts["numbered"] == total or guess.type == "string":
            return guess
        return _guess_with_faults(con, texts, guess, tests["numbered"], int(total), counts["numbered"])
    kind = {"day": "date", "time": "timestamp"}.get(most) or (
        "integer" if counts["whole"] == counts[most] else "double"
    )
    return _guess_with_faults(con, texts, Guess(kind), tests[most], int(total), counts[most])


def _formats(con: duckdb.DuckDBPyConnection, texts: str, formats: Sequence[str]) -> list[str]:
    """The formats that read every value, as a time within YEARS. texts: name of the table of values, or a query."""
    some = f"(SELECT * FROM {texts} ORDER BY hash(value) LIMIT {FIRST_TRIED})"
    for values in (some, texts):
        reads = ", ".join(
            f"bool_and(coalesce(year(try_strptime(value, '{one}')) BETWEEN {YEARS[0]} AND {YEARS[1]}, false))"
            for one in formats
        )
        if not formats:
            return []
        sums = con.execute(f"SELECT {reads} FROM {values}").fetchall()[0]
        formats = [one for one, reads_all in zip(formats, sums, strict=True) if reads_all]
    return list(formats)


def _guess_format(con: duckdb.DuckDBPyConnection, texts: str, formats: Sequence[str]) -> Guess:
    """A date or timestamp in the one format that reads it; text, and the candidates, where two read it differently."""
    kind = "timestamp" if "%H" in formats[0] or "%I" in formats[0] else "date"
    for one, other in itertools.combinations(formats, 2):
        count, differ = con.execute(
            f"""SELECT count(*), count(*) FILTER (try_strptime(value, '{one}') <> try_strptime(value, '{other}')) FROM {texts}"""
        ).fetchall()[0]
        if differ:
            candidates = " or ".join(f"'{candidate}'" for candidate in formats)
            return Guess(
                "string",
                note=f"a {kind}, format {candidates}? All values fit each, and {differ} of {count} mean another day: ask",
            )
    return Guess(kind, formats[0])


def _guess_with_faults(
    con: duckdb.DuckDBPyConnection, texts: str, guess: Guess, test: str, total: int, fitting: int
) -> Guess:
    """Numbers, days or times among which are a few faults, or a word that stands for none; else text.

    guess: what they are. test: SQL of whether a value is one, as `fitting` of `total` are.
    """
    others = con.execute(
        f"SELECT value, times FROM {texts} WHERE NOT ({test}) ORDER BY times DESC, value LIMIT 4"
    ).fetchall()
    shown = ", ".join(ascii(value) for value, _ in others[:3])
    if 0 < total - fitting <= FAULTS * total:
        return replace(guess, note=f"{total - fitting} of {total:,} values are none and will be set aside: {shown}")
    if fitting and len(others) == 1:
        values = f"{CALLED[guess.type]} but for {shown}, {others[0][1]:,} of {total:,}"
        return Guess("string", note=f"{values}: if it stands for an empty value, name it in null_values of the source")
    return Guess("string")


def _fields(
    con: duckdb.DuckDBPyConnection, rows: str, name: str, guess: Guess, delivered: Sequence[Delivery]
) -> dict[str, Any]:
    """Fields of a column in the order in which contracts give them. rows: name of the table of typed rows."""
    quoted = identifier(name)
    fields: dict[str, Any] = {"type": guess.type}
    without = [source for each in delivered if name not in each.columns for source in each.sources]
    listed = ", ".join("'" + source.replace("'", "''") + "'" for source in without)
    here = f"_source NOT IN ({listed})" if without else "true"
    numeric = guess.type in ("integer", "double")
    # A text that does not parse is empty here, and is no empty value.
    empty, filled, least = con.execute(
        f"""SELECT count(*) FILTER ({here} AND {quoted} IS NULL AND NOT coalesce(json_exists(_unparsed, '$."{name}"')
                                    AND json_extract_string(_unparsed, '$."{name}"') IS NOT NULL, false)),
                   count({quoted}), {f"min({quoted})" if numeric else "NULL"} FROM {rows}"""
    ).fetchall()[0]
    if guess.format:
        fields["format"] = guess.format
    if guess.epoch:
        fields["epoch"] = guess.epoch
    if without:
        fields["required"] = False
    if empty or not filled:
        fields["nullable"] = True
    values = seen.domain(con, rows, name, guess.type)
    if values:
        fields["allowed"] = values
    elif numeric and least is not None and least >= 0:
        fields["min"] = 0
    return fields


def _dated(
    plain: DeclaredStream, time: str | None, columns: dict[str, dict[str, Any]], times: Sequence[str]
) -> tuple[DeclaredStream | None, str]:
    """The stream with a usable event time, or None and why there is none. times: columns that are times, the likeliest first."""
    stream = plain.stream
    kinds = {name: fields["type"] for name, fields in columns.items()}
    if time is not None and time not in times:
        raise ValueError(f"{time!r} is {kinds.get(time, 'not a column')}; allowed: {', '.join(times) or 'none here'}")
    if time is None and stream.event_time in kinds:
        time = stream.event_time
    elif time is None and stream.event_time not in stream.derive:
        time = times[0] if times else None
    if time in times:
        alone: dict[str, Any] = {"event_time": time, "known_at": None, "derive": {}, "rules": {}, "exclude": {}}
        return DeclaredStream(stream.model_copy(update=alone), plain.contract), ""
    if stream.event_time not in stream.derive:
        return None, "no column is a time"
    problems = plain.check()
    if problems:
        return None, f"the stream's expressions do not fit: {problems[0][1]}"
    return plain, ""


def _add_presence(con: duckdb.DuckDBPyConnection, rows: str, columns: dict[str, dict[str, Any]]) -> None:
    """Give nullable columns a share of values below which no day should fall: half of the lowest seen, or twice its lack.

    rows: name of the relation of rows with their day.
    """
    for name, fields in columns.items():
        if not fields.get("nullable"):
            continue
        worst = con.execute(
            f"SELECT min(share) FROM (SELECT count({identifier(name)}) / count(*) AS share FROM {rows} GROUP BY event_day)"
        ).fetchall()[0][0]
        least = math.floor(100 * max((worst or 0) / 2, 1 - 2 * (1 - (worst or 0)))) / 100
        if least > 0:
            fields["presence"] = {"min_fraction": least}


def _days(days: seen.Days) -> tuple[tuple[dt.date, ...], dict[str, int | float], tuple[str, ...], str]:
    """Days seen, the volume of a day (half the smallest to twice the largest), days without any, and a note."""
    found, none = tuple(days.rows), dict[str, int | float]()
    if len(found) < VOLUME_DAYS:
        return found, none, (), f"{in_words(len(found), 'day')} seen, too few"
    span = [found[0] + dt.timedelta(days=offset) for offset in range((found[-1] - found[0]).days + 1)]
    empty = [day for day in span if day not in days.rows]
    never = {day.weekday() for day in empty} - {day.weekday() for day in found}
    others = [day for day in empty if day.weekday() not in never]
    if len(others) > len(found) / VOLUME_DAYS:
        return found, none, (), f"{len(others)} days in between are empty"
    quiet = (*(WEEKDAYS[number] for number in sorted(never)), *map(str, others))
    least, most = min(days.rows.values()), max(days.rows.values())
    volume = {"max": round_up(2 * most)} if least < 2 else {"min": least // 2, "max": round_up(2 * most)}
    return found, volume, quiet, f"{least:,} to {most:,} rows a day were seen{_strays(days.stray)}"


def _strays(stray: Mapping[dt.date, int]) -> str:
    if not stray:
        return ""
    shown = ", ".join(map(str, [*stray][:3])) + (" ..." if len(stray) > 3 else "")
    return f"; {in_words(sum(stray.values()), 'row')} of other days left out: {shown}"


def round_up(value: float, digits: int = 2) -> int | float:
    """The next number of so many digits that is not smaller: 5123 -> 5200. Whole numbers stay whole."""
    if value == 0:
        return 0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    rounded = round(math.ceil(value / step) * step, 12)
    rounded = rounded if rounded >= value else value
    return int(rounded) if rounded == int(rounded) else rounded
