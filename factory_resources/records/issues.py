"""What is wrong with the data, since when, who answers for it, and what was decided? The book of data issues.

An issue is a rule of a stream that days break. It is open while a day breaks it, fixed when none does any more, and
accepted once somebody said why the days may go on as they are. Nothing is ever changed: the state is what the events
of the book add up to.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sa

from factory_resources.records.chain import append
from factory_resources.records.tables import ISSUES, Database, writing

State = Literal["open", "accepted", "fixed"]
#: Nobody's approval gives a day rows that were never delivered.
NEVER_ACCEPTED = ("delivery", "exists")


@dataclass(frozen=True)
class BrokenRule:
    """A rule that a day breaks, by name and kind, and what was found in a sentence."""

    rule: str
    kind: str
    message: str


@dataclass
class Issue:
    """A rule of a stream, the days that break it with what was found, and who decided what about it."""

    stream: str
    rule: str
    kind: str
    owner: str
    since: dt.date
    days: dict[dt.date, str] = field(default_factory=dict)
    accepted: bool = False
    who: str = ""
    why: str = ""

    @property
    def state(self) -> State:
        if self.accepted:
            return "accepted"
        return "open" if self.days else "fixed"


class Issues(Database):
    """The book of data issues, in the ledger's database."""

    def note(
        self, stream: str, owner: str, days: Sequence[dt.date], found: Mapping[dt.date, Collection[BrokenRule]]
    ) -> None:
        """Record what days that were validated break, and what they no longer break. Repeating it writes nothing."""
        now = dt.datetime.now(dt.UTC)
        with writing(self._open(), "issues", stream) as connection:
            known = _added_up(connection.execute(_of(stream)).mappings())
            rows = []
            for day in days:
                broken = {finding.rule: finding for finding in found.get(day, ())}
                for rule, finding in broken.items():
                    before = known.get((stream, rule))
                    if before is None or before.days.get(day) != finding.message:
                        rows.append(
                            vars(
                                _Event(
                                    stream, rule, finding.kind, day, "failed", finding.message, owner, "validation", now
                                )
                            )
                        )
                for (_, rule), issue in known.items():
                    if day in issue.days and rule not in broken:
                        rows.append(
                            vars(_Event(stream, rule, issue.kind, day, "passed", "holds", owner, "validation", now))
                        )
            if rows:
                append(connection, ISSUES, rows)

    def decide(self, stream: str, rule: str, state: State, who: str, why: str) -> None:
        """Accept an issue, open it again, or declare it fixed.

        Raises LookupError for an issue that the stream does not have, ValueError without a person or a reason, and
        for accepting that something was not delivered.
        """
        if not who.strip() or not why.strip():
            raise ValueError("a decision needs somebody who made it and a reason")
        with writing(self._open(), "issues", stream) as connection:
            known = _added_up(connection.execute(_of(stream)).mappings())
            issue = known.get((stream, rule))
            if issue is None:
                names = ", ".join(repr(name) for _, name in known) or "none"
                raise LookupError(f"{stream} has no issue {rule!r}; issues there: {names}")
            if state == "accepted" and issue.kind in NEVER_ACCEPTED:
                raise ValueError(
                    f"{rule!r} cannot be accepted: what was not delivered cannot go on; change the contract"
                )
            row = vars(_Event(stream, rule, issue.kind, None, state, why, issue.owner, who, dt.datetime.now(dt.UTC)))
            append(connection, ISSUES, [row])

    def issues(self, stream: str | None = None) -> list[Issue]:
        """Issues of a stream, or of all, in the order in which they were found."""
        with self._open().connect() as connection:
            return list(_added_up(connection.execute(_of(stream)).mappings()).values())

    def newest(self, stream: str) -> int | None:
        """Number of the newest event of a stream's issues; None without any. Events are only ever added."""
        with self._open().connect() as connection:
            return connection.scalar(sa.select(sa.func.max(ISSUES.c.id)).where(ISSUES.c.stream == stream))

    def accepted(self, stream: str) -> dict[str, set[dt.date]]:
        """Rules whose failures are accepted, with the days that break them."""
        return {issue.rule: set(issue.days) for issue in self.issues(stream) if issue.accepted}


@dataclass(frozen=True)
class _Event:
    """A row of the book. day: None of a decision."""

    stream: str
    rule: str
    kind: str
    day: dt.date | None
    event: str
    message: str
    owner: str
    who: str
    at: dt.datetime


def _of(stream: str | None) -> sa.Select[tuple[object, ...]]:
    query = sa.select(ISSUES).order_by(ISSUES.c.id)
    return query if stream is None else query.where(ISSUES.c.stream == stream)


def _added_up(events: Iterable[sa.RowMapping]) -> dict[tuple[str, str], Issue]:
    found: dict[tuple[str, str], Issue] = {}
    for event in events:
        place = event["stream"], event["rule"]
        day = event["day"]
        if place not in found:
            found[place] = Issue(*place, event["kind"], event["owner"], day)
        issue = found[place]
        match event["event"]:
            case "failed":
                issue.since = day if issue.state == "fixed" else min(issue.since, day)
                issue.days[day] = event["message"]
            case "passed":
                issue.days.pop(day, None)
            case decided:
                issue.accepted, issue.who, issue.why = decided == "accepted", event["who"], event["message"]
                if decided == "fixed":
                    issue.days.clear()
    return found
