"""`factory mirror`: the ledger, copied to an MLflow tracking server."""

from typing import Annotated

import typer

from factory_assets.commands.screen import console, screen
from factory_assets.words import counted


def mirror(
    line: Annotated[str | None, typer.Argument(help="Name of the line; all of them if absent.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Address of the server, such as http://host:5000; $FACTORY_MLFLOW if absent.")
    ] = None,
) -> None:
    """Bring an MLflow server up to date with the ledger: versions, parameters, metrics, and who is champion.

    Ends with 1 where the server does not answer. Nothing else changes then; the next mirror makes up for it.
    """
    from factory_assets.commands.names import unknown
    from factory_assets.deployment import stores
    from factory_resources.mlflow_mirror import MirrorFailed, MlflowMirror

    resources = stores()
    lines = resources["ledger"].lines()
    if line is not None and line not in lines:
        unknown(line, "line with decisions", lines, several="lines with decisions")
    server = resources["mirror"] if to is None else MlflowMirror(uri=to)
    try:
        for mirrored in server.bring_up_to_date(resources["ledger"], [line] if line else lines):
            counts = counted(mirrored.runs, "run"), counted(mirrored.versions, "version")
            new = ", ".join([*counts, counted(mirrored.aliases, "alias", "aliases")])
            console.say(f"{mirrored.line}: {new} written to {server.address}")
    except MirrorFailed as failed:
        screen(stderr=True).say(str(failed), style="red")
        raise typer.Exit(1) from None
    if not lines:
        console.print("nothing was decided about any line yet: there is nothing to mirror")
