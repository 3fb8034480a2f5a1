"""Which nodes of a line are to be trained, as of which day, and why? Or why are none?

A training stands at the close of a day, `as_of`. The line's trainings are `retrain.every` labelled days apart, counted from the
day that most nodes were last trained as of: one node that somebody trained by hand postpones no other, and what a killed
training left is finished as of its day.
"""

import datetime as dt
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.monitoring.episodes import Alarm
from factory_assets.training.timeline import first_as_of, timeline
from factory_assets.words import counted, listed

#: `lost`: nothing is learnt; versions of that day whose archive is damaged are made again as they were.
Trigger = Literal["first", "new_data", "schema", "drift", "performance", "unfinished", "new_node", "lost"]
#: Nodes whose alarms a training's reason tells.
TOLD = 3


class Trained(Protocol):
    """How a node stands: the day as of which it was last trained, and under which contract."""

    @property
    def trained_as_of(self) -> dt.date | None: ...

    @property
    def contract(self) -> str | None: ...


@dataclass(frozen=True)
class Training:
    """One run that trains nodes of a line as of a day."""

    line: str
    as_of: dt.date
    nodes: tuple[str, ...]
    trigger: Trigger
    reason: str


@dataclass(frozen=True)
class NotDue:
    """Why no training is due."""

    reason: str


def due(
    declared: DeclaredLine,
    labelled: Collection[dt.date],
    standing: Mapping[str, Trained],
    seen: Callable[[dt.date], Sequence[str]],
    nodes: Collection[str],
    contract: str,
    alarms: Sequence[Alarm] = (),
    since: dt.date = dt.date.min,
) -> Training | NotDue:
    """The training of a line that is due now, or why none is.

    labelled: days whose labels are all in. standing: node -> how it stands, for nodes with a decision.
    seen: a day -> the nodes that examples up to it have, parents first; asked only where a training may be due.
    nodes: all nodes that there are. contract: hash of the contracts as they are now. alarms: of the line's monitors, from the day
    as of which most nodes were last trained, up to a day before which none can come any more. since: the first day as of which a
    training may be.
    """
    line, name = declared.line, declared.line.name
    first, horizon = max(first_as_of(declared), since), declared.line.horizon_days * DAY
    newest = max(labelled) + horizon if labelled else None
    if newest is None or newest < first:
        upto = f"data up to {newest}" if newest else "no labels yet"
        return NotDue(f"{upto}; training is possible from {first} on, with full windows and labels")
    complete = set(labelled)
    trained = {node: each.trained_as_of for node, each in standing.items() if each.trained_as_of is not None}
    if not trained:
        as_of = _covered(declared, complete, first, newest)
        if as_of is None:
            return NotDue(hole(declared, complete, newest))
        return Training(name, as_of, tuple(seen(as_of)), "first", f"first training, possible since {first}")
    base = _base(trained)
    left = [node for node, day in trained.items() if day < base]
    if fresh := set(nodes) - set(trained):
        left += [node for node in seen(base) if node in fresh]
    if left := _in_order(left, seen(base) if left else ()):
        new = all(node not in trained for node in left) and len(set(trained.values())) > 1
        reason = f"{counted(len(left), 'node')} without a decision as of {base}"
        return Training(name, base, tuple(left), "new_node" if new else "unfinished", reason)
    if "schema" in line.retrain.on and (changed := _by_schema(declared, standing, complete, newest, contract)):
        as_of, reason = changed
        due_nodes = [
            node
            for node in seen(as_of)
            if node not in trained or (trained[node] < as_of and _other(standing, node, contract))
        ]
        if due_nodes:
            return Training(name, as_of, tuple(due_nodes), "schema", reason)
    by_new_data = _by_new_data(declared, complete, newest, base, trained, seen)
    by_alarm = _by_alarm(declared, complete, trained, seen, alarms)
    if by_alarm and (isinstance(by_new_data, NotDue) or by_alarm.as_of < by_new_data.as_of):
        return by_alarm
    return by_new_data


def undrawn(line: str, standing: Mapping[str, Trained], drawn: Collection[dt.date]) -> Training | None:
    """The newest training, if it died before the leaderboard of its day was drawn.

    standing: as for `due`. drawn: days of which there is a leaderboard.
    """
    trained = {node: each.trained_as_of for node, each in standing.items() if each.trained_as_of is not None}
    if not trained or (base := _base(trained)) in drawn:
        return None
    nodes = tuple(node for node, day in trained.items() if day == base)
    return Training(
        line, base, nodes, "unfinished", f"the training as of {base} ended before its leaderboard was drawn"
    )


def trained_upto(standing: Mapping[str, Trained]) -> dt.date | None:
    """The day as of which most nodes were last trained; None before the first training."""
    trained = {node: each.trained_as_of for node, each in standing.items() if each.trained_as_of is not None}
    return _base(trained) if trained else None


def _base(trained: Mapping[str, dt.date]) -> dt.date:
    """The day as of which most nodes were last trained: a node trained by hand, or the few of a killed training, do not move it."""
    return statistics.median_low(sorted(trained.values()))


def _by_new_data(
    declared: DeclaredLine,
    complete: set[dt.date],
    newest: dt.date,
    base: dt.date,
    trained: Mapping[str, dt.date],
    seen: Callable[[dt.date], Sequence[str]],
) -> Training | NotDue:
    line, horizon = declared.line, declared.line.horizon_days * DAY
    if "new_data" not in line.retrain.on:
        return NotDue(f"nothing starts a training of {' or '.join(line.retrain.on)}, and new data alone does not")
    wanted = line.retrain.every.days
    new = sorted(day for day in complete if day > base - horizon)
    if len(new) < wanted:
        return NotDue(f"{counted(len(new), 'new labelled day')} since the training as of {base}, {wanted} wanted")
    as_of = _covered(declared, complete, new[wanted - 1] + horizon, newest)
    if as_of is None:
        return NotDue(
            f"{counted(len(new), 'new labelled day')} since the training as of {base}, but {hole(declared, complete, newest)}"
        )
    nodes = [node for node in seen(as_of) if trained.get(node, dt.date.min) < as_of]
    begun = any(day == as_of for day in trained.values())
    reason = f"{counted(wanted, 'new labelled day')} since the training as of {base}"
    return Training(line.name, as_of, tuple(nodes), "unfinished" if begun else "new_data", reason)


def _by_alarm(
    declared: DeclaredLine,
    complete: set[dt.date],
    trained: Mapping[str, dt.date],
    seen: Callable[[dt.date], Sequence[str]],
    alarms: Sequence[Alarm],
) -> Training | None:
    """The training of the nodes that alarm on the first day on which any does that was not trained since it began to."""
    line = declared.line
    horizon, cooldown = line.horizon_days * DAY, whole_days(line.retrain.cooldown) * DAY
    of_line = [alarm for alarm in alarms if alarm.monitor in line.retrain.on and alarm.node in trained]
    answered = {alarm.day for alarm in of_line}
    calling: dict[dt.date, dict[str, Alarm]] = {}
    for alarm in of_line:
        last = trained[alarm.node]
        # One change comes to one column after the other: what follows at once on a training that answered it is of its episode.
        begins = last + cooldown if last in answered else last
        # The labels of its holdout's last day have to be in, and all of a day whose predictions are found to be bad.
        if alarm.since > begins and alarm.day >= last + cooldown and alarm.day - horizon in complete:
            calling.setdefault(alarm.day, {}).setdefault(alarm.node, alarm)
    for day, found in sorted(calling.items()):
        order = [] if hole(declared, complete, day) else seen(day)
        if nodes := _in_order(found, order):
            named = [f"{found[node].monitor} of {node} {found[node].lasts}: {found[node].reason}" for node in nodes]
            monitor, reason = found[nodes[0]].monitor, listed(named, TOLD, "node")
            # Where most nodes alarm, the others would be found to lack a training as of this day.
            if 2 * len(nodes) > len([node for node in order if node in trained]):
                nodes = [node for node in order if trained.get(node, dt.date.min) < day]
            return Training(line.name, day, tuple(nodes), monitor, reason)
    return None


def _by_schema(
    declared: DeclaredLine,
    standing: Mapping[str, Trained],
    complete: set[dt.date],
    newest: dt.date,
    contract: str,
) -> tuple[dt.date, str] | None:
    """The day as of which nodes of another contract are trained, and why; None where there are none, or no day for it."""
    old = [each for each in standing.values() if each.contract not in (None, contract) and each.trained_as_of]
    if not old:
        return None
    last = max(each.trained_as_of for each in old if each.trained_as_of)
    # A training that was killed has trained some nodes under this contract already: the others join them.
    begun = [each.trained_as_of for each in standing.values() if each.contract == contract and each.trained_as_of]
    as_of = max([day for day in begun if day > last], default=newest)
    if as_of <= last or hole(declared, complete, as_of):
        return None
    return as_of, f"the contract changed since the training as of {last}"


def _other(standing: Mapping[str, Trained], node: str, contract: str) -> bool:
    return node not in standing or standing[node].contract != contract


def _in_order(nodes: Collection[str], order: Sequence[str]) -> list[str]:
    """The nodes in this order, without those that it lacks."""
    chosen = set(nodes)
    return [node for node in order if node in chosen]


def _covered(declared: DeclaredLine, complete: set[dt.date], first: dt.date, last: dt.date) -> dt.date | None:
    """The first day from `first` to `last` as of which the window and the holdout have enough of their days."""
    return next((day for day in _days(first, last) if not hole(declared, complete, day)), None)


def hole(declared: DeclaredLine, complete: set[dt.date], as_of: dt.date) -> str:
    """The days that a training as of a day lacks, in words; empty where they are few enough."""
    span, allowed = timeline(declared, as_of), declared.line.train.missing
    for what, first, last in (
        ("training window", span.train_from, span.train_to),
        ("holdout", span.holdout_from, span.holdout_to),
    ):
        days = _days(first, last)
        missing = [day for day in days if day not in complete]
        if len(missing) > allowed * len(days):
            share = "the only day" if len(days) == 1 else f"{len(missing)} of the {len(days)} days"
            lost = f"is missing, {missing[0]}"
            if len(missing) > 1:
                lost = f"are missing, from {missing[0]} to {missing[-1]}"
            return f"{share} of the {what} as of {as_of} {lost}; train.missing allows {allowed:.0%}"
    return ""


def _days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + ahead * DAY for ahead in range((last - first).days + 1)]
