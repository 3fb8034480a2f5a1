"""Which rows are a node's, when there are more than memory holds? They are dealt out to files, from which a node's are read.

A file has the rows of some leaves side by side in the tree. It has no name, so it is gone with the process however that
ends, and it is mapped only while one of its rows is in use: only rows of nodes at work are in memory.
"""

import threading
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from factory_assets.identity.nodes import path_of, preorder, subtree
from factory_resources.rows_file import RowsFile

#: About so many rows a file, and of one that has more in memory at a time. A leaf is never divided, however many rows it has.
FILE_ROWS = 50_000
#: A process may have some hundreds of files open, and others want some too.
MOST_FILES = 64
#: What a node's rows are ordered by: row order is part of what a model is made from, and files are read in any order.
ORDER = [("observed_at", "ascending"), ("example_id", "ascending")]
#: Column of a file: the place of the row's leaf in the tree.
RANK = "leaf rank"


class Subtrees:
    """Rows by node. A node's rows are those of its subtree, in order of observation, then id. Safe in threads.

    rows: with the columns leaf, observed_at and example_id, in any order; read to its end, once.
    sizes: every leaf that rows may be of -> about how many they are.
    """

    def __init__(self, rows: pa.RecordBatchReader, sizes: Mapping[str, int]):
        import pyarrow.compute as pc

        keys = preorder(sizes)
        self._paths = [path_of(key) for key in keys]
        self._file_of = _dealt([sizes[key] for key in keys])
        self._schema, self._lock, self._sorted = rows.schema, threading.Lock(), set[int]()
        files = int(self._file_of.max(initial=-1)) + 1
        with_rank = rows.schema.append(pa.field(RANK, pa.int32()))
        self._files, counts = [RowsFile(with_rank) for _ in range(files)], np.zeros(len(keys), dtype=np.int64)
        leaves = pa.array(keys, pa.string())
        for batch in rows:
            rank = pc.index_in(batch["leaf"].cast(pa.string()), value_set=leaves).to_numpy()
            counts += np.bincount(rank, minlength=len(keys))
            self._deal(batch.append_column(RANK, pa.array(rank, pa.int32())), self._file_of[rank])
        for file in self._files:
            file.close()
        self._starts = np.append(0, np.cumsum(counts))
        #: The nodes that rows belong to themselves, every node before its subtree.
        self.leaves = [key for key, count in zip(keys, counts, strict=True) if count]

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    def count(self, node: str) -> int:
        """How many rows a node's subtree has."""
        leaves = subtree(self._paths, node)
        return int(self._starts[leaves.stop] - self._starts[leaves.start])

    def rows(self, node: str) -> pa.Table:
        """The rows of a node's subtree; none for a node that has none."""
        import pyarrow.compute as pc

        table = self.mapped(node)
        leaves = subtree(self._paths, node)
        if np.count_nonzero(np.diff(self._starts[leaves.start : leaves.stop + 1])) < 2:
            return table
        return table.take(pc.sort_indices(table.select([name for name, _ in ORDER]), sort_keys=ORDER))

    def mapped(self, node: str) -> pa.Table:
        """The same rows, one leaf after the other. They stay in their files, and take memory while they are looked at."""
        leaves = subtree(self._paths, node)
        first, last = leaves.start, leaves.stop
        low, high = self._starts[first], self._starts[last]
        parts = []
        for number in np.unique(self._file_of[first:last]):
            begins = self._starts[np.searchsorted(self._file_of, number)]
            table = self._in_order(number)
            start = max(low - begins, 0)
            parts.append(table.slice(start, min(high - begins, table.num_rows) - start))
        return pa.concat_tables(parts) if parts else self._schema.empty_table()

    def _deal(self, batch: pa.RecordBatch, file_of: np.ndarray) -> None:
        """file_of: shape (n,), the file of each row."""
        order = np.argsort(file_of, kind="stable")
        dealt, bounds = batch.take(pa.array(order)), np.searchsorted(file_of[order], np.arange(len(self._files) + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            self._files[number].write(dealt.slice(bounds[number], bounds[number + 1] - bounds[number]))

    def _in_order(self, number: int) -> pa.Table:
        """A file's rows, one leaf after the other. Sorted when they are first asked for: that can wait until models are fitted."""
        import pyarrow.compute as pc

        with self._lock:
            if number not in self._sorted:
                rows, keys = self._files[number].read(), [(RANK, "ascending"), *ORDER]
                order = pc.sort_indices(rows.select([name for name, _ in keys]), sort_keys=keys)
                file, own = RowsFile(self._schema), rows.select(self._schema.names)
                for start in range(0, len(order), FILE_ROWS):
                    file.write(own.take(order.slice(start, FILE_ROWS)))
                file.close()
                self._files[number] = file
                self._sorted.add(number)
        return self._files[number].read()


def _dealt(sizes: list[int]) -> np.ndarray:
    """Shape (n,): the number of each leaf's file, ascending and without gaps. sizes: rows of each leaf."""
    rows = np.array(sizes, dtype=np.int64)
    total = int(rows.sum())
    files = min(MOST_FILES, -(-total // FILE_ROWS))
    numbers = (np.cumsum(rows) - rows) * files // max(total, 1)
    return np.unique(numbers, return_inverse=True)[1]
