"""`factory champion`, `history`, `approve`, `rollback`, `tag`, `tags`: who answers for each node, since when and why; and
what people decide about a version and name it.
"""

import datetime as dt
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import show_decision
from factory_assets.commands.follow import follow
from factory_assets.commands.names import known_node, unknown
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console
from factory_assets.words import brief
from factory_resources.people import process_user

if TYPE_CHECKING:
    from factory_assets.release.standing import Answer
    from factory_resources.ledger import Decision, Ledger

Line = Annotated[str, typer.Argument(help="Name of the line.")]
Node = Annotated[str, typer.Argument(help="The node, such as global or FR/Lyon.")]
At = Annotated[
    str | None, typer.Option(help="As it was at this time, such as 2026-04-18T09:30+02:00; UTC if it does not say.")
]
#: Who decides is the user of the process: a name on the command line is anybody's.
Claim = Annotated[
    str, typer.Option(help="Who says that they decide; kept as a claim beside the process's user.", show_default=False)
]
Why = Annotated[str, typer.Option(help="The reason, for those who ask later.")]
#: In place of a node's champion: an ancestor answers, if one has a champion.
NO_OWN = "none of its own"
AnyNode = Annotated[str | None, typer.Argument(help="The node, such as global or FR/Lyon; all of them if absent.")]


def champion(line: Line, node: AnyNode = None, at: At = None, as_json: Json = False) -> None:
    """Who answers for each node, since when, and who decided that and why; of one node also its UUID and tags."""
    from factory_assets.release.pairs import before
    from factory_assets.release.standing import standing

    ledger, moment = _ledger_with(line), _moment(at) if at else None
    if node is not None:
        known_node(ledger, line, node)
    standings = standing(ledger, line, moment, node)
    if as_json:
        give(list(map(_answer, standings)))
        return
    table = _table(("node", "answers", "version", "since", "verdict", "decided by", "why"))
    for each in standings:
        if each.by is None:
            verdict, why = (each.own.verdict, each.own.reason) if each.own else ("-", "no champion had been decided")
            table.add_row(each.node, "nobody", "-", "-", verdict, "-", why)
            continue
        answers = "itself" if each.answers == each.node else str(each.answers)
        verdict, who, why = each.by.verdict, each.by.who, each.by.reason
        # A decision on the node itself is told as its own; then it is told how the version that answers became champion.
        because = each.crowned if each.by.node == each.node else each.by
        if each.answers != each.node and because:
            # What was decided about the node is one thing, why its ancestor answers another.
            verdict, who, own = (
                (each.own.verdict, each.own.who, each.own.reason)
                if each.own
                else ("-", "-", "nothing was decided about it")
            )
            why = f"{own}. {answers} answers, by what {because.who} decided on {because.node}: {because.reason}"
        table.add_row(each.node, answers, brief(each.version), _time(each.by.decided_at), verdict, who, why)
    _print(table, f"{line} has no node that anything was decided about")
    if node and standings[0].version:
        answers = str(standings[0].answers)
        _say(_names(ledger, line, answers, standings[0].version, moment))
        if moment is None and (earlier := before(ledger, line, answers)):
            _say(f"what changed since {earlier}: factory compare {shlex.join([line, earlier, standings[0].version])}")


def _answer(each: "Answer") -> dict[str, Any]:
    """Who answers for a node, for programs: the node's own decision, and that by which the version became champion."""
    decided = {"own": each.own, "crowned": each.crowned}
    since = each.by.decided_at if each.by else None
    return {"node": each.node, "answers": each.answers, "version": each.version, "since": since} | {
        name: None if made is None else _decision(made) for name, made in decided.items()
    }


def _decision(made: "Decision") -> dict[str, Any]:
    """A decision, for programs."""
    return {
        "node": made.node,
        "as_of": made.as_of,
        "verdict": made.verdict,
        "version": made.version,
        "champion": made.champion,
        "why": made.reason,
        "decided_by": made.who,
        "decided_at": made.decided_at,
    }


def history(line: Line, node: AnyNode = None, as_json: Json = False) -> None:
    """Every decision on a line, or on one of its nodes, oldest first: promotions, rollbacks, and what was not promoted."""
    table = _table(("decided at", "node", "as of", "verdict", "version", "champion after", "decided by", "why"))
    ledger = _ledger_with(line)
    if node is not None:
        known_node(ledger, line, node)
    decisions = ledger.decisions(line, node)
    if as_json:
        give(list(map(_decision, decisions)))
        return
    for made in decisions:
        named = (made.verdict, brief(made.version), brief(made.champion) if made.champion else NO_OWN)
        table.add_row(_time(made.decided_at), made.node, str(made.as_of), *named, made.who, made.reason)
    _print(table, f"nothing was decided about {node!r} of {line}")


def approve(
    line: Line,
    node: AnyNode = None,
    why: Annotated[str, typer.Option(help="The reason, for those who ask later.")] = "",
    by: Claim = "",
    version: Annotated[
        str | None,
        typer.Option(help="The version that is meant: the beginning of its id, its UUID or @TAG; whichever waits."),
    ] = None,
) -> None:
    """Let a challenger that passed the gate answer, for every day that is still to be scored; without a node: what waits."""
    from factory_assets.deployment import stores
    from factory_assets.release.approval import ApprovalRefused, waiting
    from factory_assets.release.approval import approve as let_answer
    from factory_assets.release.jobs import observation
    from factory_assets.release.request import Request
    from factory_resources.records.decisions import ChampionChanged

    ledger = _ledger_with(line)
    if node is None:
        table = _table(("node", "version", "as of", "waits since", "champion now", "why"))
        for node, stands in waiting(ledger, line).items():
            since = (str(stands.decided_as_of), _time(stands.decided_at))
            champion_now = brief(stands.champion) if stands.champion else NO_OWN
            table.add_row(node, brief(stands.version), *since, champion_now, stands.reason)
        _print(table, f"no challenger of {line} waits for approval")
        return
    try:
        made = let_answer(ledger, stores()["lake"], Request(line, node, why, process_user(), version, claim=by))
    except (ApprovalRefused, ChampionChanged) as refused:
        console.say(str(refused), style="red")
        raise typer.Exit(1) from None
    message = f"{line} {node}: {made.champion} answers for the days after {made.as_of}, approved by {made.who}: {why}"
    console.say(message)
    show_decision(line, observation([made]))
    follow(line=line)


def rollback(
    line: Line,
    node: Node,
    why: Why,
    by: Claim = "",
    to: Annotated[
        str | None,
        typer.Option(
            help="Version to answer instead: the beginning of its id, its UUID, @TAG, or `ancestor`; who answered before."
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(help="The version that is meant, named alike: refused where another one answers by now."),
    ] = None,
) -> None:
    """Take a champion back: who answered before it answers again, for every day that is still to be scored.

    Days that were scored keep their predictions. The version taken back is not promoted again, the next challenger is
    judged against the one that answers now.
    """
    from factory_assets.deployment import stores
    from factory_assets.release.jobs import observation
    from factory_assets.release.request import Request
    from factory_assets.release.rollback import RollbackRefused, roll_back
    from factory_resources.records.decisions import ChampionChanged

    ledger = _ledger_with(line)
    try:
        made = roll_back(ledger, stores()["lake"], Request(line, node, why, process_user(), version, claim=by), to)
    except (RollbackRefused, ChampionChanged) as refused:
        console.say(str(refused), style="red")
        raise typer.Exit(1) from None
    last = made[-1]
    message = f"{line} {node}: {last.champion or 'an ancestor'} answers instead of {last.version}"
    message += f" for the days after {made[0].as_of}, by {last.who}: {why}"
    _say(message)
    if still := [f"@{each.tag}" for each in ledger.tags(line, node) if each.version == last.version]:
        _say(f"{last.version} is still {', '.join(still)} of {node}: `factory tag` moves a tag")
    show_decision(line, observation(made))
    follow(line=line)


def tag(
    line: Line,
    tag: Annotated[str, typer.Argument(help="Name of the tag, such as stable or audit-2026.")],
    why: Why,
    by: Claim = "",
    node: Node = "global",
    version: Annotated[
        str | None,
        typer.Option(help="Version to put it on: the beginning of its id, its UUID or @TAG; the champion if absent."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it off.")] = False,
) -> None:
    """Put a tag on a version of a node, and off the one that it was on: who asks for `@TAG` gets the new one from now on."""
    from factory_assets.release.jobs import tag_observation
    from factory_assets.release.request import Request
    from factory_assets.release.tagging import TagRefused, put_tag, take_off
    from factory_resources.records.tags import TagMoved

    if remove and version:
        raise typer.BadParameter("a tag is taken off whichever version it is on: give --remove without --version")
    ledger = _ledger_with(line)
    request = Request(line, node, why, process_user(), version, claim=by)
    try:
        made, before = (take_off if remove else put_tag)(ledger, tag, request)
    except (TagRefused, TagMoved) as refused:
        console.say(str(refused), style="red")
        raise typer.Exit(1) from None
    named = f"{line}/{node}@{tag}"
    if made.version == before:
        _say(f"{named} is {made.version} already, {made}")
        return
    instead = f" instead of {before}" if before else ""
    message = f"{named} is {made.version}{instead}" if made.version else f"{named} is off {before}"
    _say(f"{message}, by {made.by}: {made.why}")
    show_decision(line, tag_observation(made, before))
    follow(line=line)


def tags(line: Line, node: AnyNode = None, at: At = None, as_json: Json = False) -> None:
    """What each tag names, since when, by whom and why. `@champion` is not listed: `factory champion` tells."""
    from factory_resources.records.tags import uuid_of

    ledger = _ledger_with(line)
    if node is not None:
        known_node(ledger, line, node)
    put = ledger.tags(line, node, _moment(at) if at else None)
    if as_json:
        give([vars(each) | {"uuid": uuid_of(line, each.node, str(each.version))} for each in put])
        return
    table = _table(("node", "tag", "version", "uuid", "since", "decided by", "why"))
    for each in put:
        version = str(each.version)
        cells = (each.node, each.tag, brief(version), uuid_of(line, each.node, version), _time(each.at))
        table.add_row(*cells, each.by, each.why)
    _print(table, f"no version of {node or line} is tagged")


def _names(ledger: "Ledger", line: str, node: str, version: str, at: dt.datetime | None) -> str:
    """The names of a version beside its id."""
    from factory_resources.records.tags import uuid_of

    on = [f"@{each.tag}" for each in ledger.tags(line, node, at) if each.version == version]
    return f"{version} of {node}: UUID {uuid_of(line, node, version)}, tags {', '.join(on) or 'none'}"


def _say(text: str) -> None:
    console.say(text)


def _ledger_with(line: str) -> "Ledger":
    """The ledger of this deployment; ends the command where it knows nothing of the line."""
    from factory_assets.deployment import stores

    ledger: Ledger = stores()["ledger"]
    lines = ledger.lines()
    if line not in lines:
        unknown(line, "line with decisions", lines, several="lines with decisions")
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
        table.add_column(name, no_wrap=name != "why")
    return table


def _print(table: Table, empty: str) -> None:
    """The table, or what it means that it is empty."""
    console.print(table if table.row_count else empty)
