"""Does something of that name exist? If not, the answer says what does."""

from collections.abc import Iterable
from typing import NoReturn

import typer

from factory_assets.commands.screen import screen

console = screen(stderr=True)


def unknown(name: str, kind: str, names: Iterable[str], several: str = "") -> NoReturn:
    """End the command: nothing of this kind has the name. names: those that there are. several: the plural, if not with an s."""
    message = f"{name!r} is not a {kind}; {several or f'{kind}s'} here: {', '.join(names) or 'none'}"
    console.say(message, style="red")
    raise typer.Exit(1)


def known_stream(name: str) -> None:
    """End the command unless a stream of this deployment has the name."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations

    streams = load(declarations(), render).streams
    if name not in streams:
        unknown(name, "stream", streams)
