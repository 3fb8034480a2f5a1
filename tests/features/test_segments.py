"""Does every row find its node, and every node its ancestors, whatever the values are?"""

from __future__ import annotations

import itertools

import duckdb
import pyarrow as pa
import pytest
from dagster import DagsterInstance
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.identity.nodes import ROOT, admitted, answering, leaf_key, lineage, parent_of, preorder, tree

TRICKY = [
    "FR",
    "DE",
    "global",
    "Global",
    "%67lobal",
    "%",
    "/",
    "FR/Lyon",
    "%2F",
    "...",
    "....",
    "a\nb",
    "\t",
    "'",
    '"',
    "",
    None,
    "é",
    "\x00",
]
VALUES = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"]), max_size=4))


def keys(rows: list[tuple[str | None, ...]]) -> list[str]:
    levels = [f"level_{i}" for i in range(len(rows[0]))]
    values = pa.table(
        {
            "n": range(len(rows)),
            **{
                name: pa.array(column, pa.string())
                for name, column in zip(levels, zip(*rows, strict=True), strict=True)
            },
        }
    )
    with duckdb.connect(":memory:") as con:
        con.register("rows", values)
        return [row[0] for row in con.execute(f"SELECT {leaf_key(levels)} FROM rows ORDER BY n").fetchall()]


def path(row: tuple[str | None, ...]) -> tuple[str, ...]:
    """The values up to the first empty one: what a key stands for."""
    filled = [bool(value) for value in row]
    return tuple(str(value) for value in row[: filled.index(False) if False in filled else len(row)])


def test_a_key_is_the_path_of_values_and_an_empty_one_ends_it() -> None:
    rows: list[tuple[str | None, ...]] = [("FR", "Lyon"), ("FR", None), ("FR", ""), (None, "Lyon"), ("", "Lyon")]
    assert keys(rows) == ["FR/Lyon", "FR", "FR", "global", "global"]


def test_without_levels_every_row_belongs_to_the_root() -> None:
    with duckdb.connect(":memory:") as con:
        assert con.execute(f"SELECT {leaf_key([])}").fetchall() == [("global",)]


def test_a_level_that_is_a_number_or_a_yes_or_no_is_written_out() -> None:
    with duckdb.connect(":memory:") as con:
        query = f"SELECT {leaf_key(['a', 'b'])} FROM (SELECT 12 AS a, true AS b)"
        assert con.execute(query).fetchall() == [("12/true",)]


def assert_keys_stand_for_paths(rows: list[tuple[str | None, ...]]) -> None:
    found = list(zip(keys(rows), map(path, rows), strict=True))
    key_of = {values: key for key, values in found}
    assert all(key_of[values] == key for key, values in found), "one path, one key"
    assert len(set(key_of.values())) == len(key_of), "one key, one path"
    for values, key in key_of.items():
        assert len(lineage(key)) == len(values) + 1, "one node a level, and the root"
        for depth in range(len(values)):
            ancestor = key_of.get(values[:depth])
            assert ancestor in (None, lineage(key)[len(values) - depth]), (values, depth)


def test_values_that_look_like_keys_are_told_from_them() -> None:
    assert_keys_stand_for_paths(list(itertools.product(TRICKY, TRICKY)))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=12))
def test_two_rows_share_a_key_exactly_if_they_share_their_values(rows: list[tuple[str | None, ...]]) -> None:
    assert_keys_stand_for_paths(rows)


def test_whatever_the_values_are_dagster_takes_the_keys_as_partitions() -> None:
    found = sorted(set(keys([(value,) for value in TRICKY])))
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("segments", found)
        assert set(instance.get_dynamic_partitions("segments")) == set(found)


def test_ancestors_come_nearest_first_and_end_at_the_root() -> None:
    assert lineage("FR/Lyon/7") == ["FR/Lyon/7", "FR/Lyon", "FR", ROOT]
    assert lineage(ROOT) == [ROOT]


def test_a_tree_lists_parents_before_children_and_always_the_root() -> None:
    assert tree([]) == [ROOT]
    leaves = ["FR/Lyon", "DE", "FR/Brest", ROOT]
    assert tree(leaves) == [ROOT, "DE", "FR", "FR/Brest", "FR/Lyon"]
    assert tree(list(reversed(leaves))) == tree(leaves)


@pytest.mark.parametrize(
    ("leaf", "trained", "expected"),
    [
        ("FR/Lyon", {"FR/Lyon", "FR", ROOT}, "FR/Lyon"),
        ("FR/Lyon", {"FR", ROOT}, "FR"),
        ("FR/Lyon", {"FR/Brest", ROOT}, ROOT),
        ("FR/Lyon", {"DE"}, None),
        ("IT", {ROOT}, ROOT),
    ],
)
def test_the_nearest_trained_ancestor_answers(leaf: str, trained: set[str], expected: str | None) -> None:
    assert answering(leaf, trained) == expected


def test_new_keys_of_a_level_join_together_or_not_at_all_and_never_without_their_parent() -> None:
    known = [ROOT, "FR", "FR/Lyon"]
    assert admitted(["DE/Bonn", "FR/Brest"], known, 6) == (["DE", "DE/Bonn", "FR/Brest"], [])
    assert admitted(["DE/Bonn", "FR/Brest"], known, 5) == (["DE"], ["DE/Bonn", "FR/Brest"])
    assert admitted(["DE/Bonn", "FR/Brest"], known, 3) == ([], ["DE", "DE/Bonn", "FR/Brest"])
    assert admitted(["IT/Rome", "DE/Bonn"], known, 4) == ([], ["DE", "IT", "DE/Bonn", "IT/Rome"])
    assert admitted(["FR/Lyon"], known, 1) == ([], []), "what is there stays, whatever the limit has become"


def test_a_walk_down_the_tree_meets_every_node_right_before_its_subtree() -> None:
    assert preorder(["FR/Lyon", "DE", "FR-2", ROOT, "FR", "FR/Lyon/7"]) == [
        ROOT,
        "DE",
        "FR",
        "FR/Lyon",
        "FR/Lyon/7",
        "FR-2",
    ]
    assert parent_of("FR/Lyon") == "FR" and parent_of("FR") == ROOT and parent_of(ROOT) is None
