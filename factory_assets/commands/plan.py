"""`factory plan`: which fields the team wants of its streams, which it has, and who gets the others by when."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console, styled

STYLES = {"delivered": "green", "awaited": "yellow", "overdue": "red", "unknown": "dim"}


def plan(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show planned fields of all streams against those that their newest deliveries have."""
    from factory_assets.commands.deployed import catalogue_of
    from factory_assets.deployment import stores
    from factory_assets.events.plan import gaps, newest_columns
    from factory_resources.clock import today

    catalogue = catalogue_of(folder)
    lake = stores()["lake"]
    found = [
        (name, gap)
        for name, declared in catalogue.streams.items()
        for gap in gaps(declared.stream, newest_columns(lake, declared.stream), today())
    ]
    if as_json:
        give(
            [
                {"stream": name, "field": gap.field, "state": gap.state, **gap.planned.model_dump()}
                for name, gap in found
            ]
        )
        return
    table = Table(title="Collection plan", title_justify="left", title_style="bold")
    for column in ("stream", "field", "state", "need", "remedy", "owner", "due"):
        table.add_column(column, no_wrap=column in ("state", "due"))
    for name, gap in found:
        state, planned = styled((gap.state, STYLES[gap.state])), gap.planned
        table.add_row(name, gap.field, state, planned.need, planned.remedy, planned.owner, str(planned.due))
    if table.row_count:
        console.print(table)
    else:
        console.print("no stream plans a field; see `plan` of an EventStream")
