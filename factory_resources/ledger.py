"""Who was champion when, and on what evidence? An append-only record of model versions, evaluations and decisions.

A decision of `as_of` D was made with what was known at the close of day D, so its champion scores from day D+1 on:
`champions(line, before=day)` is what scores `day`. Nothing is ever changed; what was wrong is decided anew.
"""

import datetime as dt
import json
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

import sqlalchemy as sa

from factory_resources.ledger_tables import DECISIONS, EVALUATIONS, VERSIONS, Database, to_json, writing

Verdict = Literal["promote", "keep", "fallback"]
Metrics = dict[str, float]


@dataclass(frozen=True)
class VersionRecord:
    """A trained model: what it is, what it learnt from, and where it is kept.

    The days train_from..train_to and holdout_from..holdout_to are inclusive. tables: lake table -> the version that
    was read. validation: candidate -> metric -> value. positives: None for a task without positives.
    """

    version: str
    line: str
    segment: str
    task: str
    estimator: str
    candidate: str
    configuration: dict[str, Any]
    as_of: dt.date
    train_from: dt.date
    train_to: dt.date
    holdout_from: dt.date
    holdout_to: dt.date
    rows: int
    positives: int | None
    tables: dict[str, int]
    validation: dict[str, Metrics]
    importances: Metrics
    owner: str
    archive_uri: str
    run_id: str
    started_at: dt.datetime
    ended_at: dt.datetime


@dataclass(frozen=True)
class EvaluationRecord:
    """Metrics of a challenger, the incumbent ({} and None without one) and the naive forecast on one holdout."""

    line: str
    segment: str
    version: str
    as_of: dt.date
    holdout_from: dt.date
    holdout_to: dt.date
    rows: int
    challenger: Metrics
    incumbent: Metrics
    incumbent_version: str | None
    naive: Metrics


@dataclass(frozen=True)
class Decision:
    """What became of a node on a day.

    version: the challenger that was considered, None if nothing was trained. champion: the version that answers for
    the node from the day after `as_of`, None if an ancestor does; a promotion makes its version champion.
    """

    line: str
    segment: str
    as_of: dt.date
    verdict: Verdict
    version: str | None
    champion: str | None
    reason: str
    decided_by: str
    evidence: dict[str, Any]
    decided_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


Record = VersionRecord | EvaluationRecord | Decision
R = TypeVar("R", VersionRecord, EvaluationRecord, Decision)
#: What may be absent: not every estimator has importances, nor every line candidates to choose from; not every node has
#: an incumbent, and a holdout of one class gives no metrics.
OPTIONAL: dict[type[Record], set[str]] = {
    VersionRecord: {"positives", "importances", "validation"},
    EvaluationRecord: {"challenger", "incumbent", "incumbent_version", "naive"},
    Decision: {"version", "champion", "evidence"},
}


class Ledger(Database):
    """Model versions, evaluations and decisions in SQLite or PostgreSQL. Safe in threads and across processes."""

    def register(self, version: VersionRecord) -> None:
        """Record a trained model. A version id that its line already has is left as it is.

        Raises ValueError naming the field if one is empty, holds NaN or a time without time zone.
        """
        row = _row(version)
        with writing(self._open(), version.line, version.version) as connection:
            if not _registered(connection, version.line, {version.version}):
                connection.execute(sa.insert(VERSIONS).values(row))

    def version(self, line: str, version_id: str) -> VersionRecord:
        """Raises LookupError for a version that the line does not have."""
        query = sa.select(VERSIONS).where(VERSIONS.c.line == line, VERSIONS.c.version == version_id)
        for found in self._read(VersionRecord, query):
            return found
        raise LookupError(f"line {line!r} has no version {version_id!r} in the ledger")

    def versions(self, line: str, segment: str | None = None, as_of: dt.date | None = None) -> list[VersionRecord]:
        """Versions of a line, of one of its nodes, or of one day, in the order of registration."""
        query = _of(VERSIONS, line, segment)
        if as_of is not None:
            query = query.where(VERSIONS.c.as_of == as_of)
        return self._read(VersionRecord, query.order_by(VERSIONS.c.id))

    def candidates(self, line: str) -> dict[str, str]:
        """Version -> the candidate that it is, of all versions of a line."""
        query = sa.select(VERSIONS.c.version, VERSIONS.c.candidate).where(VERSIONS.c.line == line)
        with self._open().connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def latest_version(self, line: str, segment: str, as_of: dt.date) -> VersionRecord | None:
        """The version registered last for exactly this day; an earlier day's version is never the answer."""
        query = _of(VERSIONS, line, segment).where(VERSIONS.c.as_of == as_of).order_by(VERSIONS.c.id.desc())
        return next(iter(self._read(VersionRecord, query.limit(1))), None)

    def record_evaluation(self, evaluation: EvaluationRecord) -> None:
        """Record an evaluation; nothing is written if it repeats the last one of its version as of the same day.

        Raises ValueError for an empty field, NaN, or a version that is not registered.
        """
        row, c = _row(evaluation), EVALUATIONS.c
        last = _of(EVALUATIONS, evaluation.line, evaluation.segment).where(
            c.version == evaluation.version, c.as_of == evaluation.as_of
        )
        with writing(self._open(), evaluation.line, evaluation.segment) as connection:
            _require_registered(connection, evaluation.line, evaluation.version, evaluation.incumbent_version)
            before = connection.execute(last.order_by(c.id.desc()).limit(1)).mappings().first()
            if before is None or any(before[name] != value for name, value in row.items()):
                connection.execute(sa.insert(EVALUATIONS).values(row))

    def evaluation(self, line: str, segment: str, version: str) -> EvaluationRecord | None:
        """The last evaluation of a version."""
        query = _of(EVALUATIONS, line, segment).where(EVALUATIONS.c.version == version)
        return next(iter(self._read(EvaluationRecord, query.order_by(EVALUATIONS.c.id.desc()).limit(1))), None)

    def evaluations(self, line: str, as_of: dt.date | None = None) -> list[EvaluationRecord]:
        """Every evaluation of a line, or those of one day, oldest first."""
        query = _of(EVALUATIONS, line)
        if as_of is not None:
            query = query.where(EVALUATIONS.c.as_of == as_of)
        return self._read(EvaluationRecord, query.order_by(EVALUATIONS.c.id))

    def decide(self, decision: Decision) -> bool:
        """Append a decision; whether it was news.

        False, and nothing written, if the node's last decision for this as_of has the same verdict, version and
        champion: running a day again is no new decision. Deciders of one node wait for each other.

        Raises ValueError for an empty field, an unknown verdict, a promotion whose version is not its champion, or
        a version that is not registered.
        """
        _check_verdict(decision)
        row, c = _row(decision), DECISIONS.c
        node = (c.line == decision.line, c.segment == decision.segment)
        last = sa.select(c.verdict, c.version, c.champion).where(*node, c.as_of == decision.as_of)
        with writing(self._open(), decision.line, decision.segment) as connection:
            before = connection.execute(last.order_by(c.id.desc()).limit(1)).first()
            if before is not None and tuple(before) == (decision.verdict, decision.version, decision.champion):
                return False
            _require_registered(connection, decision.line, decision.version, decision.champion)
            next_one = sa.select(sa.func.coalesce(sa.func.max(c.sequence), 0) + 1).where(*node)
            sequence = connection.execute(next_one).scalar_one()
            connection.execute(sa.insert(DECISIONS).values(row | {"sequence": sequence}))
        return True

    def decisions(self, line: str, segment: str | None = None) -> list[Decision]:
        """Decisions of a line, or of one of its nodes, in the order they were made: oldest first."""
        return self._read(Decision, _of(DECISIONS, line, segment).order_by(DECISIONS.c.id))

    def champions(self, line: str, before: dt.date | None = None) -> dict[str, Decision]:
        """Segment -> the decision that made or kept its champion.

        before: the day to score; only decisions of earlier days count (None: all). Of a node the last decision
        counts, by day and then by when it was made; a node that it left without champion is not in the answer.
        """
        return self._champions(_of(DECISIONS, line), before)

    def champion(self, line: str, segment: str, before: dt.date | None = None) -> Decision | None:
        """The decision behind the node's own champion, None if an ancestor answers; `before` as in champions."""
        return self._champions(_of(DECISIONS, line, segment), before).get(segment)

    def changed(self, line: str, before: dt.date | None = None) -> dict[str, dt.date]:
        """Node -> the day as of which its own champion last became another, or none; `before` as in champions.

        Decisions count in the order of `champions`. A node that never had a champion is not in the answer.
        """
        c = DECISIONS.c
        earlier = sa.func.lag(c.champion).over(partition_by=c.segment, order_by=(c.as_of, c.id)).label("earlier")
        decided = sa.select(c.segment, c.as_of, c.champion, earlier).where(c.line == line)
        steps = (decided if before is None else decided.where(c.as_of < before)).subquery()
        last = sa.select(steps.c.segment, sa.func.max(steps.c.as_of)).where(
            steps.c.champion.is_distinct_from(steps.c.earlier)
        )
        with self._open().connect() as connection:
            return dict(connection.execute(last.group_by(steps.c.segment)).tuples().all())

    def trained_as_of(self, line: str) -> list[dt.date]:
        """The days for which something was decided, ascending."""
        days = sa.select(DECISIONS.c.as_of).where(DECISIONS.c.line == line).distinct().order_by(DECISIONS.c.as_of)
        with self._open().connect() as connection:
            return list(connection.scalars(days))

    def last_decisions(self, line: str, before: dt.date | None = None) -> dict[str, Decision]:
        """Segment -> its last decision, whoever answers after it; `before`, and which is the last, as in champions."""
        return self._last(_of(DECISIONS, line), before)

    def _champions(self, decisions: sa.Select[Any], before: dt.date | None) -> dict[str, Decision]:
        last = self._last(decisions, before)
        return {segment: decision for segment, decision in last.items() if decision.champion is not None}

    def _last(self, decisions: sa.Select[Any], before: dt.date | None) -> dict[str, Decision]:
        c = DECISIONS.c
        newest_first = sa.func.row_number().over(partition_by=c.segment, order_by=(c.as_of.desc(), c.id.desc()))
        ranked = decisions.add_columns(newest_first.label("place"))
        ranked_table = (ranked if before is None else ranked.where(c.as_of < before)).subquery()
        last = sa.select(ranked_table).where(ranked_table.c.place == 1)
        return {decision.segment: decision for decision in self._read(Decision, last.order_by(ranked_table.c.id))}

    def _read(self, kind: type[R], query: sa.Select[Any]) -> list[R]:
        names = [f.name for f in fields(kind)]
        with self._open().connect() as connection:
            return [kind(**{name: row[name] for name in names}) for row in connection.execute(query).mappings()]


def _of(table: sa.Table, line: str, segment: str | None = None) -> sa.Select[Any]:
    query = sa.select(table).where(table.c.line == line)
    return query if segment is None else query.where(table.c.segment == segment)


def _row(record: Record) -> dict[str, Any]:
    """Column -> value, as the tables will give it back."""
    row = {f.name: getattr(record, f.name) for f in fields(record)}
    for name, value in row.items():
        is_empty = value is None or value == {} or (isinstance(value, str) and not value.strip())
        if is_empty and name not in OPTIONAL[type(record)]:
            raise ValueError(f"{type(record).__name__}.{name} is {value!r}: the ledger takes no record without it")
        if isinstance(value, dt.datetime) and value.tzinfo is None:
            raise ValueError(f"{type(record).__name__}.{name} is {value!r}: give it a time zone, such as UTC")
        if isinstance(value, dict):
            try:
                row[name] = json.loads(to_json(value))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{type(record).__name__}.{name} is no JSON: {error}") from error
    return row


def _check_verdict(decision: Decision) -> None:
    if decision.verdict not in get_args(Verdict):
        raise ValueError(f"Decision.verdict is {decision.verdict!r}, not one of {', '.join(get_args(Verdict))}")
    if decision.verdict == "promote" and (decision.version is None or decision.champion != decision.version):
        raise ValueError(
            f"Decision promotes {decision.version!r} but names {decision.champion!r} champion: make them one"
        )


def _registered(connection: sa.Connection, line: str, ids: set[str]) -> set[str]:
    query = sa.select(VERSIONS.c.version).where(VERSIONS.c.line == line, VERSIONS.c.version.in_(ids))
    return set(connection.scalars(query))


def _require_registered(connection: sa.Connection, line: str, *ids: str | None) -> None:
    wanted = {version for version in ids if version is not None}
    if missing := sorted(wanted - _registered(connection, line, wanted)):
        raise ValueError(f"line {line!r} has no version {missing[0]!r} in the ledger: register it first")
