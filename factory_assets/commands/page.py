"""`factory page`: the page of a line, written now."""

import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from factory_assets.commands.screen import console


def page(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")
    ] = None,
) -> None:
    """Write the page of a line as it stands now, and say where it is. Nothing is computed, and no run is started."""
    if folder is not None:
        os.environ["FACTORY_DEFS"] = str(folder.absolute())
    warnings.filterwarnings("ignore")
    from factory_assets.commands.deployed import deployed
    from factory_assets.commands.follow import written
    from factory_assets.commands.names import unknown

    with deployed() as deployment:
        if line not in deployment.catalogue.lines:
            unknown(line, "line", deployment.catalogue.lines)
        for where in written(deployment, [line]):
            console.say(where)
