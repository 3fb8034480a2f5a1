"""How does every node of every line stand? One row a node, those that need somebody first.

What a row says was found before: by the gate and by people in the ledger, by the monitors in `<line>/monitors` and
`<line>/performance`. A node has the first health of `MEANING` that is true of it.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.nodes import answering, tree
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.alarms import Looks, newest
from factory_assets.monitoring.monitors import ALARM, DRIFT, ESTIMATES, FIRST, RELEASE, STABLE, WATCHED, rank
from factory_assets.release.resolver import measured
from factory_assets.words import counted, listed
from factory_resources.lake import Lake
from factory_resources.ledger import Answering, Ledger
from factory_resources.records.decisions import Decision, Standing

Health = Literal["unanswered", "alarm", "waits", "unwatched", "well"]
#: From what needs somebody most.
MEANING: dict[Health, str] = {
    "unanswered": "Nobody answers for it, so that its rows get no prediction.",
    "alarm": "The newest verdict of a monitor on it is an alarm.",
    "waits": "A challenger passed the gate, and waits for somebody to approve it.",
    "unwatched": "No monitor has a verdict of it, and none watches it through a node above.",
    "well": "None of these.",
}
HEALTH: tuple[Health, ...] = tuple(MEANING)
#: Days of monitors that are read beside those whose labels are not due yet: on one of a week, all monitors look.
REACH = 7
#: Alarms that a sentence names.
NAMED = 3


@dataclass(frozen=True)
class Stand:
    """How a node stands.

    why: the health in a sentence. since: when it began; None where nobody can tell. alarms: monitors that alarm, the worst first.
    answers: the node that answers for it, None for nobody. version to archive: what answers, the candidate that it is, as of which
    day and by which run it was trained, and where it is kept. verdict to decided_at: the last decision on the node itself, and by
    whom. value, naive: the line's metric, and that of the naive guess, on the newest day that could be `measured`; estimate: of the
    newest day, which may be later. expected: the metric on the holdout by which the version was released; of a node for which one
    above answers, that of the last training's holdout. gain, gain_expected: by how much it is better than the naive guess since its
    release, and was on that holdout, where all rows of the node are answered by it. labelled: the share of the measured day's
    predictions that have a label. drifted: columns whose drift is an alarm.
    """

    line: str
    node: str
    owner: str
    health: Health
    why: str
    since: dt.date | None
    alarms: tuple[str, ...]
    answers: str | None
    version: str | None
    candidate: str | None
    trained: dt.date | None
    run_id: str | None
    archive: str | None
    verdict: str | None
    reason: str | None
    decided_by: str | None
    decided_as_of: dt.date | None
    decided_at: dt.datetime | None
    metric: str
    measured: dt.date | None = None
    value: float | None = None
    naive: float | None = None
    expected: float | None = None
    gain: float | None = None
    gain_expected: float | None = None
    estimate: float | None = None
    labelled: float | None = None
    drifted: tuple[str, ...] = ()

    @property
    def urgency(self) -> tuple[int, int]:
        """The less, the sooner somebody is needed: by health, and of alarms by the worst of them."""
        worst = min((FIRST.index(name) for name in self.alarms if name in FIRST), default=len(FIRST))
        return HEALTH.index(self.health), worst

    def age(self, today: dt.date) -> int | None:
        """Days since the day as of which the version that answers was trained."""
        return (today - self.trained).days if self.trained else None


@dataclass(frozen=True)
class _Seen:
    """What the monitors say of a line by now.

    judged: by node, how many of its series have a verdict. alarms: by node, those whose newest verdict is one, the worst first, each
    with the first day of its episode. watched: nodes that one above watches. of_day: by monitor and node, the newest day's row of
    estimates and of release. measured: by node, its newest row of performance.
    """

    judged: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    watched: Mapping[str, str] = field(default_factory=dict)
    of_day: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Decided:
    """What the ledger says of a line by now: by node where it stands and the last decision; champions by node, and what they are."""

    standing: Mapping[str, Standing]
    last: Mapping[str, Decision]
    champions: Mapping[str, str]
    versions: Mapping[str, Answering]


def fleet(declared: Iterable[DeclaredLine], lake: Lake, ledger: Ledger, damaged: Collection[str] = ()) -> list[Stand]:
    """The nodes of these lines, those first that need somebody; alike ones by line, and in the order of the tree.

    damaged: tables that are not read, as they are not whole.
    """
    nodes = (each for line in declared for each in nodes_of(line, lake, ledger, damaged))
    return sorted(nodes, key=lambda each: each.urgency)


def nodes_of(declared: DeclaredLine, lake: Lake, ledger: Ledger, damaged: Collection[str] = ()) -> list[Stand]:
    """The nodes of a line that were ever decided on or watched, every node before its subtree; `damaged` as of `fleet`."""
    name = declared.line.name
    standing, seen = ledger.standing(name), _seen(declared, lake, damaged)
    champions = {node: each.champion for node, each in standing.items() if each.champion}
    decided = _Decided(standing, ledger.last_decisions(name), champions, ledger.answering(name))
    nodes = tree({*standing, *seen.judged, *seen.watched})
    return [_stand(declared, node, decided, seen) for node in nodes]


def _stand(declared: DeclaredLine, node: str, decided: _Decided, seen: _Seen) -> Stand:
    line, metric, last = declared.line, metric_of(declared), decided.last.get(node)
    answers = answering(node, decided.champions)
    version = decided.champions[answers] if answers else None
    made = decided.versions.get(version) if version else None
    health, why, since = _health(node, answers, decided.standing.get(node), seen)
    of_day, alarms = seen.measured.get(node, {}), seen.alarms.get(node, ())
    release, estimate = (seen.of_day.get((monitor, node), {}) for monitor in (RELEASE, ESTIMATES))
    expected = made.holdout.get(metric) if made and answers == node else measured(metric, last).get("value")
    return Stand(
        line=line.name,
        node=node,
        owner=line.owner,
        health=health,
        why=why,
        since=since,
        alarms=tuple(dict.fromkeys(row["monitor"] for row in alarms)),
        answers=answers,
        version=version,
        candidate=made.candidate if made else None,
        trained=made.as_of if made else None,
        run_id=made.run_id if made else None,
        archive=made.archive_uri if made else None,
        verdict=last.verdict if last else None,
        reason=last.reason if last else None,
        decided_by=last.who if last else None,
        decided_as_of=last.as_of if last else None,
        decided_at=last.decided_at if last else None,
        metric=metric,
        measured=of_day.get("ds"),
        value=of_day.get(metric),
        naive=of_day.get(f"naive_{metric}"),
        expected=expected,
        gain=release.get("value"),
        gain_expected=release.get("limit"),
        estimate=estimate.get("value"),
        labelled=of_day["labelled"] / of_day["predicted"] if of_day else None,
        drifted=tuple(row["column"] for row in alarms if row["monitor"] == DRIFT),
    )


def _health(node: str, answers: str | None, own: Standing | None, seen: _Seen) -> tuple[Health, str, dt.date | None]:
    """The health, a sentence that says why, and since when."""
    if answers is None:
        why = own.reason if own else "nothing was decided on it, or on a node above"
        return "unanswered", f"nobody answers: {why}", own.changed_as_of if own else None
    if alarming := seen.alarms.get(node):
        first = min(row["since"] for row in alarming)
        named = [f"{row['monitor']} of {row['column']}: {row['reason']}" for row in alarming]
        return "alarm", listed(named, NAMED, "alarm"), first
    if own and own.waits:
        return "waits", f"{own.version} waits for approval: {own.reason}", own.decided_as_of
    if node in seen.judged or node in seen.watched:
        above = f"; its drift is watched by {seen.watched[node]}" if node in seen.watched else ""
        return "well", f"{counted(seen.judged.get(node, 0), 'series', 'series')} stable{above}", None
    return "unwatched", "no monitor has a verdict of it, and none watches it through a node above", None


def _seen(declared: DeclaredLine, lake: Lake, damaged: Collection[str]) -> _Seen:
    """What the newest days say: a series whose labels are not in yet has the verdict of the newest day whose labels are."""
    line = declared.line
    looks = Looks(f"{line.name}/monitors", ("node", "monitor", "column"), ALARM, STABLE)
    days = _days(lake, looks.table, damaged)[-(line.horizon_days + REACH) :]
    if not days:
        return _Seen()
    found = newest(lake, looks, days[0], days[-1], ["n", "reason"])
    alarms: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(found.alarms, key=rank):
        alarms.setdefault(row["node"], []).append(row)
    with lake.connect() as con:
        lake.view(con, "looks", looks.table, days[-1], days[-1])
        query = 'SELECT node, monitor, verdict, value, "limit" FROM looks WHERE monitor IN (?, ?) OR starts_with(verdict, ?)'
        of_day = con.sql(query, params=[ESTIMATES, RELEASE, WATCHED]).to_arrow_table().to_pylist()
    return _Seen(
        judged=found.judged,
        alarms=alarms,
        watched={row["node"]: row["verdict"][len(WATCHED) :] for row in of_day if row["verdict"].startswith(WATCHED)},
        of_day={(row["monitor"], row["node"]): row for row in of_day},
        measured=_measured(line.name, metric_of(declared), lake, days, damaged),
    )


def _measured(
    line: str, metric: str, lake: Lake, days: Sequence[dt.date], damaged: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Node -> its row of performance on the newest of these days on which it could be measured."""
    table = f"{line}/performance"
    if not _days(lake, table, damaged):
        return {}
    with lake.connect() as con:
        lake.view(con, "measured", table, days[0], days[-1], empty_if_absent=True)
        newest_of = con.sql(
            f"""SELECT node, predicted, labelled, "{metric}", "naive_{metric}", ds FROM measured WHERE "{metric}" IS NOT NULL
                QUALIFY row_number() OVER (PARTITION BY node ORDER BY ds DESC) = 1"""
        ).to_arrow_table()
    return {row["node"]: row for row in newest_of.to_pylist()}


def _days(lake: Lake, table: str, damaged: Collection[str]) -> list[dt.date]:
    return [] if table in damaged else lake.days(table)
