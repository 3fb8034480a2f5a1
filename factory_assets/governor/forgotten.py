"""Does the ledger still have what Dagster's event log has of it? The newest rows of a chain may be gone without a trace in the ledger.

Each training, evaluation, decision and tag is an event of its node's page, too, in another database. An event that has no row is
told. Rows without an event are none of its business: a run may be killed between the two.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from factory_assets.governor.verified import Mismatch
from factory_resources.ledger import Ledger

#: What the event log shows in place of a version that there is not.
NONE = "none"
#: Before every event.
BEGINNING = dt.datetime.fromtimestamp(0, dt.UTC)
#: A row of the ledger: what it is, its node, and what identifies it.
Row = tuple[str, ...]


class Noted(Protocol):
    """An event of Dagster's log: the node, when it was, and what its page shows, by name."""

    @property
    def partition(self) -> str: ...

    @property
    def at(self) -> dt.datetime: ...

    @property
    def shown(self) -> Mapping[str, str]: ...


class Events(Protocol):
    """Dagster's event log."""

    def noted(self, name: str, since: dt.datetime) -> Iterable[Noted]: ...


def forgotten(events: Events, ledger: Ledger, lines: Iterable[str]) -> Iterator[Mismatch]:
    """Rows that are gone from the ledger, by what the event log has of them. All events of nodes are read.

    What is older than the line's first row was written into another ledger, which this one is in place of.
    """
    for line in lines:
        rows, since, missing = _rows_of(ledger, line), _began(ledger, line), dict[Row, dt.datetime]()
        for kind, rows_in in SHOWN_BY.items():
            for event in events.noted(f"{line}/{kind}", since):
                for row in set(rows_in(event.partition, event.shown)) - rows:
                    missing[row] = min(event.at, missing.get(row, event.at))
        for (what, node, *values), at in sorted(missing.items(), key=lambda each: (each[1], each[0])):
            words = ", ".join(value for value in values if value != NONE)
            when = f"{at:%Y-%m-%d %H:%M:%S} UTC"
            yield Mismatch(f"ledger of {line}", f"{node}: its {what} is gone: {words}; the event log has it, of {when}")


def _began(ledger: Ledger, line: str) -> dt.datetime:
    times = [each.started_at for each in ledger.versions(line)] + [each.decided_at for each in ledger.decisions(line)]
    return min(times, default=BEGINNING)


def _rows_of(ledger: Ledger, line: str) -> set[Row]:
    """What the ledger has of a line, as the event log would tell it."""
    rows: set[Row] = {("version", node, version) for _, node, version in ledger.identities(line)}
    rows |= {("evaluation", each.node, str(each.as_of), each.version) for each in ledger.evaluations(line)}
    for each in ledger.decisions(line):
        made = (each.node, str(each.as_of), each.verdict)
        # A training tells which version was judged, and a person's decision which one answers: that may be its refit.
        judged, answers = each.version or NONE, each.released or NONE
        rows |= {("decision", *made, judged), ("decision", *made, answers, each.reason, each.decided_by)}
    return rows | {
        ("tag", each.node, each.tag, each.version or NONE, each.why, each.by) for each in ledger.taggings(line)
    }


def _of_model(node: str, shown: Mapping[str, str]) -> list[Row]:
    return [("version", node, shown["version"])] if "version" in shown else []


def _of_evaluation(node: str, shown: Mapping[str, str]) -> list[Row]:
    sides = [side for side in ("challenger", "champion") if {side, "as_of"} <= shown.keys()]
    return [("evaluation", node, shown["as_of"], shown[side]) for side in sides]


def _of_champion(node: str, shown: Mapping[str, str]) -> list[Row]:
    """A decision of a training, or one of a person, who may have put a tag as well."""
    if shown.keys() >= {"as_of", "verdict", "considered"}:
        return [("decision", node, shown["as_of"], shown["verdict"], shown["considered"])]
    # Whoever may report an event to Dagster may report one that tells nothing.
    if not shown.keys() >= {"reason", "decided_by"}:
        return []
    said = (shown["reason"], shown["decided_by"])
    if shown.keys() >= {"from_the_day_after", "verdict"}:
        version = shown.get("taken_back", shown.get("approved", NONE))
        return [("decision", node, shown["from_the_day_after"], shown["verdict"], version, *said)]
    if shown.keys() >= {"tag", "version"}:
        return [("tag", node, shown["tag"], shown["version"], *said)]
    return [("tag", node, shown["tag_taken_off"], NONE, *said)] if "tag_taken_off" in shown else []


#: Asset of a line -> the rows that an event of it tells.
SHOWN_BY: dict[str, Callable[[str, Mapping[str, str]], list[Row]]] = {
    "model": _of_model,
    "evaluation": _of_evaluation,
    "champion": _of_champion,
}
