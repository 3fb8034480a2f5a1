"""What is a model made from, in one id, and was it made already? Data count by content, not by the version of a table."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.definitions import definitions, recipe
from factory_assets.declarations.line import Line
from factory_assets.identity.code import code_of
from factory_assets.models.libraries import libraries
from factory_assets.training.dataset import NodeRows
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.ledger import VersionRecord


@dataclass(frozen=True)
class Made:
    """What a node's model is made from. data: hash of the rows read, by what they were read for.

    continues: candidate -> version that it may continue. judged: of a refit the version that was judged.
    """

    definitions: dict[str, Any]
    recipe: dict[str, Any]
    node: str
    days: dict[str, str]
    data: dict[str, str]
    code: str
    libraries: dict[str, str]
    continues: dict[str, str] = field(default_factory=dict)
    judged: str = ""

    @property
    def id(self) -> str:
        """64 hex digits; equal for two models that must come out equal."""
        # What is empty of these is left out: ids from before there were warm starts, and refits, stay as they were.
        later = ("continues", "judged")
        described = {name: value for name, value in vars(self).items() if name not in later or value}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def configuration(self) -> dict[str, Any]:
        """The entries of a version's configuration in the ledger; the days have columns of their own there."""
        kept = ("definitions", "recipe", "data", "code", "libraries")
        return {"made_from": self.id} | {name: getattr(self, name) for name in kept}


def made_of(
    declared: DeclaredLine,
    span: Timeline,
    node: str,
    line: Line,
    rows: NodeRows,
    continues: Mapping[str, str] = MappingProxyType({}),
    judged: str = "",
) -> Made:
    """What a node's model is made from.

    line: with the parameters that were found for the node. rows: the node's, in the order in which they are learnt from.
    continues: candidate -> version that it may continue. judged: of a refit the version that was judged.
    """
    data = {
        "train": content(rows.train, [*declared.features, "label", "ds"]),
        "recent": content(rows.recent, [*declared.features, "ds"]),
        "around": content(rows.around, [*declared.features, "ds"]),
        "labels": content(rows.labels, ["label", "ds"]),
    }
    days = span.to_dict()
    own = definitions(declared), recipe(line), node, days, data, code_of("model"), libraries()
    return Made(*own, dict(continues), judged)


def made_before(
    versions: Iterable[VersionRecord], archive: ArchiveFolder, made: Callable[[str], Made], nodes: Iterable[str]
) -> dict[str, VersionRecord]:
    """Node -> its newest version of these, where that was made from the same and is in the archive still.

    versions: in the order of registration. made: what a node would be made from now; asked only of nodes that have such a version.
    """
    newest = {version.node: version for version in versions}
    return {
        node: version
        for node in nodes
        if (version := newest.get(node))
        and version.archive_uri == archive.uri(version.line, version.version)
        and archive.exists(version.line, version.version)
        and version.configuration.get("made_from") == made(node).id
    }


def content(rows: pa.Table, columns: Sequence[str]) -> str:
    """A hash of the values of these columns in the order of the rows, however they lie in memory or in files."""
    digest = hashlib.sha256(f"{rows.num_rows}".encode())
    for name in columns:
        digest.update(f"\0{name}\0".encode())
        for buffer in _plain(rows[name]):
            digest.update(buffer)
    return digest.hexdigest()[:32]


def _plain(column: pa.ChunkedArray) -> Iterable[Any]:
    """Bytes that follow from the values alone: a null is NaN, or -1 among the places of texts in their alphabet."""
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        texts = column.cast(pa.large_string())
        alphabet = sorted(pc.unique(texts).drop_null().to_pylist())
        places = pc.index_in(texts, value_set=pa.array(alphabet, pa.large_string()))
        yield json.dumps(alphabet).encode()
        yield np.ascontiguousarray(pc.fill_null(places, -1).to_numpy())
        return
    if pa.types.is_date(kind):
        column = column.cast(pa.date32()).cast(pa.int32())
    # Unsafe as in the matrix that a model sees: an integer beyond 2**53 is rounded.
    numbers = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy()
    yield np.ascontiguousarray(np.where(np.isnan(numbers), np.nan, numbers))
