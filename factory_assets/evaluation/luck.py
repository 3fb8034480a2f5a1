"""How often may luck alone change who answers: at one node in a year, and over the nodes of one training?

A training of many nodes has as many chances to take luck for skill. So each node may use a part of what the gate allows all of them
together: the levels of the tree share it equally, and so do the nodes of a level. A root thus needs hardly more for having hundreds of
nodes below it, and what a level of few nodes does not need is left to the others. That the parts add up to the whole bounds the
expected number of false promotions however the nodes depend on each other.

A challenger that stays for several looks has as many chances, too. So each look may use a part of the luck that its node has:
together they use all of it, and the later ones, which see more days, the larger parts. Where a line declares how often luck may change
a champion, luck accrues by the day: each look has that of the days since the node was judged before, whatever brought it about, and
whoever is up.

Source: for nodes, Bonferroni's inequality with weights, Genovese, Roeder & Wasserman 2006; for looks, alpha spending by the square of
the share of days seen, Kim & DeMets 1987.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from factory_assets.declarations.base import format_duration, whole_days
from factory_assets.declarations.line import ANY, DAYS_OF, Gate, Line
from factory_assets.identity.nodes import depth_of


@dataclass(frozen=True)
class Required:
    """How sure a challenger must be to be better: in all its looks together, or in each where luck accrues by the day.

    among: the nodes that make it more than declared.
    """

    certainty: float
    among: int = 0


def required(gate: Gate, node: str, contests: Sequence[int]) -> Required:
    """What is required of a node's challenger.

    contests: how many nodes of its training have a challenger, by level from the root down; nothing of versions that were recorded
    before that was.
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


def used(line: Line, age: int) -> float:
    """The share of a challenger's luck that looks until so many days after its training use together."""
    holdout, patience = line.train.holdout.days, whole_days(line.gate.patience)
    return ((holdout + min(age, patience)) / (holdout + patience)) ** 2


def swaps_by_luck(line: Line) -> float:
    """How often in a year luck alone changes a node's champion, at most, if every training that may come comes.

    Of a line that declares no swaps these are promotions; a champion may step down by luck, too. However early a challenger's
    looks end: those until an age use the luck of that age, and the next challenger comes after it.
    """
    luck, every, patience = 1 - line.bar.certainty, whole_days(line.retrain.every), whole_days(line.gate.patience)
    if line.gate.swaps is not None:
        return luck * DAYS_OF["year"] / every
    ages = range(0, patience + every, every)
    return luck * max(used(line, age) / (age + line.soonest) for age in ages) * DAYS_OF["year"]


def in_words(line: Line) -> str:
    """What a line's declaration amounts to."""
    changes = "promotes a challenger of a node" if line.gate.swaps is None else "changes the champion of a node"
    often, soonest = f"trained every {format_duration(line.retrain.every)}", line.soonest
    if soonest < whole_days(line.retrain.every):
        often += f", or {soonest}d after the last time where alarms call for it"
    patience = f", patience {format_duration(line.gate.patience)}" if line.gate.patience else ""
    return (
        f"luck alone {changes} up to {swaps_by_luck(line):.1f} times a year ({often}, certainty {line.bar.certainty:.4g}{patience}), "
        f"and promotes up to {line.gate.false_promotions:g} of the nodes of one training"
    )
