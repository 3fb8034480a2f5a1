"""Which challengers of earlier trainings does a training look at again, in place of new ones?"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.identity.versions import contract_hash, model_version
from factory_resources.archive_folder import ArchiveFolder
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


def looked_at_again(
    ledger: Ledger, archive: ArchiveFolder, declared: DeclaredLine, day: dt.date, nodes: Collection[str]
) -> dict[str, Undecided]:
    """Of the nodes those that get no new challenger, as that of an earlier day is looked at again; one of this day goes first."""
    line, of_day = declared.line.name, {version.node for version in ledger.versions(declared.line.name, as_of=day)}
    return {
        node: each
        for node, each in undecided(ledger, declared, day).items()
        if node in nodes and node not in of_day and archive.exists(line, each.version.version)
    }
