"""Are the labels of a holdout there that should be? Those that come first may be like no others.

How many there should be, the node's training days say: where a third of all observations ever gets a label, a third is all there is.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from factory_assets.evaluation.limits import LABELLED, USUALLY
from factory_assets.identity.nodes import lineage

#: Day, leaf, how many examples it has, and how many of them a label.
Counts = Sequence[tuple[dt.date, str, int, int]]


@dataclass(frozen=True)
class Coverage:
    """The labels of one training's nodes.

    least: the share of the usual that must be there; 0 asks for nothing. examples: those of the holdout, from the earliest day that
    anybody's begins, without a count of labels. learnt: those of the training days; asked once, and only where labels are missing.
    """

    least: float
    examples: Callable[[], Counts]
    learnt: Callable[[], Counts]

    def of(self, node: str, since: dt.date, labelled: int) -> dict[str, float]:
        """The share of a node's examples from a day on that have a label (LABELLED), and that which usually has one (USUALLY),
        where it is too small; nothing where all is well. labelled: how many have one.
        """
        rows = sum(rows for day, (rows, _) in self._examples.get(node, {}).items() if day >= since)
        if not rows or labelled >= self.least * rows:
            return {}
        days = self._learnt.get(node, {}).values()
        learnt = sum(rows for rows, _ in days)
        usual, share = sum(known for _, known in days) / learnt if learnt else 1.0, labelled / rows
        return {LABELLED: share, USUALLY: usual} if share < self.least * usual else {}

    @cached_property
    def _examples(self) -> dict[str, dict[dt.date, tuple[int, int]]]:
        return _by_node(self.examples())

    @cached_property
    def _learnt(self) -> dict[str, dict[dt.date, tuple[int, int]]]:
        return _by_node(self.learnt())


def _by_node(counts: Counts) -> dict[str, dict[dt.date, tuple[int, int]]]:
    """Node -> day -> its examples, and those that have a label."""
    found: dict[str, dict[dt.date, tuple[int, int]]] = {}
    for day, leaf, rows, known in counts:
        for node in lineage(leaf):
            of_node = found.setdefault(node, {})
            before = of_node.get(day, (0, 0))
            of_node[day] = before[0] + rows, before[1] + known
    return found
