"""Is a champion as much better than a naive guess as it was on the holdout of its release? Both numbers; a verdict they cannot bear.

The ledger keeps a holdout's metric, and not that of its days. A holdout is a week or two, which differ from others by more than
their days differ among each other: with weather, with a season. `benchmarks/release.py` has how often a verdict would be wrong.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations.days import DAY
from factory_assets.identity.nodes import lineage
from factory_assets.measures.metrics import improvement
from factory_resources.ledger import EvaluationRecord


@dataclass(frozen=True)
class Reign:
    """A version that answers all rows of its node. since: the first day on which it does."""

    version: str
    since: dt.date


@dataclass(frozen=True)
class Release:
    """A reign, and by how much the version was better than the naive guess on the holdout after which it was released."""

    since: dt.date
    gain: float


def reigns(
    steps: Sequence[tuple[dt.date, str, str | None]], days: Sequence[dt.date]
) -> dict[dt.date, dict[str, Reign]]:
    """Day -> node -> who answers all of its rows: its champion, where no node below has one of its own.

    steps: as of which day, node and champion of every decision, as `Ledger.steps` gives them.
    """
    place, current, found = 0, dict[str, Reign](), dict[dt.date, dict[str, Reign]]()
    for day in sorted(days):
        while place < len(steps) and steps[place][0] < day:
            as_of, node, champion = steps[place]
            if champion is None:
                current.pop(node, None)
            elif node not in current or current[node].version != champion:
                current[node] = Reign(champion, as_of + DAY)
            place += 1
        above = {other for node in current for other in lineage(node)[1:]}
        found[day] = {node: reign for node, reign in current.items() if node not in above}
    return found


def gains(evaluated: Mapping[str, Iterable[EvaluationRecord]], metric: str) -> dict[tuple[str, str], float]:
    """Node and version -> by how much it was better than the naive guess on its first holdout, that of its release.

    evaluated: as of `Ledger.evaluated`. Without those whose rows could not measure both.
    """
    found: dict[tuple[str, str], float] = {}
    for version, records in evaluated.items():
        for record in records:
            if metric in record.challenger and metric in record.naive:
                gain = improvement(metric, record.challenger[metric], record.naive[metric])
                found.setdefault((record.node, version), gain)
    return found


def releases(of_day: Mapping[str, Reign], gained: Mapping[tuple[str, str], float]) -> dict[str, Release]:
    """Node -> its release, of those whose gain is known."""
    known = {node: gained.get((node, reign.version)) for node, reign in of_day.items()}
    return {node: Release(of_day[node].since, gain) for node, gain in known.items() if gain is not None}
