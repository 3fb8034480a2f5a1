"""`factory retrain`: train nodes of a line now, whatever the plan says."""

import warnings
from typing import Annotated

import typer
from rich.table import Table

from factory_assets.commands.deployed import deployed
from factory_assets.commands.programs import STOPPED, refuse
from factory_assets.commands.screen import console
from factory_assets.words import brief
from factory_resources.people import process_user, with_claim
from factory_resources.stops import stoppable


def retrain(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    node: Annotated[
        list[str] | None, typer.Argument(help="Nodes, such as global or FR/Lyon; all that there are if absent.")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, which the run keeps for those who ask later.")] = "",
    by: Annotated[
        str, typer.Option(help="Who says that they ask; kept as a claim beside the process's user.", show_default=False)
    ] = "",
) -> None:
    """Train new challengers now, as of the newest day whose labels are in, and let the gate decide about them.

    It is the training that the plan would start later, in a run of its own. Ends with 1 where that fails.
    """
    warnings.filterwarnings("ignore")
    from factory_assets.governor.by_hand import Refused
    from factory_assets.governor.by_hand import retrain as retrained
    from factory_assets.governor.executor import Stopped

    with deployed() as deployment:
        try:
            with stoppable(), console.status(f"{line}: training; the log of its run says how far it is"):
                made = retrained(deployment, line, node or [], why, with_claim(process_user(), by))
        except Refused as refused:
            refuse(str(refused))
        except (Stopped, KeyboardInterrupt):
            refuse("stopped; what was made stays", code=STOPPED)
    table = Table(title=made.message, title_justify="left", title_style="bold")
    for column in ("node", "new version", "verdict", "why"):
        table.add_column(column, overflow="fold")
    for each in made.nodes:
        table.add_row(each.node, brief(each.version), each.verdict, each.why)
    console.print(table)
    for failure in made.failures:
        console.say(failure, style="red")
    raise typer.Exit(1 if made.failures else 0)
