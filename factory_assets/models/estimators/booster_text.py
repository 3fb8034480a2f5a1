"""Is a text the trees of LightGBM as LightGBM itself writes them? Asked before LightGBM reads it, which takes that for granted.

Its parser allocates, copies and follows what a text says: one number too few ends the process, a split that is its own child is
followed for ever, a category beyond the table is looked up in foreign memory. Here a text is taken only if it is laid out as
LightGBM 4 does it, every list is as long as its tree needs, and every number points to something that is there.
"""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

#: The characters of numbers. Whether a text is a number shows when it is read: a tree has hundreds.
FLOATS, COUNTS, INTEGERS = "[-+.0-9aefin ]*", "[0-9 ]*", "[-0-9 ]*"
COUNT = r"\d{1,9}"
#: No name holds what LightGBM cuts a line at.
NAMES = "[!-<>-~ ]*"


def _lines(**values: str) -> str:
    return "".join(rf"{name}=(?P<{name}>{value})\n" for name, value in values.items())


HEAD = re.compile(
    r"tree\nversion=v4\n"
    + _lines(num_class=COUNT, num_tree_per_iteration=COUNT, label_index=COUNT, max_feature_idx=COUNT)
    + _lines(objective=rf"[a-z_0-9]+(?: sqrt| sigmoid:[.0-9e+-]+| num_class:(?P<classes>{COUNT}))*")
    + r"(?:average_output\n)?"
    + _lines(feature_names=NAMES)
    + f"(?:{_lines(monotone_constraints=INTEGERS)})?"
    + _lines(feature_infos=NAMES, tree_sizes=COUNTS)
    + r"\n"
)
TREE = re.compile(
    _lines(Tree=COUNT, num_leaves=COUNT, num_cat=COUNT)
    + _lines(split_feature=COUNTS, split_gain=FLOATS, threshold=FLOATS, decision_type=COUNTS)
    + _lines(left_child=INTEGERS, right_child=INTEGERS)
    + _lines(leaf_value=FLOATS, leaf_weight=FLOATS, leaf_count=COUNTS)
    + _lines(internal_value=FLOATS, internal_weight=FLOATS, internal_count=COUNTS)
    + f"(?:{_lines(cat_boundaries=COUNTS, cat_threshold=COUNTS)})?"
    + r"(?:is_linear=0\n|is_linear=1\n"
    + _lines(leaf_const=FLOATS, num_features=COUNTS, leaf_features=COUNTS, leaf_coeff=FLOATS)
    + ")"
    + _lines(shrinkage=FLOATS)
    + r"\n\n"
)
END = "end of trees\n"
#: The bit of a decision that is by category, and what the bits from the third on say of missing values: none, zero or NaN.
BY_CATEGORY, MISSING_SHIFT, MISSING_KINDS = 1, 2, 3
#: Fields in which the values of a leaf are set apart by two spaces from those of the next one.
APART = ("leaf_features", "leaf_coeff")
#: C++ ends on a number too large or too small for a double, but not on these.
TINY, ODD = np.finfo(np.float64).tiny, re.compile(r"-?(?:inf|nan|[0.]+(?:e.*)?)")


def checked(text: str) -> str:
    """The text to the end of its trees. What LightGBM writes after them, such as its parameters, no prediction needs.

    Raises ValueError naming the tree and the field that is not as LightGBM writes it.
    """
    head = HEAD.match(text)
    if not head:
        raise ValueError("its head is not as LightGBM writes it")
    features, classes = int(head["max_feature_idx"]) + 1, int(head["classes"] or 1)
    for name in ("feature_names", "feature_infos", "monotone_constraints"):
        if head[name] is not None and len(head[name].split(" ")) != features:
            raise ValueError(f"{name} holds {len(head[name].split(' '))} values for {features} features")
    for name in ("num_class", "num_tree_per_iteration"):
        if int(head[name]) != classes:
            raise ValueError(f"{name} is {head[name]} where the objective is {head['objective']}")
    sizes = head["tree_sizes"].split()
    if not sizes or not classes or len(sizes) % classes:
        raise ValueError(f"{len(sizes)} trees are not as many for each of {classes} classes")
    place, trees = head.end(), []
    for number, size in enumerate(map(int, sizes)):
        tree = TREE.fullmatch(text, place, place + size)
        if not tree:
            raise ValueError(f"tree {number} is not laid out as LightGBM does it")
        trees.append(tree)
        place += size
    if not text.startswith(END, place):
        raise ValueError(f"{len(sizes)} trees are not followed by {END.strip()!r}")
    _Trees(trees).check(features)
    return text[: place + len(END)]


class _Trees:
    """The numbers of all trees, read a field at a time: tree by tree that takes several times as long as LightGBM's own reading."""

    def __init__(self, trees: Sequence[re.Match[str]]):
        self._trees, self._once = trees, np.ones(len(trees), dtype=np.int64)
        self._leaves = self._read("num_leaves", self._once, pa.int64())
        self._require("num_leaves", self._leaves >= 1, "is 0")
        self._splits = self._leaves - 1

    def check(self, features: int) -> None:
        """Raise ValueError for what leads its reader astray."""
        splits, leaves = self._splits, self._leaves
        own = self._read("Tree", self._once, pa.int64()) == np.arange(len(self._trees))
        self._require("Tree", own, "is the number of another one")
        self._read("shrinkage", self._once, pa.float64())
        self._read("leaf_value", leaves, pa.float64())
        # In a tree that is one leaf LightGBM may not have counted the rows.
        counted = np.where(self._given("leaf_weight") | (splits > 0), leaves, 0)
        self._read("leaf_weight", counted, pa.float64())
        self._read("leaf_count", np.where(self._given("leaf_count") | (splits > 0), leaves, 0), pa.int32())
        for name in ("split_gain", "internal_value", "internal_weight"):
            self._read(name, splits, pa.float64())
        self._read("internal_count", splits, pa.int32())
        used = self._read("split_feature", splits, pa.int32())
        self._require("split_feature", used < features, f"is not below {features}", splits)
        self._check_ways()
        self._check_decisions()
        self._check_linear(features)

    def _check_ways(self) -> None:
        """Whichever way it takes, a walk goes on to later splits until it is at a leaf, each of which has one way to it."""
        splits, leaves = self._splits, self._leaves
        of, first_leaf = np.repeat(_starts(splits), splits), np.repeat(_starts(leaves), splits)
        place, reached = np.arange(len(of)) - of, []
        for name in ("left_child", "right_child"):
            child = self._read(name, splits, pa.int64())
            split = (child > place) & (child < np.repeat(splits, splits))
            leaf = (child < 0) & (child >= -np.repeat(leaves, splits))
            self._require(name, split | leaf, "is neither a later split nor a leaf", splits)
            reached.append(np.where(split, child + of, child - first_leaf))
        single = np.zeros(2 * len(of), dtype=bool)
        single[np.unique(np.concatenate(reached), return_index=True)[1]] = True
        self._require("left_child, right_child", single, "lead twice to the same", np.tile(splits, 2))

    def _check_decisions(self) -> None:
        splits = self._splits
        decision = self._read("decision_type", splits, pa.int32())
        self._require("decision_type", decision < MISSING_KINDS << MISSING_SHIFT, "knows no such missing value", splits)
        threshold, sets = self._read("threshold", splits, pa.float64()), self._read("num_cat", self._once, pa.int64())
        named = (threshold >= 0) & (threshold < np.repeat(sets, splits)) & (threshold == np.floor(threshold))
        self._require("threshold", named | (decision & BY_CATEGORY == 0), "is no set of categories that it has", splits)
        self._require("num_cat", self._given("cat_boundaries") == (sets > 0), "is not that of its sets of categories")
        sizes = np.where(sets > 0, sets + 1, 0)
        bounds = self._read("cat_boundaries", sizes, pa.int32())
        rising = np.diff(bounds, prepend=0) >= 0
        rising[_starts(sizes)[sets > 0]] = bounds[_starts(sizes)[sets > 0]] == 0
        self._require("cat_boundaries", rising, "do not rise from 0", sizes)
        words = np.zeros_like(sizes)
        words[sets > 0] = bounds[np.cumsum(sizes)[sets > 0] - 1]
        self._read("cat_threshold", words, pa.uint32())

    def _check_linear(self, features: int) -> None:
        leaves = np.where(self._given("leaf_const"), self._leaves, 0)
        self._read("leaf_const", leaves, pa.float64())
        terms = self._read("num_features", leaves, pa.int32())
        of = np.repeat(np.arange(len(leaves)), leaves)
        added = np.bincount(of, weights=terms, minlength=len(leaves)).astype(np.int64)
        used = self._read("leaf_features", added, pa.int32())
        self._require("leaf_features", used < features, f"is not below {features}", added)
        self._read("leaf_coeff", added, pa.float64())

    def _given(self, name: str) -> np.ndarray:
        """Shape (trees,): which of them have something in the field."""
        return np.array([bool(tree[name]) for tree in self._trees])

    def _read(self, name: str, lengths: np.ndarray, kind: pa.DataType) -> np.ndarray:
        """The values of all trees, one tree after the other; lengths: how many each has to have."""
        import pyarrow.compute as pc

        lines = [tree[name] or "" for tree in self._trees]
        if name in APART:
            lines = [" ".join(line.split()) for line in lines]
        found = np.array([line.count(" ") + 1 if line else 0 for line in lines])
        for number in np.flatnonzero(found != lengths):
            raise ValueError(f"tree {number}: {name} holds {found[number]} values and not {lengths[number]}")
        if not found.any():
            return np.empty(0, kind.to_pandas_dtype())
        texts = pc.split_pattern(pa.array([" ".join(filter(None, lines))]), " ").values
        try:
            values = texts.cast(kind).to_numpy()
        except pa.ArrowInvalid as error:
            raise ValueError(f"{name}: {error}") from error
        if pa.types.is_floating(kind):
            strange = texts.filter(pa.array(~(np.abs(values) >= TINY) | np.isinf(values))).unique().to_pylist()
            beyond = [text for text in strange if not ODD.fullmatch(text)]
            if beyond:
                raise ValueError(f"{name} holds {beyond[0]}, which is beyond a double")
        return values

    def _require(self, name: str, holds: np.ndarray, what: str, lengths: np.ndarray | None = None) -> None:
        """holds: for each tree, or for each value of trees of these lengths."""
        if not holds.all():
            place = np.argmin(holds)
            tree = place if lengths is None else np.searchsorted(np.cumsum(lengths), place, "right") % len(self._trees)
            raise ValueError(f"tree {tree}: {name} {what}")


def _starts(lengths: np.ndarray) -> np.ndarray:
    """The places at which the values of each tree begin."""
    return np.cumsum(lengths) - lengths
