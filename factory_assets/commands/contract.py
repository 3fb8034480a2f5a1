"""`factory contract`: propose a contract from data, and see what a change of one means before it is made."""

import typer

app = typer.Typer(no_args_is_help=True, help="Propose contracts, and see what a change of one means.")


@app.callback()
def contracts() -> None:
    """Propose contracts, and see what a change of one means."""
