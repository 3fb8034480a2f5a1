"""What is to be replayed: which days, how often trained, by which policies? What cannot be is refused, with what can."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from factory_assets.backtest.policies import POLICIES, Policy
from factory_assets.declarations.base import check_whole_days, format_duration, parse_duration
from factory_assets.declarations.days import DAY, day_of
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.identity.nodes import ROOT, lineage
from factory_assets.training.timeline import first_as_of
from factory_assets.words import listed

#: Nodes that a message names.
NAMED = 5


class BacktestRefused(ValueError):
    """It cannot be replayed; the message says the value, and the values allowed."""


class NothingToReplay(BacktestRefused):
    """The line has no stretch with a training in it yet."""


@dataclass(frozen=True)
class Stretch:
    """The days of a replay. first: the first day as of which a training may be. last: the last day that is predicted."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Asked:
    """A replay. declared: the line as it is replayed. nodes: those that are trained, the ones above each among them; None: all."""

    declared: DeclaredLine
    stretch: Stretch
    policies: tuple[Policy, ...]
    nodes: frozenset[str] | None = None

    @property
    def every(self) -> str:
        return format_duration(self.declared.line.retrain.every)

    @property
    def name(self) -> str:
        """What sets it apart from other replays of the line."""
        line = self.declared.line
        nodes = f", {listed(sorted(self.nodes), NAMED, 'node')} alone" if self.nodes is not None else ""
        return f"every {self.every}, {self.stretch.first} .. {self.stretch.last}, seed {line.seed}{nodes}"


def asked(
    declared: DeclaredLine,
    labelled: Collection[dt.date],
    tree: Collection[str],
    first: str = "",
    last: str = "",
    every: str = "",
    policies: Sequence[str] = (),
    nodes: Sequence[str] = (),
    seed: int | None = None,
) -> Asked:
    """A replay by what somebody asked for in texts; of an empty one what the line declares, or its data allow.

    labelled: days whose labels are all in. tree: all nodes of the line. Raises BacktestRefused.
    """
    name, possible = declared.line.name, first_as_of(declared)
    newest = max(labelled, default=None)
    if newest is None or newest <= possible:
        upto = f"labels are in up to {newest}" if newest else "there are no labels yet"
        raise NothingToReplay(
            f"{name}: there is nothing to replay: a training is possible from {possible} on, and {upto}"
        )
    begin, end = _day("first", first) or possible, _day("last", last) or newest
    if not possible <= begin < newest:
        raise BacktestRefused(
            f"first: a training as of {begin} cannot be replayed; give a day from {possible} to {newest - DAY}"
        )
    if not begin < end <= newest:
        raise BacktestRefused(f"last: days up to {end} cannot be replayed; give a day from {begin + DAY} to {newest}")
    if strange := [policy for policy in policies if policy not in POLICIES]:
        raise BacktestRefused(f"policies: {strange[0]!r} is none; give some of {', '.join(POLICIES)}")
    if absent := [node for node in nodes if node not in tree]:
        there = listed(sorted(tree), NAMED, "node")
        raise BacktestRefused(f"nodes: the examples have none of {listed(absent, NAMED, 'node')}; they have {there}")
    if seed is not None and seed < 0:
        raise BacktestRefused(f"seed: {seed} is below 0; give 0 or more")
    chosen = tuple(policy for policy in get_args(Policy) if policy in (policies or POLICIES))
    trained = frozenset(above for node in nodes for above in lineage(node)) | {ROOT} if nodes else None
    return Asked(as_replayed(declared, _every(every), seed), Stretch(begin, end), chosen, trained)


def as_replayed(declared: DeclaredLine, every: dt.timedelta | None = None, seed: int | None = None) -> DeclaredLine:
    """The line with another cadence, or seed. It is trained for new labelled days alone: alarms of monitors follow from who was
    champion then. Nobody is there to approve, so that who passes the gate answers.
    """
    line = declared.line
    retrain = line.retrain.model_copy(update={"every": every or line.retrain.every, "on": ["new_data"]})
    changed = {
        "retrain": retrain,
        "gate": line.gate.model_copy(update={"approval": False}),
        "seed": line.seed if seed is None else seed,
    }
    return replace(declared, line=line.model_copy(update=changed))


def _day(field: str, text: str) -> dt.date | None:
    try:
        return day_of(field, text)
    except ValueError as refused:
        raise BacktestRefused(str(refused)) from None


def _every(text: str) -> dt.timedelta | None:
    if not text:
        return None
    try:
        return check_whole_days(parse_duration(text))
    except ValueError as error:
        raise BacktestRefused(f"every: {text!r}: {error}") from None
