"""`factory quarantine`: which rows were set aside, by which rule, and which of them can come back?"""

import datetime as dt
import json
from collections import Counter
from typing import Annotated, Any

import typer

from factory_assets.commands.programs import Json, give, refuse
from factory_assets.commands.screen import console
from factory_assets.words import counted

app = typer.Typer(no_args_is_help=True, help="Rows that broke a rule: look at them, put them back.")
Stream = Annotated[str, typer.Argument(help="Name of the stream.")]
First = Annotated[dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")]
Last = Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")]


@app.command()
def show(
    stream: Stream,
    first: First = None,
    last: Last = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(help="Rows shown; all are counted.")] = 20,
    as_json: Json = False,
) -> None:
    """Rows set aside: the day, the rules that they break, the file that they came from, and the values as delivered.

    Rows are counted under each rule that they break.
    """
    rows = [row for row in _aside(stream, first, last) if rule is None or rule in _rules(row)]
    if as_json:
        give([_item(row) for row in rows])
        return
    console.print(f"{stream}: {counted(len(rows), 'row')} set aside", style="bold", highlight=False)
    for (day, name), count in sorted(Counter((row["ds"], name) for row in rows for name in _rules(row)).items()):
        console.print(f"  {day}  {count:>6}  {name}", highlight=False)
    for row in rows[:limit]:
        console.say(f"\n{row['ds']}  {'; '.join(_rules(row))}\n  {row['source']}")
        console.say(f"  {_delivered(row)}")


@app.command()
def release(stream: Stream, first: First = None, last: Last = None) -> None:
    """Judge the days with rows set aside again, by the contract as it is now. What breaks no rule any more goes back.

    Nothing is moved by hand: the rows as delivered stay in `raw`, and events are made of them anew. A second release
    finds nothing to do.
    """
    from factory_assets.commands.deployed import deployed
    from factory_assets.commands.names import known_stream
    from factory_assets.deployment import stores
    from factory_assets.events.aside import by_rule
    from factory_assets.governor.by_hand import Refused, Released
    from factory_assets.governor.by_hand import release as released_of

    known_stream(stream)
    days = first.date() if first else None, last.date() if last else None
    # To open the deployment takes a second, which nobody needs to wait for who has nothing to release.
    if not (before := by_rule(stores()["lake"], stream, *days)):
        console.print(Released(stream, before, before, 0).message)
        return
    with deployed() as deployment, console.status("judging the days again"):
        try:
            released = released_of(deployment, stream, *days)
        except Refused as refused:
            refuse(str(refused))
    if not released.judged:
        console.print(released.message)
        return
    for name, (back, still) in released.rules.items():
        console.print(f"  {back:>6} released, {still} still aside  {name}", highlight=False)
    for failure in released.failures:
        console.print(f"  {failure}", style="red", highlight=False)
    raise typer.Exit(1 if released.failures else 0)


def _aside(stream: str, first: dt.datetime | None, last: dt.datetime | None) -> list[dict[str, Any]]:
    from factory_assets.commands.names import known_stream
    from factory_assets.deployment import stores

    known_stream(stream)
    table = stores()["lake"].read(
        f"{stream}/quarantine", first and first.date(), last and last.date(), empty_if_absent=True
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return sorted(rows, key=lambda row: (row["ds"], row["rule"], row["source"], row["raw_row"]))


def _rules(row: dict[str, Any]) -> list[str]:
    """The rules that a row breaks; of one that was set aside before all were kept, the first."""
    return row.get("rules") or [row["rule"]]


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """A row as delivered, for programs."""
    values = (
        None if row["line"] is not None else json.loads(str(row["raw_row"])) | json.loads(str(row["unparsed"] or "{}"))
    )
    return {"day": row["ds"], "rules": _rules(row), "source": row["source"], "line": row["line"], "values": values}


def _delivered(row: dict[str, Any]) -> str:
    """A row as delivered: its line where that could not be read as a row, else its values and the texts that did not parse."""
    if row["line"] is not None:
        return str(row["line"])
    values = {name: value for name, value in json.loads(str(row["raw_row"])).items() if value is not None}
    values |= {name: text for name, text in json.loads(str(row["unparsed"] or "{}")).items() if text is not None}
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
