"""What benchmarks of verdicts have in common: tables of figures, and an ending that names the bounds that do not hold."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from raw_to_examples import console
from rich.table import Table


def figures(title: str, columns: Sequence[str]) -> Table:
    """A table with a name on the left and figures beside it."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def conclude(broken: Sequence[str]) -> NoReturn:
    """Print the bounds that do not hold, one a line, and exit with 1 if there are any."""
    console.print(
        "\n".join(broken) or "all bounds hold", style="red" if broken else "", highlight=False, soft_wrap=True
    )
    sys.exit(bool(broken))
