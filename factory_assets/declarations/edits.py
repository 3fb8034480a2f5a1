"""How does a contract's text change in one place, and keep its comments and its layout everywhere else?

A change is a merge patch (RFC 7396): mappings merge, any other value replaces what was there, null takes it away. PyYAML
says from where to where each value stands in the text; only those stretches are written anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

#: Plain text that YAML reads back as the same text wherever it stands.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_%/.+-]*( [A-Za-z0-9_%/.+()-]+)*[.]?")


class EditError(ValueError):
    """A text that cannot be changed in place."""


def flow(value: Any) -> str:
    """A value on one line, as contracts are written: {type: integer, min: 0}."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and yaml.safe_load(value) == value
        return value if plain else _quoted(value)
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _quoted(text: str) -> str:
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return yaml.safe_dump(text, default_style='"', width=10_000).strip()


def merged(value: Any, change: Mapping[str, Any]) -> dict[str, Any]:
    """The value after a merge patch."""
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in change.items():
        if inner is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), inner) if isinstance(inner, Mapping) else inner
    return result


def edited(text: str, change: Mapping[str, Any]) -> str:
    """The text of a YAML mapping after a merge patch. Raises EditError where it cannot be made in place."""
    before = yaml.safe_load(text)
    wanted = merged(before, change)
    for path, value in _leaves(change, ()):
        text = _placed(text, path, value)
    # Anchors and merge keys let one place in the text mean several in the value.
    if yaml.safe_load(text) != wanted:
        raise EditError(f"cannot be written in place: {flow(change)}; change the file by hand")
    return text


def _leaves(change: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for key, value in change.items():
        nested = isinstance(value, Mapping) and value
        found += _leaves(value, (*path, key)) if nested else [((*path, key), value)]
    return found


@dataclass(frozen=True)
class _Entry:
    key: yaml.Node
    value: yaml.Node


def _placed(text: str, path: tuple[str, ...], value: Any) -> str:
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise EditError("is no YAML mapping")
    for place, name in enumerate(path):
        found = next((_Entry(key, inner) for key, inner in node.value if key.value == name), None)
        if found is None:
            inner: Any = value
            for key in reversed(path[place + 1 :]):
                inner = {key: inner}
            return text if value is None else _inserted(text, node, name, inner, top=place == 0)
        if place == len(path) - 1:
            return _removed(text, node, found) if value is None else _replaced(text, found, value)
        if not isinstance(found.value, yaml.MappingNode):
            raise EditError(f"{'.'.join(path[: place + 1])} is no mapping")
        node = found.value
    return text


def _replaced(text: str, entry: _Entry, value: Any) -> str:
    if isinstance(entry.value, yaml.CollectionNode) and not entry.value.flow_style:
        # A value that stood on lines of its own moves up behind its key.
        start = text.index(":", entry.key.end_mark.index) + 1
        return f"{text[:start]} {flow(value)}{text[_end(entry.value) :]}"
    return text[: entry.value.start_mark.index] + flow(value) + text[entry.value.end_mark.index :]


def _inserted(text: str, node: yaml.MappingNode, name: str, value: Any, top: bool) -> str:
    entry = f"{flow(name)}: {flow(value)}"
    if node.flow_style:
        # The description comes last, as it is the longest.
        before = next((key for key, _ in node.value if key.value == "description"), None)
        if before is not None:
            return f"{text[: before.start_mark.index]}{entry}, {text[before.start_mark.index :]}"
        start = _end(node.value[-1][1]) if node.value else node.start_mark.index + 1
        return f"{text[:start]}{', ' if node.value else ''}{entry}{text[start:]}"
    first = node.value[0][0]
    indent = " " * first.start_mark.column
    if top and name == "version":
        return f"{text[: first.start_mark.index]}{entry}\n{indent}{text[first.start_mark.index :]}"
    # Fields of the whole contract stand above the columns; a new column comes after the others.
    after = next((inner for key, inner in node.value if key.value == "version"), None) if top else None
    end = _end(after if after is not None else node.value[-1][1])
    line = text.find("\n", end)
    line = len(text) if line < 0 else line
    return f"{text[:line]}\n{indent}{entry}{text[line:]}"


def _removed(text: str, node: yaml.MappingNode, entry: _Entry) -> str:
    start, end = entry.key.start_mark.index, _end(entry.value)
    place = next(number for number, (key, _) in enumerate(node.value) if key is entry.key)
    if node.flow_style:
        if place + 1 < len(node.value):
            end = node.value[place + 1][0].start_mark.index
        elif place:
            start = _end(node.value[place - 1][1])
        return text[:start] + text[end:]
    start = text.rfind("\n", 0, start) + 1
    line = text.find("\n", end)
    return text[:start] + (text[line + 1 :] if line >= 0 else "")


def _end(node: yaml.Node) -> int:
    """Where a value ends; a block reaches, by PyYAML's count, to the next token, over all comments between."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
