"""`factory due`: what has to be made, why, and after what? It starts nothing."""

import datetime as dt
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console

if TYPE_CHECKING:
    from factory_assets.governor.executor import Deployment
    from factory_assets.governor.work import Work

Folder = Annotated[Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")]
#: Where Dagster's own command finds the definitions.
DEFINITIONS = "factory_assets.definitions"


def due(
    folder: Folder = None,
    until: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day that counts.")] = None,
    as_json: Json = False,
) -> None:
    """List the work that is due, in order, with the reasons, and what is held back. Starts nothing.

    Ends with 1 while something is blocked, or failed on what is there now.
    """
    import os
    import warnings

    if folder is not None:
        os.environ["FACTORY_DEFS"] = str(folder.absolute())
    warnings.filterwarnings("ignore")
    from factory_assets.commands.deployed import deployed
    from factory_assets.governor.plan import plan

    with deployed() as deployment:
        planned = plan(deployment.book(until.date() if until else None))
        if as_json:
            work = [_item(deployment, each) for each in planned.work]
            notices = [{"kind": each.kind, "message": str(each)} for each in planned.notices]
            give({"work": work, "notices": notices})
        else:
            for each in planned.work:
                after = f"after {', '.join(each.after)}" if each.after else "ready"
                console.say(f"  {after:<9} {each.what}")
                console.print(f"            {each.reason}", style="dim", highlight=False, soft_wrap=True)
            for notice in planned.notices:
                style = "red" if notice.kind in ("blocked", "failed") else "dim"
                console.print(f"  {notice.kind:<9} {notice}", style=style, highlight=False, soft_wrap=True)
            if not planned.work:
                console.print("  nothing is due")
    raise typer.Exit(1 if planned.notices_of("blocked", "failed") else 0)


def _item(deployment: "Deployment", work: "Work") -> dict[str, Any]:
    item: dict[str, Any] = {"assets": list(work.assets), "reason": work.reason, "after": list(work.after)}
    if work.days:
        item |= {"first": str(work.days[0]), "last": str(work.days[-1])}
    if work.training:
        item |= {
            "as_of": str(work.training.as_of),
            "nodes": list(work.training.nodes),
            "trigger": work.training.trigger,
        }
    return item if work.after else item | {"command": command(deployment, work)}


def command(deployment: "Deployment", work: "Work") -> str:
    """The command of Dagster's that makes work: as a person, or CI, would type it."""
    from factory_assets.governor.executor import nodes_of
    from factory_assets.governor.runs import asked

    nodes = nodes_of(deployment, work)
    selected = ",".join(f"key:{name}" for name in work.assets)
    words = ["dagster", "asset", "materialize", "-m", DEFINITIONS, "--select", selected]
    if work.days:
        words += ["--partition-range", f"{work.days[0]}...{work.days[-1]}"]
    if nodes:
        words += ["--partition-range", f"{nodes[0]}...{nodes[-1]}"]
    if config := asked(work, nodes).config:
        words += ["--config-json", json.dumps(config)]
    return shlex.join(words)
