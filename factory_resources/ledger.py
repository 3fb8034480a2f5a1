"""Who was champion when, and on what evidence? An append-only record of model versions, evaluations and decisions.

A decision of `as_of` D was made with what was known at the close of day D, so its champion scores from day D+1 on:
`champions(line, before=day)` is what scores `day`, `champions(line, at=moment)` who was champion by what had been
decided at that moment. Nothing is ever changed; what was wrong is decided anew.
"""

import datetime as dt
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from factory_resources.records.chain import append
from factory_resources.records.decisions import (
    ANYONE,
    BY_PEOPLE,
    CONTRACT,
    UNDECIDED,
    Decision,
    Standing,
    champion_after,
    check_verdict,
    found_by,
    known,
    last_training,
    newest,
    require_champion,
    require_not_withdrawn,
    stands,
    withdrawn,
)
from factory_resources.records.tables import DECISIONS, EVALUATIONS, STANDING, VERSIONS, to_json, writing
from factory_resources.records.tags import Tags, tagged, uuid_of

Metrics = dict[str, float]


@dataclass(frozen=True)
class VersionRecord:
    """A trained model: what it is, what it learnt from, and where it is kept.

    The days train_from..train_to and holdout_from..holdout_to are inclusive. tables: lake table -> the version that
    was read. validation: candidate -> metric -> value. metrics: of the model on the rows that it learnt from.
    charts: what is shown -> file in the archive. positives: None for a task without positives.
    """

    version: str
    line: str
    node: str
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
    metrics: Metrics
    importances: Metrics
    charts: dict[str, str]
    owner: str
    archive_uri: str
    run_id: str
    started_at: dt.datetime
    ended_at: dt.datetime

    @property
    def judged(self) -> str | None:
        """Of a refit the version that was judged, whose evaluations say how good it is; None of any other."""
        return self.configuration.get(JUDGED)

    @property
    def uuid(self) -> str:
        """The same wherever the same version is trained."""
        return uuid_of(self.line, self.node, self.version)


@dataclass(frozen=True)
class EvaluationRecord:
    """Metrics of a challenger, the incumbent ({} and None without one) and the naive forecast on one holdout.

    Metrics of a slice or group are called as in "mae of night".

    certainty: how sure it is that the challenger is the better of the two, from 0 to 1, by metric; without a metric for
    which the rows cannot say. Likewise naive_<metric>, that it is better than the naive forecast; alike_<metric>, how much they
    differ on a day as on the day before, and groups_<metric>, of how many groups of days that is. Of a slice ("mae of night"), that it
    is worse by no more than it may be; of a cost, also between which values lies what it saves a row (cost_gain_lowest,
    cost_gain_highest). unsafe: why a challenger that is good enough may not be served, None where nothing was found. disagreement: the
    share of the newest day that one that may be would answer otherwise than who answered then; None where it was not asked.
    """

    line: str
    node: str
    version: str
    as_of: dt.date
    holdout_from: dt.date
    holdout_to: dt.date
    rows: int
    challenger: Metrics
    incumbent: Metrics
    incumbent_version: str | None
    naive: Metrics
    certainty: Metrics = field(default_factory=dict)
    unsafe: str | None = None
    disagreement: float | None = None


@dataclass(frozen=True)
class Answering:
    """A version that answers now: of which node, which candidate, as of which day it was trained, by which run, and where it is kept.

    holdout, naive: metrics of it, and of the naive forecast, on the holdout by which it was released; {} where nothing could be
    measured. Of a refit they are those of the version that was judged.
    """

    node: str
    candidate: str
    as_of: dt.date
    run_id: str
    archive_uri: str
    holdout: Metrics
    naive: Metrics


Record = VersionRecord | EvaluationRecord | Decision
R = TypeVar("R", VersionRecord, EvaluationRecord, Decision)
#: In the configuration of a version that was fitted again after it passed: the version that was judged.
JUDGED = "judged"
#: What a version has that was recorded before there were columns for it.
ADDED: dict[str, Any] = {"metrics": {}, "charts": {}, "certainty": {}}
#: What may be absent: not every line has candidates to choose from, not every node an incumbent, and a holdout of one
#: class gives no metrics.
OPTIONAL: dict[type[Record], set[str]] = {
    VersionRecord: {"positives", "validation"},
    EvaluationRecord: {"challenger", "incumbent", "incumbent_version", "naive", "certainty", "unsafe", "disagreement"},
    Decision: {"version", "champion", "evidence"},
}


class Ledger(Tags):
    """Model versions, their tags, evaluations and decisions in SQLite or PostgreSQL. Safe in threads and across processes.

    >>> import tempfile
    >>> ledger = Ledger(f"sqlite:///{tempfile.mkdtemp()}/ledger.db")
    >>> ledger.decide(Decision("eta", "global", dt.date(2026, 1, 31), "fallback", None, None, "too few rows", "gate", {}))
    True
    >>> [(made.node, made.verdict, made.reason) for made in ledger.decisions("eta")]
    [('global', 'fallback', 'too few rows')]
    """

    def register(self, *versions: VersionRecord) -> None:
        """Record trained models, all or none. A version id that its line already has is left as it is.

        Raises ValueError naming the field if one is empty, holds NaN or a time without time zone.
        """
        rows = dict[tuple[str, str], dict[str, Any]]()
        for version in versions:
            rows.setdefault((version.line, version.version), _row(version))
        identity = sa.tuple_(VERSIONS.c.line, VERSIONS.c.version)
        with writing(self._open(), "versions") as connection:
            known = connection.execute(sa.select(*identity).where(identity.in_(rows))).tuples().all()
            if new := [row for key, row in rows.items() if key not in known]:
                append(connection, VERSIONS, new)

    def version(self, line: str, version_id: str) -> VersionRecord:
        """Raises LookupError for a version that the line does not have."""
        query = sa.select(VERSIONS).where(VERSIONS.c.line == line, VERSIONS.c.version == version_id)
        for found in self._read(VersionRecord, query):
            return found
        raise LookupError(f"line {line!r} has no version {version_id!r} in the ledger")

    def versions(
        self,
        line: str,
        node: str | None = None,
        as_of: dt.date | None = None,
        ids: Collection[str] | None = None,
        refits: bool = False,
    ) -> list[VersionRecord]:
        """Versions of a line, or of one of its nodes, of a day, or with these ids, in the order of registration.

        refits: those as well that were fitted again after they passed: they are up for no node, and only those with ids are
        found without being asked for.
        """
        query = _of(VERSIONS, line, node).order_by(VERSIONS.c.id)
        query = query if as_of is None else query.where(VERSIONS.c.as_of == as_of)
        if ids is not None:
            return self._read(VersionRecord, query.where(VERSIONS.c.version.in_(sorted(ids))))
        return self._read(VersionRecord, query if refits else query.where(_judged().is_(None)))

    def judged(self, line: str, ids: Collection[str] | None = None) -> dict[str, str]:
        """Refit -> the version that was judged, of the refits of a line, or of those among these versions."""
        c, own = VERSIONS.c, _judged()
        query = sa.select(c.version, own).where(c.line == line, own.is_not(None))
        query = query if ids is None else query.where(c.version.in_(sorted(ids)))
        with self._open().connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def identities(self, line: str | None = None, node: str | None = None) -> list[tuple[str, str, str]]:
        """Line, node and id of every version, of a line or of its node, in the order of registration."""
        c = VERSIONS.c
        query = sa.select(c.line, c.node, c.version).order_by(c.id)
        query = query if line is None else query.where(c.line == line)
        with self._open().connect() as connection:
            found = connection.execute(query if node is None else query.where(c.node == node))
            return [(row.line, row.node, row.version) for row in found]

    def released(self, line: str | None = None) -> list[VersionRecord]:
        """Versions that were champion once, of a line or of all, in the order of registration."""
        query = sa.select(VERSIONS).where(_was_champion()).order_by(VERSIONS.c.id)
        return self._read(VersionRecord, query if line is None else query.where(VERSIONS.c.line == line))

    def relied_on(self) -> list[VersionRecord]:
        """Versions that were champion once or are tagged now: those that somebody may want made again."""
        query = sa.select(VERSIONS).where(_was_champion() | tagged())
        return self._read(VersionRecord, query.order_by(VERSIONS.c.id))

    def candidates(self, line: str) -> dict[str, str]:
        """Version -> the candidate that it is, of all versions of a line."""
        query = sa.select(VERSIONS.c.version, VERSIONS.c.candidate).where(VERSIONS.c.line == line)
        with self._open().connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def answering(self, line: str) -> dict[str, Answering]:
        """Version -> what is recorded of it, of those that answer now."""
        v, e, champion = VERSIONS.c, EVALUATIONS.c, STANDING.c.champion
        answers = sa.select(champion).where(STANDING.c.line == line, champion.is_not(None))
        columns = (v.version, v.node, v.candidate, v.as_of, v.run_id, v.archive_uri)
        judged = sa.func.coalesce(_judged(), v.version).label("judged")
        made = sa.select(*columns, judged).where(v.line == line, v.version.in_(answers)).subquery()
        own = (e.line == line) & (e.node == made.c.node) & (e.version == made.c.judged)
        found = sa.select(made, e.challenger, e.naive).outerjoin(EVALUATIONS, own).order_by(e.id.desc())
        with self._open().connect() as connection:
            # Of several evaluations the first, by which it was released, comes last.
            return {
                row.version: Answering(
                    row.node,
                    row.candidate,
                    row.as_of,
                    row.run_id,
                    row.archive_uri,
                    row.challenger or {},
                    row.naive or {},
                )
                for row in connection.execute(found)
            }

    def record_evaluation(self, evaluation: EvaluationRecord) -> None:
        """Record an evaluation; nothing is written if it repeats the last one of its version as of the same day.

        Raises ValueError for an empty field, NaN, or a version that is not registered.
        """
        row, c = _row(evaluation), EVALUATIONS.c
        last = _of(EVALUATIONS, evaluation.line, evaluation.node).where(
            c.version == evaluation.version, c.as_of == evaluation.as_of
        )
        with writing(self._open(), evaluation.line, evaluation.node) as connection:
            _require_registered(connection, evaluation.line, evaluation.version, evaluation.incumbent_version)
            before = connection.execute(last.order_by(c.id.desc()).limit(1)).mappings().first()
            if before is None or any(before[name] != value for name, value in row.items()):
                append(connection, EVALUATIONS, [row])

    def evaluations(
        self, line: str, as_of: dt.date | None = None, versions: Collection[str] | None = None
    ) -> list[EvaluationRecord]:
        """Every evaluation of a line, or those of one day, or of some versions, oldest first."""
        query = _of(EVALUATIONS, line)
        if as_of is not None:
            query = query.where(EVALUATIONS.c.as_of == as_of)
        if versions is not None:
            query = query.where(EVALUATIONS.c.version.in_(sorted(versions)))
        return self._read(EvaluationRecord, query.order_by(EVALUATIONS.c.id))

    def evaluated(self, line: str, versions: Collection[str] | None = None) -> dict[str, list[EvaluationRecord]]:
        """Version -> the evaluations that say how good it is, oldest first, of a line's versions or of some of them.

        Of a refit they are those of the version that was judged: no rows are left that it could be judged on.
        """
        judged, found = self.judged(line, versions), dict[str, list[EvaluationRecord]]()
        asked = None if versions is None else {*versions, *judged.values()}
        for record in self.evaluations(line, versions=asked):
            found.setdefault(record.version, []).append(record)
        found |= {refit: found[version] for refit, version in judged.items() if version in found}
        return found if versions is None else {each: found[each] for each in versions if each in found}

    def certainties(self, line: str, since: dt.date, before: dt.date) -> list[tuple[str, Metrics]]:
        """Node and certainty of each evaluation as of days from one until before another; the last one of a version and day."""
        c = EVALUATIONS.c
        query = sa.select(c.node, c.version, c.as_of, c.certainty).where(
            c.line == line, c.as_of >= since, c.as_of < before
        )
        with self._open().connect() as connection:
            last = {
                (row.node, row.version, row.as_of): row.certainty or {}
                for row in connection.execute(query.order_by(c.id))
            }
        return [(node, certainty) for (node, _, _), certainty in last.items()]

    def judged_before(self, line: str, day: dt.date) -> dict[str, dt.date]:
        """Node -> the last day before this one as of which somebody was measured for it."""
        c = EVALUATIONS.c
        query = sa.select(c.node, sa.func.max(c.as_of)).where(c.line == line, c.as_of < day).group_by(c.node)
        with self._open().connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def decide(self, decision: Decision, against: str | None = ANYONE) -> bool:
        """Append what was decided on a challenger, or for want of one; whether it was news.

        against: the node's own champion that it was judged against, as `incumbents` gave it, None if there was none.

        False, and nothing written, if the node's last decision for this as_of has the same verdict, version and
        champion: running a day again is no new decision. Deciders of one node wait for each other.

        Raises ChampionChanged, saying who is champion now and why, if that is another than `against`, and for the
        promotion or approval of a version that was rolled back. Raises ValueError for an empty field, an unknown verdict, a
        promotion whose version is not its champion, or a version that is not registered.
        """
        check_verdict(decision, "promote", "keep", "fallback", UNDECIDED, "approve")
        # What cannot be recorded is refused before anything is asked of the database.
        _row(decision)
        day, version = decision.as_of, decision.version
        with writing(self._open(), decision.line, decision.node) as connection:
            made = _history(connection, decision.line, decision.node)
            last = next((other for other in reversed(made) if other.as_of == day), None)
            if last and (last.verdict, last.version, last.champion) == (decision.verdict, version, decision.champion):
                return False
            _require_registered(connection, decision.line, version, decision.champion)
            if against != ANYONE:
                require_champion(against, newest([other for other in made if found_by(version, day, other)]), decision)
            if decision.verdict in ("promote", "approve"):
                require_not_withdrawn(decision, [other for other in made if other.as_of <= day])
            _append(connection, made, [decision])
        return True

    def roll_back(self, decision: Decision) -> list[Decision]:
        """Let `champion`, or if that is None an ancestor, answer instead of the present champion, which is `version`.

        The decision's as_of is the last day that was scored. It is appended as of that day, and of every later one as
        of which the node was left with another champion: no day still to be scored sees the one taken back, and those
        that were scored keep theirs. What was appended is the answer.

        Raises ChampionChanged if `version` is not the champion, ValueError if `champion` is, if it is a version of
        another node or none, or for an empty field.
        """
        check_verdict(decision, "rollback")
        line, node, to = decision.line, decision.node, decision.champion
        with writing(self._open(), line, node) as connection:
            made = _history(connection, line, node)
            require_champion(decision.version, newest(made), decision)
            as_of = decision.as_of
            if to is not None:
                own = _of(VERSIONS, line, node).where(VERSIONS.c.version == to)
                if not (versions := _records(connection, VersionRecord, own)):
                    raise ValueError(f"node {node!r} of line {line!r} has no version {to!r} in the ledger")
                # A day is never scored by a model that has seen it.
                as_of = max(as_of, versions[0].as_of)
            days = sorted({as_of, *(other.as_of for other in made if other.as_of > as_of)})
            back = [replace(decision, as_of=day) for day in days if champion_after(made, day) != to]
            _append(connection, made, back)
        return back

    def standing(self, line: str) -> dict[str, Standing]:
        """Node -> where it stands now, of every node of a line that was decided on, by their keys.

        Kept with each decision, so that it costs a row a node, however many decisions and versions there are.
        """
        with self._open().connect() as connection:
            found = [Standing(**row) for row in connection.execute(_of(STANDING, line)).mappings()]
        return {stands.node: stands for stands in sorted(found, key=lambda stands: stands.node)}

    def misplaced(self, line: str) -> dict[str, str]:
        """Node -> why it does not stand where the decisions on it leave it, of nodes of a line. All its decisions are read."""
        by_node: dict[str, list[Decision]] = {}
        for decision in self.decisions(line):
            by_node.setdefault(decision.node, []).append(decision)
        kept, found = self.standing(line), {}
        with self._open().connect() as connection:
            for node in sorted({*kept, *by_node}):
                made = by_node.get(node, [])
                expected = stands(made, _contract(connection, made)) if made else None
                if kept.get(node) != expected:
                    found[node] = (
                        f"it stands at {_place(kept.get(node))}; the decisions on it leave it at {_place(expected)}"
                    )
        return found

    def mark(self, line: str) -> tuple[object, ...]:
        """Another one after every decision on a line: nodes that were decided on, and decisions. Costs a look a node."""
        d, stands = DECISIONS.c, STANDING.c
        # Sequence numbers of a node have no gap: the newest is how many there are. Where a node stands does not say, since a
        # decision as of an earlier day leaves it as it was.
        of_node = sa.select(sa.func.max(d.sequence)).where(d.line == stands.line, d.node == stands.node)
        query = sa.select(sa.func.count(), sa.func.sum(of_node.scalar_subquery())).where(stands.line == line)
        with self._open().connect() as connection:
            return tuple(connection.execute(query).one())

    def decisions(self, line: str, node: str | None = None) -> list[Decision]:
        """Decisions of a line, or of one of its nodes, in the order they were made: oldest first."""
        return self._read(Decision, _of(DECISIONS, line, node).order_by(DECISIONS.c.id))

    def champions(self, line: str, before: dt.date | None = None, at: dt.datetime | None = None) -> dict[str, Decision]:
        """Segment -> the decision that made or kept its champion.

        before: the day to score; only decisions of earlier days count (None: all). at: only what had been decided by
        this moment counts (None: all). Of a node the last decision counts, by day and then by when it was made; a node
        that it left without champion is not in the answer.

        Raises ValueError for a moment without time zone.
        """
        return _reigning(self._last(line, None, before, at))

    def champion(
        self, line: str, node: str, before: dt.date | None = None, at: dt.datetime | None = None
    ) -> Decision | None:
        """The decision behind the node's own champion, None if an ancestor answers; `before`, `at` as in champions."""
        return _reigning(self._last(line, node, before, at)).get(node)

    def incumbents(self, line: str, as_of: dt.date) -> dict[str, Decision]:
        """Segment -> the decision behind the champion that the challengers of this day are to be judged against.

        What was decided on those challengers themselves does not count, so that judging them again is to judge alike;
        that one of them was rolled back since does.
        """
        last, v = self.last_decisions(line, before=as_of), VERSIONS.c
        champions = _reigning(last)
        left = {node: decision.version for node, decision in _undecided(last).items()}
        own = sa.select(v.node, v.version).where(v.line == line, v.as_of == as_of, _judged().is_(None)).order_by(v.id)
        same_day = _of(DECISIONS, line).where(DECISIONS.c.as_of == as_of).order_by(DECISIONS.c.id)
        with self._open().connect() as connection:
            challengers = left | dict(connection.execute(own).tuples().all())
            for decision in _records(connection, Decision, same_day):
                if found_by(challengers.get(decision.node), as_of, decision):
                    champions[decision.node] = decision
        return {node: decision for node, decision in champions.items() if decision.champion is not None}

    def undecided(self, line: str, before: dt.date) -> dict[str, Decision]:
        """Node -> its last decision of earlier days, where that left its challenger undecided."""
        return _undecided(self.last_decisions(line, before=before))

    def withdrawn(self, line: str, as_of: dt.date) -> dict[tuple[str, str], Decision]:
        """(node, version) -> the rollback, as of this day or before, that took the version back until further notice.

        With a refit the version that was judged is taken back, and comes back.
        """
        c = DECISIONS.c
        query = _of(DECISIONS, line).where(c.verdict == "rollback", c.as_of <= as_of)
        rollbacks = self._read(Decision, query.order_by(c.id))
        named = {version for each in rollbacks for version in (each.version, each.champion) if version is not None}
        return withdrawn(rollbacks, self.judged(line, named) if named else {})

    def changed(self, line: str, before: dt.date | None = None) -> dict[str, dt.date]:
        """Node -> the day as of which its own champion last became another, or none; `before` as in champions.

        Decisions count in the order of `champions`. A node that never had a champion is not in the answer.
        """
        c = DECISIONS.c
        earlier = sa.func.lag(c.champion).over(partition_by=c.node, order_by=(c.as_of, c.id)).label("earlier")
        decided = sa.select(c.node, c.as_of, c.champion, earlier).where(c.line == line)
        steps = (decided if before is None else decided.where(c.as_of < before)).subquery()
        last = sa.select(steps.c.node, sa.func.max(steps.c.as_of)).where(
            steps.c.champion.is_distinct_from(steps.c.earlier)
        )
        with self._open().connect() as connection:
            return dict(connection.execute(last.group_by(steps.c.node)).tuples().all())

    def trained_as_of(self, line: str) -> list[dt.date]:
        """The days as of which a training was decided on, ascending."""
        return self._days(line, DECISIONS.c.verdict.not_in(BY_PEOPLE))

    def first_trained(self, line: str) -> dt.date | None:
        """The first day as of which a training was decided on; None where there was none."""
        c = DECISIONS.c
        query = sa.select(sa.func.min(c.as_of)).where(c.line == line, c.verdict.not_in(BY_PEOPLE))
        with self._open().connect() as connection:
            return connection.execute(query).scalar_one()

    def decided_as_of(self, line: str) -> list[dt.date]:
        """The days as of which anything was decided, rollbacks as well, ascending: champions change only after them."""
        return self._days(line, sa.true())

    def lines(self) -> list[str]:
        """Names of the lines about which something was decided, in order."""
        with self._open().connect() as connection:
            return list(connection.scalars(sa.select(STANDING.c.line).distinct().order_by(STANDING.c.line)))

    def _days(self, line: str, which: sa.ColumnElement[bool]) -> list[dt.date]:
        c = DECISIONS.c
        with self._open().connect() as connection:
            return list(
                connection.scalars(sa.select(c.as_of).where(c.line == line, which).distinct().order_by(c.as_of))
            )

    def steps(self, line: str) -> list[tuple[dt.date, str, str | None]]:
        """As of which day, node and champion of every decision of a line, in the order in which they count."""
        c = DECISIONS.c
        query = sa.select(c.as_of, c.node, c.champion).where(c.line == line).order_by(c.as_of, c.id)
        with self._open().connect() as connection:
            # Of all at once: one by one, and by name, a hundred thousand of them take three times as long.
            return [(as_of, node, champion) for as_of, node, champion in connection.execute(query).all()]

    def last_decisions(self, line: str, before: dt.date | None = None) -> dict[str, Decision]:
        """Segment -> its last decision, whoever answers after it; `before`, and which is the last, as in champions."""
        return self._last(line, None, before, None)

    def _last(self, line: str, node: str | None, before: dt.date | None, at: dt.datetime | None) -> dict[str, Decision]:
        c = DECISIONS.c
        decisions = known(_of(DECISIONS, line, node), before, at)
        if before is None and at is None:
            kept = STANDING.c
            of_now = (kept.line == c.line) & (kept.node == c.node) & (kept.sequence == c.sequence)
            last = decisions.join(STANDING, of_now).order_by(c.id)
        else:
            newest_first = sa.func.row_number().over(partition_by=c.node, order_by=(c.as_of.desc(), c.id.desc()))
            ranked = decisions.add_columns(newest_first.label("place")).subquery()
            last = sa.select(ranked).where(ranked.c.place == 1).order_by(ranked.c.id)
        return {decision.node: decision for decision in self._read(Decision, last)}

    def _read(self, kind: type[R], query: sa.Select[Any]) -> list[R]:
        with self._open().connect() as connection:
            return _records(connection, kind, query)


def _records(connection: sa.Connection, kind: type[R], query: sa.Select[Any]) -> list[R]:
    names = [f.name for f in fields(kind)]
    rows: list[dict[str, Any]] = [
        {name: ADDED.get(name) if row[name] is None else row[name] for name in names}
        for row in connection.execute(query).mappings()
    ]
    return [kind(**row) for row in rows]


def _reigning(last: Mapping[str, Decision]) -> dict[str, Decision]:
    return {node: decision for node, decision in last.items() if decision.champion is not None}


def _undecided(last: Mapping[str, Decision]) -> dict[str, Decision]:
    return {node: decision for node, decision in last.items() if decision.verdict == UNDECIDED}


def _history(connection: sa.Connection, line: str, node: str) -> list[Decision]:
    return _records(connection, Decision, _of(DECISIONS, line, node).order_by(DECISIONS.c.id))


def _append(connection: sa.Connection, made: Sequence[Decision], more: Sequence[Decision]) -> None:
    """Append decisions on a node, and keep where it stands after them. made: all that it has, in their order."""
    # Sequence numbers of a node have no gap.
    numbered = [_row(each) | {"sequence": number} for number, each in enumerate(more, start=len(made) + 1)]
    append(connection, DECISIONS, numbered)
    history = [*made, *more]
    row, c = vars(stands(history, _contract(connection, history))), STANDING.c
    own = sa.update(STANDING).where(c.line == row["line"], c.node == row["node"])
    if not connection.execute(own.values(row)).rowcount:
        connection.execute(sa.insert(STANDING).values(row))


def _contract(connection: sa.Connection, made: Sequence[Decision]) -> str | None:
    """Hash of what the last training was made under: by its decision, or else by the version that it names."""
    trained = last_training(made)
    if trained is None or trained.version is None or trained.evidence.get(CONTRACT) is not None:
        return trained.evidence.get(CONTRACT) if trained else None
    c = VERSIONS.c
    noted = sa.select(c.configuration[CONTRACT].as_string())
    return connection.scalar(noted.where(c.line == trained.line, c.version == trained.version))


def _place(standing: Standing | None) -> str:
    if standing is None:
        return "no decision"
    return f"decision {standing.sequence}, as of {standing.decided_as_of}, with {standing.champion or 'no champion of its own'}"


def _of(table: sa.Table, line: str, node: str | None = None) -> sa.Select[Any]:
    query = sa.select(table).where(table.c.line == line)
    return query if node is None else query.where(table.c.node == node)


def _row(record: Record) -> dict[str, Any]:
    """Column -> value, as the tables will give it back."""
    row = {f.name: getattr(record, f.name) for f in fields(record)}
    if isinstance(record, VersionRecord) and record.configuration and "params" not in record.configuration:
        raise ValueError("VersionRecord.configuration has no params: the ledger takes no record without them")
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


def _judged() -> sa.ColumnElement[str]:
    column: sa.ColumnElement[str] = VERSIONS.c.configuration[JUDGED].as_string()
    return column


def _was_champion() -> sa.ColumnElement[bool]:
    c = VERSIONS.c
    return sa.exists().where(DECISIONS.c.line == c.line, DECISIONS.c.champion == c.version)


def _registered(connection: sa.Connection, line: str, ids: set[str]) -> set[str]:
    query = sa.select(VERSIONS.c.version).where(VERSIONS.c.line == line, VERSIONS.c.version.in_(ids))
    return set(connection.scalars(query))


def _require_registered(connection: sa.Connection, line: str, *ids: str | None) -> None:
    wanted = {version for version in ids if version is not None}
    if missing := sorted(wanted - _registered(connection, line, wanted)):
        raise ValueError(f"line {line!r} has no version {missing[0]!r} in the ledger: register it first")
