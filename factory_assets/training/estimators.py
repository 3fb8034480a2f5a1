"""What can be trained, and what is kept of it? One contract, its implementations, and the registry that names them.

A trained model is its parts: a few files of data that the archive stores. Training produces the parts and the model is
read back from them, so what is evaluated is what will be loaded years later. The same examples, parameters and seed
give the same bytes on any number of threads, and a prediction does not depend on the rows it is made with.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from factory_assets.training import skops_files
from factory_assets.training.one_thread import ONE_BLAS_THREAD

TASKS: tuple[str, ...] = ("binary", "regression")
#: What LightGBM can minimise and still predict a probability, or a value; the first is the default.
LIGHTGBM_OBJECTIVES = {
    "binary": ("binary", "cross_entropy"),
    "regression": ("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
}
#: The promise of identical bytes hangs on these, so no declaration can change them.
LIGHTGBM_FIXED = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "device_type": "cpu"}


class Model(Protocol):
    """What scoring, evaluation and the archive need of a trained model."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Shape (n, p) -> (n,): the probability of the positive class, or the value of a regression."""
        ...

    def parts(self) -> dict[str, bytes]:
        """File name -> content; `load` makes the model of it again."""
        ...

    def importances(self) -> np.ndarray:
        """Shape (p,): non-negative shares that sum to 1, or zeros where no feature is used."""
        ...


@dataclass(frozen=True)
class Examples:
    """What is learned from, checked: x (n, p) and y (n,) float64, and the columns of x that are codes of categories."""

    x: np.ndarray
    y: np.ndarray
    task: str
    categorical: tuple[int, ...]


def fit(
    estimator: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    task: str,
    categorical: Sequence[int],
    params: Mapping[str, Any],
    seed: int,
) -> Model:
    """Train an estimator of the registry.

    x: shape (n, p), as `matrix.encode` makes it: NaN is a missing value.
    y: shape (n,): 0 and 1, both present, for "binary"; finite numbers for "regression".
    categorical: column numbers whose values are codes of categories.
    params: the estimator's own parameters; what they leave open has the estimator's default.
    Raises ValueError for an unknown estimator, task or parameter, an estimator that cannot do the task, and labels
    that cannot be learned from.
    """
    kind = _registered(estimator)
    if task not in TASKS:
        raise ValueError(f"task {task!r} is not known; allowed: {', '.join(TASKS)}")
    if task not in kind.tasks:
        raise ValueError(f"estimator {estimator!r} cannot do task {task!r}; it does: {', '.join(kind.tasks)}")
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _refuse_unlearnable(x, y, task)
    return kind(kind.train(Examples(x, y, task, tuple(categorical)), params, seed))


def load(estimator: str, parts: Mapping[str, bytes]) -> Model:
    """The model of these parts; parts that the estimator does not know are ignored.

    Raises ValueError for an unknown estimator, an absent part, and a part that is not what it should be. Nothing in a
    part is executed.
    """
    return _registered(estimator)(parts)


class Estimator(ABC):
    """A way to train: one subclass and one entry in ESTIMATORS. Its instances are the trained models.

    tasks: those it can do. files: the parts that make a model of it. width: the number of features of a model.
    """

    tasks: ClassVar[tuple[str, ...]]
    files: ClassVar[tuple[str, ...]]
    width: int

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        absent = [name for name in self.files if name not in parts]
        if absent:
            raise ValueError(f"a {type(self).__name__} model lacks its parts {', '.join(absent)}")
        self._parts = {name: parts[name] for name in self.files}

    @classmethod
    @abstractmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        """The parts of a model."""

    @abstractmethod
    def importances(self) -> np.ndarray:
        """See Model."""

    @abstractmethod
    def _predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions for one row or more, of the right width."""

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
        return type(self), (self.parts(),)


class Constant(Estimator):
    """The naive baseline: everybody gets the base rate, or the median. What cannot beat it has learned nothing."""

    tasks = TASKS
    files = ("constant.json",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        try:
            content = json.loads(self._parts["constant.json"])
            self._value, self.width = float(content["value"]), int(content["features"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"constant.json does not hold a value and a number of features: {error}") from error

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        _refuse_unknown("constant", params, allowed=())
        value = np.mean(examples.y) if examples.task == "binary" else np.median(examples.y)
        return {"constant.json": json.dumps({"features": examples.x.shape[1], "value": float(value)}).encode()}

    def importances(self) -> np.ndarray:
        return np.zeros(self.width)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), self._value)


class LightGBM(Estimator):
    """Gradient boosted trees, on one thread: many models train side by side instead (LightGBM releases the GIL)."""

    tasks = TASKS
    files = ("model.txt",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        import lightgbm as lgb

        super().__init__(parts)
        try:
            self._booster = lgb.Booster(model_str=self._parts["model.txt"].decode())
        except (UnicodeDecodeError, lgb.basic.LightGBMError) as error:
            raise ValueError(f"model.txt is not the text of a LightGBM model: {error}") from error
        self.width = self._booster.num_feature()

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        import lightgbm as lgb

        given, allowed = _lightgbm_params(params), LIGHTGBM_OBJECTIVES[examples.task]
        settings: dict[str, Any] = {"objective": allowed[0], "num_leaves": 31, "learning_rate": 0.05} | given
        settings |= LIGHTGBM_FIXED | {"seed": seed, "verbosity": -1}
        goal, rounds = settings["objective"], settings.pop("num_iterations", 200)
        if goal not in allowed:
            raise ValueError(f"lightgbm objective {goal!r} cannot do {examples.task!r}; allowed: {', '.join(allowed)}")
        codes = list(examples.categorical)
        data = lgb.Dataset(examples.x, label=examples.y, categorical_feature=codes, params=settings)
        return {"model.txt": lgb.train(settings, data, num_boost_round=rounds).model_to_string().encode()}

    def importances(self) -> np.ndarray:
        """Share of each feature in the loss that the splits of all trees took away (gain)."""
        return _shares(self._booster.feature_importance("gain"))

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._booster.predict(x, num_threads=1))


class Linear(Estimator):
    """Logistic regression or ridge, by task, on standardised numbers and one column per category.

    A missing number is the median of training and an infinite one is missing; a missing category is a category of its
    own, where training had one.
    Its bytes are the same on machines whose processors BLAS has the same kernels for; OPENBLAS_CORETYPE pins these.
    """

    tasks = TASKS
    files = ("model.skops", "model.importances.json")

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        pipeline = skops_files.read(self._parts["model.skops"])
        try:
            (_, self._columns), (_, self._linear) = pipeline.steps
            self._shares = np.array(json.loads(self._parts["model.importances.json"]), dtype=np.float64)
            self.width = int(self._columns.n_features_in_)
            self._weights, self._intercept = self._linear.coef_.ravel(), self._linear.intercept_
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the parts are not those of a linear model: {error}") from error
        if type(self._linear) not in [_final(task) for task in self.tasks]:
            raise ValueError(f"model.skops holds a {type(self._linear).__name__}, which is no {type(self).__name__}")

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        import skops.io
        from sklearn.pipeline import Pipeline

        final, binary = _final(examples.task), examples.task == "binary"
        _refuse_unknown(final.__name__, params, allowed=set(final().get_params()) - {"random_state"})
        linear = final(**({"max_iter": 1000} if binary else {}) | dict(params), random_state=seed)
        columns = _linear_columns(examples)
        with ONE_BLAS_THREAD:
            inputs = columns.fit_transform(_finite(examples.x))
            linear.fit(inputs, examples.y.astype(np.int64) if binary else examples.y)
        weights = np.abs(linear.coef_.ravel()) * _deviations(inputs)
        shares = _shares(np.bincount(_origins(columns), weights, minlength=examples.x.shape[1]))
        return {
            "model.skops": skops_files.canonical(skops.io.dumps(Pipeline([("columns", columns), ("linear", linear)]))),
            "model.importances.json": json.dumps(shares.tolist()).encode(),
        }

    def importances(self) -> np.ndarray:
        """Share of each feature in the sum of |coefficient| x standard deviation of the column it multiplies."""
        return self._shares.copy()

    def _predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.sparse import issparse
        from scipy.special import expit

        inputs = self._columns.transform(_finite(x))
        # Not the pipeline's own predict: BLAS adds up a row in an order that depends on how many rows there are, so a
        # day scored alone and within a month would differ in the last bits. These two sum every row for itself.
        if issparse(inputs):
            score = inputs @ self._weights + self._intercept
        else:
            score = np.ascontiguousarray(inputs * self._weights).sum(axis=1) + self._intercept
        return expit(score) if isinstance(self._linear, _final("binary")) else score


class LogisticRegression(Linear):
    """Linear, for a binary label."""

    tasks = ("binary",)


class Ridge(Linear):
    """Linear, for a number."""

    tasks = ("regression",)


ESTIMATORS: dict[str, type[Estimator]] = {
    "constant": Constant,
    "lightgbm": LightGBM,
    "linear": Linear,
    "logistic_regression": LogisticRegression,
    "ridge": Ridge,
}


def _registered(estimator: str) -> type[Estimator]:
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r} is not known; allowed: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[estimator]


def _refuse_unlearnable(x: np.ndarray, y: np.ndarray, task: str) -> None:
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"examples need x of shape (n, p) and y of shape (n,); given are {x.shape} and {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"{np.sum(~np.isfinite(y))} of {len(y)} labels are missing or infinite")
    if task == "binary":
        strange = np.setdiff1d(y, (0, 1))
        if len(strange):
            raise ValueError(f"a binary label is 0 or 1; given are also {', '.join(map(str, strange[:5]))}")
        positive = int(y.sum())
        if positive in (0, len(y)):
            raise ValueError(f"a binary task needs both classes; {positive} of {len(y)} labels are 1")
    elif not len(y):
        raise ValueError("there are no examples to learn from: 0 rows")


def _refuse_unknown(owner: str, params: Mapping[str, Any], allowed: Iterable[str]) -> None:
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        names = ", ".join(sorted(allowed)) or "none"
        raise ValueError(f"{owner} has no parameter {', '.join(unknown)}; allowed: {names}")


def _shares(weights: np.ndarray) -> np.ndarray:
    total = weights.sum()
    return weights / total if total > 0 else np.zeros(len(weights))


def _lightgbm_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters under LightGBM's main name for each: num_boost_round and n_estimators are num_iterations.

    LightGBM itself trains on without a parameter that it does not know.
    """
    from lightgbm.basic import _ConfigAliases

    main = {alias: name for name, names in _ConfigAliases._get_all_param_aliases().items() for alias in names}
    _refuse_unknown("lightgbm", params, allowed=main)
    given: dict[str, Any] = {}
    for alias, value in params.items():
        name = main[alias]
        if name in given:
            raise ValueError(f"lightgbm parameter {name} is given twice, once as {alias}")
        if name in {*LIGHTGBM_FIXED, "seed", "verbosity", "force_col_wise", "categorical_feature"}:
            raise ValueError(f"lightgbm parameter {alias} is set by the factory; leave it out")
        given[name] = value
    return given


def _final(task: str) -> Any:
    """scikit-learn's class for the task."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression if task == "binary" else Ridge


def _linear_columns(examples: Examples) -> Any:
    """The unfitted transformer from features to the columns that a linear model multiplies."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    # A feature that is null throughout keeps its column (of zeros), so that columns stay aligned with features.
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    numeric = [column for column in range(examples.x.shape[1]) if column not in examples.categorical]
    return ColumnTransformer(
        [
            ("numbers", Pipeline([("impute", imputer), ("scale", StandardScaler())]), numeric),
            ("categories", OneHotEncoder(handle_unknown="ignore"), list(examples.categorical)),
        ]
    )


def _origins(columns: Any) -> np.ndarray:
    """For each column that a fitted `_linear_columns` makes, the feature that it comes from."""
    (_, _, numeric), (_, encoder, categorical) = columns.transformers_[:2]
    levels = [len(found) for found in encoder.categories_] if categorical else []
    return np.concatenate([numeric, np.repeat(categorical, levels)]).astype(np.int64)


def _deviations(inputs: Any) -> np.ndarray:
    """Standard deviation of each column of a dense or sparse matrix."""
    mean = np.asarray(inputs.mean(axis=0)).ravel()
    squares = inputs.multiply(inputs) if hasattr(inputs, "multiply") else inputs * inputs
    return np.sqrt(np.maximum(np.asarray(squares.mean(axis=0)).ravel() - mean**2, 0))


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, np.nan)
