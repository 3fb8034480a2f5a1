"""Who answers on a day? The champions that were decided on before it, by one reading of the decisions."""

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
    current: dict[str, str] = {}
    shared: Champions = {}
    by_day: dict[dt.date, Champions] = {}
    for day in sorted(days):
        before = place
        while place < len(steps) and steps[place][0] < day:
            _, node, champion = steps[place]
            if champion is None:
                current.pop(node, None)
            else:
                current[node] = champion
            place += 1
        if place > before:
            shared = dict(current)
        by_day[day] = shared
    return by_day


def champion_state(champions: Mapping[dt.date, Champions]) -> dict[dt.date, str]:
    """A hash of each day's champions: a day's predictions depend on these beside its examples."""
    states: dict[int, str] = {}
    for of_day in champions.values():
        if id(of_day) not in states:
            states[id(of_day)] = digest(f"{node}={version}" for node, version in sorted(of_day.items()))
    return {day: states[id(of_day)] for day, of_day in champions.items()}
