"""`factory calibrate`: how often did a line's monitors alarm on its own past, and what would they have found?"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_assets.monitoring.calibration import Calibration


def calibrate(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    weeks: Annotated[int, typer.Option(min=1, help="So many of the newest weeks have changes put in.")] = 4,
    as_json: Json = False,
) -> None:
    """Count the alarms of a line's monitors by month, and put changes into its past to see which they find, and how soon."""
    from factory_assets.deployment import stores
    from factory_assets.monitoring.calibration import calibrate as calibrated

    catalogue, resources = catalogue_of(None), stores()
    if line not in catalogue.lines:
        unknown(line, "line", catalogue.lines)
    declared = catalogue.resolve(catalogue.lines[line])
    found = calibrated(declared, resources["lake"], resources["archive"], resources["ledger"], weeks)
    if as_json:
        give(_as_object(line, declared.line.monitor.declared, found))
        return
    if found is None:
        console.say(f"{line}: no day of drift yet")
        return
    table = Table(title=f"{line}: alarms that began in a month", title_justify="left", title_style="bold")
    for column in ("month", "days", "drift", "performance"):
        table.add_column(column, justify="left" if column == "month" else "right")
    for month, one in found.months.items():
        table.add_row(f"{month:%Y-%m}", str(one.days), str(one.drift), str(one.performance))
    console.print(table)
    console.say(f"declared: {declared.line.monitor.declared} of drift while nothing changes")
    title = f"{line}: changes put into stable columns, {counted(len(found.ends), 'week')} up to {found.ends[-1]}"
    _show(title, found)


def _as_object(line: str, declared: str, calibration: "Calibration | None") -> dict[str, Any]:
    """Without a day of drift there are no months."""
    if calibration is None:
        return {"line": line, "declared": declared, "months": [], "changes": [], "weeks": []}
    changes = [
        {"change": change, "columns": one.tried, "found": {days: one.share(days) for days in calibration.spans}}
        for change, one in calibration.found.items()
        if one.tried
    ]
    months = [{"month": f"{month:%Y-%m}", **asdict(one)} for month, one in calibration.months.items()]
    return {
        "line": line, "declared": declared, "months": months, "changes": changes, "weeks": list(calibration.ends),
    }  # fmt: skip


def _show(title: str, calibration: "Calibration") -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("change")
    for column in ("columns", *(f"found after {counted(days, 'day')}" for days in calibration.spans)):
        table.add_column(column, justify="right")
    for change, one in calibration.found.items():
        if one.tried:
            table.add_row(change, f"{one.tried:,}", *(f"{one.share(days):.0%}" for days in calibration.spans))
    console.print(table)
