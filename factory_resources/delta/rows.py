"""How do rows reach a table: in which batches, counted by whom, and how many days of them in one commit?"""

import contextlib
import datetime as dt
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from factory_resources.delta.day_content import DayContent, count

#: Rows handed to the writer at a time.
BATCH_ROWS = 100_000
#: Rows and days of one commit of `replace_from`: the writer holds a file open for every day until the commit.
STRETCH_ROWS, STRETCH_DAYS = 1_000_000, 128


def stretches(days: Sequence[dt.date], rows: Mapping[dt.date, int]) -> Iterator[list[dt.date]]:
    """The days in order, as many together as a commit holds; a day by itself may be larger, and without rows takes no room."""
    stretch: list[dt.date] = []
    size = files = 0
    for day in days:
        if stretch and day in rows and (size + rows[day] > STRETCH_ROWS or files == STRETCH_DAYS):
            yield stretch
            stretch, size, files = [], 0, 0
        stretch.append(day)
        size, files = size + rows.get(day, 0), files + (day in rows)
    yield stretch


def one_after_the_other(readers: Sequence[pa.RecordBatchReader]) -> pa.RecordBatchReader:
    """The rows of one reader after the other, with the columns of all of them, in the type of the first that knows each."""
    fields: dict[str, pa.Field] = {}
    for each in (each for reader in readers for each in reader.schema):
        if each.name not in fields or pa.types.is_null(fields[each.name].type):
            fields[each.name] = each
    schema = pa.schema(list(fields.values()))
    batches = (_under(batch, schema) for reader in readers for batch in reader)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _under(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows under a schema that has all of their columns: of further ones they have no values."""
    own = set(batch.schema.names)
    columns = [
        batch[each.name].cast(each.type) if each.name in own else pa.nulls(batch.num_rows, each.type) for each in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class Prefetched(Iterator[pa.RecordBatch]):
    """Batches made and counted in a thread of their own, a few ahead of the writer.

    The writer asks for them from inside its own runtime, where nothing may use that runtime again: rows that are
    themselves read from the lake would panic there.
    """

    AHEAD = 3

    def __init__(self, reader: pa.RecordBatchReader, content: dict[dt.date, DayContent]):
        self._reader = reader
        self._content = content
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(self.AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="lake-rows", daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> "Prefetched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(0.01)

    def _make(self) -> None:
        try:
            for batch in self._reader:
                if self._stopped.is_set():
                    break
                self._queue.put(batch)
                count(batch, self._content)
        except BaseException as error:
            self.error = error
        self._queue.put(None)

    def __next__(self) -> pa.RecordBatch:
        batch = self._queue.get()
        if batch is not None:
            return batch
        self._queue.put(None)  # the end stays the end, however often it is asked for
        if self.error is not None:
            raise self.error
        raise StopIteration
