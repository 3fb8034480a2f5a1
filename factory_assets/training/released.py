"""What does the archive hold of a model, and how does a scorer get it back?

Beside the model's own parts: the manifest (what it predicts, from which features, trained on which days), profiles of
its training rows and of its predictions, and a sample of rows for a person to look at.
"""

import datetime as dt
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory_assets.declarations.line import Line
from factory_assets.measures.profiles import Profile, learn_design_effect, profile, profiles
from factory_assets.training import estimators
from factory_assets.training.fitting import Fitted
from factory_assets.training.matrix import Encoding, encode
from factory_assets.training.timeline import DAY, Timeline
from factory_resources.archive import Archive

PREDICTION = "prediction"
#: Rows kept of the training set to draw pictures from; verdicts use the profiles of all rows.
SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class ReleasedModel:
    """A model as it came out of the archive."""

    version: str
    manifest: dict[str, Any]
    parts: dict[str, bytes]

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding.from_dict(self.manifest["encoding"])

    @cached_property
    def _model(self) -> estimators.Model:
        return estimators.load(self.manifest["estimator"], self.parts)

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        return {name: Profile.from_dict(kept) for name, kept in self.manifest["profiles"].items()}

    @property
    def naive(self) -> float:
        """What one would predict without a model: the base rate, or the median."""
        return float(self.manifest["naive"])

    @property
    def features(self) -> tuple[str, ...]:
        return self.encoding.features

    @property
    def sample(self) -> pa.Table:
        return pq.read_table(io.BytesIO(self.parts["reference.parquet"]))

    def predict(self, rows: pa.Table) -> np.ndarray:
        """Predictions for rows with the model's features, shape (n,)."""
        return self._model.predict(encode(rows, self.encoding)) if rows.num_rows else np.empty(0)


def release(archive: Archive, line: Line, span: Timeline, fitted: Fitted, train: pa.Table, recent: pa.Table) -> str:
    """Store a fitted model; the version id that it gets is a hash of all that it is.

    recent: rows after the training window. The predictions on them are the reference for drift of predictions, since
        a model is surer of the rows that it has learnt by heart. Their labels are not looked at.
    """
    seen = recent if recent.num_rows else train
    predictions = fitted.model.predict(encode(seen, fitted.encoding))
    learnt = train.append_column(PREDICTION, pa.array(fitted.model.predict(encode(train, fitted.encoding))))
    reference = profiles(train, fitted.encoding.features) | profiles(pa.table({PREDICTION: predictions}), [PREDICTION])
    stretches = _stretches(learnt, span, line.monitor.window)
    chance = {
        # Of features the reference is of these very rows already.
        name: learn_design_effect(
            profile(learnt[name], name=name) if name == PREDICTION else kept, [part[name] for part in stretches]
        )
        for name, kept in reference.items()
    }
    reference = {name: replace(kept, design_effect=chance[name].design_effect) for name, kept in reference.items()}
    manifest = {
        "line": line.name,
        "segment": fitted.node,
        "task": line.task,
        "candidate": fitted.candidate,
        "estimator": fitted.estimator,
        "params": dict(fitted.params),
        "seed": line.seed,
        "encoding": fitted.encoding.to_dict(),
        "rows": fitted.rows,
        "naive": fitted.naive,
        "days": {
            name: str(getattr(span, name)) for name in ("as_of", "train_from", "train_to", "holdout_from", "holdout_to")
        },
        "profiles": {name: profile.to_dict() for name, profile in reference.items()},
    }
    return archive.store(
        line.name, manifest, {**fitted.model.parts(), "reference.parquet": _sample(seen, fitted, predictions)}
    )


def _stretches(rows: pa.Table, span: Timeline, length: dt.timedelta) -> list[pa.Table]:
    """Training rows cut into stretches as long as what drift is judged on, back from the newest day."""
    last, parts = span.train_to, []
    while last - length + DAY >= span.train_from:
        first = last - length + DAY
        inside = pc.and_(pc.greater_equal(rows["ds"], pa.scalar(first)), pc.less_equal(rows["ds"], pa.scalar(last)))
        parts.append(rows.filter(inside))
        last -= length
    return parts


def _sample(rows: pa.Table, fitted: Fitted, predictions: np.ndarray) -> bytes:
    columns = rows.select(list(fitted.encoding.features)).append_column(PREDICTION, pa.array(predictions))
    step = max(1, -(-columns.num_rows // SAMPLE_ROWS))
    target = io.BytesIO()
    pq.write_table(columns.take(pa.array(range(0, columns.num_rows, step))), target)
    return target.getvalue()


def load(archive: Archive, line: str, version: str) -> ReleasedModel:
    """A model from the archive, every part checked against its hash before any is parsed."""
    return ReleasedModel(version, *archive.load(line, version))


def load_all(archive: Archive, line: str, versions: Mapping[str, str]) -> dict[str, ReleasedModel]:
    """Node -> model, for node -> version."""
    return {node: load(archive, line, version) for node, version in versions.items()}
