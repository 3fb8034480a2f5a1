"""Who is up for each node in a training of a day, and how sure must this look at it be? See `luck` for how much each may use."""

import datetime as dt
from dataclasses import dataclass

from factory_assets.declarations.base import whole_days
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import ANY, Line
from factory_assets.evaluation.gate import Look
from factory_assets.evaluation.luck import Required, required, used
from factory_assets.training.undecided import undecided
from factory_resources.ledger import Ledger, VersionRecord


@dataclass(frozen=True)
class Challenger:
    """A version that is up for a node, and the look that is taken at it."""

    version: str
    look: Look


def challengers_of(ledger: Ledger, declared: DeclaredLine, day: dt.date) -> dict[str, Challenger]:
    """Node -> who is up for it in the training of a day: the version of that day, or an earlier one that is still undecided."""
    line = declared.line
    judged = {} if line.gate.swaps is None else ledger.judged_before(line.name, day)

    def up(version: VersionRecord, looked: dt.date | None) -> Challenger:
        before = judged.get(version.node)
        bar = line.bar if before is None else line.bar_after((day - before).days)
        needed = required(bar, version.node, version.configuration.get("contests", []))
        return Challenger(version.version, look(line, version.as_of, day, looked, needed))

    challengers = {node: up(each.version, each.looked) for node, each in undecided(ledger, declared, day).items()}
    return challengers | {version.node: up(version, None) for version in ledger.versions(line.name, as_of=day)}


def look(
    line: Line, trained: dt.date, day: dt.date, before: dt.date | None = None, needed: Required | None = None
) -> Look:
    """The look on a day at a challenger trained as of another. before: the day of the look before; None for the first.

    needed: what is declared, at the line's cadence, if absent.
    """
    needed = needed or Required(line.bar.certainty)
    certainty, age = needed.certainty, (day - trained).days
    days, lasting = line.train.holdout.days + age, max(whole_days(line.gate.patience) - age, 0)
    if line.gate.swaps is not None:
        return Look(certainty, days, lasting, at_last=certainty, alone=certainty, among=needed.among)
    by_now, so_far = used(line, age), used(line, (before - trained).days) if before else 0.0
    at_last = _left(certainty, 1 - by_now) if lasting else 1.0
    return Look(_left(certainty, by_now - so_far), days, lasting, at_last, alone=certainty, among=needed.among)


def _left(certainty: float, share: float) -> float:
    return certainty if certainty <= ANY else 1 - (1 - certainty) * share
