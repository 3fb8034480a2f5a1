"""`factory status`: how do all lines and nodes stand, and who has to do something? It computes nothing, and starts nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console, screen, styled
from factory_assets.words import brief, counted, figure

if TYPE_CHECKING:
    from factory_assets.pages.fleet import Stand
    from factory_assets.pages.lines import LineStand
    from factory_resources.records.issues import Issue

Folder = Annotated[Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")]
#: Nodes that are shown unless all are asked for: those that need somebody come first.
SHOWN = 30
STYLES = dict.fromkeys(("unanswered", "alarm", "blocked", "damaged"), "red") | dict.fromkeys(
    ("waits", "unwatched"), "yellow"
)


def status(
    folder: Folder = None,
    line: Annotated[str | None, typer.Option(help="One line; all of them if absent.")] = None,
    every: Annotated[bool, typer.Option("--all", help=f"All nodes; {SHOWN} if absent.")] = False,
    as_json: Json = False,
    page: Annotated[
        bool, typer.Option("--page", help="Write the page of all lines, too, and say where it is.")
    ] = False,
) -> None:
    """Show how all lines and nodes stand, those first that need somebody: who answers, since when, and what is amiss.

    Ends with 1 while a line is blocked, a node is without an answer, or a monitor alarms.
    """
    import os
    import warnings

    if folder is not None:
        os.environ["FACTORY_DEFS"] = str(folder.absolute())
    warnings.filterwarnings("ignore")
    from factory_assets.commands.deployed import deployed
    from factory_assets.commands.names import unknown
    from factory_assets.deployment import stores
    from factory_assets.governor.plan import plan
    from factory_assets.pages.lines import called_by, stands_of
    from factory_assets.pages.written import write_fleet

    with deployed() as deployment:
        catalogue = deployment.catalogue
        if line is not None and line not in catalogue.lines:
            unknown(line, "line", catalogue.lines)
        asked = [catalogue.resolve(each) for name, each in catalogue.lines.items() if line is None or name == line]
        every_line = [catalogue.resolve(each) for each in catalogue.lines.values()]
        called = called_by(plan(deployment.book()), every_line)
        lake, ledger, issues = deployment.lake, deployment.ledger, deployment.issues
        lines, nodes = stands_of(asked, called, lake, ledger, issues)
        where = write_fleet(every_line, called, lake, ledger, issues, stores()["reports"])[0].where if page else None
    if as_json:
        give({"lines": list(map(_line_item, lines)), "nodes": list(map(_node_item, nodes))})
    else:
        _show(lines, nodes, every)
    if where:
        (screen(stderr=True) if as_json else console).say(where)
    urgent = any(each.state == "blocked" for each in lines) or any(
        each.health in ("unanswered", "alarm") for each in nodes
    )
    raise typer.Exit(1 if urgent else 0)


def _line_item(stand: "LineStand") -> dict[str, Any]:
    return {
        "line": stand.line,
        "owner": stand.owner,
        "state": stand.state,
        "nodes": stand.nodes,
        "notices": [{"kind": each.kind, "message": str(each)} for each in stand.notices],
        "due": [{"what": what, "reason": reason} for what, reason in stand.due],
        "issues": [_issue_item(each) for each in stand.issues],
    }


def _issue_item(issue: "Issue") -> dict[str, Any]:
    return {
        "stream": issue.stream,
        "rule": issue.rule,
        "owner": issue.owner,
        "since": issue.since,
        "days": len(issue.days),
    }


def _node_item(stand: "Stand") -> dict[str, Any]:
    return asdict(stand)


def _show(lines: Sequence["LineStand"], nodes: Sequence["Stand"], every: bool) -> None:
    for stand in lines:
        console.say(
            styled((stand.line, "bold"), f" ({stand.owner})  ", (stand.summary, STYLES.get(stand.state, "green")))
        )
        for notice in stand.pressing:
            console.say(f"  {notice.kind}  {notice}", style="red")
    asked = [each for each in nodes if every or each.health != "well"]
    if asked:
        table = Table(title="\nnodes" if every else "\nnodes that need somebody", title_justify="left")
        for name in ("line", "node", "health", "since", "answers", "version", "metric", "value", "naive", "why"):
            right = name in ("value", "naive")
            table.add_column(name, no_wrap=name in ("node", "health", "since"), justify="right" if right else "left")
        for each in asked if every else asked[:SHOWN]:
            table.add_row(
                each.line,
                each.node,
                styled((each.health, STYLES.get(each.health, "green"))),
                str(each.since or "-"),
                "itself" if each.answers == each.node else (each.answers or "nobody"),
                brief(each.version),
                each.metric,
                figure(each.value),
                figure(each.naive),
                each.why,
            )
        console.print(table)
    if left := len(nodes) - (len(nodes) if every else len(asked[:SHOWN])):
        console.say(f"and {counted(left, 'node')} more, see --all")
    if not nodes:
        console.say("no node was decided on, or watched, yet")
