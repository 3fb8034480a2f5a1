"""Is a text the trees of LightGBM as LightGBM itself writes them? Asked before LightGBM reads it, which takes that for granted.

Its parser allocates, copies and follows what a text says: one number too few ends the process, a split that is its own child is
followed for ever, a category beyond the table is looked up in foreign memory. Here a text is taken only if it is laid out as
LightGBM 4 does it, every list is as long as its tree needs, and every number points to something that is there.
"""

import math
import re
import sys
from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)
#: What numbers are written with. Whether they are some is seen when they are read: a tree has hundreds.
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
    place = head.end()
    for number, size in enumerate(map(int, sizes)):
        lines = TREE.fullmatch(text, place, place + size)
        if not lines:
            raise ValueError(f"tree {number} is not laid out as LightGBM does it")
        _Tree(number, lines).check(features)
        place += size
    if not text.startswith(END, place):
        raise ValueError(f"{len(sizes)} trees are not followed by {END.strip()!r}")
    return text[: place + len(END)]


@dataclass(frozen=True)
class _Tree:
    number: int
    lines: re.Match[str]

    def check(self, features: int) -> None:
        """Raises ValueError for what leads its reader astray."""
        leaves, categories = int(self.lines["num_leaves"]), int(self.lines["num_cat"])
        self._require(int(self.lines["Tree"]) == self.number, f"is called {self.lines['Tree']}")
        self._require(leaves >= 1, "num_leaves is 0")
        splits = leaves - 1
        for name in ("split_gain", "internal_value", "internal_weight"):
            self._numbers(name, splits, float)
        self._numbers("internal_count", splits, int)
        self._numbers("leaf_value", leaves, float)
        # LightGBM leaves out what it has not counted of a tree without splits.
        for name, kind in (("leaf_weight", float), ("leaf_count", int)):
            self._numbers(name, leaves if splits or self.lines[name] else 0, kind)
        self._numbers("shrinkage", 1, float)
        self._below(features, "split_feature", self._numbers("split_feature", splits, int))
        self._check_ways(leaves)
        self._check_decisions(splits, categories)
        if self.lines["leaf_const"] is not None:
            self._numbers("leaf_const", leaves, float)
            terms = sum(self._numbers("num_features", leaves, int))
            # Set apart by two spaces from those of the next leaf.
            self._below(features, "leaf_features", self._numbers("leaf_features", terms, int, None))
            self._numbers("leaf_coeff", terms, float, None)

    def _check_ways(self, leaves: int) -> None:
        left, right = (self._numbers(name, leaves - 1, int) for name in ("left_child", "right_child"))
        # Splits are numbered as they were made, from the root on; leaves from -1 down.
        every = [*range(-leaves, 0), *range(1, leaves - 1)] if leaves > 1 else []
        whole = sorted(left + right) == every
        self._require(whole, "left_child and right_child do not hold every leaf and every split once")
        onward = all(child < 0 or child > split for one in (left, right) for split, child in enumerate(one))
        self._require(onward, "left_child or right_child leads back")

    def _check_decisions(self, splits: int, categories: int) -> None:
        decisions, thresholds = self._numbers("decision_type", splits, int), self._numbers("threshold", splits, float)
        self._below(MISSING_KINDS << MISSING_SHIFT, "decision_type", decisions)
        chosen = [value for value, how in zip(thresholds, decisions, strict=True) if how & BY_CATEGORY]
        self._require(
            all(value.is_integer() and 0 <= value < categories for value in chosen),
            f"threshold is none of {categories} sets",
        )
        self._require((self.lines["cat_boundaries"] is None) == (not categories), f"num_cat is {categories}")
        if categories:
            bounds = self._numbers("cat_boundaries", categories + 1, int)
            self._require(bounds[0] == 0 and bounds == sorted(bounds), "cat_boundaries do not rise from 0")
            self._below(2**32, "cat_threshold", self._numbers("cat_threshold", bounds[-1], int))

    def _numbers(self, name: str, length: int, kind: type[Number], apart: str | None = " ") -> list[Number]:
        texts: list[str] = self.lines[name].split(apart) if self.lines[name] else []
        self._require(len(texts) == length, f"{name} holds {len(texts)} values and not {length}")
        try:
            values: list[Number] = list(map(kind, texts))
        except ValueError as error:
            raise ValueError(f"tree {self.number}: {name}: {error}") from error
        # Almost never: to look at each costs as much as to read it.
        if math.inf in values or -math.inf in values or "e-3" in self.lines[name]:
            unread = [text for text, value in zip(texts, values, strict=True) if not _representable(text, value)]
            self._require(not unread, f"{name} holds {', '.join(unread)[:100]}, which is beyond a double")
        return values

    def _below(self, limit: int, name: str, values: list[int]) -> None:
        self._require(max(values, default=0) < limit, f"{name} is not below {limit}")

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"tree {self.number}: {what}")


def _representable(text: str, value: float) -> bool:
    """Whether C++ reads the text as the value; it ends on numbers too large or too small, but not on infinity by name."""
    zero = not text.partition("e")[0].strip("-0.")
    return zero or text.lstrip("-") in ("inf", "nan") or sys.float_info.min <= abs(value) <= sys.float_info.max
