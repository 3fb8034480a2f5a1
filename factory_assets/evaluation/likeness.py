"""How much is a day's difference of two models like that of the day before, by a line's earlier meetings?

A week tells little of it, and a line that is trained often has many weeks. Meetings of one level of the tree are taken together: what
days do to thousands of rows they do not to dozens. Each meeting leaves what it found in the ledger, so no row is read again.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping

from factory_assets.identity.nodes import depth_of
from factory_assets.measures.certainty import Alike
from factory_resources.ledger import Ledger

#: Meetings of a year are asked: all seasons, and no more records than are read in a moment.
BACK = dt.timedelta(days=365)


def kept(metric: str, alike: Alike | None) -> dict[str, float]:
    """What a meeting found, as it is recorded beside its certainty."""
    return {} if alike is None else {f"alike_{metric}": alike.like, f"groups_{metric}": alike.groups}


def likeness(ledger: Ledger, line: str, metric: str, day: dt.date) -> dict[int, list[Alike]]:
    """Level of the tree, from 0 for the root -> what meetings of models found in the year before a day, by their number of groups."""
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for node, certainty in ledger.certainties(line, day - BACK, day):
        like, groups = _read(metric, certainty)
        if groups:
            found[depth_of(node)][groups].append(like)
    return {
        level: [Alike(sum(likes) / len(likes), groups, len(likes)) for groups, likes in sorted(of_level.items())]
        for level, of_level in found.items()
    }


def _read(metric: str, certainty: Mapping[str, float]) -> tuple[float, int]:
    """The inverse of `kept`; no groups where nothing was."""
    return certainty.get(f"alike_{metric}", 0.0), int(certainty.get(f"groups_{metric}", 0))
