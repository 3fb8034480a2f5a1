"""Which rows of a table are a node's? Found for all nodes at once, by one sort.

To filter the table for each node would read every row as often as there are nodes. Sorted by their leaf, in the order of a
walk down the tree, the rows of a subtree lie side by side. `training.subtrees` does the same with more rows than memory holds.
"""

import numpy as np
import pyarrow as pa

from factory_assets.identity.nodes import path_of, preorder, subtree


class SubtreeRows:
    """Rows of a table by node; a node's are those of its subtree, in the table's order.

    rows: with the column leaf, which has no null.
    """

    def __init__(self, rows: pa.Table):
        # A table in pieces Arrow would put together again for each node.
        self._rows = rows.combine_chunks()
        leaves = self._rows["leaf"].cast(pa.string()).combine_chunks().dictionary_encode()
        keys = preorder(leaves.dictionary.to_pylist())
        self._paths = [path_of(key) for key in keys]
        rank = {key: place for place, key in enumerate(keys)}
        # Numpy sorts numbers of 16 bits by counting them.
        kind = np.uint16 if len(keys) <= np.iinfo(np.uint16).max else np.int64
        ranks = np.array([rank[key] for key in leaves.dictionary.to_pylist()], dtype=kind)
        of_rows = ranks[leaves.indices.to_numpy()]
        self._order = np.argsort(of_rows, kind="stable")
        self._starts = np.append(0, np.cumsum(np.bincount(of_rows, minlength=len(keys))))

    def count(self, node: str) -> int:
        """How many rows a node has."""
        low, high = self._span(node)
        return high - low

    def places(self, node: str, first: int = 0, end: int | None = None) -> np.ndarray:
        """Shape (n,): where in the table a node's rows are, ascending; from a place in it on, and before another."""
        low, high = self._span(node)
        found = self._order[low:high]
        # A week has seven times the rows of its newest day: the others are left out before they are sorted.
        found = found[found >= first] if first else found
        return np.sort(found if end is None else found[found < end])

    def rows(self, node: str, first: int = 0, end: int | None = None) -> pa.Table:
        """A node's rows, from a place in the table on, and before another."""
        places = self.places(node, first, end)
        return self._rows if len(places) == self._rows.num_rows else self._rows.take(pa.array(places))

    def _span(self, node: str) -> tuple[int, int]:
        leaves = subtree(self._paths, node)
        return int(self._starts[leaves.start]), int(self._starts[leaves.stop])
