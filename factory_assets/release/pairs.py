"""Which two versions of a node are meant, where only one of them is named, or none?"""

from collections.abc import Mapping

from factory_assets.models.names import find
from factory_assets.release.standing import reigns
from factory_resources.ledger import Ledger, VersionRecord


def pair(ledger: Ledger, line: str, a: str | None, b: str | None, node: str) -> tuple[VersionRecord, VersionRecord]:
    """The two versions to compare, the one that came first in time first where they are not named.

    a, b: as `models.names.find` takes them. With `a` alone, that one beside its node's champion. With none, the node's champion:
    beside a newer version, if one was trained since, or else beside the champion before it. In place of a refit stands the version
    that was judged: no rows are left on which a refit could be measured.
    Raises LookupError where there are no two, with what there is.
    """
    judged = ledger.judged(line)

    def named(text: str) -> VersionRecord:
        found = find(ledger, text, line)
        return ledger.version(line, judged.get(found.version, found.version))

    if a and b:
        return named(a), named(b)
    if a:
        own = named(a)
        champion = _champion(ledger, line, own.node, judged)
        if champion is None or champion == own.version:
            return _of(ledger, line, own.node, judged)
        return ledger.version(line, champion), own
    return _of(ledger, line, node, judged)


def before(ledger: Ledger, line: str, node: str) -> str | None:
    """The champion of a node before the present one; None where there was none."""
    reigned = [each.champion for each in reigns(ledger.decisions(line, node)) if each.champion]
    return next((each for each in reversed(reigned) if each != reigned[-1]), None)


def _of(ledger: Ledger, line: str, node: str, judged: Mapping[str, str]) -> tuple[VersionRecord, VersionRecord]:
    ids = list(dict.fromkeys(judged.get(version, version) for _, _, version in ledger.identities(line, node)))
    champion = _champion(ledger, line, node, judged)
    if champion and ids and ids[-1] != champion:
        return ledger.version(line, champion), ledger.version(line, ids[-1])
    older = before(ledger, line, node) if champion else None
    older = judged.get(older, older) if older else next((each for each in reversed(ids[:-1])), None)
    newer = champion or (ids[-1] if ids else None)
    if older is None or newer is None or older == newer:
        there = f"its only version is {ids[0]}" if ids else "it has no version"
        raise LookupError(f"{node} of {line} has no two versions to compare: {there}")
    return ledger.version(line, older), ledger.version(line, newer)


def _champion(ledger: Ledger, line: str, node: str, judged: Mapping[str, str]) -> str | None:
    found = ledger.champions(line).get(node)
    return judged.get(str(found.champion), found.champion) if found else None
