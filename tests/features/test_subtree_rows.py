"""Does one sort find the rows of each node that a filter of the table finds?"""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
from hypothesis import given, settings

from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.identity.nodes import tree
from factory_assets.training.fit.fitting import rows_within

#: Keys of which some begin like others without being above them.
LEAVES = ["global", "FR", "FR/Lyon", "FR/Lyons", "FR/Lyon/1", "FRA", "FR-1/Lyon", "DE/Berlin", "%67lobal"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(LEAVES), max_size=40), st.integers(1, 7), st.integers(0, 20))
def test_rows_of_every_node_are_those_that_a_filter_keeps_in_their_order(
    leaves: list[str], piece: int, first: int
) -> None:
    whole = pa.table({"leaf": pa.array(leaves, pa.string()), "x": pa.array(range(len(leaves)), pa.int64())})
    pieces = [whole.slice(start, piece) for start in range(0, len(leaves), piece)]
    rows = SubtreeRows(pa.concat_tables(pieces) if pieces else whole)
    for node in [*tree(LEAVES), "ES", "FR/Paris"]:
        expected = rows_within(whole, node)
        assert rows.rows(node).to_pydict() == expected.to_pydict(), node
        assert rows.count(node) == expected.num_rows
        np.testing.assert_array_equal(rows.places(node), expected["x"].to_numpy())
        assert rows.rows(node, first)["x"].to_pylist() == [x for x in expected["x"].to_pylist() if x >= first]
