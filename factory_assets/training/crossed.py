"""What would a version have become with another's rows, features or configuration? Fitted once more from records, and kept nowhere."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory_assets.measures.compared import metric_of
from factory_assets.training.dataset import labelled_by_node, window_of
from factory_assets.training.fit.fitting import Fitted, NotTrained, fit_node
from factory_assets.training.remake import NotRebuildable, before_of, declared_of, reading, require_recorded, span_of
from factory_assets.words import listed
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord

#: Fields of a line that say what is asked; versions that were asked different questions have no rows in common.
ASKED = ("task", "observe", "label")
#: Features that a message names.
NAMED = 3


@dataclass(frozen=True)
class Recipe:
    """Which version each part of a fit is taken from.

    data: node, days and rows, as they were known when that version was trained. features: which there are, and what they mean.
    configuration: candidates with their parameters, how one of them is chosen, the seed, and the version that is continued.
    """

    data: VersionRecord
    features: VersionRecord
    configuration: VersionRecord


class Crossed:
    """Fits versions once more, each part of any of them. Rows that were read are kept as long as this object is."""

    def __init__(self, lake: Lake, engine: Engine, ledger: Ledger, archive: ArchiveFolder):
        self._lake, self._engine, self._ledger, self._archive = lake, engine, ledger, archive
        self._read = dict[tuple[str, str], pa.Table]()

    def fit(self, recipe: Recipe, seed: int | None = None) -> Fitted:
        """The model of a recipe; of one version for all its parts the same as that version, by the code and libraries here.

        seed: another one than that of the configuration. Raises NotRebuildable, whose message says what is missing.
        """
        own = recipe.configuration
        for record in (recipe.data, recipe.features, own):
            require_recorded(record)
        made = own.configuration["recipe"] | ({} if seed is None else {"seed": seed})
        try:
            declared = declared_of(recipe.features, made)
        except ValueError as error:
            raise NotRebuildable(
                f"the configuration of {own.version} does not go with the features of {recipe.features.version}: {error}"
            ) from error
        rows, node = self._rows(recipe), recipe.data.node
        parents = before_of(own, self._ledger, self._archive).parents
        fitted = fit_node(declared.line, rows, declared.features, node, metric_of(declared), parents)
        if isinstance(fitted, NotTrained):
            raise NotRebuildable(f"{node} as of {recipe.data.as_of} is not trained so: {fitted.reason}")
        return fitted

    def _rows(self, recipe: Recipe) -> pa.Table:
        data, features = recipe.data, recipe.features
        own = self._of(data, data)
        if asked := [part for part in ASKED if _line(features).get(part) != _line(data).get(part)]:
            raise NotRebuildable(
                f"{data.version} and {features.version} are asked another question: {', '.join(asked)} was declared otherwise"
            )
        lacking = [name for name in features.configuration["features"] if not same_meaning(name, features, data)]
        if not lacking:
            return own
        rows = self._of(data, features)
        named = f"{listed(lacking, NAMED, 'feature')} of {features.version}"
        if not rows["example_id"].equals(own["example_id"]):
            raise NotRebuildable(
                f"{named} is known of {rows.num_rows:,} of the {own.num_rows:,} rows that {data.version} learnt from"
            )
        if absent := [name for name in lacking if own.num_rows and rows[name].null_count == rows.num_rows]:
            raise NotRebuildable(
                f"{listed(absent, NAMED, 'feature')} of {features.version} has no value in the rows that {data.version} learnt from"
            )
        return rows

    def _of(self, data: VersionRecord, examples: VersionRecord) -> pa.Table:
        """The rows of a version's training; examples: the version whose table has their features."""
        key = (data.version, examples.version)
        if key not in self._read:
            name = f"{data.line}/examples"
            tables = data.tables | {name: examples.tables[name]}
            with reading(tables), self._engine.connect() as con:
                of_nodes, _ = labelled_by_node(con, self._lake, data.line, window_of(span_of(data)), tables)
                self._read[key] = of_nodes.rows(data.node)
        return self._read[key]


def same_meaning(feature: str, a: VersionRecord, b: VersionRecord) -> bool:
    """Whether two versions have the feature, and mean the same by it."""
    return all(feature in each.configuration["features"] for each in (a, b)) and meaning(feature, a) == meaning(
        feature, b
    )


def meaning(feature: str, record: VersionRecord) -> dict[str, Any]:
    """All that a feature's values depend on in the definitions of a version, by canonical name; perhaps more than that."""
    kept = record.configuration["definitions"]
    computed = kept.get("on_demand", {})
    if feature in computed:
        # It may read any other, and any column of the event.
        return kept
    line = {"observe": kept["line"]["observe"], "snapshot": kept["line"].get("snapshot")}
    view, _, name = feature.rpartition(".")
    if not view:
        return line | _stream(kept, kept["line"]["observe"]["stream"], feature)
    declared = dict(kept["views"][view])
    features = declared.pop("features")
    own = features.get(name.rpartition("_")[0])
    # What is computed from others, and a flag, may depend on all of them.
    if own is not None and name not in declared.get("derive", {}):
        declared = {field: value for field, value in declared.items() if field not in ("windows", "derive", "flag")}
        features = {name: own}
    return line | {"view": declared, "features": features} | _stream(kept, declared["stream"])


def _stream(kept: dict[str, Any], name: str, column: str = "") -> dict[str, Any]:
    """What a stream's events are. column: the only one that counts; if absent, all that are not just there."""
    stream = kept["streams"][name]
    types = {column: stream["columns"].get(column)} if column else {}
    return {"stream": {field: value for field, value in stream.items() if field != "columns"} | {"columns": types}}


def _line(record: VersionRecord) -> dict[str, Any]:
    line: dict[str, Any] = record.configuration["definitions"]["line"]
    return line
