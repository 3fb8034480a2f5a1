"""What can be predicted without looking at the features?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from factory_assets.declarations.tasks import KINDS
from factory_assets.measures.metrics import guessed, naive
from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import Estimator, Examples, refuse_unknown
from factory_resources.bounded_json import parsed


class Constant(Estimator):
    """The naive baseline: everybody gets the base rate, the median, the mean count, the quantile or the class shares.

    What cannot beat it has learned nothing.
    """

    tasks = KINDS
    interpretable = True
    files = ("constant.json",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(parts)
        try:
            content = parsed(self._parts["constant.json"])
            self.width, value = int(content["features"]), content["value"]
            self._value = [float(share) for share in value] if isinstance(value, list) else float(value)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"constant.json does not hold a value and a number of features: {error}") from error

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        refuse_unknown("constant", params, allowed=())
        content = {"features": examples.x.shape[1], "value": naive(examples.task, examples.y)}
        return {"constant.json": json.dumps(content).encode()}

    def importances(self) -> np.ndarray:
        return np.zeros(self.width)

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions:
        base = np.atleast_1d(np.array(self._value))
        return Contributions(base, np.zeros((len(x), len(base), self.width)), "identity")

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return guessed(self._value, len(x))
