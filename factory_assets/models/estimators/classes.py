"""How does a model of the classes that training saw predict all that are declared?

A segment may lack a class that others have. An estimator learns from the classes that are there, all of which it then knows;
from two it learns a binary task. Its predictions are spread over the declared classes, and an unseen one has probability 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from factory_assets.declarations.tasks import classes_of, parse_task
from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import Examples, Model
from factory_resources.bounded_json import parsed

PART = "classes.json"


class OfClasses:
    """A model of some of the declared classes, and which these are."""

    def __init__(self, model: Model, content: bytes) -> None:
        self._model, self._content = model, content
        try:
            kept = parsed(content)
            self.declared, self.known = tuple(map(str, kept["declared"])), tuple(map(str, kept["known"]))
            parse_task(f"multiclass({', '.join(self.declared)})")
            self._places = [self.declared.index(name) for name in self.known]
        except (TypeError, KeyError, ValueError, RecursionError) as error:
            raise ValueError(f"{PART} does not hold classes: {error!r:.200}") from error
        if len(set(self._places)) < max(2, len(self._places)):
            raise ValueError(f"{PART} does not hold classes: known are {', '.join(self.known)}")

    def predict(self, x: np.ndarray) -> np.ndarray:
        """See Model."""
        return self.spread(self._model.predict(x))

    def spread(self, predictions: np.ndarray) -> np.ndarray:
        """Predictions of the model of the known classes, over all classes that are declared: shape (n, k)."""
        spread = np.zeros((len(predictions), len(self.declared)))
        if len(predictions):
            predictions = np.column_stack([1 - predictions, predictions]) if predictions.ndim == 1 else predictions
            if predictions.shape[1] != len(self.known):
                raise ValueError(
                    f"{PART} names {len(self.known)} classes, of a model that knows {predictions.shape[1]}"
                )
            spread[:, self._places] = predictions
        return spread

    def parts(self) -> dict[str, bytes]:
        """See Model."""
        return self._model.parts() | {PART: self._content}

    def importances(self) -> np.ndarray:
        """See Model."""
        return self._model.importances()

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions | None:
        """See Model: of two classes there is one score, for the second."""
        parts = self._model.contributions(x, known)
        return parts and replace(parts, of=self.known if len(parts.base) > 1 else self.known[-1:])


def reduced(examples: Examples) -> tuple[Examples, bytes]:
    """The examples as a task of the classes that are among them, and the part that names these; two classes at least."""
    declared, places = classes_of(examples.task), np.unique(examples.y)
    known = [declared[int(place)] for place in places]
    content = json.dumps({"declared": list(declared), "known": known}).encode()
    return replace(examples, y=np.searchsorted(places, examples.y).astype(np.float64), task=_task(known)), content


def shared(earlier: Examples, later: Examples) -> tuple[Examples, Examples]:
    """Both as a task of the classes that the earlier rows have; later rows of another class are left out."""
    declared, places = classes_of(earlier.task), np.unique(earlier.y)
    task = _task([declared[int(place)] for place in places])
    both = [each.where(np.isin(each.y, places)) for each in (earlier, later)]
    before, after = (replace(each, y=np.searchsorted(places, each.y).astype(np.float64), task=task) for each in both)
    return before, after


def _task(names: Sequence[str]) -> str:
    return "binary" if len(names) == 2 else f"multiclass({', '.join(names)})"
