"""Where in which file does a declaration stand? Reads YAML and keeps the line of every value."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document: its value, and the line (from 1) of every path inside it."""

    file: Path
    value: Any
    lines: dict[Path_, int] = field(repr=False, compare=False)

    def line(self, path: Path_) -> int:
        """Line of the path, or of the nearest part of it that exists in the document."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass(frozen=True)
class Problem:
    """Something a person has to change: where, and why."""

    file: Path
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.where}: {self.message}"


class DeclarationError(ValueError):
    """One or more problems in declarations; the message lists them, a line each."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def read(file: Path) -> list[Document]:
    """All documents of a YAML file. Raises DeclarationError if it is no YAML or does not exist."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError([Problem(file, 1, "file", f"cannot be read: {error}")]) from None
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
        values = [value for value in yaml.safe_load_all(text) if value is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise DeclarationError([Problem(file, mark.line + 1 if mark else 1, "YAML", reason)]) from None
    return [Document(file, value, dict(_lines(node, ()))) for node, value in zip(nodes, values, strict=True)]


def _lines(node: yaml.Node, path: Path_) -> Iterator[tuple[Path_, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            inner = (*path, key.value)
            yield from _lines(child, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _lines(child, (*path, index))


def problems_of(error: ValidationError, document: Document, prefix: Path_ = ()) -> list[Problem]:
    """Pydantic's findings with file and line; each says what was found and what is allowed."""
    found = []
    for item in error.errors(include_url=False):
        path = (*prefix, *(part for part in item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"unknown field {item['loc'][-1]!r}{_siblings(error, item['loc'])}"
        elif item["type"] != "missing" and not isinstance(item.get("input"), (dict, BaseModel)):
            message += f"; found {item.get('input')!r}"
        found.append(Problem(document.file, document.line(path), ".".join(map(str, path)) or "document", message))
    return found


def _siblings(error: ValidationError, location: tuple[int | str, ...]) -> str:
    from factory_assets.declarations import contract, line, stream, view

    models: dict[str, type[BaseModel]] = {
        model.__name__: model
        for module in (contract, line, stream, view)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }
    model: Any = models.get(error.title)
    for part in location[:-1]:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return ""
        model = model.model_fields[str(part)].annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return f"; allowed: {', '.join(model.model_fields)}"
    return ""
