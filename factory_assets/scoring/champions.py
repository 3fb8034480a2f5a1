"""Who answers on a day? The champions that were decided on before it, by one reading of what was decided."""

import datetime as dt
from collections.abc import Mapping, Sequence

from factory_assets.identity.inputs import digest
from factory_resources.ledger import Ledger

#: Node -> version.
Champions = Mapping[str, str]


def champions_of_days(ledger: Ledger, line: str, days: Sequence[dt.date]) -> dict[dt.date, Champions]:
    """For each day node -> version of the champions that answer on it: those decided as of an earlier day.

    Days between which nothing was decided share one mapping.
    """
    steps, place = ledger.steps(line), 0
    held: dict[str, str] = {}
    shared: Champions = {}
    found: dict[dt.date, Champions] = {}
    for day in sorted(days):
        before = place
        while place < len(steps) and steps[place][0] < day:
            _, node, champion = steps[place]
            if champion is None:
                held.pop(node, None)
            else:
                held[node] = champion
            place += 1
        if place > before:
            shared = dict(held)
        found[day] = shared
    return found


def champion_state(champions: Mapping[dt.date, Champions]) -> dict[dt.date, str]:
    """What a day's predictions depend on beside its examples, in short."""
    told: dict[int, str] = {}
    for held in champions.values():
        if id(held) not in told:
            told[id(held)] = digest(f"{node}={version}" for node, version in sorted(held.items()))
    return {day: told[id(held)] for day, held in champions.items()}
