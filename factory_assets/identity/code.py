"""Which code computes a table or a model, in one hash that changes with what it computes and with nothing else?

`stations.STATIONS` names the modules. The syntax tree of each module counts, without the parts that compute nothing: comments,
docstrings, the layout of lines, annotations of arguments, the words of an error. Nor does it count where a module lies: an
import counts by the code that it leads to. So a file may be moved, and a message be reworded, and nothing is computed again.

The modules are read and not imported: to know its code version, an asset need not load what a run of it loads.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from factory_assets.identity.hashes import hash_of
from factory_assets.identity.stations import STATIONS
from factory_resources.collector import uncollected

#: Packages whose modules are code of ours; others count by the names that are imported.
OURS = ("factory_assets", "factory_resources")


@dataclass(frozen=True)
class Import:
    """One name that a module imports. module: where from; ours: of `OURS`, so that it counts by its code."""

    module: str
    name: str
    known_as: str
    ours: bool


@dataclass(frozen=True)
class Source:
    """The computing parts of a module. body: hash of all of them but the imports."""

    body: str
    imports: tuple[Import, ...]


@functools.cache
def code_of(station: str) -> str:
    """16 hex digits of the code of a table or of models. Raises LookupError for an unknown station, or a module that is gone."""
    if station not in STATIONS:
        raise LookupError(f"no station {station!r} names its modules; those that do: {', '.join(STATIONS)}")
    read = {name: source(name) for name in STATIONS[station].modules}
    # A module that decides nothing here counts by the names that are imported of it.
    bodies = {name: module.body for name, module in read.items()}

    def content(one: Import) -> tuple[str, str, str]:
        return bodies.get(one.module, "") if one.ours else one.module, one.name, one.known_as

    modules = sorted((module.body, sorted(map(content, module.imports))) for module in read.values())
    return hashlib.sha256(repr(modules).encode()).hexdigest()[:16]


@functools.cache
def source(module: str) -> Source:
    """A module of ours. Raises LookupError where it has no file."""
    file = _file(module)
    if file is None:
        raise LookupError(
            f"{module} is no module; it was moved or removed: name it in identity/stations.py as it is now"
        )
    return _kept(file, module)


def _kept(file: Path, module: str) -> Source:
    """The source of a module, from beside its bytecode where it was written down before: to read a tree is half a second for all.

    What is written down begins with a hash of the module, its place and this reader; with another hash it is read anew.
    """
    text = file.read_bytes()
    read_from = hashlib.sha256(b"\0".join((_own_text(), module.encode(), text))).hexdigest()
    beside = Path(importlib.util.cache_from_source(str(file))).with_suffix(".source.json")
    with suppress(OSError, ValueError, TypeError):
        noted, body, imports = json.loads(beside.read_bytes())
        if noted == read_from:
            return Source(body, tuple(Import(*one) for one in imports))
    made = parsed(text.decode(), module, package=file.name == "__init__.py")
    if not sys.dont_write_bytecode:
        # An installation that nobody may write to is read each time, as Python compiles it each time.
        with suppress(OSError):
            beside.parent.mkdir(exist_ok=True)
            fresh = beside.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps([read_from, made.body, [astuple(one) for one in made.imports]]))
            fresh.replace(beside)
    return made


@functools.cache
def _own_text() -> bytes:
    return Path(__file__).read_bytes()


def parsed(text: str, module: str, package: bool = False) -> Source:
    """The source of a module. package: it is the `__init__.py` of a package of this name."""
    reader = _Reader(module if package else module.rpartition(".")[0])
    with uncollected():
        reader.statements(ast.parse(text).body)
    body = hashlib.sha256("".join(reader.tokens).encode("utf-8", "surrogatepass")).hexdigest()
    return Source(body, tuple(dict.fromkeys(reader.imports)))


def imported(module: str) -> set[str]:
    """Modules of ours that this one imports, at its top or inside of a function, or for type checkers not at all."""
    return {one.module for one in source(module).imports if one.ours}


@functools.cache
def _file(module: str) -> Path | None:
    package, *below = module.split(".")
    spec = importlib.util.find_spec(package)
    if package not in OURS or spec is None:
        return None
    for root in spec.submodule_search_locations or ():
        path = Path(root, *below)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


class _Reader:
    """Writes down the computing parts of a tree. `ast.dump` would do, did its text not change with releases of Python."""

    def __init__(self, package: str):
        self.tokens: list[str] = []
        self.imports: list[Import] = []
        self._package = package
        # Annotations of a class body make fields, of dataclasses and of declarations; others are for the reader.
        self._in_class = self._in_raise = False

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._node(statement)

    def _node(self, node: ast.AST) -> None:
        kind = type(node)
        if special := _SPECIAL.get(kind):
            special(self, node)
        else:
            self._written(kind.__name__, node, kind._fields)

    def _written(self, kind: str, node: ast.AST, fields: Iterable[str]) -> None:
        self.tokens.append(kind)
        for name in fields:
            value = getattr(node, name, None)
            # Fields that a release of Python adds are absent, or empty. Whether a name is read or written shows in its place.
            if value is None or value == [] or name == "ctx":
                continue
            self.tokens.append(name)
            if isinstance(value, ast.AST):
                self._node(value)
            elif isinstance(value, list):
                for each in value:
                    if isinstance(each, ast.AST):
                        self._node(each)
                    else:
                        self.tokens.append(f"{each},")
                self.tokens.append("]")
            else:
                self.tokens.append(f"{value},")
        self.tokens.append(")")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.imports += _imports(node, self._package)

    def _expression(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring, or an ellipsis in the place of a body
            self._written("Expr", node, node._fields)

    def _if(self, node: ast.If) -> None:
        if _for_type_checkers(node.test):
            self.statements(node.orelse)
        else:
            self._written("If", node, node._fields)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if self._in_class:
            self._written("AnnAssign", node, node._fields)
        elif node.value is not None:
            self._node(ast.Assign([node.target], node.value))

    def _joined(self, node: ast.JoinedStr) -> None:
        self._written("JoinedStr", ast.JoinedStr(list(_merged(node.values))), ("values",))

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if not isinstance(value, str):
            self.tokens.append(f"{type(value).__name__}:{value!r},")
        elif not self._in_raise:
            # Not its `repr`, which goes by the Unicode of the release.
            self.tokens.append(f"str{len(value)}:{value},")

    def _raise(self, node: ast.Raise) -> None:
        before, self._in_raise = self._in_raise, True
        self._written("Raise", node, node._fields)
        self._in_raise = before

    def _scope(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._in_class = self._in_class, isinstance(node, ast.ClassDef)
        fields: Iterable[str] = node._fields
        # A decorator may read the annotations of what it decorates.
        if not isinstance(node, ast.ClassDef) and not node.decorator_list:
            fields = [name for name in fields if name != "returns"]
            for each in _arguments(node.args):
                each.annotation = None
        self._written(type(node).__name__, node, fields)
        self._in_class = before


_SPECIAL: dict[type, Callable[[_Reader, Any], None]] = {
    ast.Import: _Reader._import,
    ast.ImportFrom: _Reader._import,
    ast.Expr: _Reader._expression,
    ast.If: _Reader._if,
    ast.AnnAssign: _Reader._annotated,
    ast.JoinedStr: _Reader._joined,
    ast.Constant: _Reader._constant,
    ast.Raise: _Reader._raise,
    ast.ClassDef: _Reader._scope,
    ast.FunctionDef: _Reader._scope,
    ast.AsyncFunctionDef: _Reader._scope,
}


def _imports(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for each in node.names:
            ours = each.name.split(".")[0] in OURS
            yield Import(each.name, "", each.asname or ("" if ours else each.name), ours)
        return
    module = node.module or ""
    if node.level:
        module = importlib.util.resolve_name("." * node.level + module, package)
    ours = module.split(".")[0] in OURS
    for each in node.names:
        below, known_as = f"{module}.{each.name}", each.asname or each.name
        if ours and _file(below):
            yield Import(below, "", known_as, ours)
        else:
            yield Import(module, each.name, known_as, ours)


def _for_type_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _arguments(of: ast.arguments) -> Iterator[ast.arg]:
    yield from (*of.posonlyargs, *of.args, *of.kwonlyargs)
    yield from (each for each in (of.vararg, of.kwarg) if each)


def _merged(values: list[ast.expr]) -> Iterator[ast.expr]:
    """Parts of an f-string; where texts lie side by side, one text: how many there are is a matter of the release."""
    text = ""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text += value.value
            continue
        if text:
            yield ast.Constant(text)
        text = ""
        yield value
    if text:
        yield ast.Constant(text)


def code_version(station: str, *parts: Any) -> str:
    """A short hash of what an asset's result depends on besides its inputs: the code of its station, and its declaration.

    station: of `identity.stations.STATIONS`.
    """
    return hash_of(code_of(station), *parts)
