"""Which node of the segment tree does a row belong to, and who are its ancestors?

A node's key is the path of its values from the coarsest level: "FR", "FR/Lyon". The root is "global". An empty value
ends the path: such a row belongs to the node above.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

from factory_assets.declarations.expressions import identifier

ROOT = "global"
#: '%' first: it is what the others are written with.
ESCAPED = ("%", "/", "...", "\0", "\a", "\b", "\f", "\n", "\r", "\t", "\v")


def leaf_key(levels: Sequence[str]) -> str:
    """SQL for the key of a row's deepest node."""
    paths = [f"'{ROOT}'"]
    for depth, level in enumerate(levels):
        value = _escaped(f"nullif({identifier(level)}::VARCHAR, '')")
        first = f"CASE WHEN {value} = '{ROOT}' THEN '%67lobal' ELSE {value} END"
        paths.append(f"{paths[-1]} || '/' || {value}" if depth else first)
    # A path is null from its first empty value on: the longest that is not is the row's.
    return f"coalesce({', '.join(reversed(paths))})"


def _escaped(value: str) -> str:
    """The value without what separates nodes, and without what Dagster refuses in a partition key; '%' marks the rest."""
    plain = value
    for part in ESCAPED:
        value = f"replace({value}, {_literal(part)}, '{''.join(f'%{ord(character):02X}' for character in part)}')"
    return f"CASE WHEN regexp_full_match({plain}, '[^%/.\\x00-\\x1f]*') THEN {plain} ELSE {value} END"


def _literal(text: str) -> str:
    return f"'{text}'" if text.isprintable() else " || ".join(f"chr({ord(character)})" for character in text)


def lineage(key: str) -> list[str]:
    """The node and its ancestors, nearest first.

    >>> lineage("FR/Lyon")
    ['FR/Lyon', 'FR', 'global']
    """
    if key == ROOT:
        return [ROOT]
    parts = key.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)] + [ROOT]


def tree(leaves: Collection[str]) -> list[str]:
    """All nodes above and including the leaves, parents before children, otherwise in order of their keys.

    >>> tree(["FR/Lyon", "DE/Bonn", "FR/Paris"])
    ['global', 'DE', 'FR', 'DE/Bonn', 'FR/Lyon', 'FR/Paris']
    """
    nodes = {node for leaf in leaves for node in lineage(leaf)} | {ROOT}
    return sorted(nodes, key=lambda node: (-1 if node == ROOT else node.count("/"), node))


def preorder(nodes: Collection[str]) -> list[str]:
    """The nodes in the order of a walk down the tree: every node directly before its own subtree."""
    return sorted(nodes, key=path_of)


def subtree(paths: Sequence[tuple[str, ...]], node: str) -> slice:
    """The places of a node and of the nodes below it. paths: of all nodes, in the order of `preorder`."""
    path = path_of(node)
    return slice(bisect_left(paths, path), bisect_right(paths, path, key=lambda found: found[: len(path)]))


def path_of(node: str) -> tuple[str, ...]:
    """The values of the levels that a node fixes; none for the root."""
    return () if node == ROOT else tuple(node.split("/"))


def depth_of(node: str) -> int:
    """How many nodes are above it: 0 for the root."""
    return len(path_of(node))


def parent_of(node: str) -> str | None:
    """The node above; None for the root."""
    return None if node == ROOT else lineage(node)[1]


def admitted(nodes: Collection[str], known: Collection[str], most: int) -> tuple[list[str], list[str]]:
    """Nodes that join those known, and nodes for which there is no room; parents first.

    most: nodes that there may be. The new keys of a level join together or not at all, and none without its parent:
    where a level turns out to hold ids, the nodes above it still get their models.
    """
    members, joined, refused = set(known), list[str](), list[str]()
    levels: dict[int, list[str]] = {}
    for node in tree(nodes):
        if node not in members:
            levels.setdefault(len(path_of(node)), []).append(node)
    for depth in sorted(levels):
        fitting = [node for node in levels[depth] if depth == 0 or parent_of(node) in members]
        if len(members) + len(fitting) <= most or depth == 0:
            members.update(fitting)
            joined += fitting
        refused += [node for node in levels[depth] if node not in members]
    return joined, refused


def answering(leaf: str, trained: Collection[str]) -> str | None:
    """The nearest node with a model: the leaf itself or an ancestor; None where not even the root has one.

    >>> answering("FR/Lyon", {"FR", "global"})
    'FR'
    """
    return next((node for node in lineage(leaf) if node in trained), None)
