"""Does a skops file hold a linear model and nothing else, so that it may be read? Files that are equal byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from factory_assets.models.arrays import require_plain, zipped
from factory_resources.bounded_json import parsed

#: All that the skops file of a linear model may name, whatever skops itself would trust: its readers and their types.
LOADERS = frozenset(
    {"ObjectNode", "DictNode", "ListNode", "TupleNode", "SliceNode", "JsonNode", "TypeNode", "DTypeNode", "NdArrayNode"}
)
TYPES = frozenset(
    {
        *("builtins.dict", "builtins.list", "builtins.tuple", "builtins.slice", "builtins.str", "builtins.int"),
        *("numpy.ndarray", "numpy.dtype", "numpy.float64", "numpy.int64"),
        "sklearn.pipeline.Pipeline",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
    }
)
#: Equal arrays of a model are one file. Those that are equal by more than chance, such as empty ones, are small.
COPIES = 16 * 2**20


def read(content: bytes) -> Any:
    """The object in a skops file, if all that it names is on our own list; skops' default list is far longer."""
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            require_plain(archive, len(content), but="schema.json")
            found = list(nodes(_schema(archive)))
            _require_few_copies(archive, found)
        named = [(node["__loader__"], f"{node['__module__']}.{node['__class__']}") for node in found]
        refused = sorted({name for loader, name in named if loader not in LOADERS or name not in TYPES})
        if refused:
            raise ValueError(f"it names {', '.join(refused)}; allowed: {', '.join(sorted(TYPES))}")
        return skops.io.loads(content, trusted=sorted(TYPES))
    except (zipfile.BadZipFile, EOFError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"model.skops is refused: {error}") from error


def _require_few_copies(archive: zipfile.ZipFile, found: Sequence[dict[str, Any]]) -> None:
    """Refuse a schema in which many nodes are made of one file: skops reads it again for each of them."""
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    copied = sum(sizes[node["file"]] for node in found if "file" in node)
    if copied > (most := sum(sizes.values()) + COPIES):
        raise ValueError(f"its nodes would copy arrays of {copied} bytes; allowed are {most}")


def canonical(content: bytes) -> bytes:
    """The same skops file without what differs between two dumps of one object: memory addresses and the time.

    skops numbers its nodes by the address of their object and names a file after its node. Here each node has its
    place in the schema, and each file the hash of its content. Nodes that shared an object no longer do, for whether
    two equal strings are one object depends on where they were read from, and every node is written in full anyway.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = _schema(archive)
        files = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    names = {name: f"{hashlib.sha256(data).hexdigest()[:16]}.npy" for name, data in files.items()}
    for place, node in enumerate(nodes(schema), start=1):
        node["__id__"] = place
        if "file" in node:
            node["file"] = names[node["file"]]
    out = {names[name]: data for name, data in files.items()}
    out["schema.json"] = json.dumps(schema, separators=(",", ":")).encode()
    return zipped(out)


def _schema(archive: zipfile.ZipFile) -> Any:
    return parsed(archive.read("schema.json"))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of a skops schema in document order: skops builds only what says its loader."""
    if isinstance(value, dict):
        if isinstance(value.get("__loader__"), str):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from nodes(child)
