"""How does a linear model read a table, and of which parts does it consist?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from factory_assets.models import skops_files
from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import Estimator, Examples, refuse_unknown, shares, softmax
from factory_assets.models.one_thread import ONE_BLAS_THREAD
from factory_resources.bounded_json import parsed

#: A number beyond this is missing, as an infinite one is: times a weight, or summed, it could be infinite or no number.
LARGEST = 1e100


class Linear(Estimator):
    """Logistic regression or ridge, by task, on standardised numbers and one column per category.

    A missing number is the median of training, and one beyond 1e100 is missing, as an infinite one is; a missing category is a
    category of its own, where training had one.
    Its bytes are the same on machines whose processors BLAS has the same kernels for; OPENBLAS_CORETYPE pins these.
    """

    tasks: ClassVar[tuple[str, ...]] = ("binary", "regression", "multiclass")
    options: ClassVar[tuple[str, ...]] = ("class_weight",)
    interpretable = True
    files = ("model.skops", "model.importances.json")

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        pipeline = skops_files.read(self._parts["model.skops"])
        try:
            (_, self._columns), (_, self._linear) = pipeline.steps
            self._shares = np.array(parsed(self._parts["model.importances.json"]), dtype=np.float64)
            self.width = int(self._columns.n_features_in_)
            # A row for each class, of which a binary one has the second's only, and a number none of its own.
            self._weights, self._intercept = np.atleast_2d(self._linear.coef_), np.atleast_1d(self._linear.intercept_)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the parts are not those of a linear model: {error}") from error
        if type(self._linear) not in [_final(task) for task in self.tasks]:
            raise ValueError(f"model.skops holds a {type(self._linear).__name__}, which is no {type(self).__name__}")

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        import skops.io
        from sklearn.pipeline import Pipeline

        final, classes = _final(examples.kind), examples.kind != "regression"
        refuse_unknown(final.__name__, params, allowed=set(final().get_params()) - {"random_state"})
        linear = final(**({"max_iter": 1000} if classes else {}) | dict(params), random_state=seed)
        columns = _linear_columns(examples)
        with ONE_BLAS_THREAD:
            inputs = columns.fit_transform(_readable(examples.x))
            linear.fit(inputs, examples.y.astype(np.int64) if classes else examples.y, sample_weight=examples.weights)
        weights = np.abs(np.atleast_2d(linear.coef_)).sum(axis=0) * _deviations(inputs)
        found = shares(np.bincount(_origins(columns), weights, minlength=examples.x.shape[1]))
        return {
            "model.skops": skops_files.canonical(skops.io.dumps(Pipeline([("columns", columns), ("linear", linear)]))),
            "model.importances.json": json.dumps(found.tolist()).encode(),
        }

    def importances(self) -> np.ndarray:
        """Share of each feature in the sum of |coefficient| x standard deviation of the column it multiplies, over classes."""
        return self._shares.copy()

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions:
        """Coefficient x value of the columns that a feature is made into: of a number its distance from the mean of training."""
        inputs, origins = self._columns.transform(_readable(x)), _origins(self._columns)
        inputs = inputs.toarray() if hasattr(inputs, "toarray") else inputs
        of_features = np.zeros((len(x), len(self._weights), self.width))
        for column, feature in enumerate(origins):
            of_features[:, :, feature] += inputs[:, column, None] * self._weights[:, column]
        return Contributions(self._intercept, of_features, self._link)

    @property
    def _link(self) -> str:
        if len(self._weights) > 1:
            return "softmax"
        return "logistic" if isinstance(self._linear, _final("binary")) else "identity"

    def _predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        inputs = self._columns.transform(_readable(x))
        scores = [_score(inputs, *of_class) for of_class in zip(self._weights, self._intercept, strict=True)]
        if len(scores) > 1:
            return softmax(np.column_stack(scores))
        return expit(scores[0]) if isinstance(self._linear, _final("binary")) else scores[0]


class LogisticRegression(Linear):
    """Linear, for a yes or no, or for classes."""

    tasks = ("binary", "multiclass")


class Ridge(Linear):
    """Linear, for a number."""

    tasks = ("regression",)
    options = ()


def _readable(x: np.ndarray) -> np.ndarray:
    """The matrix with NaN, a missing value, in the place of what is too large to be multiplied."""
    return np.where(np.abs(x) <= LARGEST, x, np.nan)


def _final(task: str) -> Any:
    """scikit-learn's class for the kind of task."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge if task == "regression" else LogisticRegression


def _score(inputs: Any, weights: np.ndarray, intercept: float) -> np.ndarray:
    """Shape (n,): the weighted sum of the columns, dense or sparse.

    Not the pipeline's own predict: BLAS adds up a row in an order that depends on how many rows there are, so a day scored
    alone and within a month would differ in the last bits. These two sum every row for itself.
    """
    from scipy.sparse import issparse

    if issparse(inputs):
        return np.asarray(inputs @ weights + intercept)
    return np.ascontiguousarray(inputs * weights).sum(axis=1) + intercept


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
