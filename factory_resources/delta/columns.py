"""Of which types are a table's columns: to Delta, to Arrow and to DuckDB, in files and in SQL?"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from deltalake import ColumnProperties, DeltaTable, Schema, WriterProperties
from deltalake.schema import ArrayType, StructType

#: Delta's type -> DuckDB's, where the names differ.
DUCKDB_TYPES = {
    "long": "BIGINT",
    "integer": "INTEGER",
    "short": "SMALLINT",
    "byte": "TINYINT",
    "double": "DOUBLE",
    "float": "FLOAT",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
}


def column_types(schema: Schema) -> dict[str, str]:
    """Column -> Delta's name of its type."""
    return {column.name: _type(column.type) for column in schema.fields}


def _type(delta: Any) -> str:
    if isinstance(delta, ArrayType):
        return f"array<{_type(delta.element_type)}>"
    if isinstance(delta, StructType):
        return f"struct<{', '.join(f'{part.name}: {_type(part.type)}' for part in delta.fields)}>"
    return str(getattr(delta, "type", delta))


def duckdb_type(delta: Any) -> str:
    if isinstance(delta, ArrayType):
        return f"{duckdb_type(delta.element_type)}[]"
    if isinstance(delta, StructType):
        return f"STRUCT({', '.join(f'{quoted(part.name)} {duckdb_type(part.type)}' for part in delta.fields)})"
    return DUCKDB_TYPES.get(_type(delta), _type(delta))


def changed_types(opened: DeltaTable | None, schema: pa.Schema) -> Mapping[str, tuple[str, str]]:
    """Columns that the table has as another type. The writer would cast to the table's, and 3.5 would become 3."""
    if opened is None:
        return {}
    old, new = column_types(opened.schema()), column_types(Schema.from_arrow(schema))
    return {name: (old[name], kind) for name, kind in new.items() if kind not in ("void", old.get(name, kind))}


def encoding(schema: pa.Schema) -> WriterProperties:
    """How files are encoded. To look each number up in a dictionary takes half the time of a write, and saves no bytes."""
    plain = ColumnProperties(dictionary_enabled=False)
    looked_up = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_nested)
    numbers = {column.name: plain for column in schema if not any(kind(column.type) for kind in looked_up)}
    return WriterProperties(compression="SNAPPY", column_properties=numbers)


def quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
