"""A line that was trained once and scores the days after, its champions set by hand."""

import random
from pathlib import Path

from factory_resources.ledger import Decision
from tests.release.trained import LATE, LINE, MORE, compute, order, train
from tests.stations import CONTRACT, Station, day

#: The day as of which it is trained, and the last day.
AS_OF, LAST = 9, 13


def a_scored_line(folder: Path, more: str = "") -> Station:
    """Orders of two weeks. Lyon has no champion, so that the root answers for it; Paris has one of its own.

    more: of the line's declaration.
    """
    rng = random.Random(4)
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    station = Station(folder, LATE, MORE + more, contract)
    for offset in range(LAST + 1):
        station.deliver(
            day(offset), [order(rng, number, day(offset)) for number in range(100 * offset, 100 * offset + 60)]
        )
    compute(station, day(LAST))
    train(station, day(AS_OF))
    ledger = station.deployment.ledger
    newest = {version.node: version.version for version in ledger.versions(LINE)}
    for node in ("global", "Paris"):
        ledger.decide(Decision(LINE, node, day(AS_OF), "promote", newest[node], newest[node], "by hand", "ana", {}))
    ledger.decide(Decision(LINE, "Lyon", day(AS_OF), "fallback", newest["Lyon"], None, "too few", "ana", {}))
    for name in ("predictions", "parents"):
        assert station.run(day(AS_OF + 1), day(LAST), [f"greeted/{name}"]).success
    return station
