"""How are a classifier's scores turned into shares that come true, by the labels of rows after it was fitted?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import Model
from factory_resources.bounded_json import parsed

PART = "calibration.json"


class Calibrated:
    """A model whose probabilities are corrected by a rising curve, kept as numbers.

    isotonic: points of a step-free curve, flat beyond the outermost. sigmoid: slope and intercept on the log odds.
    """

    def __init__(self, model: Model, content: bytes) -> None:
        self._model, self._content = model, content
        try:
            kept = parsed(content)
            self._kind = str(kept["kind"])
            self._numbers = [np.array(kept[name], dtype=np.float64) for name in NUMBERS[self._kind]]
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{PART} is no calibration: {error!r}") from error
        same = {values.shape for values in self._numbers}
        if len(same) != 1 or not all(np.isfinite(values).all() for values in self._numbers):
            raise ValueError(f"{PART} is no calibration: its numbers do not belong together")

    def predict(self, x: np.ndarray) -> np.ndarray:
        """See Model."""
        from scipy.special import expit

        predicted = self._model.predict(x)
        first, second = self._numbers
        if self._kind == "isotonic":
            return np.interp(predicted, first, second)
        return expit(first * _log_odds(predicted) + second)

    def parts(self) -> dict[str, bytes]:
        """See Model."""
        return self._model.parts() | {PART: self._content}

    def importances(self) -> np.ndarray:
        """See Model: a curve over its predictions leaves the shares as they are."""
        return self._model.importances()

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions | None:
        """See Model: those of the model that is corrected."""
        parts = self._model.contributions(x, known)
        return parts and replace(parts, then=f"{self._kind} calibration")


NUMBERS = {"isotonic": ("said", "happened"), "sigmoid": ("slope", "intercept")}


def calibration(kind: str, predicted: np.ndarray, y: np.ndarray) -> bytes:
    """The part that corrects a model's probabilities. predicted, y: shape (n,), for rows on which the model was not fitted."""
    kept = _isotonic(predicted, y) if kind == "isotonic" else _sigmoid(predicted, y)
    return json.dumps({"kind": kind} | kept, sort_keys=True).encode()


def _isotonic(predicted: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Zadrozny and Elkan, 2002. No share is more certain than n rows allow, or one surprise would cost everything."""
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(out_of_bounds="clip").fit(predicted, y)
    certain = 1 / (len(y) + 2)
    happened = np.clip(curve.y_thresholds_, certain, 1 - certain)
    return {"said": curve.X_thresholds_.tolist(), "happened": happened.tolist()}


def _sigmoid(predicted: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Platt, 1999, with his targets for few rows, on the log odds; Newton's method over two numbers, with halved steps."""
    from scipy.special import expit

    odds, positive = _log_odds(predicted), y.sum()
    wanted = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (len(y) - positive + 2))
    columns, coefficients = np.column_stack([odds, np.ones(len(odds))]), np.array([1.0, 0.0])

    def loss(at: np.ndarray) -> float:
        corrected = (columns * at).sum(axis=1)
        return float(np.mean(np.logaddexp(0, corrected) - wanted * corrected))

    for _ in range(100):
        chance = expit((columns * coefficients).sum(axis=1))
        bend = (columns[:, :, None] * columns[:, None, :] * (chance * (1 - chance))[:, None, None]).mean(axis=0)
        step = np.linalg.solve(bend + 1e-12 * np.eye(2), (columns * (chance - wanted)[:, None]).mean(axis=0))
        while loss(coefficients - step) > loss(coefficients) and np.abs(step).max() > 1e-10:
            step = step / 2
        if np.abs(step).max() <= 1e-10:
            break
        coefficients = coefficients - step
    # A model that ranks worse than chance on these rows is not turned round: everybody gets the base rate.
    slope = max(0.0, float(coefficients[0]))
    if slope == 0:
        coefficients[1] = np.log((positive + 1) / (len(y) - positive + 1))
    return {"slope": slope, "intercept": float(coefficients[1])}


def _log_odds(predicted: np.ndarray) -> np.ndarray:
    from scipy.special import logit

    return logit(np.clip(predicted, 1e-12, 1 - 1e-12))


def load(model: Model, parts: Mapping[str, bytes]) -> Model:
    """The model with its calibration, if its parts hold one."""
    return Calibrated(model, parts[PART]) if PART in parts else model
