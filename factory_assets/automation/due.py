"""Is it time to train a line again, and why? One rule, for the sensor and for `factory run`."""

import datetime as dt
from dataclasses import dataclass

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.training.timeline import first_as_of
from factory_resources.ledger import Ledger


@dataclass(frozen=True)
class Due:
    """Whether to train as of a day; the reason is given either way."""

    train: bool
    as_of: dt.date | None
    trigger: str
    reason: str


@dataclass(frozen=True)
class LastTraining:
    """The newest training of a line, and the contract that its models were made under."""

    as_of: dt.date
    contract: str | None


def last_training(ledger: Ledger, line: str) -> LastTraining | None:
    """None where the line was never trained."""
    decided = ledger.trained_as_of(line)
    if not decided:
        return None
    versions = [version for version in ledger.versions(line) if version.as_of == decided[-1]]
    contract = versions[-1].configuration.get("contract") if versions else None
    return LastTraining(decided[-1], contract)


def due(declared: DeclaredLine, today: dt.date, last: LastTraining | None, contract: str) -> Due:
    """The rule.

    today: the last day that has examples. contract: hash of the contracts as they are now.
    """
    line, first = declared.line, first_as_of(declared)
    if today < first:
        return Due(
            False,
            None,
            "none",
            f"data up to {today}; training is possible from {first} on, with full windows and labels",
        )
    if last is None:
        return Due(True, first, "first", f"first training, possible since {first}")
    if "schema" in line.retrain.on and last.contract not in (None, contract) and today > last.as_of:
        return Due(True, today, "schema", f"the contract changed since the training as of {last.as_of}")
    new_days, wanted = (today - last.as_of).days, line.retrain.every.days
    if "new_data" not in line.retrain.on:
        return Due(False, None, "none", "the contract is unchanged, and new data alone does not start a training")
    if new_days < wanted:
        return Due(
            False, None, "none", f"{new_days} new labelled days since the training as of {last.as_of}, {wanted} wanted"
        )
    as_of = last.as_of + line.retrain.every
    return Due(True, as_of, "new_data", f"{wanted} new labelled days since the training as of {last.as_of}")
