"""Do the declarations of a deployment fit together? Every stream, view and line by name, checked against each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from factory_assets.declarations import expressions
from factory_assets.declarations.base import whole_days
from factory_assets.declarations.contract import SQL_TYPES, Contract
from factory_assets.declarations.documents import DeclarationError, Document, Problem, problems_of, read
from factory_assets.declarations.line import Line
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.view import View

KINDS: dict[str, type[BaseModel]] = {"EventStream": Stream, "FeatureView": View, "ModelLine": Line}
#: Columns that the factory itself adds to a line's tables.
RESERVED_OF_LINES = frozenset(
    {"example_id", "segment", "observed_at", "label", "node", "version", "prediction", "ds", "obs", "entity", "t"}
)
Finding = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class DeclaredStream:
    """A stream with its contract, and the type of every column of its events."""

    stream: Stream
    contract: Contract

    @cached_property
    def types(self) -> dict[str, str]:
        """Column -> type in DuckDB, in the order of the events table. Raises ValueError where an expression has none."""
        import duckdb

        with duckdb.connect(":memory:") as con:
            columns = ", ".join(
                f"{expressions.identifier(name)} {SQL_TYPES[column.type]}"
                for name, column in self.contract.columns.items()
            )
            con.execute(f"CREATE TABLE typed ({columns})")
            query = "SELECT * FROM typed"
            for name, text in {**self.stream.derive, **self.stream.rules}.items():
                query = f"SELECT *, {expressions.sql(text)} AS {expressions.identifier(name)} FROM ({query})"
            try:
                described = con.execute(f"DESCRIBE {query}").fetchall()
            except duckdb.Error as error:
                raise ValueError(str(error).splitlines()[0]) from None
        types = {row[0]: row[1] for row in described if row[0] not in ("event_time", "known_at")}
        return types | {"event_time": "TIMESTAMP", "known_at": "TIMESTAMP"}


@dataclass(frozen=True)
class DeclaredLine:
    """A line with the streams and views that it stands on."""

    line: Line
    observed: DeclaredStream
    views: dict[str, View]
    streams: dict[str, DeclaredStream] = field(repr=False)

    @cached_property
    def features(self) -> list[str]:
        """Canonical names with every `view.*` written out, in order, each once."""
        names: list[str] = []
        for name in self.line.features:
            view, _, feature = name.partition(".")
            names += self.views[view].canonical if feature == "*" else [name]
        return list(dict.fromkeys(names))

    @cached_property
    def row_features(self) -> list[str]:
        return [name for name in self.features if "." not in name]

    @cached_property
    def carried(self) -> list[str]:
        """Columns of the observed event that examples hold beside features: segment levels and those asked for."""
        return list(dict.fromkeys([*self.line.segments.levels, *self.line.observe.carry]))

    @cached_property
    def reach_days(self) -> int:
        """Days before an observation that its features look back on."""
        return max(
            (whole_days(view.reach) + (view.name in self.line.snapshot) for view in self.views.values()), default=0
        )


@dataclass(frozen=True)
class Catalogue:
    """All declarations of one deployment."""

    streams: Mapping[str, DeclaredStream] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)

    def check_view(self, view: View) -> list[Finding]:
        if view.stream not in self.streams:
            return [(("stream",), _unknown(view.stream, "stream", self.streams))]
        return view.check(list(self.streams[view.stream].types))

    def check_line(self, line: Line) -> list[Finding]:
        """What is wrong between a line and what it stands on, as (path in the declaration, message) pairs."""
        if line.observe.stream not in self.streams:
            return [(("observe", "stream"), _unknown(line.observe.stream, "stream", self.streams))]
        columns = list(self.streams[line.observe.stream].types)
        findings = _columns(("segments", "levels"), line.segments.levels, columns)
        findings += _columns(("observe", "carry"), line.observe.carry, columns)
        findings += _expression(("observe", "where"), line.observe.where, columns)
        findings += _expression(("label", "expression"), line.label.expression, columns)
        if line.observe.entity:
            findings += _columns(("observe", "entity"), [line.observe.entity], columns)
        taken = sorted({*line.segments.levels, *line.observe.carry, *line.features} & RESERVED_OF_LINES)
        if taken:
            message = f"{', '.join(taken)}: the line's tables use that name; call the column something else by derive"
            findings.append((("features",), message))
        findings += self._check_label(line)
        for index, name in enumerate(line.features):
            findings += self._check_feature(line, ("features", str(index)), name, columns)
        for name in line.snapshot:
            if name not in self.views:
                findings.append((("snapshot",), _unknown(name, "view", self.views)))
        return findings

    def _check_label(self, line: Line) -> list[Finding]:
        if line.label.event is None:
            if line.observe.entity:
                return [(("label", "expression"), "an entity has no row to take it from; use event and within")]
            return []
        if line.label.event not in self.streams:
            return [(("label", "event"), _unknown(line.label.event, "stream", self.streams))]
        columns = list(self.streams[line.label.event].types)
        if not line.observe.entity:
            return [(("label", "event"), "needs observe.entity: the label asks whether that entity has such an event")]
        return _columns(("label", "event"), [line.observe.entity], columns) + _expression(
            ("label", "where"), line.label.where, columns
        )

    def _check_feature(self, line: Line, path: tuple[str, ...], name: str, columns: list[str]) -> list[Finding]:
        view_name, dot, _ = name.partition(".")
        if not dot:
            if line.observe.entity:
                return [(path, f"{name!r}: an entity has no row of its own; use features of views")]
            return _columns(path, [name], columns)
        if view_name not in self.views:
            return [(path, _unknown(view_name, "view", self.views))]
        view = self.views[view_name]
        if not name.endswith(".*") and name not in view.canonical:
            return [(path, _unknown(name, "feature", [*view.canonical, f"{view_name}.*"]))]
        if line.observe.entity and view.entity != line.observe.entity:
            return [(path, f"{view_name} describes {view.entity!r}, the line observes {line.observe.entity!r}")]
        if not line.observe.entity and view.entity not in columns:
            return [(path, f"{view_name} describes {view.entity!r}, which {line.observe.stream} does not have")]
        if view.include_current and view.stream != line.observe.stream:
            return [(path, f"{view_name} includes the current event, but {line.name} observes {line.observe.stream}")]
        if view.include_current and (line.observe.entity or view_name in line.snapshot):
            return [(path, f"{view_name} includes the current event, but here no event is observed together with it")]
        return []

    def resolve(self, line: Line) -> DeclaredLine:
        """The line with what it stands on; call after `check_line` found nothing."""
        names = {name.partition(".")[0] for name in line.features if "." in name}
        views = {name: view for name, view in self.views.items() if name in names}
        return DeclaredLine(line, self.streams[line.observe.stream], views, dict(self.streams))


def load(folder: Path, render: Callable[[Any], Any] = lambda value: value) -> Catalogue:
    """Read every defs.yaml below a folder. `render` fills in templates such as {{ env.DATA }}.

    Raises DeclarationError with all problems found, not only the first.
    """
    folder = Path(folder)
    files = sorted(folder.rglob("defs.yaml")) if folder.is_dir() else [folder]
    if not files:
        raise DeclarationError([Problem(folder, 1, "folder", "holds no defs.yaml")])
    problems: list[Problem] = []
    entries: list[tuple[Document, BaseModel]] = []
    for file in files:
        try:
            documents = read(file)
        except DeclarationError as error:
            problems += error.problems
            continue
        for document in documents:
            entry = _entry(document, render, problems)
            if entry is not None:
                entries.append((document, entry))
    catalogue = _assemble(entries, problems)
    if problems:
        raise DeclarationError(problems)
    return catalogue


def _entry(document: Document, render: Callable[[Any], Any], problems: list[Problem]) -> BaseModel | None:
    value = document.value
    kind = value.get("type", "").rpartition(".")[2] if isinstance(value, dict) else None
    if kind not in KINDS:
        found = value.get("type") if isinstance(value, dict) else value
        allowed = ", ".join(f"factory_assets.components.{name}" for name in KINDS)
        problems.append(
            Problem(document.file, document.line(("type",)), "type", f"found {found!r}; allowed: {allowed}")
        )
        return None
    try:
        return KINDS[kind].model_validate(render(value.get("attributes") or {}))
    except ValidationError as error:
        problems += problems_of(error, document, ("attributes",))
        return None


def read_contract(stream: Stream, folder: Path) -> Contract:
    """The contract of a stream, from the file beside its declaration. Raises DeclarationError."""
    documents = read(folder / stream.contract)
    if len(documents) != 1:
        raise DeclarationError([Problem(folder / stream.contract, 1, "file", "must hold one YAML document")])
    try:
        return Contract.model_validate(documents[0].value)
    except ValidationError as error:
        raise DeclarationError(problems_of(error, documents[0])) from None


def require(findings: list[Finding], folder: Path, name: str) -> None:
    """Raise DeclarationError with the place of each finding about the declaration `name` below a folder."""
    if not findings:
        return
    for file in sorted(folder.rglob("defs.yaml")):
        for document in read(file):
            if isinstance(document.value, dict) and (document.value.get("attributes") or {}).get("name") == name:
                raise DeclarationError(_located(findings, document, name))
    raise DeclarationError([Problem(folder, 1, f"{name}: {'.'.join(path)}", message) for path, message in findings])


def _assemble(entries: list[tuple[Document, BaseModel]], problems: list[Problem]) -> Catalogue:
    streams: dict[str, DeclaredStream] = {}
    views: dict[str, View] = {}
    lines: dict[str, Line] = {}
    taken: dict[str, Document] = {}
    sound: list[tuple[Document, BaseModel]] = []
    for document, entry in entries:
        name = entry.name  # type: ignore[attr-defined]
        if name in taken:
            other = taken[name]
            message = f"{name!r} is declared already, at {other.file}:{other.line(('attributes', 'name'))}"
            problems.append(Problem(document.file, document.line(("attributes", "name")), "name", message))
            continue
        taken[name] = document
        if isinstance(entry, Stream):
            try:
                declared = DeclaredStream(entry, read_contract(entry, document.file.parent))
            except DeclarationError as error:
                problems += error.problems
                continue
            findings = entry.check(declared.contract)
            if not findings:
                try:
                    _ = declared.types
                except ValueError as error:
                    findings = [(("derive",), str(error))]
            problems += _located(findings, document, name)
            if not findings:
                streams[name] = declared
        elif isinstance(entry, View):
            views[name] = entry
        elif isinstance(entry, Line):
            lines[name] = entry
        sound.append((document, entry))
    catalogue = Catalogue(streams, views, lines)
    for document, entry in sound:
        if isinstance(entry, View):
            problems += _located(catalogue.check_view(entry), document, entry.name)
        elif isinstance(entry, Line):
            problems += _located(catalogue.check_line(entry), document, entry.name)
    return catalogue


def _located(findings: list[Finding], document: Document, name: str) -> list[Problem]:
    located = []
    for path, message in findings:
        steps = tuple(int(part) if part.isdigit() else part for part in path)
        where = f"{name}: {'.'.join(path)}"
        located.append(Problem(document.file, document.line(("attributes", *steps)), where, message))
    return located


def _unknown(name: str, kind: str, known: Any) -> str:
    return f"{name!r} is not a {kind}; {kind}s here: {', '.join(known) or 'none'}"


def _columns(path: tuple[str, ...], names: list[str], known: list[str]) -> list[Finding]:
    return [(path, _unknown(name, "column", known)) for name in names if name not in known]


def _expression(path: tuple[str, ...], text: str | None, known: list[str]) -> list[Finding]:
    if text is None:
        return []
    try:
        expressions.sql(text, known)
    except ValueError as error:
        return [(path, str(error))]
    return []
