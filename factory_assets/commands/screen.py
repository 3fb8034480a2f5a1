"""How does a text get to the terminal? Through one door, as the text that it is.

Reasons, names and values are written by anybody. What looks like Rich's markup in them is shown as written, and a character that
would command the terminal by its number. How wide is what is printed? As wide as the terminal; and where there is none, as wide as
tables need. A table for which there is no room comes row by row.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.status import Status
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperGroup

#: Rich takes 80 columns where there is no terminal to ask, which folds every table of a log or a pipe into ribbons.
UNFOLDED = 200
#: Columns of a terminal in which a longer text can be read.
ROOM = 15
#: Columns below which no text can be read. Where there is no terminal, some editors say COLUMNS=0, and Rich prints nothing then.
LEAST = 20
#: Option of a command that programs read, too.
#: They make a line read otherwise than it is written.
TURNS = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
#: Control characters, halves of characters, and breaks of lines that are none of a terminal's.
COMMANDS = ("Cc", "Cs", "Zl", "Zp")

#: Whether the command that runs was asked for JSON: what ends it early does not know its arguments.
wants_json: ContextVar[bool] = ContextVar("wants_json", default=False)

if os.environ.get("COLUMNS", "").isdigit() and int(os.environ["COLUMNS"]) < LEAST:
    del os.environ["COLUMNS"]


def shown(text: str) -> str:
    """The text without a character that a terminal obeys: each is written as in Python, but for tabs and ends of lines."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\t" or (unicodedata.category(character) not in COMMANDS and character not in TURNS):
        return character
    return ascii(character)[1:-1]


def styled(*parts: str | tuple[str, str]) -> Text:
    """Pieces of text one after another, each as it is, or in a style: styled(("equal", "green"), ": as archived")."""
    pieces = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((shown(text), style) for text, style in pieces))


class Screen(Console):
    """A console to which a text is a text, also in a cell or a title of a table."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(self._encodable(shown(text)), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # What Rich itself has to command, such as a bar that moves, it marks as control.
            yield segment if segment.control else Segment(self._encodable(shown(segment.text)), segment.style)

    def _encodable(self, text: str) -> str:
        """The text with the number in place of a character that the output cannot hold, as that of a cron job may not."""
        if self.encoding.startswith("utf"):
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def print(self, *objects: Any, **options: Any) -> None:
        match objects:
            case [Table(box=box) as table] if box is not None:
                self._print_table(table, **options)
            case _:
                super().print(*objects, **options)

    def _print_table(self, table: Table, **options: Any) -> None:
        """The table; where the terminal leaves no room to read it, its rows one by one."""
        for column in table.columns:
            column.overflow = "fold"
            # Of a number that is folded each part is another number.
            column.no_wrap = column.no_wrap or column.justify == "right"
        borders = 3 * len(table.columns) + 1
        if sum(map(_needed, table.columns)) + borders <= self.width:
            super().print(table, **options)
            return
        if table.title:
            super().print(table.title, style=table.title_style)
        for cells in zip(*(column.cells for column in table.columns), strict=True):
            grid = Table.grid(padding=(0, 2))
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            for column, cell in zip(table.columns, cells, strict=True):
                grid.add_row(styled((str(column.header), "bold")), cell)
            super().print(grid, "", **options)
        if table.caption:
            super().print(table.caption, style="dim")

    def status(self, status: RenderableType, **options: Any) -> Status:
        """What is being done, until it is; its spinner would read a text as markup by a door of its own."""
        return super().status(self.render_str(status) if isinstance(status, str) else status, **options)

    def say(self, text: str | Text, style: str | Style | None = None) -> None:
        """A message: not cut at the terminal's edge, no word of it coloured for what it looks like."""
        self.print(text, style=style, highlight=False, soft_wrap=True)


def _needed(column: Column) -> int:
    """How wide a column of a table has to be: all that may not be folded, and of a longer text enough to read it."""
    longest = max(cell_len(line) for each in (column.header, *column.cells) for line in shown(str(each)).split("\n"))
    return longest if column.no_wrap else min(longest, ROOM)


def screen(stderr: bool = False) -> Screen:
    """A console that does not fold what is sent to a file; the environment's COLUMNS has the last word."""
    console = Screen(stderr=stderr)
    return console if console.is_terminal or "COLUMNS" in os.environ else Screen(stderr=stderr, width=UNFOLDED)


#: For commands that print tables.
console = screen()


class TextGroup(TyperGroup):
    """Commands whose help, and whose complaints about what was typed, are text as well."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        _as_text(self)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if parent is None:
            wants_json.set(False)
        for word in args:
            if not word.isascii() and any(unicodedata.category(character) == "Cs" for character in word):
                raise typer.BadParameter(f"{shown(word)!r} is no text in UTF-8")
        return _in_text(super().make_context, info_name, args, parent, **extra)

    def invoke(self, *arguments: Any, **options: Any) -> Any:
        return _in_text(super().invoke, *arguments, **options)


def _as_text(command: Any) -> None:
    """Typer reads all help as Rich's markup: of a command, of what it takes, and of the commands inside it."""
    for described in (command, *command.params):
        for field in ("help", "short_help", "epilog"):
            if text := getattr(described, field, None):
                setattr(described, field, escape(text))
    for inner in getattr(command, "commands", {}).values():
        _as_text(inner)


def _in_text(does: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return does(*arguments, **options)
    except Exception as error:
        # Typer's errors carry what they tell of the command line, and Typer prints it.
        if isinstance(message := getattr(error, "message", None), str):
            error.message = shown(message)  # type: ignore[attr-defined]
        raise
