"""Which version is meant? It is named by its id or the beginning of it, by its UUID, or by a tag that may move.

A tag is written `@stable`, behind its node (`FR/Lyon@stable`; the root if absent), and where no line is given already behind
that (`delivery_time/FR/Lyon@stable`). `@champion` is whoever answers for the node: itself, or the nearest ancestor with one.
"""

from collections.abc import Sequence

from factory_assets.identity.nodes import ROOT, answering
from factory_assets.words import meant
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.tags import CHAMPION, as_uuid, uuid_of

#: How many ids of versions a refusal lists.
NAMED = 5


def find(ledger: Ledger, named: str, line: str | None = None, node: str | None = None) -> VersionRecord:
    """The version that is named: of any line, of this line, or of this node of the line.

    Raises LookupError, with the versions that there are, where the name is that of no version, of several, or of another node's.
    """
    place, is_tag, tag = named.rpartition("@")
    if is_tag:
        record = _tagged(ledger, tag, *((line, place or node or ROOT) if line else _place(place, named)))
        if node not in (None, record.node):
            raise LookupError(f"{named!r} is {record.version} of {record.node!r}, and not a version of {node!r}")
        return record
    identities, identity = ledger.identities(line, node), as_uuid(named)
    if identity is None:
        matching = [each for each in identities if each[2].startswith(named)]
    else:
        matching = [each for each in identities if uuid_of(*each) == identity]
    if len(matching) != 1:
        of, there = repr(node) if node else line or "the ledger", _listed(matching or identities)
        what = f"more than one version {named!r}" if matching else f"no version {named!r}; its newest"
        # Of an id by its beginning, so much is compared as was written.
        near = "" if matching else meant(named, [each[2][: len(named)] for each in identities])
        raise LookupError(f"{of} has {what}: {there}{near}")
    return ledger.version(matching[0][0], matching[0][2])


def _listed(identities: Sequence[tuple[str, str, str]]) -> str:
    """The newest first."""
    return ", ".join(version for _, _, version in list(reversed(identities))[:NAMED]) or "none"


def _place(place: str, named: str) -> tuple[str, str]:
    line, _, node = place.partition("/")
    if not line:
        raise LookupError(f"{named!r} names no line; write LINE@TAG or LINE/NODE@TAG, such as delivery_time/FR@stable")
    return line, node or ROOT


def _tagged(ledger: Ledger, tag: str, line: str, node: str) -> VersionRecord:
    if tag == CHAMPION:
        champions = {each: str(by.champion) for each, by in ledger.champions(line).items()}
        answers = answering(node, champions)
        if answers is None:
            raise LookupError(f"nobody answers for {node!r} of line {line!r} yet")
        return ledger.version(line, champions[answers])
    tags = {each.tag: str(each.version) for each in ledger.tags(line, node)}
    if tag not in tags:
        names = [CHAMPION, *tags]
        raise LookupError(
            f"no version of {node!r} of line {line!r} is tagged {tag!r}; tags there: {', '.join(names)}{meant(tag, names)}"
        )
    return ledger.version(line, tags[tag])
