"""Models of an archive, each fitted on the same few rows of numbers, categories, and what is missing among them."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.definitions import definitions
from factory_assets.measures.tables import prediction_columns, with_columns
from factory_assets.models import estimators
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.libraries import libraries
from factory_assets.models.matrix import encode, learn_encoding
from factory_assets.training.archiving import _sample
from factory_resources.archive_folder import ArchiveFolder
from tests.features.lines import OF_EVENTS, declared_line

LINE, ROWS = "eta", 400
TASKS = ("binary", "regression", "count", "quantile(0.9)", "multiclass(red, green, blue)")
#: Small ones.
PARAMS: dict[str, dict[str, Any]] = {
    "lightgbm": {"num_boost_round": 5},
    "hist_gradient_boosting": {"max_iter": 5},
    "random_forest": {"n_estimators": 5},
}


def rows() -> pa.Table:
    """A large number and one that is small, a whole one, a yes or no, and two categories, of which one is missing at times."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "amount": rng.normal(size=ROWS),
            "share": rng.normal(size=ROWS) * 1e-3,
            "items": rng.integers(0, 9, ROWS),
            "night": rng.random(ROWS) < 0.5,
            "city": [["Lyon", "Paris", None][each] for each in rng.integers(0, 3, ROWS)],
            "channel": [["app", "web"][each] for each in rng.integers(0, 2, ROWS)],
        }
    )


def model(estimator: str, task: str, params: dict[str, Any] | None = None) -> ReleasedModel:
    """As the archive would give it back."""
    table = rows()
    encoding = learn_encoding(table, table.column_names)
    x = encode(table, encoding)
    signal = x[:, 0] + 500 * x[:, 1] + (x[:, 4] == 1)
    labels = {"binary": (signal > 1) * 1.0, "count": np.floor(np.exp(np.clip(signal, -3, 3)))}
    labels["multiclass(red, green, blue)"] = np.digitize(signal, (0.0, 1.5)) * 1.0
    y = labels.get(task, signal)
    given = PARAMS.get(estimator, {}) if params is None else params
    fitted = estimators.fit(estimator, x, y, task=task, categorical=encoding.categorical, params=given, seed=1)
    sample = with_columns(table, prediction_columns(task, fitted.predict(x)))
    manifest = {"line": LINE, "task": task, "estimator": estimator, "encoding": encoding.to_dict()}
    parts = fitted.parts() | {
        "reference.parquet": _sample(sample),
        "definitions.json": json.dumps(definitions(declared_line(**OF_EVENTS))).encode(),
    }
    provenance = json.dumps({"libraries": libraries()}).encode()
    return ReleasedModel("0" * 16, manifest, parts, {"provenance.json": provenance})


def stored(archive: ArchiveFolder, model: ReleasedModel, **changed: bytes) -> str:
    """Its version in an archive. changed: parts in place of its own, with _ for the dot of their names."""
    parts = model.parts | {name.replace("_", ".", 1): content for name, content in changed.items()}
    return archive.store(LINE, model.manifest, parts, model.attachments)
