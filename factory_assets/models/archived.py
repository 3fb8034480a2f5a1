"""What does the archive hold of a model, and how does a scorer get it back?

Beside the model's own parts: the manifest (what it predicts, from which features, trained on which days), profiles of
its training rows and of its predictions, the definitions of its features, and a sample of rows with their predictions: for
a person to look at, and to see whether another release of a library still scores as the one that it was made with.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.definitions import declared_from
from factory_assets.declarations.tasks import classes_of
from factory_assets.measures.habits import Habit
from factory_assets.measures.metrics import Guess, guessed
from factory_assets.measures.profiles import Profile
from factory_assets.measures.tables import (
    aligned,
    prediction_values,
)
from factory_assets.models import estimators, parquet_files
from factory_assets.models.contributions import Contributions
from factory_assets.models.libraries import libraries
from factory_assets.models.matrix import Encoding, encode
from factory_resources.archive_folder import VERSION, ArchiveFolder
from factory_resources.bounded_json import parsed

#: Rows kept of the training set to draw pictures from; verdicts use the profiles of all rows.
SAMPLE_ROWS = 1000
#: What an archive has to say of what its model means.
MEANT = ("line", "views", "streams")
#: Two scores are the same up to the last bits, in which the exponential functions of two releases may differ.
SAME_SCORE = 1e-12


class ModelRefused(Exception):
    """An archived model that is whole and cannot be used here; the message says why, and what helps."""


@dataclass(frozen=True)
class ReleasedModel:
    """A model that was read from the archive."""

    version: str
    manifest: dict[str, Any]
    parts: dict[str, bytes]
    attachments: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding.from_dict(self.manifest["encoding"])

    @cached_property
    def _model(self) -> estimators.Model:
        return estimators.load(self.manifest["estimator"], self.parts)

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        return {name: Profile.from_dict(kept) for name, kept in self.manifest["profiles"].items()}

    @cached_property
    def habits(self) -> dict[str, Habit]:
        """Column -> how far its weeks lie from the profile; none of a model that an earlier release made."""
        return {name: Habit.from_dict(kept) for name, kept in self.manifest.get("habits", {}).items()}

    @property
    def unlearnt_from(self) -> dt.date:
        """The first day whose labels it has not learnt from: that of the holdout after its training."""
        return dt.date.fromisoformat(self.manifest["days"]["holdout_from"])

    @property
    def task(self) -> str:
        """The line's task, as it was declared when the model was made."""
        return str(self.manifest.get("task", ""))

    def naive(self, rows: int, task: str) -> np.ndarray:
        """Predictions without a model: base rate, median, mean count, quantile or class shares; shapes as of `predict`."""
        guess: Guess = self.manifest["naive"]
        return aligned(self.task, guessed(guess, rows), task)

    @property
    def features(self) -> tuple[str, ...]:
        return self.encoding.features

    @cached_property
    def declared(self) -> DeclaredLine:
        """The line's features by canonical name, with the views and streams that they are made of, as of the training.

        What `features.online.Online` computes a request's features from. Raises ValueError for definitions that no
        declaration could hold.
        """
        return declared_from(self._definitions)

    @cached_property
    def _definitions(self) -> dict[str, Any]:
        """Raises ValueError where they say nothing: nobody could tell what the model is asked, or of what."""
        kept = _json(self.parts, "definitions.json")
        absent = [name for name in MEANT if not isinstance(kept, dict) or not isinstance(kept.get(name), dict)]
        if absent or not kept["line"] or not kept["streams"]:
            found = f"they hold {', '.join(kept) or 'nothing'}" if isinstance(kept, dict) else f"they are {kept!r:.50}"
            raise ValueError(f"definitions.json does not tell the model's {', '.join(MEANT)}: {found}")
        return kept

    @property
    def answered(self) -> dict[str, str]:
        """Node -> version of its champion when the model was made: the node and its ancestors, as far as they had one."""
        return dict(self._provenance.get("answered", {}))

    @property
    def libraries(self) -> dict[str, str]:
        """Library -> version with which the model was made."""
        return dict(self._provenance.get("libraries", {}))

    @cached_property
    def _provenance(self) -> dict[str, Any]:
        return dict(_json({"provenance.json": b"{}"} | self.attachments, "provenance.json"))

    @property
    def sample(self) -> pa.Table:
        """Rows of the training set with their predictions. Raises ValueError for a file that would not fit in memory."""
        return parquet_files.read(self.parts["reference.parquet"], "reference.parquet", SAMPLE_ROWS)

    def predict(self, rows: pa.Table, task: str | None = None) -> np.ndarray:
        """Predictions for rows with the model's features, shape (n,); for k classes their probabilities, (n, k).

        task: the line's task, whose classes may have changed since the model was made; if absent, the model's own.
        """
        if not rows.num_rows:
            return np.empty((0, len(classes))) if (classes := classes_of(task or self.task)) else np.empty(0)
        return self.predict_encoded(encode(rows, self.encoding), task)

    def predict_encoded(self, matrix: np.ndarray, task: str | None = None) -> np.ndarray:
        """As `predict`, for rows that `matrix.encode` made a matrix of; one row at least."""
        predictions = self._model.predict(matrix)
        return predictions if task is None else aligned(self.task, predictions, task)

    def contributions(self, rows: pa.Table) -> Contributions | None:
        """What each of `features` adds to the scores of the rows, one at least; None of an estimator that cannot tell."""
        known = encode(self.sample, self.encoding)
        return self._model.contributions(encode(rows, self.encoding), known)

    def predict_one(self, features: Mapping[str, Any]) -> float | dict[str, float]:
        """The prediction for one observation, or class -> probability.

        features: canonical name -> value, None where it is missing; further names are ignored.
        Raises KeyError, or ValueError, that names the feature which is absent, or is not what it was in training.
        """
        absent = [name for name in self.features if name not in features]
        if absent:
            raise KeyError(f"no value for {', '.join(absent)}")
        row = pa.table({name: _column(name, features[name]) for name in self.features})
        (prediction,) = self.predict(row).tolist()
        classes = classes_of(self.task)
        return dict(zip(classes, prediction, strict=True)) if classes else float(prediction)

    def require_usable(self) -> None:
        """Raise ModelRefused for a model that cannot be read here, or that scores otherwise than where it was made."""
        other = dict[str, tuple[str, str]]()
        try:
            other = changed_libraries(self.libraries)
            assert self._definitions and self._model is not None
            rows = self.sample if other or not self.libraries else None
            scored = None if rows is None else self.predict(rows)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            MemoryError,
            pa.ArrowException,
        ) as error:
            raise ModelRefused(f"version {self.version} cannot be read{_made_with(other)}: {error!r:.500}") from error
        if rows is None or scored is None:
            return
        kept = prediction_values(self.task, rows)
        differ = ~np.isclose(scored, kept, rtol=SAME_SCORE, atol=SAME_SCORE).reshape(len(kept), -1).all(axis=1)
        if differ.any():
            raise ModelRefused(
                f"version {self.version} scores {differ.sum()} of {len(kept)} archived rows otherwise than it did, by up to "
                f"{np.max(np.abs(scored - kept)):.3g}{_made_with(other)}. Install those, or train the version anew"
            )


def _column(name: str, value: Any) -> pa.Array:
    """A column of one value. Raises ValueError for one that no column can hold."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # A matrix rounds integers in any case.
        value = float(value) if abs(value) < 2**1023 else math.inf if value > 0 else -math.inf
    try:
        return pa.array([value])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"feature {name!r} is {value!a:.50}, which is no value of a column: {error}") from error


def changed_libraries(then: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Library -> its version then and now, of those that are no longer of the same minor version."""
    now = libraries()
    return {
        name: (version, now[name])
        for name, version in then.items()
        if name in now and version.split(".")[:2] != now[name].split(".")[:2]
    }


def _made_with(other: Mapping[str, tuple[str, str]]) -> str:
    """The end of a sentence that names the other libraries; empty where there are none."""
    names = ", ".join(f"{name} {then} ({now} here)" for name, (then, now) in sorted(other.items()))
    return f"; it was made with {names}" if names else ""


def _json(files: Mapping[str, bytes], name: str) -> Any:
    try:
        return parsed(files[name])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def load(archive: ArchiveFolder | str, line: str, version: str, ledger: str | None = None) -> ReleasedModel:
    """A model from the archive, every part checked against its hash before any is parsed.

    archive: the archive, or its root: a local path or an fsspec URI. Needs no Dagster, no ledger and no lake.
    version: its id; with a ledger also the beginning of it, its UUID, or a tag: `@stable`, `FR/Lyon@champion`.
    ledger: SQLAlchemy URL of the ledger, asked at each call.
    Raises FileNotFoundError where there is no such version, or no such file of a ledger, LookupError where the ledger has
    none, ArchiveDamaged for one that is not as it was stored, and ModelRefused for one that cannot be used with the
    libraries that are installed here.

    >>> model = load("LAKE/archive", "greeted", "Lyon@champion", ledger="sqlite:///LAKE/ledger.db")
    >>> model.task, len(model.version)
    ('binary', 16)
    >>> 0 <= model.predict_one(model.sample.select(model.features).to_pylist()[0]) <= 1
    True
    """
    folder = ArchiveFolder(archive) if isinstance(archive, str) else archive
    if ledger is not None:
        version = _found(ledger, line, version)
    elif not VERSION.fullmatch(version):
        raise ValueError(
            f"version {version!r} is no id of 16 hex digits; what a tag or UUID names is told by the ledger=…"
        )
    model = ReleasedModel(version, *folder.load(line, version))
    model.require_usable()
    return model


def naive_of(archive: ArchiveFolder, line: str, version: str, task: str) -> np.ndarray:
    """The prediction for a row without a model: as `ReleasedModel.naive`, read from the manifest alone."""
    return ReleasedModel(version, archive.manifest(line, version), {}).naive(1, task)


def _found(url: str, line: str, named: str) -> str:
    # A program that names versions by their ids needs none of these.
    from sqlalchemy import make_url

    from factory_assets.models.names import find
    from factory_resources.ledger import Ledger

    file = make_url(url).database
    if url.startswith("sqlite") and not Path(file or "").is_file():
        # SQLite would make the file that is not there, and answer from it.
        raise FileNotFoundError(f"the ledger {file} is no file")
    ledger = Ledger(url=url)
    try:
        return find(ledger, named, line).version
    finally:
        ledger.close()


def load_all(archive: ArchiveFolder | str, line: str, versions: Mapping[str, str]) -> dict[str, ReleasedModel]:
    """Node -> model, for node -> version."""
    return {node: load(archive, line, version) for node, version in versions.items()}
