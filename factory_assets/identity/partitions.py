"""Which partitions do assets have, and which days of a stream do they read? Days of streams, nodes of lines.

Of this room it alone knows Dagster.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Sequence

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine, DeclaredStream
from factory_assets.identity.nodes import admitted, path_of


def partitions(declared: DeclaredStream) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, from the stream's start to its end, or to yesterday."""
    end = declared.stream.end
    return dg.DailyPartitionsDefinition(
        start_date=str(declared.stream.start), end_date=str(end + dt.timedelta(days=1)) if end else None
    )


def segment_partitions(line: str) -> dg.DynamicPartitionsDefinition:
    """The nodes of a line's segment tree; `examples` adds those that it sees."""
    return dg.DynamicPartitionsDefinition(name=f"{line}_segments")


def window_of(stream: str, before: int, after: int = 0) -> dg.AssetDep:
    """A dependency on a stream's events from `before` days ago to `after` days ahead."""
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=before, end_offset=after, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(dg.AssetKey([stream, "events"]), partition_mapping=mapping)


def add_nodes(instance: dg.DagsterInstance, declared: DeclaredLine, nodes: Collection[str]) -> list[str]:
    """Make partitions of the nodes as far as segments.max_nodes allows; the nodes for which there is no room."""
    name = segment_partitions(declared.line.name).name
    joined, refused = admitted(nodes, instance.get_dynamic_partitions(str(name)), declared.line.segments.max_nodes)
    # Written in order of the tree: a range of segment keys follows the order in which they were added.
    instance.add_dynamic_partitions(str(name), joined)
    return refused


def without_room(declared: DeclaredLine, refused: Sequence[str]) -> str:
    """The message about nodes for which there is no room."""
    segments = declared.line.segments
    by_level = Counter(segments.levels[len(path_of(node)) - 1] for node in refused)
    new_keys = ", ".join(f"{count} new keys of {level}" for level, count in by_level.items())
    return (
        f"{declared.line.name}: {new_keys} do not fit into segments.max_nodes {segments.max_nodes}, such as {refused[0]!r}; the nodes "
        "above answer for them. Is the level an id? If they are meant, raise segments.max_nodes"
    )
