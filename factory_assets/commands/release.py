"""`factory champion`, `history`, `approve`, `rollback`: who answers for each node, since when and why; and what people say."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from factory_assets.commands.deployed import observe
from factory_assets.commands.names import unknown, you
from factory_assets.commands.screen import console

if TYPE_CHECKING:
    from factory_resources.ledger import Ledger

Line = Annotated[str, typer.Argument(help="Name of the line.")]
Segment = Annotated[str, typer.Argument(help="The node, such as global or FR/Lyon.")]
AnySegment = Annotated[str | None, typer.Argument(help="The node, such as global or FR/Lyon; all of them if absent.")]


def champion(
    line: Line,
    segment: AnySegment = None,
    at: Annotated[
        str | None, typer.Option(help="As it was at this time, such as 2026-04-18T09:30+02:00; UTC if it does not say.")
    ] = None,
) -> None:
    """Who answers for each node, since when, and who decided that and why."""
    from factory_assets.release.standing import standing

    moment = _moment(at) if at else None
    table = _table(("node", "answers", "version", "since", "verdict", "decided by", "why"))
    for each in standing(_ledger_with(line), line, moment, segment):
        if each.by is None:
            table.add_row(each.node, "nobody", "-", "-", "-", "-", "no champion had been decided")
            continue
        answers = "itself" if each.answers == each.node else str(each.answers)
        told = (each.node, answers, str(each.version), _time(each.by.decided_at), each.by.verdict)
        table.add_row(*told, each.by.decided_by, each.by.reason)
    console.print(table)


def history(line: Line, segment: AnySegment = None) -> None:
    """Every decision on a line, or on one of its nodes, oldest first: promotions, rollbacks, and what was not promoted."""
    table = _table(("decided at", "node", "as of", "verdict", "version", "champion after", "decided by", "why"))
    for made in _ledger_with(line).decisions(line, segment):
        named = (made.verdict, made.version or "-", made.champion or "an ancestor")
        table.add_row(_time(made.decided_at), made.segment, str(made.as_of), *named, made.decided_by, made.reason)
    console.print(table if table.row_count else f"nothing was decided about {segment!r} of {line}")


def approve(
    line: Line,
    segment: AnySegment = None,
    why: Annotated[str, typer.Option(help="The reason, for those who ask later.")] = "",
    by: Annotated[str, typer.Option(help="Who approves.", show_default="$FACTORY_USER, or you")] = "",
    version: Annotated[
        str | None, typer.Option(help="The version that is meant, by the beginning of its id; whichever waits.")
    ] = None,
) -> None:
    """Let a challenger that passed the gate answer, for every day that is still to be scored; without a node: what waits."""
    from factory_assets.deployment import resources
    from factory_assets.release.approval import ApprovalRefused, waiting
    from factory_assets.release.approval import approve as let_answer
    from factory_assets.release.jobs import observation
    from factory_resources.decisions import ChampionChanged

    ledger = _ledger_with(line)
    if segment is None:
        table = _table(("node", "version", "as of", "waits since", "champion now", "why"))
        for node, made in waiting(ledger, line).items():
            now = made.champion or "an ancestor"
            table.add_row(node, made.version, str(made.as_of), _time(made.decided_at), now, made.reason)
        console.print(table if table.row_count else f"no challenger of {line} waits for approval")
        return
    try:
        made = let_answer(ledger, resources()["lake"], line, segment, why, by or you(), version)
    except (ApprovalRefused, ChampionChanged) as refused:
        console.print(str(refused), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    told = f"{line} {segment}: {made.champion} answers for the days after {made.as_of}, approved by {made.decided_by}: {why}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    observe(observation([made]))


def rollback(
    line: Line,
    segment: Segment,
    why: Annotated[str, typer.Option(help="The reason, for those who ask later.")],
    by: Annotated[str, typer.Option(help="Who decides.", default_factory=you, show_default="$FACTORY_USER, or you")],
    to: Annotated[
        str | None,
        typer.Option(help="Version to answer instead, by the beginning of its id, or `ancestor`; who answered before."),
    ] = None,
) -> None:
    """Take a champion back: who answered before it answers again, for every day that is still to be scored.

    Days that were scored keep their predictions. The version taken back is not promoted again, the next challenger is
    judged against the one that answers now.
    """
    from factory_assets.deployment import resources
    from factory_assets.release.jobs import observation
    from factory_assets.release.rollback import RollbackRefused, roll_back
    from factory_resources.decisions import ChampionChanged

    ledger = _ledger_with(line)
    try:
        made = roll_back(ledger, resources()["lake"], line, segment, why, by, to)
    except (RollbackRefused, ChampionChanged) as refused:
        console.print(str(refused), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    last = made[-1]
    told = f"{line} {segment}: {last.champion or 'an ancestor'} answers instead of {last.version}"
    told += f" for the days after {made[0].as_of}, by {by}: {why}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    observe(observation(made))


def _ledger_with(line: str) -> "Ledger":
    """The ledger of this deployment; ends the command where it knows nothing of the line."""
    from factory_assets.deployment import resources

    ledger: Ledger = resources()["ledger"]
    known = ledger.lines()
    if line not in known:
        unknown(line, "line with decisions", known, several="lines with decisions")
    return ledger


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; give one such as 2026-04-18 or 2026-04-18T09:30+02:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _time(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"


def _table(columns: Sequence[str]) -> Table:
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != "why")
    return table
