"""Does something of that name exist? If not, the answer says what does."""

from collections.abc import Iterable
from typing import NoReturn

from factory_assets.commands.programs import refuse


def unknown(name: str, kind: str, names: Iterable[str], several: str = "") -> NoReturn:
    """End the command: nothing of this kind has the name. names: those that there are. several: the plural, if not with an s."""
    refuse(f"{name!r} is not a {kind}; {several or f'{kind}s'} here: {', '.join(names) or 'none'}")


def known_stream(name: str) -> None:
    """End the command unless a stream of this deployment has the name."""
    from factory_assets.commands.deployed import catalogue_of

    streams = catalogue_of(None).streams
    if name not in streams:
        unknown(name, "stream", streams)
