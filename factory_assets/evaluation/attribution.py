"""Two models differ by several causes at once: how much of the difference in their metric is whose?

Each cause gets its Shapley value: what it changes, on average over the orders in which the causes may be changed one after the
other. It is exact, does not depend on which comes first, and the parts sum to the whole.

Source: Shapley 1953; for the difference of two states of a model, Štrumbelj & Kononenko 2014.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import mean


class NoValue(Exception):
    """Some combination of causes has no value; the message says why."""


@dataclass(frozen=True)
class Share:
    """A cause's part in the difference of a metric, b - a.

    alone: what it changes if it is the only one that is changed in a; last: the only one that is not changed yet on the way to b.
    None where that could not be tried. The more these differ, the more the causes act together.
    """

    cause: str
    size: float
    alone: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Shares:
    """The parts of all causes. missing: why some orders could not be tried; the parts are then averages over the others."""

    shares: tuple[Share, ...]
    missing: tuple[str, ...] = ()


def shares(causes: Sequence[str], value: Callable[[frozenset[str]], float]) -> Shares | None:
    """The parts of the causes in value(all of them) - value(none); None where no order could be tried.

    value: the metric with these causes changed; raises NoValue where that cannot be told. Asked once for each combination.

    >>> found = shares(["rows", "seed"], lambda changed: 2.0 * len(changed) + ("rows" in changed))
    >>> [(each.cause, each.size) for each in found.shares]
    [('rows', 3.0), ('seed', 2.0)]
    """
    known = dict[frozenset[str], float | None]()
    reasons = dict[str, None]()

    def of(changed: frozenset[str]) -> float | None:
        if changed not in known:
            try:
                known[changed] = value(changed)
            except NoValue as why:
                known[changed] = None
                reasons[str(why)] = None
        return known[changed]

    steps: dict[str, list[float]] = {cause: [] for cause in causes}
    for order in permutations(causes):
        values = [of(frozenset(order[:count])) for count in range(len(order) + 1)]
        found = [each for each in values if each is not None]
        if len(found) < len(values):
            continue
        for cause, before, after in zip(order, found, found[1:], strict=False):
            steps[cause].append(after - before)
    if any(not found for found in steps.values()):
        return None

    def between(before: frozenset[str], after: frozenset[str]) -> float | None:
        low, high = of(before), of(after)
        return None if low is None or high is None else high - low

    every, none = frozenset(causes), frozenset[str]()
    found_shares = tuple(
        Share(
            cause,
            mean(found),
            alone=between(none, frozenset({cause})),
            last=between(every - {cause}, every),
        )
        for cause, found in steps.items()
    )
    return Shares(found_shares, tuple(reasons))
