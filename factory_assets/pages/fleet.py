"""How does every node of every line stand? One row a node, those that need somebody first.

What a row says was found before: by the gate and by people in the ledger, by the monitors in `<line>/monitors` and
`<line>/performance`. A node has the first of these that is true of it:

- unanswered: nobody answers for it, so that its rows get no prediction
- alarm: the newest verdict of a monitor on it is an alarm
- waits: a challenger passed the gate, and waits for somebody to approve it
- unwatched: no monitor has a verdict of it, and none watches it through a node above
- well: none of these
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.nodes import answering, tree
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.alarms import Looks, alarms
from factory_assets.monitoring.monitors import ALARM, DRIFT, ESTIMATES, STABLE, WATCHED, rank
from factory_assets.words import counted, listed
from factory_resources.decisions import Standing
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

Health = Literal["unanswered", "alarm", "waits", "unwatched", "well"]
#: From what needs somebody most.
HEALTH: tuple[Health, ...] = ("unanswered", "alarm", "waits", "unwatched", "well")
#: Days of monitors that are read beside those whose labels are not due yet: on one of a week, all monitors look.
REACH = 7
#: Alarms that a sentence names.
NAMED = 3


@dataclass(frozen=True)
class Stand:
    """How a node stands.

    why: the health in a sentence. since: when it began; None where nobody can tell. answers: the node that answers for it, None for
    nobody. version, trained: what answers, and as of which day that was trained. verdict, reason, decided_by, decided_as_of: the last
    decision on the node itself. value, naive: the line's metric, and that of the naive guess, on the newest day that could be
    `measured`; estimate: of the newest day, which may be later. labelled: the share of the measured day's predictions that have a
    label. drifted: columns whose drift is an alarm.
    """

    line: str
    node: str
    owner: str
    health: Health
    why: str
    since: dt.date | None
    answers: str | None
    version: str | None
    trained: dt.date | None
    verdict: str | None
    reason: str | None
    decided_by: str | None
    decided_as_of: dt.date | None
    metric: str
    measured: dt.date | None = None
    value: float | None = None
    naive: float | None = None
    estimate: float | None = None
    labelled: float | None = None
    drifted: tuple[str, ...] = ()

    @property
    def urgency(self) -> int:
        """0 for what needs somebody most."""
        return HEALTH.index(self.health)


@dataclass(frozen=True)
class _Seen:
    """What the monitors say of a line by now.

    verdicts: by node, the newest stable or alarm of each of its series. begun: (node, monitor, column) -> first day of an alarm that
    goes on. watched: nodes that one above watches. estimates, measured: by node, the newest row of monitors and of performance.
    """

    verdicts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    begun: Mapping[tuple[str, str, str], dt.date] = field(default_factory=dict)
    watched: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def fleet(declared: Iterable[DeclaredLine], lake: Lake, ledger: Ledger, damaged: Collection[str] = ()) -> list[Stand]:
    """The nodes of these lines, those first that need somebody; alike ones by line, and in the order of the tree.

    damaged: tables that are not read, as they are not whole.
    """
    nodes = (each for line in declared for each in nodes_of(line, lake, ledger, damaged))
    return sorted(nodes, key=lambda each: each.urgency)


def nodes_of(declared: DeclaredLine, lake: Lake, ledger: Ledger, damaged: Collection[str] = ()) -> list[Stand]:
    """The nodes of a line that were ever decided on or watched, every node before its subtree; `damaged` as of `fleet`."""
    name = declared.line.name
    stands, seen = ledger.standing(name), _seen(declared, lake, damaged)
    champions = {node: each.champion for node, each in stands.items() if each.champion}
    trained = ledger.champions_trained(name)
    return [
        _stand(declared, node, stands.get(node), seen, champions, trained)
        for node in tree({*stands, *seen.verdicts, *seen.watched})
    ]


def _stand(
    declared: DeclaredLine,
    node: str,
    own: Standing | None,
    seen: _Seen,
    champions: Mapping[str, str],
    trained: Mapping[str, dt.date],
) -> Stand:
    line, metric = declared.line, metric_of(declared)
    answers = answering(node, champions)
    version = champions[answers] if answers else None
    health, why, since = _health(node, answers, own, seen)
    measured = seen.measured.get(node, {})
    return Stand(
        line=line.name,
        node=node,
        owner=line.owner,
        health=health,
        why=why,
        since=since,
        answers=answers,
        version=version,
        trained=trained.get(version) if version else None,
        verdict=own.verdict if own else None,
        reason=own.reason if own else None,
        decided_by=own.decided_by if own else None,
        decided_as_of=own.decided_as_of if own else None,
        metric=metric,
        measured=measured.get("ds"),
        value=measured.get(metric),
        naive=measured.get(f"naive_{metric}"),
        estimate=seen.estimates.get(node),
        labelled=measured["labelled"] / measured["predicted"] if measured else None,
        drifted=tuple(row["column"] for row in _alarms(node, seen) if row["monitor"] == DRIFT),
    )


def _health(node: str, answers: str | None, own: Standing | None, seen: _Seen) -> tuple[Health, str, dt.date | None]:
    """The health, a sentence that says why, and since when."""
    if answers is None:
        why = own.reason if own else "nothing was decided on it, or on a node above"
        return "unanswered", f"nobody answers: {why}", own.changed_as_of if own else None
    if alarming := _alarms(node, seen):
        first = min(seen.begun[_place(row)] for row in alarming)
        named = [f"{row['monitor']} of {row['column']}: {row['reason']}" for row in alarming]
        return "alarm", listed(named, NAMED, "alarm"), first
    if own and own.waits:
        return "waits", f"{own.version} waits for approval: {own.reason}", own.decided_as_of
    if node in seen.verdicts or node in seen.watched:
        above = f"; its drift is watched by {seen.watched[node]}" if node in seen.watched else ""
        return "well", f"{counted(len(seen.verdicts.get(node, ())), 'series', 'series')} stable{above}", None
    return "unwatched", "no monitor has a verdict of it, and none watches it through a node above", None


def _alarms(node: str, seen: _Seen) -> list[Mapping[str, Any]]:
    return [row for row in seen.verdicts.get(node, ()) if row["verdict"] == ALARM]


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["node"], row["monitor"], row["column"]


def _seen(declared: DeclaredLine, lake: Lake, damaged: Collection[str]) -> _Seen:
    """What the newest days say: a series whose labels are not in yet has the verdict of the newest day whose labels are."""
    import pyarrow.compute as pc

    line = declared.line
    looks = Looks(f"{line.name}/monitors", ("node", "monitor", "column"), ALARM, STABLE)
    days = _days(lake, looks.table, damaged)[-(line.horizon_days + REACH) :]
    if not days:
        return _Seen()
    rows = lake.read(looks.table, days[0], days[-1])
    decided = rows.filter(pc.is_in(rows["verdict"], pa.array([STABLE, ALARM])))
    newest = {_place(row): row for row in decided.sort_by("ds").to_pylist()}
    verdicts: dict[str, list[dict[str, Any]]] = {}
    for row in newest.values():
        verdicts.setdefault(row["node"], []).append(row)
    for of_node in verdicts.values():
        of_node.sort(key=rank)
    alarming = sorted({row["ds"] for row in newest.values() if row["verdict"] == ALARM})
    found = alarms(lake, looks, [alarming[0], days[-1]], ["reason"], line.monitor.remind) if alarming else {}
    of_day = rows.filter(pc.equal(rows["ds"], days[-1])).to_pylist()
    return _Seen(
        verdicts=verdicts,
        begun={_place(row): row["since"] for of_day in found.values() for row in of_day},
        watched={row["node"]: row["verdict"][len(WATCHED) :] for row in of_day if row["verdict"].startswith(WATCHED)},
        estimates={row["node"]: row["value"] for row in of_day if row["monitor"] == ESTIMATES},
        measured=_measured(line.name, metric_of(declared), lake, days, damaged),
    )


def _measured(
    line: str, metric: str, lake: Lake, days: Sequence[dt.date], damaged: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Node -> its row of performance on the newest of these days on which it could be measured."""
    table = f"{line}/performance"
    if not _days(lake, table, damaged):
        return {}
    columns = ["node", "predicted", "labelled", metric, f"naive_{metric}", "ds"]
    rows = lake.read(table, days[0], days[-1], columns, empty_if_absent=True)
    measured = rows.filter(rows[metric].is_valid()).sort_by("ds").to_pylist()
    return {row["node"]: row for row in measured}


def _days(lake: Lake, table: str, damaged: Collection[str]) -> list[dt.date]:
    return [] if table in damaged else lake.days(table)
