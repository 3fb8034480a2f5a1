"""How does the event log find by an index what a day was made from? By one more tag that Dagster's storages are told to index."""

from dagster._core.storage.event_log import EventLogStorage

from factory_resources.dagster_private.reading import INPUTS
from factory_resources.dagster_private.versions import require

require(EventLogStorage.get_asset_tags_to_index, "tag_keys")


class IndexedInputs(EventLogStorage):
    """An event log that also answers by index what partitions were made from: of events that it has written itself."""

    def get_asset_tags_to_index(self, tag_keys: set[str]) -> set[str]:
        return super().get_asset_tags_to_index(tag_keys) | (tag_keys & {INPUTS})
