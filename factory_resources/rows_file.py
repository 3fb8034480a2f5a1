"""Where do rows wait that are more than memory holds? In a file that has no name, so it is gone with the process however that ends."""

import mmap
import tempfile

import pyarrow as pa


class RowsFile:
    """Rows of one schema: written one batch after the other, closed, and then read as often as is asked.

    >>> file = RowsFile(pa.schema([("id", pa.int64())]))
    >>> file.write(pa.table({"id": [1, 2]}))
    >>> file.close()
    >>> file.read()["id"].to_pylist()
    [1, 2]
    """

    def __init__(self, schema: pa.Schema):
        self.schema = schema
        # A table that was read holds the mapping, and this object the file.
        self._file = tempfile.TemporaryFile(prefix="factory-rows-")  # noqa: SIM115
        self._writer = pa.ipc.new_stream(self._file, schema)

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        self._writer.write(rows)

    def close(self) -> None:
        """End writing; from now on the rows can be read."""
        self._writer.close()
        self._file.flush()

    def read(self) -> pa.Table:
        """All rows, mapped for as long as one of them is in use: rows that are not looked at take no memory."""
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
