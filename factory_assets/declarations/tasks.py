"""What can be predicted? The tasks, and what is declared of each estimator that the factory brings.

A task is one word, so that a declaration, a manifest and a ledger say it alike: binary, regression, count, or
quantile(0.9), which carries its level.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

KINDS = ("binary", "regression", "count", "quantile")
QUANTILE = re.compile(r"quantile\(\s*(0?\.[0-9]+)\s*\)")
#: Metrics by kind of task, the one that models are compared by first; `measures.metrics` says what they are.
METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("average_precision", "roc_auc", "log_loss", "brier", "calibration_error"),
    "regression": ("mae", "rmse", "r2"),
    "count": ("poisson_deviance", "mae", "rmse"),
    "quantile": ("pinball", "coverage"),
}
#: Entry points under which a package names estimators of its own.
PLUG_INS = "model_factory.estimators"


def parse_task(value: Any) -> str:
    """The task in its one spelling: quantile(.90) is quantile(0.9). Raises ValueError with what is allowed."""
    level = QUANTILE.fullmatch(str(value))
    if level and float(level[1]) > 0:
        return f"quantile({float(level[1])})"
    if value in KINDS and value != "quantile":
        return str(value)
    raise ValueError(
        f"{value!r} is not a task; allowed: 'binary', 'regression', 'count', and 'quantile(0.9)' for any level between 0 and 1"
    )


def kind_of(task: str) -> str:
    """The task without its level. Raises ValueError for an unknown one."""
    return parse_task(task).partition("(")[0]


def level_of(task: str) -> float | None:
    """The level of a quantile, between 0 and 1; None for another task."""
    level = QUANTILE.fullmatch(task)
    return float(level[1]) if level else None


Task = Annotated[
    str,
    BeforeValidator(parse_task),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": ["binary", "regression", "count"]},
                {"type": "string", "pattern": f"^{QUANTILE.pattern}$"},
            ],
            "examples": ["binary", "quantile(0.9)"],
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
    "linear": Abilities(("binary", "regression"), ("class_weight",)),
    "logistic_regression": Abilities(("binary",), ("class_weight",)),
    "ridge": Abilities(("regression",)),
    "additive": Abilities(KINDS, ("class_weight",)),
    "lightgbm": Abilities(KINDS, ("class_weight", "monotone", "early_stopping")),
    "hist_gradient_boosting": Abilities(KINDS, ("class_weight", "monotone", "early_stopping")),
    "random_forest": Abilities(("binary", "regression", "count"), ("class_weight", "monotone")),
}


def check_estimator_name(name: str) -> str:
    """The name, if it is an estimator of the factory's or of an installed package. Raises ValueError."""
    installed = [point.name for point in entry_points(group=PLUG_INS)]
    if name not in BUILT_IN and name not in installed:
        raise ValueError(f"{name!r} is not an estimator; allowed: {', '.join([*BUILT_IN, *installed])}")
    return name
