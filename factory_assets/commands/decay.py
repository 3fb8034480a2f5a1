"""`factory decay`: what does a line's model lose as it grows older, and how often is it worth training?"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_assets.evaluation.decay import Curve

#: Versions that cannot be compared are listed one by one up to so many.
NAMED = 5


def decay(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    node: Annotated[str, typer.Argument(help="The node, such as FR/Lyon.")] = "global",
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the gain over a naive guess: a smaller loss does not count.")
    ] = 0.05,
    as_json: Json = False,
) -> None:
    """Replay a node's past versions on later days, beside the one that was fresh, and say how often to train."""
    from factory_assets.deployment import stores
    from factory_assets.evaluation.decay import advice, comparable, curve, replay
    from factory_assets.measures.compared import metric_of
    from factory_assets.models.archived import load

    catalogue, resources = catalogue_of(None), stores()
    if line not in catalogue.lines:
        unknown(line, "line", catalogue.lines)
    declared, lake = catalogue.resolve(catalogue.lines[line]), resources["lake"]
    records = resources["ledger"].versions(line, node)
    if not records:
        nodes = sorted({record.node for record in resources["ledger"].versions(line)})
        unknown(node, "node with versions", nodes, several="nodes with versions")
    table, metric = f"{line}/examples", metric_of(declared)
    day = lake.days(table)[-1]
    past = comparable(
        records, day, lambda version: load(resources["archive"], line, version), lake.read(table, day, day)
    )
    with resources["engine"].connect() as con:
        pairs = replay(con, lake, declared, metric, {node: past}, day)[node]
    by_age = curve(pairs, past.step, metric, share)
    advised = advice(by_age, declared.line.retrain.every.days)
    if as_json:
        found = {"line": line, "node": node, "metric": metric, "versions": len(past.models), "left_out": past.left_out}
        give(found | asdict(by_age) | {"advice": advised})
        return
    _show(f"{line} {node}: {counted(len(past.models), 'version')}, {metric} by age", by_age)
    for version, why in list(past.left_out.items())[:NAMED]:
        _say(f"left out: {version}, {why}")
    if len(past.left_out) > NAMED:
        _say(f"and {len(past.left_out) - NAMED} more")
    _say(advised)


def _show(title: str, curve: "Curve") -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("age, days", "days", "stretches", "old", "fresh", "loss", "limits", "of the gain", ""):
        table.add_column(column, justify="left" if column in ("age, days", "") else "right")
    for age in curve.ages:
        limits = "-" if age.lower is None else f"{age.lower:.4g} .. {age.upper:.4g}"
        part = f"{age.loss / age.gain:.0%}" if age.gain > 0 else "-"
        cells = (f"{age.old:.4g}", f"{age.fresh:.4g}", f"{age.loss:.4g}", limits, part, age.verdict)
        table.add_row(f"{age.first} .. {age.last}", str(age.days), str(age.stretches), *cells)
    if curve.ages:
        console.print(table)
    else:
        _say(f"{title}: no version was old enough beside a fresh one")


def _say(text: str) -> None:
    console.say(text)
