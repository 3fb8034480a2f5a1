"""`factory backtest`: what would other policies have made of a line's past, and does retraining pay?"""

import datetime as dt
import warnings
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import deployed
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import STOPPED, Json, give, refuse
from factory_assets.commands.screen import console, screen

DAY = ["%Y-%m-%d"]
#: Of the metadata of a replay, what is a text and what is a table.
TEXTS, TABLES = ("replay", "metric", "naive", "advice"), ("policies", "differences")


def backtest(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=DAY, help="First day as of which a training may be.")
    ] = None,
    last: Annotated[dt.datetime | None, typer.Option("--to", formats=DAY, help="Last day that is predicted.")] = None,
    every: Annotated[
        str, typer.Option(help="New labelled days between trainings, such as 30d; as declared if absent.")
    ] = "",
    policy: Annotated[list[str] | None, typer.Option(help="never, gate or newest; all of them if absent.")] = None,
    node: Annotated[
        list[str] | None, typer.Option(help="A node that is trained, with those above it; all if absent.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; as declared if absent.")] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of the gain over a naive guess: retraining that gains less is not worth it; 0.05."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a stretch of a line's past by the declared gate, by never retraining, and by always taking the newest.

    It materialises the asset `LINE/backtest`. Ends with 1 where that cannot be replayed.
    """
    warnings.filterwarnings("ignore")
    from factory_assets.governor.executor import Stopped, execute
    from factory_assets.governor.runs import LINE, REASON

    config: dict[str, Any] = {
        "first": str(first.date()) if first else "",
        "last": str(last.date()) if last else "",
        "every": every,
        "policies": policy or [],
        "nodes": node or [],
        "seed": seed,
    } | ({} if share is None else {"share": share})
    with deployed() as deployment:
        if line not in deployment.catalogue.lines:
            unknown(line, "line", deployment.catalogue.lines)
        key = next(key for key in deployment.specs if list(key.path) == [line, "backtest"])
        tags = {LINE: line, REASON: "factory backtest"}
        with (screen(stderr=True) if as_json else console).status(
            f"{line}: replaying; the log of its run says how far it is"
        ):
            try:
                failures = execute(deployment, [key], tags, {"ops": {key.to_python_identifier(): {"config": config}}})
            except (Stopped, KeyboardInterrupt):
                refuse("stopped: nothing of the replay is kept", code=STOPPED)
        if failures:
            refuse("\n".join(failures))
        event = deployment.instance.get_latest_materialization_event(key)
        assert event is not None and event.asset_materialization is not None
        told = event.asset_materialization.metadata
    if "status" in told:
        refuse(str(told["status"].value))
    if as_json:
        give(_as_object(line, told))
        return
    _show(line, told)


def _as_object(line: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """told: the metadata of the replay; its figures are the texts that its page shows."""
    tables = {name: [dict(record.data) for record in told[name].records] for name in TABLES}
    return {"line": line, **{name: told[name].value for name in TEXTS}, **tables}


def _show(line: str, told: Mapping[str, Any]) -> None:
    """told: the metadata of the replay."""
    from factory_assets.backtest.measured import COMPARED, TOTALS

    title = f"{line}, {told['replay'].value}: {told['metric'].value}"
    for name, heading, columns in (("policies", title, TOTALS), ("differences", "", COMPARED)):
        table = Table(title=heading or None, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, justify="left" if column in ("policy", "against", "verdict") else "right")
        for record in told[name].records:
            table.add_row(*(str(record.data[column]) for column in columns))
        if table.row_count:
            console.print(table)
    console.say(f"the naive guess: {told['naive'].value}")
    console.say(told["advice"].value)
