"""Does something of that name exist? If not, the answer says what does."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

from factory_assets.commands.programs import refuse
from factory_assets.words import meant

if TYPE_CHECKING:
    from factory_resources.ledger import Ledger

#: Names that a message lists.
NAMED = 20


def unknown(name: str, kind: str, names: Iterable[str], several: str = "") -> NoReturn:
    """End the command: nothing of this kind has the name. names: those that there are. several: the plural, if not with an s."""
    there = list(names)
    more = f" and {len(there) - NAMED:,} more" if len(there) > NAMED else ""
    message = f"{name!r} is not a {kind}; {several or f'{kind}s'} here: {', '.join(there[:NAMED]) or 'none'}{more}"
    refuse(f"{message}{meant(name, there)}")


def known_node(ledger: "Ledger", line: str, node: str) -> None:
    """End the command unless the line has the node: something was decided about it or below it, or an observation is of it."""
    from factory_assets.deployment import stores
    from factory_assets.features.examples.rows import keys_seen
    from factory_assets.identity.nodes import tree

    nodes = tree(ledger.standing(line))
    if node in nodes:
        return
    resources = stores()
    if resources["lake"].version(f"{line}/examples") is not None:
        with resources["engine"].connect() as con:
            nodes = tree({*nodes, *keys_seen(con, resources["lake"], line)})
    if node not in nodes:
        unknown(node, f"node of {line}", nodes, several="nodes")


def known_stream(name: str) -> None:
    """End the command unless a stream of this deployment has the name."""
    from factory_assets.commands.deployed import catalogue_of

    streams = catalogue_of(None).streams
    if name not in streams:
        unknown(name, "stream", streams)
