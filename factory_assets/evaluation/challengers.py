"""Who is up for each node in a training of a day, and how sure must this look at it be?

A training of many nodes has as many chances to take luck for skill. So each node may use a part of what the gate allows all of them
together: the levels of the tree share it equally, and so do the nodes of a level. A root thus needs hardly more for having hundreds of
nodes below it, and what a level of few nodes does not need is left to the others. That the parts add up to the whole bounds the
expected number of false promotions however the nodes depend on each other.

A challenger that stays for several looks has as many chances, too. So each look may use a part of the luck that its node has:
together they use all of it, and the later ones, which see more days, the larger parts.

Source: for nodes, Bonferroni's inequality with weights, Genovese, Roeder & Wasserman 2006; for looks, alpha spending by the square of
the share of days seen, Kim & DeMets 1987.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import ANY, Gate, Line
from factory_assets.evaluation.gate import Look
from factory_assets.identity.nodes import depth_of
from factory_assets.training.undecided import undecided
from factory_resources.ledger import Ledger, VersionRecord


@dataclass(frozen=True)
class Challenger:
    """A version that is up for a node, and the look that is taken at it."""

    version: str
    look: Look


def challengers_of(ledger: Ledger, declared: DeclaredLine, day: dt.date) -> dict[str, Challenger]:
    """Node -> who is up for it in the training of a day: the version of that day, or an earlier one that is still undecided."""
    line = declared.line

    def up(version: VersionRecord, looked: dt.date | None) -> Challenger:
        contests = version.configuration.get("contests", [])
        return Challenger(
            version.version, look(line, version.as_of, day, looked, required(line.bar, version.node, contests))
        )

    challengers = {node: up(each.version, each.looked) for node, each in undecided(ledger, declared, day).items()}
    return challengers | {version.node: up(version, None) for version in ledger.versions(line.name, as_of=day)}


@dataclass(frozen=True)
class Required:
    """How sure a challenger must be to be better, in all its looks together. among: the nodes that make it more than declared."""

    certainty: float
    among: int = 0


def required(gate: Gate, node: str, contests: Sequence[int]) -> Required:
    """What is required of a node's challenger. contests: how many nodes of its training have a challenger, by level from the root
    down; nothing of versions that were recorded before that was.
    """
    level, luck = depth_of(node), 1 - gate.certainty
    if gate.certainty <= ANY or level >= len(contests):
        return Required(gate.certainty)
    allowed = shares(luck, gate.false_promotions, contests)[level]
    return Required(1 - allowed, sum(contests)) if allowed < luck * (1 - 1e-9) else Required(gate.certainty)


def shares(most: float, budget: float, contests: Sequence[int]) -> list[float]:
    """By level, the luck that each of its nodes may use: `most` of it at most, and all nodes together no more than `budget`.

    contests: nodes by level.

    >>> [round(share, 4) for share in shares(0.05, 1.0, [1, 3, 107])]
    [0.05, 0.05, 0.0075]
    """
    found, left = [most] * len(contests), budget
    # Those of few nodes first, since what they leave is for the others.
    ascending = sorted((number, level) for level, number in enumerate(contests) if number)
    for place, (number, level) in enumerate(ascending):
        found[level] = min(most, left / (len(ascending) - place) / number)
        left -= found[level] * number
    return found


def look(
    line: Line, trained: dt.date, day: dt.date, before: dt.date | None = None, needed: Required | None = None
) -> Look:
    """The look on a day at a challenger trained as of another. before: the day of the look before; None for the first.

    needed: as declared if absent.
    """
    needed = needed or Required(line.bar.certainty)
    certainty, holdout = needed.certainty, line.train.holdout.days
    whole = holdout + whole_days(line.bar.patience)

    def used(on: dt.date) -> float:
        """The share of the luck that looks up to this day use."""
        return (min(holdout + (on - trained).days, whole) / whole) ** 2

    days, so_far = holdout + (day - trained).days, used(before) if before else 0.0
    if days >= whole:
        return Look(_left(certainty, 1 - so_far), days, alone=certainty, among=needed.among)
    return Look(
        certainty=_left(certainty, used(day) - so_far),
        days=days,
        lasting=whole - days,
        at_last=_left(certainty, 1 - used(day)),
        alone=certainty,
        among=needed.among,
    )


def _left(certainty: float, share: float) -> float:
    return certainty if certainty <= ANY else 1 - (1 - certainty) * share
