"""Where in which file does a declaration stand? Reads YAML and keeps the line of every value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from factory_assets.declarations import templates
from factory_assets.declarations.base import masked

Path_ = tuple[str | int, ...]
#: Values that one document may stand for with its aliases written out: the declarations of a large deployment are thousands. Nine
#: lines of aliases of aliases are a thousand millions, which are more than any memory.
MOST = 1_000_000
#: Characters of a value that a message shows.
SHOWN = 300


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

    def at(self, path: Path_) -> Any:
        """What is written at the path, or at the nearest part of it that exists in the document."""
        value = self.value
        for part in path:
            inside = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
            if part not in inside:
                break
            value = inside[part]
        return value


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
    """One or more problems in declarations; the message lists them, a line each, in the order of the files."""

    def __init__(self, problems: list[Problem]):
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class _Loader(yaml.SafeLoader):
    """Reads values as Dagster does: dates stay text, so that a wrong one is a problem of its field."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - of the base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _Fast(Composer, CParser, SafeConstructor, Resolver):
        """The same values and lines as `_Loader`, from libyaml's parser in a sixth of the time.

        Nodes are put together in Python: libyaml's own way of doing it has no limit to how deep it goes, and takes the
        process with it where a document is nested too deeply.
        """

        yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

        def __init__(self, text: str):
            CParser.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)


def read(file: Path) -> list[Document]:
    """All documents of a YAML file. Raises DeclarationError if it is no YAML, says one thing twice, or does not exist.

    Nor is a link read that leads out of the file's folder: what a file holds is shown where it is wrong, and a link may be anybody's
    who may propose a declaration.
    """
    if reason := outside(file, file.parent):
        raise DeclarationError([Problem(file, 1, "file", reason)])
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError([Problem(file, 1, "file", f"cannot be read: {error}")]) from None
    documents, problems = _parsed(_Fast if yaml.__with_libyaml__ else _Loader, file, text)
    if problems:
        # PyYAML's own parser says more about a mistake than libyaml: which character it found, which alias nobody defined.
        documents, problems = _parsed(_Loader, file, text)
    if problems:
        raise DeclarationError(problems)
    return documents


def outside(file: Path, folder: Path) -> str:
    """That the file lies outside of a folder, if it does, whatever names and links say."""
    real, inside = file.resolve(), folder.resolve()
    return "" if real.is_relative_to(inside) else f"{file.name!r} lies outside of {folder}; put the file itself there"


def _parsed(loader_type: Callable[[str], Any], file: Path, text: str) -> tuple[list[Document], list[Problem]]:
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        loader = loader_type(text)
        while loader.check_node():
            node = loader.get_node()
            if _size(node, {}) > MOST:
                reason = f"with its aliases written out it has more than {MOST:,} values"
                problems.append(Problem(file, node.start_mark.line + 1, "YAML", reason))
                continue
            problems += _repeated(file, node, ())
            value = loader.construct_document(node)
            if value is not None:
                documents.append(Document(file, value, dict(_lines(node, ()))))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        problems.append(Problem(file, mark.line + 1 if mark else 1, "YAML", reason))
    return documents, problems


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for where every alias is written out. known: by the id of a node, to be filled."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        # A node below itself is refused where values are made of it.
        known[id(node)] = 1
        children = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _repeated(file: Path, node: yaml.Node, path: Path_) -> Iterator[Problem]:
    """Keys that stand twice in one mapping: YAML would take the last and forget the others."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                where = ".".join(map(str, (*path, key.value)))
                yield Problem(file, line, where, f"{key.value!r} stands already on line {seen[key.value]}; keep one")
            seen[str(key.value)] = line
            yield from _repeated(file, child, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _repeated(file, child, (*path, index))


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


def problems_of(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: Path_ = ()
) -> list[Problem]:
    """Pydantic's findings about a model with file and line; each says what was found and what is allowed."""
    found = []
    for item in error.errors(include_url=False):
        path, shown = prefix, list(prefix)
        for part in item["loc"]:
            # A location also names the kind of a source, which is no key of the document.
            if (*path, part) in document.lines:
                path = (*path, part)
                shown.append(part)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"unknown field {item['loc'][-1]!r}; allowed: {', '.join(_fields(model, item['loc'][:-1]))}"
        elif item["type"] == "missing":
            shown.append(item["loc"][-1])
            message = f"{item['loc'][-1]!r} is required; fields here: {', '.join(_fields(model, item['loc'][:-1]))}"
        # An address may hold a password in a form that `masked` does not know.
        elif (
            not isinstance(item["input"], (dict, BaseModel))
            and shown[-1:] != ["url"]
            and not (item["type"] == "value_error" and repr(item["input"]) in message)
        ):
            written = document.at(path)
            found_there = written if isinstance(written, str) and templates.EXPRESSION in written else item["input"]
            shown_there = masked(f"; found {found_there!r}")
            message += shown_there if len(shown_there) <= SHOWN else f"{shown_there[:SHOWN]}..."
        message = templates.answered(message, document.at(path))
        found.append(Problem(document.file, document.line(path), ".".join(map(str, shown)) or "document", message))
    return sorted(found, key=lambda problem: problem.line)


def _fields(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that a (nested) model has at a location of pydantic's."""
    for part in location:
        kind = _inside(kind, part)
    models = _models(kind)
    return [field.alias or name for name, field in models[0].model_fields.items()] if len(models) == 1 else []


def _inside(kind: Any, part: int | str) -> Any:
    """The type to which a part of a location leads."""
    if get_origin(kind) in (dict, list):
        return get_args(kind)[-1]
    models = _models(kind)
    # Among several models, the part is the kind of the one that was meant.
    meant = [
        model
        for model in models
        if "kind" in model.model_fields and part in get_args(model.model_fields["kind"].annotation)
    ]
    field = models[0].model_fields.get(str(part)) if models else None
    return meant[0] if meant else field.annotation if field else None


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models that a type stands for: the type itself, or the members of a union."""
    if isinstance(kind, type):
        return [kind] if issubclass(kind, BaseModel) else []
    return [model for one in get_args(kind) for model in _models(one)]
