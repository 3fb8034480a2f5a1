"""Which events did a correction move to another day? An id is one event over all days in reach.

Each day is judged with its own rows; versions of an event that happened on different days, such as an order that was moved over
midnight, are found after that. The one known last holds, those before it are superseded from then on. Each day keeps the versions
of its events that other days have in a table of its own, `moved`: what is made of the day, its labels above all, needs no other
day for it, and a plan sees by it that the day is to be divided anew.

What a day's tables hold follows from the versions that the days in reach have, not from the order in which days were judged.
"""

import datetime as dt
import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.days import DAY, ranges
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract.validation import Judgement, judged_rows
from factory_assets.events.versions import MOVED, superseded_at
from factory_resources.delta.day_content import DayContent, content_of
from factory_resources.lake import Held, Lake

#: Column of `moved`: the day that has the version; `ds` is the day for which it is kept.
EVENT_DAY = "event_day"
#: Days that share more ids than this, and more than half of those of the smaller, both count their events from the start.
FEW = 20
#: Of more shared ids than this, one in SAMPLE is looked at for that.
MANY, SAMPLE = 100_000, 64
EMPTY = DayContent().hash
#: Tables that have the versions of a day's events together.
PARTS = ("events", "superseded")
#: Name of the relation with the rows that `moved` should have.
NOW = "moved_now"


@dataclass(frozen=True)
class Settled:
    """How versions over several days stand.

    accepted, superseded: names of views as `validation.judge` made them, with versions divided over days.
    taken: judged day -> how many of its accepted rows another day's supersede.
    changed: days whose rows of the table `moved` are others now; `write` writes them.
    state: judged day -> hash of its rows in that table, of days that have any.
    alike: pairs of days that share too many ids for corrections, each with how many.
    """

    accepted: str
    superseded: str
    taken: Mapping[dt.date, int] = field(default_factory=dict)
    changed: Sequence[dt.date] = ()
    state: Mapping[dt.date, DayContent] = field(default_factory=dict)
    alike: Mapping[tuple[dt.date, dt.date], int] = field(default_factory=dict)


def table_of(stream: str) -> str:
    """Name of the table of versions that lie on other days."""
    return f"{stream}/{MOVED}"


def states(lake: Lake, declared: DeclaredStream) -> dict[dt.date, str]:
    """Day -> a hash of the versions of its events that other days have, of days with any. What cannot be read is another state."""
    table = table_of(declared.stream.name)
    held = lake.held(table) if declared.stream.reach else Held()
    # A day that is damaged is like one without: it is divided anew, and its rows are written again.
    days = held.files.keys() - lake.lacking(table, held).keys()
    found = lake.content(table, days) if days else {}
    return {
        day: text for day, each in found.items() if (text := each if isinstance(each, str) else each[0].hash) != EMPTY
    }


def beside_raw(
    accepted: Mapping[str, Collection[dt.date]], moved: Mapping[dt.date, str], days: Sequence[dt.date]
) -> dict[dt.date, str]:
    """Day -> what its events depend on beside `raw`: the issues that somebody has accepted, and versions on other days."""
    texts = {day: "|".join(sorted(rule for rule, of in accepted.items() if day in of)) for day in days}
    return {day: f"{text}|moved {moved[day]}" if day in moved else text for day, text in texts.items()}


def alike_in_words(declared: DeclaredStream, one: dt.date, other: dt.date, count: int) -> str:
    """That two days share too many ids for corrections."""
    stream = declared.stream
    return (
        f"{stream.name}: {one} and {other} have {count:,} values of {stream.id} in common, more than half of a day's: they are taken "
        f"for different events. If {stream.id} counts within a day, declare `moves: 0d`"
    )


def settle(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    declared: DeclaredStream,
    raw: str,
    judgement: Judgement,
    days: Sequence[dt.date],
) -> Settled:
    """Divide the versions of judged days anew, by those that other days in reach have.

    raw: name of the relation with the raw rows. days: judged days that are not blocked.
    """
    alone = Settled(judgement.accepted, judgement.superseded)
    if not declared.stream.reach or not days:
        return alone
    work = _Settling(con, lake, declared, days)
    stored = work.stored()
    if not work.share_ids(raw) and not stored:
        return replace(alone, alike=work.alike)
    work.collect(judgement, stored)
    return work.divide(judgement)


def write(con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredStream, settled: Settled) -> None:
    """Write the days of the table `moved` that `settle` found to be others now."""
    if settled.changed:
        listed = ", ".join(f"DATE '{day}'" for day in settled.changed)
        rows = con.sql(f"SELECT * FROM {NOW} WHERE ds IN ({listed})").to_arrow_table()
        lake.replace(table_of(declared.stream.name), rows, settled.changed)


class _Settling:
    """Creates the relations that settling goes through."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, lake: Lake, declared: DeclaredStream, days: Sequence[dt.date]
    ) -> None:
        self._con, self._lake, self._declared = con, lake, declared
        self._name, self._key = declared.stream.name, identifier(declared.stream.id)
        self._columns = ", ".join(map(identifier, declared.types))
        self._reach, self._days = declared.stream.reach, sorted(days)
        self._judged = f"({', '.join(f'DATE {str(day)!r}' for day in self._days)})"
        self._held = {part: lake.held(f"{self._name}/{part}") for part in PARTS}
        #: As in `Settled`, once ids were compared.
        self.alike: dict[tuple[dt.date, dt.date], int] = {}
        self._first, self._last = self._days[0] - self._reach * DAY, self._days[-1] + self._reach * DAY

    def _others(self) -> list[str]:
        """Queries for versions of other days, as far as the lake has them."""
        queries = []
        for part in PARTS:
            table, held = f"{self._name}/{part}", self._held[part]
            stored = {} if held.unreadable else self._lake.columns(table)
            if not {self._declared.stream.id, "event_time", "known_at"} <= stored.keys():
                continue
            # Days of an older contract have no value of a column that is new to it.
            columns = ", ".join(
                identifier(each) if each in stored else f"NULL::{kind} AS {identifier(each)}"
                for each, kind in self._declared.types.items()
            )
            # Days that are damaged are judged again, and meet the others then.
            whole = held.files.keys() - self._lake.lacking(table, held).keys() - set(self._days)
            for number, days in enumerate(ranges(day for day in whole if self._first <= day <= self._last)):
                name = f"other_{part}_{number}"
                self._lake.view(self._con, name, table, days[0], days[-1], empty_if_absent=True)
                queries.append(f"SELECT {columns}, ds FROM {name}")
        return queries

    def stored(self) -> list[dt.date]:
        """Days in reach that the table `moved` has rows of."""
        self._lake.drop_damaged(table_of(self._name))
        rows = self._lake.rows(table_of(self._name))
        return sorted(day for day, count in rows.items() if count and self._first <= day <= self._last)

    def share_ids(self, raw: str) -> bool:
        """Create `shared`, the hashes of ids that a judged day shares with another, and `pairs`, of days; whether there are any."""
        rows, others = judged_rows(self._declared, raw), self._others()
        ids = f"""SELECT ds, hash({self._key}) AS h FROM ({rows})
                  WHERE _excluded IS NULL AND {self._key} IS NOT NULL AND ds IN {self._judged}"""
        of_others = [f"SELECT ds, hash({self._key}) AS h FROM ({other})" for other in others]
        found = [f"SELECT h FROM ({other}) WHERE h IN (SELECT h FROM ({ids}))" for other in of_others]
        if len(self._days) > 1:
            found.append(f"SELECT h FROM ({ids}) GROUP BY h HAVING min(ds) < max(ds)")
        either = " UNION ALL ".join(found) or "SELECT NULL::UBIGINT AS h WHERE false"
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE shared AS SELECT DISTINCT h FROM ({either})").fetchall()
        (count,) = self._con.execute("SELECT count(*) FROM shared").fetchall()[0]
        every = " UNION ALL ".join([ids, *of_others]) if count else f"{ids} AND false"
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE ids AS SELECT DISTINCT ds, h FROM ({every}) WHERE h IN (SELECT h FROM shared)"
        ).fetchall()
        self.alike = self._days_alike(f"SELECT ds, count(*) FROM ({ids}) GROUP BY ds", count > MANY)
        self._pair_days()
        return bool(self._con.execute("SELECT h FROM shared LIMIT 1").fetchall())

    def _days_alike(self, sizes: str, sampled: bool) -> dict[tuple[dt.date, dt.date], int]:
        """Pairs of days that number their events alike, with how many ids they share. sizes: query for the rows of judged days.

        sampled: whether to look at one in SAMPLE ids: of so many the share is known well enough.
        """
        one_in = SAMPLE if sampled else 1
        ids = f"SELECT ds, h FROM ids WHERE h % {one_in} = 0"
        pairs = self._con.execute(
            f"""SELECT one.ds, other.ds, {one_in} * count(*) FROM ({ids}) AS one JOIN ({ids}) AS other USING (h)
                WHERE one.ds < other.ds AND other.ds - one.ds <= {self._reach}
                  AND (one.ds IN {self._judged} OR other.ds IN {self._judged}) GROUP BY ALL HAVING count(*) > {FEW} ORDER BY ALL"""
        ).fetchall()
        if not pairs:
            return {}
        held = self._held.values()
        rows = {day: sum(each.rows(day) for each in held) for each in held for day in each.files}
        rows |= dict(self._con.execute(sizes).fetchall())
        return {(one, other): count for one, other, count in pairs if 2 * count > min(rows[one], rows[other])}

    def _pair_days(self) -> None:
        """Create the table `pairs` of days whose versions meet, and leave in `shared` the ids that two such days have."""
        days = [day for (day,) in self._con.execute("SELECT DISTINCT ds FROM ids ORDER BY ds").fetchall()]
        judged = set(self._days)
        met = [
            (own, other)
            for own in days
            for other in days
            if own != other and abs((own - other).days) <= self._reach and (own in judged or other in judged)
            if (min(own, other), max(own, other)) not in self.alike
        ]
        values = ", ".join(f"(DATE '{own}', DATE '{other}')" for own, other in met) or "(NULL::DATE, NULL::DATE)"
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT own, other FROM (VALUES {values}) AS met(own, other)"
        ).fetchall()
        if self.alike:
            self._con.execute(
                """CREATE OR REPLACE TEMP TABLE shared AS SELECT DISTINCT one.h FROM ids AS one
                   JOIN pairs ON one.ds = pairs.own JOIN ids AS another ON another.ds = pairs.other AND another.h = one.h"""
            ).fetchall()

    def collect(self, judgement: Judgement, stored: Sequence[dt.date]) -> None:
        """Create the tables `versions`, of those with a shared id, and `kept`, what the table `moved` has of days in reach."""
        chosen = f"SELECT {self._columns}, ds FROM"
        judged = [f"{chosen} {each}" for each in (judgement.accepted, judgement.superseded)]
        union = " UNION ALL BY NAME ".join([*judged, *self._others()])
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE versions AS SELECT * FROM ({union})
                WHERE hash({self._key}) IN (SELECT h FROM shared) AND known_at IS NOT NULL"""
        ).fetchall()
        kept = f"{chosen} versions WHERE false"
        kept = f"SELECT *, NULL::DATE AS {EVENT_DAY} FROM ({kept})"
        if stored:
            self._lake.view(
                self._con, "stored_moved", table_of(self._name), stored[0], stored[-1], empty_if_absent=True
            )
            kept = f"{kept} UNION ALL BY NAME SELECT {self._columns}, {EVENT_DAY}, ds FROM stored_moved"
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE kept AS {kept}").fetchall()

    def divide(self, judgement: Judgement) -> Settled:
        """Create views of the judged rows as they stand among versions of other days."""
        self._meet()
        superseded = f"""SELECT ds, id, known_at, superseded_at FROM (
                SELECT *, {superseded_at("ds", "id")} AS superseded_at FROM (
                    SELECT ds, {self._key} AS id, known_at, event_time, true AS own FROM versions
                    UNION ALL SELECT ds, {self._key} AS id, known_at, event_time, false AS own FROM {NOW})
                WHERE ds IN {self._judged}) WHERE own AND superseded_at IS NOT NULL"""
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE taken AS {superseded}").fetchall()
        same = f"known.ds = taken.ds AND known.{self._key} = taken.id AND known.known_at = taken.known_at"
        accepted, apart = "settled", "settled_superseded"
        self._con.execute(
            f"CREATE OR REPLACE TEMP VIEW {accepted} AS SELECT known.* FROM {judgement.accepted} AS known ANTI JOIN taken ON {same}"
        ).fetchall()
        self._con.execute(
            f"""CREATE OR REPLACE TEMP VIEW {apart} AS
                SELECT known.* REPLACE (coalesce(taken.superseded_at, known.superseded_at) AS superseded_at)
                FROM {judgement.superseded} AS known LEFT JOIN taken ON {same}
                UNION ALL BY NAME SELECT known.*, taken.superseded_at FROM {judgement.accepted} AS known JOIN taken ON {same}"""
        ).fetchall()
        gone = f"SELECT known.ds, count(*) FROM {judgement.accepted} AS known JOIN taken ON {same} GROUP BY known.ds"
        content = self._content(NOW)
        before = self._content("kept")
        changed = sorted(day for day in {*content, *before} if content.get(day) != before.get(day))
        return Settled(
            accepted,
            apart,
            dict(self._con.execute(gone).fetchall()),
            changed,
            {day: content[day] for day in self._days if day in content},
            self.alike,
        )

    def _meet(self) -> None:
        """Create the table of the rows that `moved` should have of days in reach.

        Of two days of which neither is judged now it keeps what it has.
        """
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE {NOW} AS
                SELECT met.* EXCLUDE (ds), met.ds AS {EVENT_DAY}, own.ds
                FROM (SELECT DISTINCT ds, {self._key} AS id FROM versions) AS own
                JOIN pairs ON pairs.own = own.ds JOIN versions AS met ON met.ds = pairs.other AND met.{self._key} = own.id
                UNION ALL BY NAME SELECT * FROM kept WHERE ds NOT IN {self._judged} AND {EVENT_DAY} NOT IN {self._judged}"""
        ).fetchall()

    def _content(self, relation: str) -> dict[dt.date, DayContent]:
        """What each day of a relation holds, of days with rows."""
        import pyarrow.compute as pc

        found: dict[dt.date, DayContent] = {}
        rows = self._con.sql(f"SELECT * FROM {relation}").to_arrow_table()
        for day in rows["ds"].unique().to_pylist():
            of_day = rows.filter(pc.equal(rows["ds"], day)).combine_chunks()
            found[day] = functools.reduce(operator.add, map(content_of, of_day.to_batches()))
        return found
