"""What does a program get that asks for JSON? One value; and where a command has no answer, an object that says why."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from factory_assets.commands.screen import screen, wants_json

if TYPE_CHECKING:
    from factory_assets.declarations.documents import Problem


def _remember(asked: bool) -> bool:
    wants_json.set(asked)
    return asked


#: Exit code that a shell gives a process stopped by a signal, as that of Ctrl-C.
STOPPED = 130
#: The option of every command that a program may ask.
Json = Annotated[bool, typer.Option("--json", help="For programs: all of it as one value.", callback=_remember)]


def give(found: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print the answer of a command that was asked for JSON."""
    print(json.dumps(plain(found), indent=2, allow_nan=False))  # noqa: T201 - for programs


def plain(value: Any) -> Any:
    """The value as JSON has it: times as text, no number that is none.

    >>> plain({"day": date(2026, 3, 1), "mae": math.inf})
    {'day': '2026-03-01', 'mae': None}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def refuse(message: str, problems: "Iterable[Problem]" = (), code: int = 1) -> NoReturn:
    """End the command: it has no answer, for this reason. problems: of declarations, where they are the reason."""
    if not answered_in_json(message, problems):
        screen(stderr=True).say(message, style="red")
    raise typer.Exit(code)


def answered_in_json(message: str, problems: "Iterable[Problem]" = ()) -> bool:
    """Print why there is no answer, where a program asks; False, and nothing, where a person does."""
    if wants_json.get():
        give({"error": message, "problems": [asdict(each) for each in problems]})
    return wants_json.get()
