"""How does a person put a tag on a version, move it to another, or take it off?"""

from factory_assets.identity.nodes import answering
from factory_assets.models.names import find
from factory_assets.release.request import Request
from factory_resources.ledger import Ledger
from factory_resources.records.tags import Tagging, check_tag


class TagRefused(ValueError):
    """There is no such version to tag, or no such tag to take off."""


def put_tag(ledger: Ledger, tag: str, request: Request) -> tuple[Tagging, str | None]:
    """Put a tag on a version of a node; how it was put there, and the version that it was on before.

    request: without a version, the node's own champion is meant.
    A tag that is on the version already stays as it was put. Raises TagRefused, saying what there is, and TagMoved if
    somebody else was faster.
    """
    before = _tagging_now(ledger, tag, request)
    wanted = _wanted(ledger, request.line, request.node, request.version)
    if before is not None and before.version == wanted:
        return before, wanted
    made = Tagging(request.line, request.node, tag, wanted, request.why, request.who)
    _append(ledger, made, before)
    return made, before.version if before else None


def take_off(ledger: Ledger, tag: str, request: Request) -> tuple[Tagging, str | None]:
    """Take a tag off whichever version of the node it is on; as `put_tag`."""
    before = _tagging_now(ledger, tag, request)
    made = Tagging(request.line, request.node, tag, None, request.why, request.who)
    _append(ledger, made, before)
    return made, before.version if before else None


def _tagging_now(ledger: Ledger, tag: str, request: Request) -> Tagging | None:
    try:
        check_tag(tag)
    except ValueError as error:
        raise TagRefused(str(error)) from None
    return next((each for each in ledger.tags(request.line, request.node) if each.tag == tag), None)


def _append(ledger: Ledger, made: Tagging, before: Tagging | None) -> None:
    try:
        ledger.tag(made, against=before.version if before else None)
    except (LookupError, ValueError) as error:
        raise TagRefused(str(error)) from None


def _wanted(ledger: Ledger, line: str, node: str, version: str | None) -> str:
    if version is None:
        champions = {each: str(by.champion) for each, by in ledger.champions(line).items()}
        if node not in champions:
            above = answering(node, champions)
            remedy = f"{above} answers for it: tag that one" if above else "nobody answers for it"
            raise TagRefused(f"{node!r} has no champion of its own; {remedy}, or say which --version")
        return champions[node]
    try:
        return find(ledger, version, line, node).version
    except LookupError as error:
        raise TagRefused(str(error)) from None
