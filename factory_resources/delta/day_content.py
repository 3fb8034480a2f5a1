"""What does a day of a table hold? How many rows, and one number for all of their values."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_resources.delta.content import row_hashes

#: Column by which every table is partitioned: the day.
DS = "ds"


@dataclass(frozen=True)
class DayContent:
    """What one day of a table holds: how many rows, and a hash that depends on their values alone."""

    rows: int = 0
    digest: int = 0

    @property
    def hash(self) -> str:
        return f"{self.rows}-{self.digest:016x}"

    def __add__(self, other: "DayContent") -> "DayContent":
        # A sum of row hashes: the same rows give the same value in any order and any batching.
        return DayContent(self.rows + other.rows, (self.digest + other.digest) % 2**64)

    def beside(self, others: Iterable["DayContent"]) -> "DayContent":
        """The same rows with a hash that changes with those of other tables, too; without any in these, it is their own."""
        return DayContent(self.rows, (self.digest + sum(other.digest for other in others)) % 2**64)


def content_of(batch: pa.RecordBatch) -> DayContent:
    """What the rows hold together."""
    # A sum of unsigned numbers stays below 2^64 by itself, as that of contents does.
    return DayContent(batch.num_rows, int(row_hashes(batch).sum(dtype=np.uint64)))


def count(batch: pa.RecordBatch, content: dict[dt.date, DayContent]) -> None:
    """Add the rows of a batch to what their days hold. Raises ValueError for a row of another day."""
    encoded = batch.column(DS).dictionary_encode("encode")
    days, places = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    digests = np.zeros(len(days), np.uint64)
    np.add.at(digests, places, row_hashes(batch))
    for day, rows, digest in zip(days, np.bincount(places, minlength=len(days)), digests, strict=True):
        if day not in content:
            raise ValueError(f"a row of {day} among those that replace {min(content)} to {max(content)}")
        content[day] += DayContent(int(rows), int(digest))
