"""How does a computation read the tables of the lake, all days of one as of the same version?"""

import datetime as dt

import duckdb

from factory_assets.features.point_in_time.history import Load
from factory_resources.lake import Lake


def loader(lake: Lake, con: duckdb.DuckDBPyConnection) -> Load:
    """A `Load` that reads a table as of the same version every time: the version of the first time."""
    versions: dict[str, int | None] = {}

    def load(name: str, table: str, first: dt.date, last: dt.date) -> None:
        versions[table] = lake.view(con, name, table, first, last, versions.get(table), empty_if_absent=True)

    return load
