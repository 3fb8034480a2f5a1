"""What must anything do that can be trained? The contract of estimators, and of the models that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from factory_assets.declarations.tasks import classes_of, kind_of, level_of
from factory_assets.models.contributions import Contributions


class Model(Protocol):
    """A trained model, as scoring, evaluation and the archive need it."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Shape (n, p) -> (n,): the probability of the positive class, the value, the count, or the quantile.

        For k classes the shape is (n, k): the probability of each.
        """
        ...

    def parts(self) -> dict[str, bytes]:
        """File name -> content, from which `load` makes the model again."""
        ...

    def importances(self) -> np.ndarray:
        """Shape (p,): non-negative shares that sum to 1, or zeros where no feature is used."""
        ...

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions | None:
        """What each feature adds to the scores of rows x, shape (n, p), n >= 1; None of a model that cannot tell.

        known: shape (m, p), rows such as it was trained on, of which it may weigh what the others' values would have been.
        """
        ...


@dataclass(frozen=True)
class Examples:
    """Checked examples to learn from: x (n, p) and y (n,) float64, and the columns of x that are codes of categories.

    For a multiclass task y holds places of its classes, 0 to k - 1; each of them is there, and k is 3 or more.
    weights: shape (n,), of mean 1; None if all weigh the same. monotone: a column -> 1 where predictions must not fall with
    it, -1 where they must not rise.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    categorical: tuple[int, ...]
    weights: np.ndarray | None = None
    monotone: Mapping[int, int] | None = None

    @property
    def kind(self) -> str:
        """The task without its level or classes."""
        return kind_of(self.task)

    @property
    def level(self) -> float:
        """The level of a quantile. Raises ValueError for another task."""
        level = level_of(self.task)
        if level is None:
            raise ValueError(f"task {self.task!r} has no level")
        return level

    @property
    def classes(self) -> int:
        """How many classes there are; 0 for a task without."""
        return len(classes_of(self.task))

    @property
    def directions(self) -> list[int]:
        """1, -1 or 0 for each column."""
        return [(self.monotone or {}).get(column, 0) for column in range(self.x.shape[1])]

    def where(self, rows: np.ndarray) -> Examples:
        """Some of the rows, in their order; rows: a mask of shape (n,)."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], weights=weights)


@dataclass(frozen=True)
class Start:
    """A model to go on from instead of beginning anew.

    parts: the model's. rows: mask of shape (n,), true for the examples that the model has not seen. share: rounds to add, as a
    share of the rounds of a cold fit. rounds: the rounds of a cold fit, where early stopping found them.
    """

    parts: Mapping[str, bytes]
    rows: np.ndarray
    share: float
    rounds: int | None = None


class CannotContinue(ValueError):
    """A model has to begin anew; the message says why."""


class Estimator(ABC):
    """A way to train; its instances are the trained models.

    An estimator of your own is a subclass, named by an entry point of the group `model_factory.estimators`;
    `estimator_checks.check_estimator` tells whether it keeps the contract. `examples` hold only what is declared here.

    tasks: kinds of task that it can do: binary, regression, count, quantile, multiclass. With multiclass goes binary: rows of
        two classes only are learnt as a binary task.
    options: those that it honours among class_weight (`examples.weights`), monotone (`examples.monotone`), early_stopping
        (`stopped`) and warm_start (`continued`).
    interpretable: whether a person can read off the model how a prediction comes about.
    files: names of the parts of a model. width: the number of features of a model.
    """

    tasks: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]] = ()
    interpretable: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]]
    width: int

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        """Read a model from its parts, as data: nothing in them may be executed. Raises ValueError for a part that is not sound."""
        absent = [name for name in self.files if name not in parts]
        if absent:
            raise ValueError(f"a {type(self).__name__} model lacks its parts {', '.join(absent)}")
        self._parts = {name: parts[name] for name in self.files}

    @classmethod
    @abstractmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        """The parts of a model: the same bytes for the same input, on any number of threads.

        Raises ValueError for a parameter that it does not know.
        """

    @classmethod
    def trained(
        cls, examples: Examples, params: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, bytes], np.ndarray | None]:
        """As `train`, with the model's predictions for these very rows, if training knows them bit for bit."""
        return cls.train(examples, params, seed), None

    @classmethod
    def stopped(
        cls, examples: Examples, later: Examples, params: Mapping[str, Any], seed: int, patience: int
    ) -> tuple[dict[str, Any], int]:
        """The parameters with the number of rounds at which the later rows were predicted best, and that number.

        patience: rounds without improvement after which the search ends.
        """
        raise ValueError(f"{cls.__name__} is not trained in rounds: it has no early_stopping")

    @classmethod
    def with_rounds(cls, params: Mapping[str, Any], rounds: int) -> dict[str, Any] | None:
        """The parameters with a number of rounds that `stopped` found; without this method they are looked for again."""
        return None

    @classmethod
    def continued(cls, examples: Examples, start: Start, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        """The parts of a model that adds rounds to another one, learnt from all of these examples.

        Raises CannotContinue where the parameters do not allow to add rounds; otherwise as `train`.
        """
        raise ValueError(f"{cls.__name__} does not go on from a model: it has no warm_start")

    @abstractmethod
    def importances(self) -> np.ndarray:
        """See Model."""

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions | None:
        """See Model. Without this method an estimator's predictions are explained without it."""
        return None

    @abstractmethod
    def _predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions for one row or more, of the right width; for k classes their probabilities, shape (n, k)."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """See Model. Raises ValueError for a matrix of another width; no rows give no predictions."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"the model was trained on {self.width} features; given is a matrix of shape {x.shape}")
        return self._predict(x) if len(x) else np.empty(0)

    def parts(self) -> dict[str, bytes]:
        """See Model."""
        return dict(self._parts)

    def __reduce__(self) -> tuple[type[Estimator], tuple[dict[str, bytes]]]:
        """Between the processes of a training, too, a model goes as its parts."""
        return type(self), (dict(self._parts),)


def refuse_unknown(owner: str, params: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise ValueError for parameters that are not allowed, with those that are."""
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        names = ", ".join(sorted(allowed)) or "none"
        raise ValueError(f"{owner} has no parameter {', '.join(unknown)}; allowed: {names}")


def shares(weights: np.ndarray) -> np.ndarray:
    """Shape (p,), non-negative: each one's share of the sum; zeros where that is zero."""
    total = weights.sum()
    return weights / total if total > 0 else np.zeros(len(weights))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Shape (n, k): probabilities in proportion to exp(scores), each row for itself."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / np.ascontiguousarray(odds).sum(axis=1, keepdims=True)


def finite(x: np.ndarray) -> np.ndarray:
    """The matrix with NaN, a missing value, in the place of infinite values."""
    return np.where(np.isfinite(x), x, np.nan)


def best_round(losses: np.ndarray, patience: int) -> int:
    """The round, from 1, that is best until `patience` rounds in a row were no better; losses: shape (rounds,)."""
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= patience:
            break
    return best + 1
