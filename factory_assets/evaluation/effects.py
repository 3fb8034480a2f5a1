"""What do features do to a version's predictions? How far each moves the score of a row, exactly, and what follows from its values.

Both are of the sample of training rows that the archive keeps, so a version has them once and for all: they are kept as JSON, and
computed again where that cannot be read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from factory_assets.evaluation.dependence import Dependence, dependences, some
from factory_assets.models.archived import ReleasedModel

#: Features whose partial dependence is kept: those that matter most.
DRAWN = 3
#: Rows of the sample that are asked, at most: of a large forest a row takes a tenth of a second, and they should not cost more than
#: to fit it.
ROWS = 100
#: What a score is counted in, by what makes predictions of it.
SCALES: Mapping[str, str] = {
    "identity": "the label's unit", "logistic": "log odds", "exponential": "logarithms", "softmax": "logits of the classes",
    "signed_square": "roots of the label",
}  # fmt: skip
#: Of what is kept; with another one it is computed again.
FORMAT = 1


@dataclass(frozen=True)
class Effects:
    """Of a version: feature -> mean distance by which it moves the score of a row, in `scale`, of so many rows; empty where the
    estimator cannot tell. dependences: of the features that matter most, those first.
    """

    rows: int
    scale: str
    contributions: Mapping[str, float] = field(default_factory=dict)
    dependences: Sequence[Dependence] = ()


def effects_of(model: ReleasedModel, importances: Mapping[str, float], task: str) -> Effects:
    """importances: feature -> share, by which those are chosen that matter most. task: the line's."""
    ranked = sorted(importances, key=lambda name: (-importances[name], name))[:DRAWN]
    found = dependences([model], ranked, task, ROWS)
    rows = some(model.sample, ROWS)
    contributions = model.contributions(rows) if rows.num_rows else None
    if contributions is None:
        return Effects(rows.num_rows, "", {}, found)
    # Of classes, the score of each is moved.
    distances = np.abs(contributions.of_features).mean(axis=(0, 1))
    moved = dict(zip(model.features, map(float, distances), strict=True))
    return Effects(rows.num_rows, SCALES.get(contributions.link, ""), moved, found)


def as_json(effects: Effects) -> str:
    """As JSON. A mean that there is not is null."""
    of_features = [
        {
            "feature": each.feature,
            "values": [*each.values],
            "means": {
                version: [None if np.isnan(mean) else mean for mean in means.tolist()]
                for version, means in each.means.items()
            },
            "of": each.of,
        }
        for each in effects.dependences
    ]
    kept = {"rows": effects.rows, "scale": effects.scale, "contributions": dict(effects.contributions)}
    return json.dumps({"format": FORMAT} | kept | {"dependences": of_features})


def from_json(text: str) -> Effects | None:
    """What `as_json` wrote; None of anything else."""
    try:
        kept = json.loads(text)
        if kept["format"] != FORMAT:
            return None
        return Effects(
            int(kept["rows"]),
            str(kept["scale"]),
            {str(name): float(value) for name, value in kept["contributions"].items()},
            [_dependence(each) for each in kept["dependences"]],
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _dependence(kept: Mapping[str, object]) -> Dependence:
    values, means = kept["values"], kept["means"]
    if not isinstance(values, list) or not isinstance(means, dict):
        raise TypeError("a dependence has values, and means of versions")
    of_versions = {str(version): np.array(each, dtype=np.float64) for version, each in means.items()}
    if any(each.shape != (len(values),) for each in of_versions.values()):
        raise ValueError("a dependence has a mean for every value")
    if all(isinstance(each, str) for each in values):
        return Dependence(str(kept["feature"]), tuple(map(str, values)), of_versions, str(kept["of"]))
    return Dependence(str(kept["feature"]), tuple(map(float, values)), of_versions, str(kept["of"]))
