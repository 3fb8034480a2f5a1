"""Do rows come back from a file without a name, as often as asked, and is the file gone with whoever holds it?"""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from factory_resources.rows_file import RowsFile

ROWS = pa.table({"id": [1, 2, 3], "text": ["a", None, "c"]})


def open_files() -> int:
    """Files without a name that this process holds."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing itself was one
            found += str(each.readlink()).endswith("(deleted)")
    return found


def test_rows_come_back_in_order_as_often_as_asked_and_none_of_none() -> None:
    file = RowsFile(ROWS.schema)
    file.write(ROWS.slice(0, 2))
    file.write(ROWS.slice(2).to_batches()[0])
    file.close()
    assert file.read().equals(ROWS) and file.read().equals(ROWS)
    nothing = RowsFile(ROWS.schema)
    nothing.close()
    assert nothing.read().equals(ROWS.slice(0, 0))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell which files are open")
def test_a_table_outlives_the_file_and_nothing_is_left_of_both() -> None:
    before = open_files()
    file = RowsFile(ROWS.schema)
    file.write(ROWS)
    file.close()
    table = file.read()
    del file
    gc.collect()
    assert table.equals(ROWS)
    del table
    gc.collect()
    assert open_files() == before
