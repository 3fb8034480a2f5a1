"""What can be predicted? The tasks, and what is declared of each estimator that the factory brings.

A task is one word, so that a declaration, a manifest and a ledger say it alike: binary, regression, count,
quantile(0.9), which carries its level, or multiclass(red, green, blue), which carries its classes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

KINDS = ("binary", "regression", "count", "quantile", "multiclass")
QUANTILE = re.compile(r"quantile\(\s*(0?\.[0-9]+)\s*\)")
MULTICLASS = re.compile(r"multiclass\(([^()]*)\)")
#: A class is the end of a column's name, which a table of the lake must be able to have.
CLASS = re.compile(r"[A-Za-z0-9_-]+")
#: Before a class's name, the column of its probability.
PROBABILITY = "p_"
#: Fewer classes than this are a binary task.
FEWEST_CLASSES = 3
#: Metrics by kind of task, the one that models are compared by first; `measures.metrics` says what they are.
METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("average_precision", "roc_auc", "log_loss", "brier", "calibration_error"),
    "regression": ("mae", "rmse", "r2"),
    "count": ("poisson_deviance", "mae", "rmse"),
    "quantile": ("pinball", "coverage"),
    "multiclass": ("log_loss", "accuracy", "macro_f1", "balanced_accuracy"),
}
#: What decides a contest in place of a metric where costs are declared; and the metric by which models are made and watched then: of
#: probabilities, since the threshold of costs takes them for what they say.
COST, WITH_COST = "cost", "log_loss"
#: Options of a candidate that are for some tasks only.
OPTION_TASKS: dict[str, tuple[str, ...]] = {"class_weight": ("binary", "multiclass"), "calibrate": ("binary",)}
#: Entry points under which a package names estimators of its own.
PLUG_INS = "model_factory.estimators"


def parse_task(value: Any) -> str:
    """The task in its one spelling: quantile(.90) is quantile(0.9). Raises ValueError with what is allowed."""
    level, classes = QUANTILE.fullmatch(str(value)), MULTICLASS.fullmatch(str(value))
    if level and float(level[1]) > 0:
        return f"quantile({float(level[1])})"
    if classes:
        return f"multiclass({', '.join(_checked_classes([name.strip() for name in classes[1].split(',')]))})"
    if value in KINDS and value not in ("quantile", "multiclass"):
        return str(value)
    raise ValueError(
        f"{value!r} is not a task; allowed: 'binary', 'regression', 'count', 'quantile(0.9)' for any level between 0 and 1, and "
        "'multiclass(red, green, blue)' for any classes"
    )


def _checked_classes(names: Sequence[str]) -> Sequence[str]:
    if strange := [name for name in names if not CLASS.fullmatch(name)]:
        raise ValueError(
            f"{strange[0]!r} is no name of a class; allowed: letters, digits, _ and -. Let label.expression write others so"
        )
    # In a query p_Red and p_red are one column.
    folded = [name.lower() for name in names]
    if twice := [name for name in names if folded.count(name.lower()) > 1]:
        raise ValueError(f"{' and '.join(twice)}: a class is named once, and not in capitals and small letters")
    if len(names) < FEWEST_CLASSES:
        raise ValueError(f"multiclass with {len(names)} classes; {FEWEST_CLASSES} at least, for two the task is binary")
    return names


def kind_of(task: str) -> str:
    """The task without its level or classes. Raises ValueError for an unknown one."""
    return parse_task(task).partition("(")[0]


def level_of(task: str) -> float | None:
    """The level of a quantile, between 0 and 1; None for another task."""
    level = QUANTILE.fullmatch(task)
    return float(level[1]) if level else None


def classes_of(task: str) -> tuple[str, ...]:
    """The classes of a multiclass task, as declared; () for another task."""
    classes = MULTICLASS.fullmatch(task)
    return tuple(name.strip() for name in classes[1].split(",")) if classes else ()


Task = Annotated[
    str,
    BeforeValidator(parse_task),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": ["binary", "regression", "count"]},
                {"type": "string", "pattern": f"^{QUANTILE.pattern}$"},
                {"type": "string", "pattern": f"^{MULTICLASS.pattern}$"},
            ],
            "examples": ["binary", "quantile(0.9)", "multiclass(red, green, blue)"],
        }
    ),
]


@dataclass(frozen=True)
class Abilities:
    """What may be asked of an estimator: kinds of task, and the options of a candidate."""

    tasks: tuple[str, ...]
    options: tuple[str, ...] = ()


#: The same as the classes say, which cannot be imported from here; a test holds them equal.
BUILT_IN: Mapping[str, Abilities] = {
    "constant": Abilities(KINDS),
    "linear": Abilities(("binary", "regression", "multiclass"), ("class_weight",)),
    "logistic_regression": Abilities(("binary", "multiclass"), ("class_weight",)),
    "ridge": Abilities(("regression",)),
    "additive": Abilities(("binary", "regression", "count", "quantile"), ("class_weight",)),
    "lightgbm": Abilities(KINDS, ("class_weight", "monotone", "early_stopping", "warm_start")),
    "hist_gradient_boosting": Abilities(KINDS, ("class_weight", "monotone", "early_stopping")),
    "random_forest": Abilities(("binary", "regression", "count", "multiclass"), ("class_weight", "monotone")),
}


def check_estimator_name(name: str) -> str:
    """The name, if it is an estimator of the factory's or of an installed package. Raises ValueError."""
    if name in BUILT_IN:
        return name
    # A look through all installed packages takes longer than reading a declaration.
    installed = [point.name for point in entry_points(group=PLUG_INS)]
    if name not in installed:
        raise ValueError(f"{name!r} is not an estimator; allowed: {', '.join([*BUILT_IN, *installed])}")
    return name
