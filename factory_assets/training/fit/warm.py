"""Which earlier version may a node's model continue from, or why must it begin anew?

It has to be a model of the same declaration, contract and parameters, that has not seen the days on which the continued and
the cold model are compared, nor was taken back. A drift verdict since then, or the declared number of continuations, calls for
a cold fit.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.identity.nodes import ROOT, lineage
from factory_assets.identity.versions import contract_hash, model_version
from factory_assets.models.archived import ModelRefused, load
from factory_assets.models.estimators import later_days
from factory_assets.training.fit.fitting import compared_days
from factory_assets.training.fit.warm_fit import Parent
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.decisions import Decision

#: Candidate -> the version that it may continue, or the reason why there is none.
Continued = Mapping[str, VersionRecord | str]


@dataclass(frozen=True)
class Drifted:
    """Nodes that the monitor judged, by day, with the number of columns that it called drifted."""

    judged: Mapping[dt.date, Mapping[str, int]] = field(default_factory=dict)

    def since(self, node: str, day: dt.date) -> str:
        """The drift that speaks against a node's version of that day; empty if there is none.

        Verdicts on the node and within it count, and where it was not judged itself the verdict on the nearest node above.
        """
        for judged_on in sorted(self.judged, reverse=True):
            if judged_on <= day:
                break
            verdicts = self.judged[judged_on]
            places = {place for place in verdicts if _within(place, node)}
            places |= set([place for place in lineage(node) if place in verdicts][:1])
            for place in sorted(places):
                if verdicts[place]:
                    return f"{verdicts[place]} columns of {place} drifted on {judged_on}"
        return ""


def drifted(lake: Lake, line: str, first: dt.date, last: dt.date) -> Drifted:
    """Verdicts of the days, both inclusive, as far as there are any."""
    import pyarrow.compute as pc

    table = f"{line}/drift"
    if lake.version(table) is None:
        return Drifted()
    rows = lake.read(table, first, last, ["ds", "node", "verdict"], empty_if_absent=True)
    rows = rows.append_column("drifted", pc.cast(pc.equal(rows["verdict"], "drifted"), "int64"))
    judged: dict[dt.date, dict[str, int]] = {}
    for row in rows.group_by(["ds", "node"]).aggregate([("drifted", "sum")]).to_pylist():
        judged.setdefault(row["ds"], {})[row["node"]] = row["drifted_sum"]
    return Drifted(judged)


def _within(place: str, node: str) -> bool:
    return node == ROOT or place == node or place.startswith(f"{node}/")


@dataclass(frozen=True)
class Lookup:
    """Finds what a node's candidates may continue from, for one training of a line.

    configuration: id and contract hash with which the line is trained now. withdrawn: (node, version) of those taken back.
    """

    span: Timeline
    configuration: Mapping[str, Any]
    ledger: Ledger
    archive: ArchiveFolder
    drifted: Drifted
    withdrawn: Mapping[tuple[str, str], Decision] = field(default_factory=dict)

    def of(self, node: str, line: Line) -> Continued:
        """What each candidate with a warm start may continue. line: the node's, with the parameters that were found for it."""
        wanted = [name for name, candidate in line.candidates.items() if candidate.warm_start]
        if not wanted:
            return {}
        versions = [
            record for record in self.ledger.versions(line.name, node) if (node, record.version) not in self.withdrawn
        ]
        return {name: self._of(node, line, name, versions) for name in wanted}

    def _of(self, node: str, line: Line, name: str, versions: Sequence[VersionRecord]) -> VersionRecord | str:
        candidate = line.candidates[name]
        assert candidate.warm_start
        judged_from = self.span.train_to - compared_days(line) * DAY + DAY
        if candidate.calibrate:
            judged_from -= later_days((judged_from - self.span.train_from).days) * DAY
        usable = [one for one in versions if one.candidate == name and one.train_to + DAY < judged_from]
        if not usable:
            return f"no version leaves days before {judged_from}, from which on models are judged, to learn from"
        # Several versions of one day: the last that was registered.
        parent = sorted(usable, key=lambda one: one.as_of)[-1]
        named = f"{parent.version} of {parent.as_of}"
        if changed := _changed(parent.configuration, {**self.configuration, "params": dict(candidate.params)}):
            return f"{named} was made with other {', '.join(changed)}"
        chain = chain_of(parent)
        if chain >= candidate.warm_start.max_chain:
            return f"{named} has been continued {chain} times, max_chain is {candidate.warm_start.max_chain}"
        if drift := self.drifted.since(node, parent.as_of):
            return f"{drift}, after {named}"
        if not self.archive.exists(line.name, parent.version):
            return f"{named} is not in the archive any more"
        return parent


def may_continue(
    declared: DeclaredLine,
    span: Timeline,
    lines: Iterable[tuple[str, Line]],
    lake: Lake,
    archive: ArchiveFolder,
    ledger: Ledger,
) -> dict[str, Continued]:
    """Node -> what its candidates may continue; {} where none of the line's has a warm start.

    lines: each node to train, and the line with the parameters that were found for it; read only where a candidate has a warm
        start.
    """
    name = declared.line.name
    if not any(candidate.warm_start for candidate in declared.line.candidates.values()):
        return {}
    # Whether the day itself is judged already is a matter of minutes; a training must not depend on it. Verdicts from before
    # the window are older than any version that has seen some of the window.
    seen = drifted(lake, name, span.train_from, span.as_of - DAY)
    now = {"id": model_version(declared), "contract": contract_hash(declared)}
    lookup = Lookup(span, now, ledger, archive, seen, ledger.withdrawn(name, span.as_of))
    return {node: lookup.of(node, line) for node, line in lines}


def _changed(configuration: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = {"id": "declarations", "contract": "contracts", "params": "parameters"}
    return [names[key] for key, value in now.items() if configuration.get(key) != value]


def chain_of(record: VersionRecord) -> int:
    """How many trainings in a row, up to this version, continued the one before; 0 for a cold fit."""
    return int(record.configuration.get("warm_from", {}).get("chain", 0))


def read(archive: ArchiveFolder, record: VersionRecord) -> Parent:
    """A version as the parent of another. Raises as `models.archived.load` does."""
    model = load(archive, record.line, record.version)
    return Parent(record.version, model.encoding, model.parts, record.train_to, chain_of(record))


def read_all(archive: ArchiveFolder, continued: Continued) -> dict[str, Parent | str]:
    """The versions as parents to continue from; for one that cannot be used, what is wrong with it."""
    parents: dict[str, Parent | str] = {}
    for name, version in continued.items():
        try:
            parents[name] = version if isinstance(version, str) else read(archive, version)
        except (FileNotFoundError, ArchiveDamaged, ModelRefused) as error:
            parents[name] = str(error)
    return parents


def versions_of(continued: Continued) -> dict[str, str]:
    """Candidate -> the version that it may continue, of those that may."""
    return {name: version.version for name, version in continued.items() if not isinstance(version, str)}


def continued_by(ledger: Ledger, records: Iterable[VersionRecord]) -> list[VersionRecord]:
    """The versions and all that these continue, or are refits of: to make them again from the beginning takes those too."""
    wanted, left = dict[str, VersionRecord](), list(records)
    while left:
        version = left.pop(0)
        if version.version in wanted:
            continue
        wanted[version.version] = version
        before = version.configuration.get("warm_from", {}).get("version")
        left[:0] = [ledger.version(version.line, each) for each in (version.judged, before) if each]
    return list(wanted.values())
