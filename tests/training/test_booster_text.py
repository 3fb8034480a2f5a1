"""Is every text that LightGBM writes taken, and none that leads its reader astray?"""

import functools
import random
import re
import subprocess
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from factory_assets.models.estimators.booster_text import checked
from factory_assets.models.estimators.gradient_boosting import OBJECTIVES
from tests import forked

KINDS: dict[str, dict[str, Any]] = {
    **{name: {"objective": name} for names in OBJECTIVES.values() for name in names},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "root": {"objective": "regression", "reg_sqrt": True},
    "forest": {"objective": "binary", "boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    "dart": {"objective": "regression", "boosting": "dart"},
    "linear": {"objective": "regression", "linear_tree": True},
    "monotone": {"objective": "regression", "monotone_constraints": [1, 0, -1, 0]},
    "one leaf": {"objective": "regression", "min_data_in_leaf": 5_000},
}
#: Values with which a forger might try.
TRIED = (
    *(
        "",
        "-",
        ".",
        "x",
        "e",
        "0x10",
        "1_0",
        "1e1e1",
        "infinity",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e-320",
        "1e308",
        "1.5",
    ),
    *map(
        str, (-(2**31), -100, -8, -7, -2, -1, 0, 1, 2, 3, 5, 6, 7, 31, 32, 64, 10**6, 2**31 - 1, 2**31, 2**32, 10**12)
    ),
)
MUTANTS = 1500


@functools.cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Three numbers, some missing, and one of 70 categories; labels of three classes."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(1000, 3)), rng.integers(0, 70, 1000)])
    x[::7, 1] = np.nan
    return x, ((x[:, 0] > 0).astype(float) + (x[:, 3] % 3 == 0))


@functools.cache
def grown(kind: str) -> lgb.Booster:
    x, y = data()
    params = {"verbosity": -1, "num_leaves": 7, "num_threads": 1, "deterministic": True} | KINDS[kind]
    y = y if kind == "multiclass" else y + 1 if kind in ("root", "gamma") else (y > 0).astype(float)
    codes = [3] if kind not in ("linear", "monotone") else []
    return lgb.train(params, lgb.Dataset(x, y, categorical_feature=codes, params=params), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lightgbm_writes_is_taken_and_predicts_the_same(kind: str) -> None:
    booster = grown(kind)
    read = lgb.Booster(model_str=checked(booster.model_to_string()))
    assert np.array_equal(read.predict(data()[0]), booster.predict(data()[0]))
    assert np.array_equal(read.feature_importance("gain"), booster.feature_importance("gain"))


def test_what_went_on_from_another_model_is_taken() -> None:
    x, y = data()
    start = lgb.Booster(model_str=checked(grown("dart").model_to_string()))
    booster = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(x, y), 2, init_model=start)
    read = lgb.Booster(model_str=checked(booster.model_to_string()))
    assert read.num_trees() == 5 and np.array_equal(read.predict(x), booster.predict(x))


def resized(text: str) -> str:
    """The text with the sizes of its trees as they are now, as a forger would see to."""
    head, end, rest = text.partition("end of trees")
    head, *trees = re.split(r"(?<=\n)(?=Tree=)", head)
    sizes = " ".join(str(len(tree)) for tree in trees)
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head) + "".join(trees) + end + rest


def replaced(line: str, change: Callable[[str], str]) -> Callable[[str], str]:
    """The first line of this name with another value."""
    return lambda text: resized(re.sub(rf"(?m)^{line}=(.*)$", lambda m: f"{line}={change(m[1])}", text, count=1))


def first(value: str) -> Callable[[str], str]:
    return lambda values: " ".join([value, *values.split(" ")[1:]])


def swapped(values: str) -> str:
    one, other, *rest = values.split(" ")
    return " ".join([other, one, *rest])


@pytest.mark.parametrize(
    ("forge", "because"),
    [
        (replaced("left_child", first("0")), "left_child is neither a later split nor a leaf"),
        (replaced("left_child", lambda _: ""), "left_child holds 0 values and not 6"),
        (replaced("left_child", swapped), "tree 0: left_child is neither a later split nor a leaf"),
        (replaced("right_child", first("-8")), "right_child is neither a later split nor a leaf"),
        (replaced("right_child", first("-3")), "left_child, right_child lead twice to the same"),
        (replaced("split_feature", first("4")), "split_feature is not below 4"),
        (
            replaced("threshold", lambda values: re.sub(r"(?<![.\w-])0(?![.\w])", "nan", values)),
            "threshold is no set of categories that it has",
        ),
        (
            replaced("threshold", lambda values: re.sub(r"(?<![.\w-])0(?![.\w])", "1", values)),
            "threshold is no set of categories that it has",
        ),
        (replaced("decision_type", first("12")), "decision_type knows no such missing value"),
        (replaced("cat_boundaries", first("1")), "cat_boundaries do not rise from 0"),
        (replaced("cat_boundaries", lambda values: values + "00"), "cat_threshold holds"),
        (replaced("cat_threshold", first("4294967296")), "cat_threshold: Failed to parse string: '4294967296'"),
        (replaced("num_cat", lambda _: "0"), "threshold is no set of categories that it has"),
        (replaced("num_cat", lambda _: "9"), "cat_boundaries holds 2 values and not 10"),
        (replaced("num_leaves", lambda _: "999999999"), "values and not 999999999"),
        (replaced("num_leaves", lambda _: "0"), "num_leaves is 0"),
        (replaced("leaf_value", first("1e400")), "leaf_value holds 1e400, which is beyond a double"),
        (replaced("leaf_value", first("1e-320")), "leaf_value holds 1e-320, which is beyond a double"),
        (replaced("leaf_value", first("1e1e1")), "leaf_value: Failed to parse string: '1e1e1'"),
        (replaced("internal_count", lambda values: values + " 1"), "internal_count holds 7 values and not 6"),
        (replaced("Tree", lambda _: "1"), "tree 0: Tree is the number of another one"),
        (replaced("shrinkage", lambda _: "1\nshrinkage=2"), "tree 0 is not laid out"),
        (replaced("max_feature_idx", lambda _: "4"), "feature_names holds 4 values for 5 features"),
        (replaced("num_class", lambda _: "3"), "num_class is 3 where the objective is binary sigmoid:1"),
        (replaced("objective", lambda _: "multiclass num_class:3"), "num_class is 1 where the objective is multiclass"),
        (replaced("num_tree_per_iteration", lambda _: "0"), "num_tree_per_iteration is 0"),
        (replaced("version", lambda _: "v5"), "its head is not as LightGBM writes it"),
        (lambda text: text.replace("end of trees", "Tree=3"), "3 trees are not followed by 'end of trees'"),
        (lambda text: text.replace("tree_sizes=", "tree_sizes=1"), "tree 0 is not laid out"),
        (lambda text: re.sub("tree_sizes=.*", "tree_sizes=", text), "0 trees are not as many"),
        (lambda text: text.replace("\n", "\r\n"), "its head is not"),
    ],
)
def test_what_leads_its_reader_astray_is_refused_by_tree_and_field(forge: Callable[[str], str], because: str) -> None:
    text = grown("binary").model_to_string()
    forged = forge(text)
    assert forged != text
    with pytest.raises(ValueError, match=re.escape(because)):
        checked(forged)


def test_categories_are_there_if_they_are_counted() -> None:
    with pytest.raises(ValueError, match="tree 0: num_cat is not that of"):
        checked(replaced("num_cat", lambda _: "1")(grown("monotone").model_to_string()))


def test_terms_of_a_linear_leaf_are_of_features_that_there_are() -> None:
    text = grown("linear").model_to_string()
    assert re.search(r"leaf_features=.*\d", text)
    for name, value, because in (
        ("leaf_features", "99", "leaf_features is not below 4"),
        ("num_features", "9", "leaf_features holds"),
        ("leaf_coeff", "1e400", "leaf_coeff holds 1e400"),
    ):
        forged = resized(re.sub(rf"{name}=( *)\d[-\d.e+]*", rf"{name}=\g<1>{value}", text))
        assert forged != text
        with pytest.raises(ValueError, match=because):
            checked(forged)


def mutant(rng: random.Random) -> str:
    """The text of a model with up to three of its lines changed."""
    lines = grown(rng.choice([*KINDS])).model_to_string().split("\n")
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place = rng.choice([place for place in range(lines.index("end of trees")) if lines[place]])
        name, equals, value = lines[place].partition("=")
        values = value.split(" ")
        at, how = rng.randrange(len(values)), rng.choice(["value"] * 4 + ["drop", "add", "other", "twice", "gone"])
        if how == "value":
            values[at] = rng.choice(TRIED)
        elif how == "drop":
            values.pop(at)
        elif how == "add":
            values.insert(at, rng.choice(TRIED))
        elif how == "other":
            values = rng.choice(lines).partition("=")[2].split(" ")
        lines[place : place + 1] = [name + equals + " ".join(values)] * {"twice": 2, "gone": 0}.get(how, 1)
    return "\n".join(lines) if rng.random() < 0.3 else resized("\n".join(lines))


def use(text: str) -> None:
    booster = lgb.Booster(model_str=text)
    booster.feature_importance("gain")
    booster.predict(data()[0] * 50, num_threads=1)


def taken_of_mutants() -> int:
    """How many were taken of those that were tried."""
    rng, taken = random.Random(1), 0
    for _ in range(MUTANTS):
        try:
            use(checked(mutant(rng)))
            taken += 1
        except (ValueError, lgb.basic.LightGBMError):
            continue
    return taken


def apart(call: str) -> "subprocess.CompletedProcess[str]":
    code = f"from tests.training import test_booster_text as asked; print(asked.{call})"
    return forked.python(code)


def test_no_mutant_that_is_taken_ends_the_process_or_keeps_it_for_ever() -> None:
    ended = apart("taken_of_mutants()")
    assert ended.returncode == 0, ended.stderr[-500:]
    # Some are as good as what LightGBM wrote: another threshold, another leaf's value.
    assert 50 < int(ended.stdout.split()[-1]) < MUTANTS / 2


def test_lightgbm_itself_ends_the_process_on_one_number_too_few() -> None:
    ended = apart("use(asked.replaced('leaf_value', asked.first(''))(asked.grown('binary').model_to_string()))")
    assert ended.returncode < 0
