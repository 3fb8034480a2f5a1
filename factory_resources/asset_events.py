"""What does the event log say of an asset's partitions, without reading their events? Tags by index, and whether there is more.

Dagster 1.13 looks a partition's data version up by index; whatever else an event says is read with the event itself, which for
a year of some dozens of assets takes seconds.
"""

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import EventLogStorage, SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.event_log.schema import AssetKeyTable

#: Tag of a materialisation: the stamp of what it was made from.
INPUTS = "factory/inputs"


class IndexedInputs(EventLogStorage):
    """An event log that also answers by index what partitions were made from: of events that it has written itself."""

    def get_asset_tags_to_index(self, tag_keys: set[str]) -> set[str]:
        return super().get_asset_tags_to_index(tag_keys) | (tag_keys & {INPUTS})


def mark(storage: EventLogStorage, key: dg.AssetKey) -> object:
    """Changes with every materialisation of the asset that comes, or is deleted or wiped; None where the log cannot tell.

    Not the newest number alone: a run may be deleted, and PostgreSQL gives numbers in another order than it shows events.
    """
    if not isinstance(storage, SqlEventLogStorage):
        return None
    events, assets = SqlEventLogStorageTable.c, AssetKeyTable.c
    made = sa.select(sa.func.max(events.id), sa.func.count()).where(
        events.asset_key == key.to_string(),
        events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value,
    )
    wiped = sa.select(assets.wipe_timestamp, assets.asset_details).where(assets.asset_key == key.to_string())
    with storage.index_connection() as connection:
        return tuple(connection.execute(made).one()), *map(tuple, connection.execute(wiped))
