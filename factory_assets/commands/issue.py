"""`factory issue`: what is wrong with the data, who answers for it, and what was decided?"""

from typing import Annotated

import typer
from rich.table import Table

from factory_assets.commands.follow import follow
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console
from factory_assets.words import counted
from factory_resources.people import process_user, with_claim

app = typer.Typer(no_args_is_help=True, help="Data issues: rules that days break; open, accepted or fixed.")
Stream = Annotated[str, typer.Argument(help="Name of the stream.")]
Rule = Annotated[str, typer.Argument(help="Name of the rule, as `factory issue list` gives it.")]
Why = Annotated[str, typer.Option(help="The reason, for those who ask later.")]
#: Who decides is the user of the process: a name on the command line is anybody's.
By = Annotated[
    str,
    typer.Option(
        "--by",
        "--who",
        help="Who says that they decide; kept as a claim beside the process's user.",
        show_default=False,
    ),
]


@app.command("list")
def list_(
    stream: Annotated[str | None, typer.Argument(help="Name of the stream; all of them if absent.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Fixed ones as well.")] = False,
    as_json: Json = False,
) -> None:
    """Issues with their state, owner, days, and what was found on the newest day."""
    from factory_assets.commands.names import known_stream
    from factory_assets.deployment import stores

    book = stores()["issues"]
    if stream is not None and not book.issues(stream):
        known_stream(stream)
    issues = [issue for issue in book.issues(stream) if every or issue.state != "fixed"]
    if as_json:
        give([vars(issue) | {"state": issue.state} for issue in issues])
        return
    if not issues:
        console.print("no issues" if every else "no open issues")
        return
    table = Table(title=counted(len(issues), "issue"), title_justify="left")
    for column in ("stream", "rule", "state", "owner", "since", "days", "found", "decided"):
        table.add_column(column, overflow="fold")
    for issue in issues:
        last_finding = issue.days[max(issue.days)] if issue.days else ""
        decided = f"{issue.who}: {issue.why}" if issue.who else ""
        table.add_row(
            issue.stream,
            issue.rule,
            issue.state,
            issue.owner,
            str(issue.since),
            str(len(issue.days)),
            last_finding,
            decided,
        )
    console.print(table)


@app.command()
def accept(stream: Stream, rule: Rule, why: Why, by: By = "") -> None:
    """Let the days go on as they are: rows that break the rule stay aside, the rest become events at the next run."""
    _decide(stream, rule, "accepted", by, why)


@app.command()
def reopen(stream: Stream, rule: Rule, why: Why, by: By = "") -> None:
    """Take an acceptance back: days that break the rule are blocked again."""
    _decide(stream, rule, "open", by, why)


@app.command()
def fixed(stream: Stream, rule: Rule, why: Why, by: By = "") -> None:
    """Close an issue whose days will not be validated again. It opens by itself when another day breaks the rule."""
    _decide(stream, rule, "fixed", by, why)


def _decide(stream: str, rule: str, state: str, claim: str, why: str) -> None:
    from factory_assets.deployment import stores

    who = with_claim(process_user(), claim)
    try:
        stores()["issues"].decide(stream, rule, state, who, why)
    except (LookupError, ValueError) as error:
        console.say(str(error.args[0]), style="red")
        raise typer.Exit(1) from None
    console.say(f"{stream}: {rule!r} is {state}, by {who}: {why}")
    follow(stream=stream)
