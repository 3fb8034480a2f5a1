"""How wide is what a command prints? As wide as the terminal; and where there is none, as wide as tables need."""

import os

from rich.console import Console

#: Rich takes 80 columns where there is no terminal to ask, which folds every table of a log or a pipe into ribbons.
UNFOLDED = 200


def screen(stderr: bool = False) -> Console:
    """A console that does not fold what is sent to a file; the environment's COLUMNS has the last word."""
    console = Console(stderr=stderr)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=stderr, width=UNFOLDED)


#: For commands that print tables.
console = screen()
