"""`factory calibrate`: how often did a line's monitors alarm on its own past, and what would they have found?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.screen import console
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_assets.monitoring.calibration import Found

#: Days of a change that are shown.
AFTER = (1, 3)


def calibrate(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    weeks: Annotated[int, typer.Option(min=1, help="So many of the newest weeks have changes put in.")] = 4,
) -> None:
    """Count the alarms of a line's monitors by month, and put changes into its past to see which they find, and how soon."""
    from factory_assets.deployment import stores
    from factory_assets.measures.compared import metric_of
    from factory_assets.models.archived import load
    from factory_assets.monitoring.calibration import months, put_in
    from factory_assets.monitoring.drift_days import DriftDays
    from factory_assets.monitoring.losses import block_of, losses
    from factory_assets.scoring.champions import champions_of_days

    catalogue, resources = catalogue_of(None), stores()
    if line not in catalogue.lines:
        unknown(line, "line", catalogue.lines)
    declared, lake = catalogue.resolve(catalogue.lines[line]), resources["lake"]
    days, monitor = lake.days(f"{line}/drift"), declared.line.monitor
    if not days:
        console.say(f"{line}: no day of drift yet")
        return
    judged = lake.read(f"{line}/drift", days[0], days[-1], ["node", "column", "part", "verdict", "ds"]).to_pylist()
    metric = metric_of(declared)
    columns = ["node", "ds", metric, f"naive_{metric}"]
    measured = lake.read(f"{line}/performance", days[0], days[-1], columns, empty_if_absent=True).to_pylist()
    lost = losses(metric, measured, sorted({row["ds"] for row in measured}), block_of(declared.line))
    table = Table(title=f"{line}: alarms that began in a month", title_justify="left", title_style="bold")
    for column in ("month", "days", "drift", "performance"):
        table.add_column(column, justify="left" if column == "month" else "right")
    for month, one in months(judged, lost).items():
        table.add_row(f"{month:%Y-%m}", str(one.days), str(one.drift), str(one.performance))
    console.print(table)
    console.say(f"declared: {monitor.declared} of drift while nothing changes")
    ends = days[:: -monitor.window.days][:weeks][::-1]
    watched = DriftDays(
        lambda first, last: lake.read(f"{line}/examples", first, last, empty_if_absent=True),
        lambda version: load(resources["archive"], line, version),
        monitor,
    )
    found = put_in(watched, ends, champions_of_days(resources["ledger"], line, ends))
    title = f"{line}: changes put into stable columns, {counted(len(ends), 'week')} up to {ends[-1]}"
    _show(title, found, monitor.window.days)


def _show(title: str, found: "dict[str, Found]", window: int) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("change")
    spans = [days for days in AFTER if days < window] + [window]
    for column in ("columns", *(f"found after {counted(days, 'day')}" for days in spans)):
        table.add_column(column, justify="right")
    for change, one in found.items():
        if one.tried:
            table.add_row(change, f"{one.tried:,}", *(f"{one.share(days):.0%}" for days in spans))
    console.print(table)
