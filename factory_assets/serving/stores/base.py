"""What must a serving store be able to do? Take a snapshot, never an older one over a newer, and give its rows back."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import duckdb
import pyarrow as pa

from factory_assets.declarations.base import Declared
from factory_assets.declarations.expressions import identifier
from factory_resources.delta.day_content import DayContent

Kind = TypeVar("Kind", bound=Declared)
#: Name of a row's moment beside its features.
AS_OF = "as_of"


class StoreError(Exception):
    """A store cannot be reached, or refuses a snapshot; the message names it, and never its password."""


@dataclass(frozen=True)
class Snapshot:
    """The values of every entity at one moment, as a table `served` of a DuckDB connection.

    entity: its columns, one or several. columns: the entity's first, then the features': to boolean, integer, double,
        string, date, timestamp, timestamptz.
    as_of: the close of the day. table_version: of the lake's table that it was read from.
    """

    con: duckdb.DuckDBPyConnection
    view: str
    entity: tuple[str, ...]
    columns: dict[str, str]
    as_of: dt.datetime
    table_version: int
    content: DayContent

    @property
    def keys(self) -> dict[str, str]:
        """Columns of the entity, with their kinds."""
        return {name: self.columns[name] for name in self.entity}

    @property
    def features(self) -> list[str]:
        return list(self.columns)[len(self.entity) :]

    def batches(self, select: str, rows: int) -> Iterator[pa.RecordBatch]:
        """All rows, some expressions over them, at most so many at a time."""
        return iter(self.con.sql(f"SELECT {select} FROM served").to_arrow_reader(rows))

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """All rows, or so many: always the same ones of one snapshot, others of the next."""
        hashed = ", ".join(map(identifier, self.entity))
        chosen = f"ORDER BY hash({hashed}, {self.table_version})" if rows < self.content.rows else ""
        table: pa.Table = self.con.sql(f"SELECT * FROM served {chosen} LIMIT {rows}").to_arrow_table()
        return table.to_pylist()


@dataclass(frozen=True)
class Watermark:
    """Which snapshot a store holds in full."""

    as_of: dt.datetime
    table_version: int
    rows: int
    content_hash: str
    written_at: dt.datetime


@dataclass(frozen=True)
class Exported:
    """Counts of a write. written: rows touched, if only to say that they are newer. changed: rows that are new, or of other values."""

    rows: int
    written: int
    changed: int
    removed: int


class Store(ABC, Generic[Kind]):
    """A connection to one store. It may be kept: a server opens it once and reads as often as it is asked."""

    def __init__(self, declared: Kind, connection: Any):
        self.declared = declared
        self.connection = connection

    @classmethod
    @abstractmethod
    def opened(cls, declared: Kind) -> AbstractContextManager[Self]:
        """A connection until the end of the block. Raises StoreError."""

    @abstractmethod
    def write(self, snapshot: Snapshot) -> Exported:
        """Make the store hold this snapshot and nothing else of its view. Twice is the same as once.

        Raises StoreError where it holds a newer one, or what is not the factory's.
        """

    @abstractmethod
    def read(self, view: str, entities: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        """Entity -> its features by name, and `as_of`, of the entities that the store knows.

        entities: values; of a view with several keys tuples of them, in the order of the declaration. An entity without one
            of its keys is nobody. Raises StoreError, also for tuples that are none of the view's.
        """

    @abstractmethod
    def count(self, view: str) -> int:
        """How many entities of the view the store holds. Raises StoreError."""

    @abstractmethod
    def watermark(self, view: str) -> Watermark | None:
        """The last snapshot that was written in full, None where there is none. Raises StoreError."""


#: What the keys of an entity are in Python.
PYTHON: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "double": (float,),
    "string": (str,),
    "date": (dt.date,),
    "timestamp": (dt.datetime,),
    "timestamptz": (dt.datetime,),
}


def together(view: str, keys: Mapping[str, str], entities: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The entities of a view with several keys that somebody may be. keys: column -> kind.

    Raises StoreError for what is no tuple of such values: '1' is not 1, and a store that holds both as text must not take
    one for the other.
    """
    asked = []
    for entity in entities:
        fits = isinstance(entity, tuple) and len(entity) == len(keys)
        if not fits or not all(map(_is, entity, keys.values())):
            wanted = ", ".join(f"{name} ({kind})" for name, kind in keys.items())
            raise StoreError(f"{view} is asked for by tuples of {wanted}, in this order; found {entity!r}")
        asked += [entity] if None not in entity else []
    return asked


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool | dt.datetime) and type(value) not in PYTHON[kind]:
        return False  # to Python a yes is a number, and a moment is a date
    return value is None or isinstance(value, PYTHON[kind])


def refuse_older(snapshot: Snapshot, as_of: dt.datetime, table_version: int, remedy: str) -> None:
    """Raise StoreError where what a store holds is newer than the snapshot.

    Of two snapshots of one day, that of a later version of the lake's table is newer: the day was made again.
    """
    if (as_of, table_version) > (snapshot.as_of, snapshot.table_version):
        raise StoreError(
            f"holds {snapshot.view} as of {as_of:%Y-%m-%d %H:%M} from version {table_version} of its table, which is newer than "
            f"{snapshot.as_of:%Y-%m-%d %H:%M} from version {snapshot.table_version}; nothing is written. Where the table was "
            f"made anew and the older one is meant, {remedy} and export again"
        )
