"""`factory explain`: how did one prediction come about, and what happened?"""

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.screen import console, print_json, screen, styled
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_assets.features.examples.single import Behind
    from factory_assets.scoring.explained import Explained, Score


def explain(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    example: Annotated[str, typer.Argument(help="The example_id of the prediction.")],
    day: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Its day, if the id has predictions of several.")
    ] = None,
    events: Annotated[int, typer.Option(min=0, help="How many events of each view are listed, the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: all of it as one object.")] = False,
) -> None:
    """Show how a prediction came about: events, features, node and version, score, what each feature added, outcome.

    Reads, and writes nothing. Ends with 1 where there is no such prediction.
    """
    from factory_assets.deployment import stores
    from factory_assets.models.archived import ModelRefused
    from factory_assets.release.rebuild import Origin
    from factory_assets.scoring.explained import NotThere
    from factory_assets.scoring.explained import explain as explained
    from factory_resources.archive_folder import ArchiveDamaged

    catalogue, resources = catalogue_of(None), stores()
    if line not in catalogue.lines:
        unknown(line, "line", catalogue.lines)
    declared = catalogue.resolve(catalogue.lines[line])
    origin = Origin(*(resources[name] for name in ("lake", "engine", "ledger", "archive")))
    try:
        found = explained(declared, example, day.date() if day else None, origin, events)
    except (NotThere, ModelRefused, ArchiveDamaged, FileNotFoundError) as error:
        screen(stderr=True).say(str(error), style="red")
        raise typer.Exit(1) from None
    if as_json:
        print_json(asdict(found))
    else:
        _show(found)


def _show(found: "Explained") -> None:
    console.say(styled((f"{found.line} {found.example_id}", "bold"), f" of {found.day}"))
    same = "the same" if found.repeated else f"NOT the same: {_prediction(found.again)}"
    for name, text in (
        ("observed at", f"{found.observed_at:%Y-%m-%d %H:%M:%S} UTC, in {found.leaf}"),
        ("answered", f"{found.node}, by version {found.version} ({found.estimator})"),
        ("why", found.why),
        ("prediction", _prediction(found.prediction)),
        ("scored again", f"{same}, by the version and the stored features"),
        (
            "outcome",
            found.outcome.state
            if found.outcome.label is None
            else f"{_text(found.outcome.label)}, {found.outcome.state}",
        ),
        *(
            ("before that", f"{_text(label)}, known at {at:%Y-%m-%d %H:%M:%S} UTC")
            for label, at in found.outcome.earlier
        ),
    ):
        console.say(styled((f"  {name:<13}", "dim"), text))
    _show_features(found)
    for behind in found.behind:
        _show_events(behind)


def _show_features(found: "Explained") -> None:
    score, scores = found.score, _scores(found.score)
    table = Table(title="Features", title_justify="left", title_style="bold")
    for column in ("feature", "used", "by the events now", "", *scores):
        table.add_column(column, justify="right" if column in scores else "left", overflow="fold")
    weight = {each.name: sum(map(abs, each.adds)) for each in found.features}
    for each in sorted(found.features, key=lambda each: -weight[each.name]):
        style = "dim" if each.verdict == "equal" else "yellow"
        cells = (each.name, _text(each.used), _text(each.now), styled((each.verdict, style)))
        table.add_row(*cells, *(f"{value:+.6g}" for value in each.adds))
    if score:
        table.add_section()
        table.add_row("base", "", "", "", *(f"{value:.6g}" for value in score.base))
        table.add_row("score", "", "", "", *(f"{value:.6g}" for value in score.total))
    console.print(table)
    if score is None:
        console.say(f"what each feature adds is not told by {found.estimator}", style="dim")
    elif score.link != "identity" or score.then:
        console.say(
            f"the prediction is made of the score: {', then '.join(filter(None, (score.link, score.then)))}",
            style="dim",
        )


def _scores(score: "Score | None") -> list[str]:
    if score is None:
        return []
    return [f"adds to {name}" for name in score.of] or ["adds"] * len(score.base)


def _show_events(behind: "Behind") -> None:
    entity = ", ".join(f"{name} {_text(value)}" for name, value in behind.entity.items())
    within = f"within {', '.join(behind.windows)} before {behind.at:%Y-%m-%d %H:%M:%S}"
    late = f", {behind.delay} late" if behind.delay else ""
    itself = ", and the observed one" if behind.itself else ""
    title = f"{behind.view}: {counted(behind.events, 'event')} of {behind.stream}, {entity}, {within}{late}{itself}"
    console.say(title, style="bold")
    if not behind.newest:
        return
    table = Table()
    for column in behind.newest[0]:
        table.add_column(column, overflow="fold")
    for event in behind.newest:
        table.add_row(*map(_text, event.values()))
    left = behind.events - len(behind.newest)
    console.print(table)
    if left:
        console.say(f"and {left:,} more", style="dim")


def _prediction(values: Any) -> str:
    """The prediction; of classes the most likely, and the probability of each."""
    first, *others = values.items()
    rest = ", ".join(f"{name.removeprefix('p_')} {_text(value)}" for name, value in others)
    return f"{_text(first[1])}{f' ({rest})' if rest else ''}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.10g}"
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, dt.datetime) else str(value)
