"""Does something of that name exist? If not, the answer says what does."""

import typer
from rich.console import Console

console = Console(stderr=True)


def known_stream(name: str) -> None:
    """End the command unless a stream of this deployment has the name."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations

    streams = load(declarations(), render).streams
    if name not in streams:
        console.print(f"{name!r} is not a stream; streams here: {', '.join(streams) or 'none'}", style="red")
        raise typer.Exit(1)
