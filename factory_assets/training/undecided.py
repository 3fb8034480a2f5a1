"""Which challengers of earlier trainings does a training look at again, in place of new ones?"""

import datetime as dt
from dataclasses import dataclass

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.identity.versions import contract_hash, model_version
from factory_resources.ledger import Ledger, VersionRecord


@dataclass(frozen=True)
class Undecided:
    """A challenger that no look so far found to be better, or not. looked: the day as of which it was last looked at."""

    version: VersionRecord
    looked: dt.date


def undecided(ledger: Ledger, declared: DeclaredLine, day: dt.date) -> dict[str, Undecided]:
    """Node -> its challenger of an earlier training, where the node's last decision before a day left that open.

    What a person decides on a node ends it. A challenger that was made from other declarations, or under another contract, than
    those of now is none any more: a new one is trained.
    """
    line, now = declared.line.name, (model_version(declared), contract_hash(declared))
    left = ledger.undecided(line, before=day)
    versions = ledger.versions(line, ids={str(decision.version) for decision in left.values()}) if left else []
    return {
        version.node: Undecided(version, left[version.node].as_of)
        for version in versions
        if (version.configuration.get("id"), version.configuration.get("contract")) == now
    }
