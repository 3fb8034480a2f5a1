"""`factory demo`: the demo's declarations for days that are not over yet, so that there is something to do tomorrow."""

import datetime as dt
import re
from pathlib import Path
from typing import Annotated

import typer

from factory_assets.commands.screen import console, screen
from factory_resources.clock import today

DAY, WEEK = dt.timedelta(days=1), dt.timedelta(days=7)
START, END = (re.compile(rf"^  {field}: (\d{{4}}-\d\d-\d\d)\n", re.MULTILINE) for field in ("start", "end"))
DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")


def demo(folder: Annotated[Path, typer.Argument(help="Folder to write the declarations to.")]) -> None:
    """Write the demo's declarations with days that end before today, and go on.

    Prints the last of the demo's 98 days: `factory run --until` it gives what the README shows. Those that come after it are left to
    the sensors. A folder that has the declarations keeps them.
    """
    from factory_assets.deployment import PACKAGE

    of_package, written = PACKAGE / "defs" / "marketplace", folder / "defs.yaml"
    text = (of_package / written.name).read_text()
    if not written.exists():
        if folder.exists() and any(folder.iterdir()):
            screen(stderr=True).say(f"{folder} has other files: name a new folder", style="red")
            raise typer.Exit(1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "contract.yaml").write_text((of_package / "contract.yaml").read_text())
        # Last, as it says that the folder is complete.
        written.write_text(endless(text, today()))
    console.say(str(_start(written.read_text()) + length(text)))


def length(text: str) -> dt.timedelta:
    """From the first day to the last of the stream that is declared in the text."""
    return _day(END, text) - _start(text)


def endless(text: str, now: dt.date) -> str:
    """The declarations, moved by whole weeks so that the stream's last day is over with a day after it, and without that end.

    >>> print(endless("  start: 2026-01-05\\n  end: 2026-01-11\\n  due: 2026-02-01\\n", dt.date(2026, 1, 20)))
      start: 2026-01-12
      due: 2026-02-08
    <BLANKLINE>
    """
    # Weekdays stay what they were: the marketplace is another one on Sundays.
    weeks = (now - 2 * DAY - _day(END, text)) // WEEK
    moved = DATE.sub(lambda found: str(dt.date.fromisoformat(found[0]) + weeks * WEEK), text)
    return END.sub("", moved)


def _start(text: str) -> dt.date:
    return _day(START, text)


def _day(field: re.Pattern[str], text: str) -> dt.date:
    found = field.search(text)
    assert found is not None, f"the demo's declarations have no line like {field.pattern}"
    return dt.date.fromisoformat(found[1])
