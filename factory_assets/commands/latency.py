"""`factory latency`: which runs took longer than the runs before them that made the same?"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.screen import console, styled

if TYPE_CHECKING:
    from factory_assets.monitoring.charts.latency import Latency

#: Assets of a run that its row names.
NAMED = 3
STYLES = {"slow": "red", "no verdict": "yellow"}


def latency(
    days: Annotated[int, typer.Option(min=1, help="Runs that began so many days ago, and since.")] = 90,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Hold the newest run of each kind against the runs before it that made the same assets of a day. Ends with 1 if one is slow."""
    import datetime as dt

    from factory_assets.commands.deployed import opened
    from factory_assets.governor.runs import runs_of_a_day
    from factory_assets.monitoring.charts.latency import latencies

    with opened() as instance:
        found = latencies(runs_of_a_day(instance, dt.datetime.now(dt.UTC) - dt.timedelta(days=days)))
    if as_json:
        print(json.dumps([_item(each) for each in found], indent=2))  # noqa: T201 - for programs
    else:
        _show(found, days)
    raise typer.Exit(1 if any(each.verdict == "slow" for each in found) else 0)


def _item(each: "Latency") -> dict[str, Any]:
    run = each.run
    return {
        "assets": list(run.assets), "day": str(run.day), "began": run.began.isoformat(), "running": run.running,
        "seconds": round(run.seconds, 1), "usual": each.usual, "limit": each.limit, "runs": each.before,
        "verdict": each.verdict, "reason": each.reason,
    }  # fmt: skip


def _show(found: Sequence["Latency"], days: int) -> None:
    if not found:
        console.say(f"no run of a single day in the last {days} days")
        return
    table = Table(title="newest run of each kind", title_justify="left", title_style="bold")
    for name in ("makes", "day", "began", "verdict", "why"):
        table.add_column(name, no_wrap=name in ("day", "began", "verdict"))
    for each in found:
        assets = each.run.assets
        more = f" and {len(assets) - NAMED} more" if len(assets) > NAMED else ""
        table.add_row(
            ", ".join(assets[:NAMED]) + more,
            str(each.run.day),
            f"{each.run.began:%Y-%m-%d %H:%M}",
            styled((each.verdict, STYLES.get(each.verdict, "green"))),
            each.reason,
        )
    console.print(table)
