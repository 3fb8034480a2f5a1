"""Which node of the segment tree does a row belong to, and who are its ancestors?

A node's key is the path of its values from the coarsest level: "FR", "FR/Lyon". The root is "global". An empty value
ends the path: such a row belongs to the node above.
"""

from collections.abc import Collection, Sequence

from factory_assets.declarations.expressions import identifier

ROOT = "global"


def leaf_key(levels: Sequence[str]) -> str:
    """SQL for the key of a row's deepest node. '/' and '%' in values are escaped, so that keys are unambiguous."""
    if not levels:
        return f"'{ROOT}'"
    parts = [f"replace(replace({identifier(level)}::VARCHAR, '%', '%25'), '/', '%2F')" for level in levels]
    first = f"CASE WHEN {parts[0]} = '{ROOT}' THEN '%67lobal' ELSE {parts[0]} END"
    paths = [" || '/' || ".join([first, *parts[1 : depth + 1]]) for depth in range(len(levels))]
    cases = [f"WHEN {identifier(levels[0])} IS NULL THEN '{ROOT}'"]
    cases += [f"WHEN {identifier(level)} IS NULL THEN {path}" for level, path in zip(levels[1:], paths, strict=False)]
    return f"CASE {' '.join(cases)} ELSE {paths[-1]} END"


def lineage(key: str) -> list[str]:
    """The node and its ancestors, nearest first: FR/Lyon -> [FR/Lyon, FR, global]."""
    if key == ROOT:
        return [ROOT]
    parts = key.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)] + [ROOT]


def tree(leaves: Collection[str]) -> list[str]:
    """All nodes above and including the leaves, parents before children, otherwise in order of their keys."""
    nodes = {node for leaf in leaves for node in lineage(leaf)} | {ROOT}
    return sorted(nodes, key=lambda node: (-1 if node == ROOT else node.count("/"), node))


def within(column: str, node: str) -> str:
    """SQL that is true for rows whose leaf lies in the node's subtree."""
    if node == ROOT:
        return "true"
    literal = node.replace("'", "''")
    return f"({column} = '{literal}' OR starts_with({column}, '{literal}/'))"


def answering(leaf: str, trained: Collection[str]) -> str | None:
    """The nearest node with a model: the leaf itself or an ancestor; None where not even the root has one."""
    return next((node for node in lineage(leaf) if node in trained), None)
