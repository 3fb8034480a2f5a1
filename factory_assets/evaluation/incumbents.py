"""Who answers for each node when a challenger of a day meets it?"""

import datetime as dt
from collections.abc import Collection, Mapping

from factory_resources.ledger import Ledger


def champions_before(ledger: Ledger, line: str, day: dt.date, nodes: Collection[str]) -> dict[str, str]:
    """Node -> its champion when the gate rules on `nodes` as of a day.

    For a node to be ruled on, that is its champion before the ruling; for any other, its champion after all decisions as of
    the day.
    """
    before, after = ledger.incumbents(line, day), ledger.champions(line, before=day + dt.timedelta(days=1))
    ruled = set(nodes)
    champions = {node: kept for node, kept in after.items() if node not in ruled}
    champions |= {node: kept for node, kept in before.items() if node in ruled}
    return {node: str(kept.champion) for node, kept in champions.items()}


def as_judged(ledger: Ledger, line: str, champions: Mapping[str, str]) -> dict[str, str]:
    """Node -> the version that meets others for its champion: of a refit the version that was judged, of any other itself.

    A refit has learnt the days on which they meet, or most of them. The judged version has its configuration and has learnt none: it
    is behind by as many days as the challenger is that it meets, so that neither luck nor learnt rows decide.
    """
    judged = ledger.judged(line, set(champions.values()))
    return {node: judged.get(version, version) for node, version in champions.items()}
