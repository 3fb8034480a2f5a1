"""What do {{ env.NAME }} and {{ env('NAME', 'default') }} in a declaration stand for? For variables of the environment.

A template is an expression of Jinja, which can reach any function of this process. So a text is parsed and never run, and
whatever else stands between the braces is refused.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ALLOWED = "{{ env.NAME }} and {{ env('NAME', 'default') }}"
#: Holds patterns of the variables that declarations may name, such as `DATA_*, SERVING_URL`. Not set: they may name all.
LIMIT = "FACTORY_DECLARED_ENV"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
EXPRESSION = "{{"
#: With these Jinja begins a statement or a comment.
STATEMENTS = ("{%", "{#")
#: Characters of a value that may not be seen in a row. Shorter runs are in any message by chance.
SEEN = 4


@dataclass(frozen=True)
class Variable:
    """A template: the variable that it names, and what it stands for where that is not set (None: nothing)."""

    name: str
    default: str | int | float | None = None

    def value(self) -> str | int | float:
        """Raises ValueError where the variable is not set or may not be named."""
        limit = os.environ.get(LIMIT)
        if limit is not None and not any(fnmatchcase(self.name, one.strip()) for one in limit.split(",")):
            raise ValueError(
                f"the environment variable {self.name} may not be named in a declaration; allowed by {LIMIT}: "
                f"{limit.strip() or 'none'}"
            )
        value = os.environ.get(self.name, self.default)
        if value is None:
            raise ValueError(
                f"the environment variable {self.name} is not set; set it, or write env('{self.name}', 'a default')"
            )
        return value


def render(value: Any) -> Any:
    """The value with every template in a text filled in. Raises ValueError where that cannot be done."""
    return _rendered(value, (EXPRESSION,))


def render_all(value: Any) -> Any:
    """As `render`, for texts that Dagster itself fills in: it runs statements as well, also in a text without {{."""
    return _rendered(value, (EXPRESSION, *STATEMENTS))


def _rendered(value: Any, marks: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _rendered(inner, marks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rendered(inner, marks) for inner in value]
    return _filled(value) if isinstance(value, str) and any(mark in value for mark in marks) else value


def _filled(text: str) -> Any:
    from jinja2.nativetypes import native_concat

    values = [part.value() if isinstance(part, Variable) else part for part in _parts(text)]
    try:
        # As Dagster does: what reads as a number or a list becomes one.
        return native_concat(values)
    except RecursionError:
        return "".join(map(str, values))


def _parts(text: str) -> list[str | Variable]:
    """The plain pieces of a text and the templates between them. Raises ValueError for any other template."""
    from jinja2 import Environment, TemplateError, nodes

    refused = f"{text!r} cannot be filled in"
    for mark in STATEMENTS:
        if mark in text:
            raise ValueError(f"{refused}: found {mark}; allowed: {ALLOWED}")
    try:
        body = Environment().parse(text).body
    except RecursionError:
        raise ValueError(f"{refused}: nested too deeply; allowed: {ALLOWED}") from None
    except (TemplateError, ValueError) as error:
        raise ValueError(f"{refused}: {error}; allowed: {ALLOWED}") from None
    parts: list[str | Variable] = []
    for output in body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            part = node.data if isinstance(node, nodes.TemplateData) else _variable(node)
            if part is None:
                named = [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)
                others = [name.name for name in named if not _is_env(name)]
                reason = f"{others[0]!r} is undefined" if others else "that is another expression"
                raise ValueError(f"{refused}: {reason}; allowed: {ALLOWED}")
            parts.append(part)
    return parts


def _variable(node: Any) -> Variable | None:
    """The variable that an expression names in one of the two ways; None if it is another expression."""
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr) and _is_env(node.node):
        return Variable(node.attr) if VARIABLE.fullmatch(node.attr) else None
    if not isinstance(node, nodes.Call) or not _is_env(node.node):
        return None
    constants = [one.value for one in node.args if isinstance(one, nodes.Const)]
    if len(constants) != len(node.args) or node.kwargs or node.dyn_args or node.dyn_kwargs:
        return None
    match constants:
        case [str(name)] if VARIABLE.fullmatch(name):
            return Variable(name)
        case [str(name), (str() | int() | float()) as default] if VARIABLE.fullmatch(name):
            return Variable(name, default)
    return None


def _is_env(node: Any) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Name) and node.name == "env"


def _templates(value: Any) -> Iterator[str]:
    """Every text below a value that a template fills in."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _templates(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _templates(inner)
    elif isinstance(value, str) and EXPRESSION in value:
        yield value


def _named(value: Any) -> dict[str, str]:
    """Name -> value of each variable that the texts below a value name and that is set."""
    found: dict[str, str] = {}
    for text in _templates(value):
        try:
            parts = _parts(text)
        except ValueError:
            continue  # refused: nothing of it was filled in
        names = [part.name for part in parts if isinstance(part, Variable)]
        found |= {name: os.environ[name] for name in names if name in os.environ}
    return found


def concealed(message: str, declared: Any) -> str:
    """The message with the values of variables that the declarations name replaced by their templates.

    declared: declarations as they are written, before they are filled in.
    """
    values = _named(declared)
    for name in sorted(values, key=lambda name: len(values[name]), reverse=True):
        for spelled in (values[name], repr(values[name])[1:-1]):
            if len(spelled) >= SEEN:
                message = message.replace(spelled, f"{{{{ env.{name} }}}}")
    return message


def answered(message: str, declared: Any) -> str:
    """What may be said of a field: the message, unless it shows a piece of what a template filled in there.

    declared: the field as it is written. What is wrong with a value is often said of a piece of it.
    """
    values = _named(declared)
    if not values:
        return message
    templates = [f"{{{{ env.{name} }}}}" for name in values]
    shown = concealed(message, declared)
    rest = shown.casefold()
    for own in (*map(repr, _templates(declared)), *templates):
        rest = rest.replace(own.casefold(), "")
    if any(piece in rest for piece in _pieces([*values.values(), *_evaluated(declared)])):
        return f"what {', '.join(templates)} stands for is refused here, and is not shown; write it out to be told why"
    return shown


def _evaluated(declared: Any) -> Iterator[str]:
    """What was filled in as a number or a list, as text: its figures need not be those of the environment."""
    for text in _templates(declared):
        try:
            value = _filled(text)
        except ValueError:
            continue  # refused: nothing of it was filled in
        if not isinstance(value, str):
            yield str(value)


def _pieces(values: list[str]) -> set[str]:
    """Every run of characters of the values by which they would be known."""
    found = set()
    for value in map(str.casefold, values):
        size = min(SEEN, len(value))
        found |= {value[start : start + size] for start in range(len(value) - size + 1)} if size else set()
    return found
