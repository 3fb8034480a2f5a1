"""Who answers for each node when a challenger of a day meets it?"""

import datetime as dt
from collections.abc import Collection

from factory_resources.ledger import Ledger


def held_before(ledger: Ledger, line: str, day: dt.date, nodes: Collection[str]) -> dict[str, str]:
    """Node -> the version that it holds: of the nodes to be ruled on before that, of others after what was decided as of the day."""
    before, after = ledger.incumbents(line, day), ledger.champions(line, before=day + dt.timedelta(days=1))
    ruled = set(nodes)
    held = {node: kept for node, kept in after.items() if node not in ruled}
    held |= {node: kept for node, kept in before.items() if node in ruled}
    return {node: str(kept.champion) for node, kept in held.items()}
