"""What time is it for the factory? The machine's clock; or, to rehearse days that have not come yet, one that is moved by hand."""

import datetime as dt
import os
from pathlib import Path

#: Names a file with a moment such as 2026-03-01T00:30:00+00:00, which is then now.
CLOCK = "FACTORY_CLOCK"


def now() -> dt.datetime:
    """The moment, in UTC. Raises ValueError for a FACTORY_CLOCK that holds none, or none with a time zone."""
    file = os.environ.get(CLOCK)
    if not file:
        return dt.datetime.now(dt.UTC)
    text = Path(file).read_text().strip()
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(
            f"{CLOCK}: {file} holds {text!r}, a moment without a time zone; write one, such as {text}+00:00"
        )
    return moment.astimezone(dt.UTC)


def today() -> dt.date:
    """The day that it is, in UTC."""
    return now().date()
