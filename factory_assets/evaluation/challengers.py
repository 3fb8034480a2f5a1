"""Who is up for each node in a training of a day, and how sure must this look at it be?

A challenger that stays for several looks has as many chances to pass by luck. So each look may use a part of the luck that the
gate allows: together they use all of it, and the later ones, which see more days, the larger parts.

Source: alpha spending by the square of the share of days seen, Kim & DeMets 1987. That the parts add up to the whole bounds the
luck however the looks depend on each other.
"""

import datetime as dt
from dataclasses import dataclass

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import ANY, Line
from factory_assets.evaluation.gate import Look
from factory_assets.training.undecided import undecided
from factory_resources.ledger import Ledger


@dataclass(frozen=True)
class Challenger:
    """A version that is up for a node, and the look that is taken at it."""

    version: str
    look: Look


def challengers_of(ledger: Ledger, declared: DeclaredLine, day: dt.date) -> dict[str, Challenger]:
    """Node -> who is up for it in the training of a day: the version of that day, or an earlier one that is still undecided."""
    line = declared.line
    up = {
        node: Challenger(each.version.version, look(line, each.version.as_of, day, each.looked))
        for node, each in undecided(ledger, declared, day).items()
    }
    for version in ledger.versions(line.name, as_of=day):
        up[version.node] = Challenger(version.version, look(line, day, day))
    return up


def look(line: Line, trained: dt.date, day: dt.date, before: dt.date | None = None) -> Look:
    """The look on a day at a challenger trained as of another. before: the day of the look before; None for the first."""
    certainty, holdout = line.bar.certainty, line.train.holdout.days
    whole = holdout + whole_days(line.bar.patience)

    def used(on: dt.date) -> float:
        """The share of the luck that looks up to this day use."""
        return (min(holdout + (on - trained).days, whole) / whole) ** 2

    days, so_far = holdout + (day - trained).days, used(before) if before else 0.0
    if days >= whole:
        return Look(certainty=_left(certainty, 1 - so_far), days=days)
    return Look(
        certainty=_left(certainty, used(day) - so_far),
        days=days,
        lasting=whole - days,
        at_last=_left(certainty, 1 - used(day)),
    )


def _left(certainty: float, share: float) -> float:
    return certainty if certainty <= ANY else 1 - (1 - certainty) * share
