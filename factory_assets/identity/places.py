"""Where do Dagster's pages put an asset, and what do they say of it first?

A group is a line, a stream, or the views of a stream. So a graph of fifty lines folds into fifty boxes that have a name, and a box
opens into one line. The station that makes an asset is a tag: `tag:"factory/station"="training"` selects that of all lines.
"""

#: Tag of an asset: the station that makes it.
STATION = "factory/station"


def station(name: str) -> dict[str, str]:
    """The tags of an asset that the station makes.

    >>> station("training")
    {'factory/station': 'training'}
    """
    return {STATION: name}


def views_group(stream: str) -> str:
    """Group of the views of a stream, and of what is served of them."""
    return f"{stream}_features"


def introduced(what: str, about: str) -> str:
    """A description whose first words say what the asset is; behind them `about`, the words of the declaration it is made for."""
    return f"{what}\n\n{about}"
