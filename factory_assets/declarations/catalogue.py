"""Do the declarations of a deployment fit together? Every stream, view and line by name, checked against each other."""

import os
from collections.abc import Callable, Collection, Iterator, KeysView, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from factory_assets.declarations import candidates, expressions, on_demand, outcomes, parts, templates, types, units
from factory_assets.declarations.contract import Contract, Environment
from factory_assets.declarations.declared import VALUED, DeclaredLine, DeclaredStream, feature_types, written_out
from factory_assets.declarations.documents import DeclarationError, Document, Path_, Problem, outside, problems_of, read
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.tasks import PROBABILITY, classes_of
from factory_assets.declarations.types import Mistake
from factory_assets.declarations.view import View

KINDS: dict[str, type[BaseModel]] = {
    "EventStream": Stream,
    "FeatureView": View,
    "OnDemandView": OnDemandView,
    "ModelLine": Line,
}
#: The keys that Dagster itself allows beside `type` and `attributes`, but for the one that names code for templates.
TOP_FIELDS = ("type", "attributes", "requirements", "post_processing")
FILLED_IN_BY_DAGSTER = ("requirements", "post_processing")
#: Names of a file of declarations. The factory itself reads the first.
DAGSTERS_FILES = ("defs.yaml", "defs.yml", "component.yaml")
#: What a file has that says more than Dagster may read unseen. YAML can write a brace by its number, after a backslash.
MAY_HOLD_TEMPLATES = (templates.EXPRESSION, *templates.STATEMENTS, "\\", "template_vars_module")
#: Columns that the factory itself adds to a line's tables.
RESERVED_OF_LINES = frozenset(
    {
        "example_id",
        "leaf",
        "segment",
        "observed_at",
        "label",
        "node",
        "version",
        "prediction",
        "ds",
        "obs",
        "entity",
        "t",
    }
)


@dataclass(frozen=True)
class Catalogue:
    """All declarations of one deployment."""

    streams: Mapping[str, DeclaredStream] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)
    on_demand: Mapping[str, OnDemandView] = field(default_factory=dict)

    @property
    def every_view(self) -> dict[str, View | OnDemandView]:
        return {**self.views, **self.on_demand}

    @cached_property
    def _features(self) -> dict[str, frozenset[str]]:
        """View -> the canonical names of its features."""
        return {name: frozenset(view.canonical) for name, view in self.every_view.items()}

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Canonical name -> expression, of all features on demand."""
        return on_demand.texts(self.on_demand)

    @cached_property
    def _unsound(self) -> frozenset[str]:
        """Views computed on demand that have problems of their own."""
        return frozenset(name for name, view in self.on_demand.items() if self.check_on_demand(view))

    def check_view(self, view: View) -> list[Mistake]:
        if view.stream not in self.streams:
            return [(("stream",), _unknown(view.stream, "stream", self.streams))]
        columns = self.streams[view.stream].types
        findings = view.check(list(columns))
        findings += [
            (("serve",), message) for message in (view.serve.check(view.entity, view.names) if view.serve else [])
        ]
        if findings:
            return findings
        aggregates = {name: expressions.aggregate(text) for name, text in view.features.items()}
        numeric = {"sum", "mean", "deviation", "min", "max"}
        numeric |= set(VALUED) if view.default is not None else set()
        texts: list[tuple[tuple[str, ...], str | None, types.Wanted]] = [(("where",), view.where, "true or false")]
        texts += [
            (("features", name), aggregate.text, "a number")
            for name, aggregate in aggregates.items()
            if aggregate.function in numeric
        ]
        texts += [(("features", name), aggregate.condition, "true or false") for name, aggregate in aggregates.items()]
        if findings := types.unsuited(columns, texts):
            return findings
        found = feature_types(view, self.streams[view.stream])
        windowed = {name: found[name] for name in view.aggregated}
        return types.unsuited(windowed, [(("derive", name), text, "a number") for name, text in view.derive.items()])

    def check_on_demand(self, view: OnDemandView) -> list[Mistake]:
        """Mistakes between a view computed on demand and the views that it reads."""
        findings: list[Mistake] = []
        texts = {**self._texts, **on_demand.texts({view.name: view})}
        several, circular = self.every_view, on_demand.unordered(texts)
        for name, text in view.derive.items():
            path = ("derive", name)
            for feature in expressions.features(text):
                own = feature.partition(".")[0]
                if own not in several:
                    findings.append((path, _unknown(own, "view", several)))
                elif feature not in self._features[own]:
                    findings.append((path, _unknown(feature, "feature", several[own].canonical)))
            own_name = f"{view.name}.{name}"
            if own_name in circular and (way := on_demand.circle(own_name, texts)):
                findings.append((path, f"is computed from itself: {' reads '.join(way)}; one of them must not"))
        if findings:
            return findings
        names = {one.partition(".")[0] for text in view.derive.values() for one in expressions.features(text)}
        sources = [self.views[name] for name in names if name in self.views]
        if any(self.check_view(source) for source in sources):
            return []  # it has problems of its own
        found = dict.fromkeys(texts, "DOUBLE")
        for source in sources:
            kinds = feature_types(source, self.streams[source.stream])
            found |= {f"{source.name}.{name}": kind for name, kind in kinds.items()}
        # The type of a column of the observed event is known to the line that observes it.
        asked: list[tuple[tuple[str, ...], str | None, types.Wanted]] = [
            (("derive", name), text, "a number") for name, text in view.derive.items() if not expressions.observed(text)
        ]
        return types.unsuited(found, asked, canonical=True)

    def check_line(self, line: Line) -> list[Mistake]:
        """Mistakes between a line and the streams and views that it reads, as (path in the declaration, message) pairs."""
        if line.observe.stream not in self.streams:
            return [(("observe", "stream"), _unknown(line.observe.stream, "stream", self.streams))]
        typed = self.streams[line.observe.stream].types
        columns = typed.keys()
        findings = _columns(("segments", "levels"), line.segments.levels, columns)
        findings += _columns(("observe", "carry"), line.observe.carry, columns)
        findings += _expression(("observe", "where"), line.observe.where, columns)
        findings += _expression(("label", "expression"), line.label.expression, columns)
        if line.observe.entity:
            findings += _columns(("observe", "entity"), [line.observe.entity], columns)
        findings += self._check_label(line) + candidates.check(line)
        for index, name in enumerate(line.features):
            findings += self._check_feature(line, ("features", str(index)), name, columns)
        for name in line.snapshot:
            if name in self.on_demand:
                findings.append(
                    (("snapshot",), f"{name!r} is computed on demand: name the views that it is computed from")
                )
            elif name not in self.views:
                findings.append((("snapshot",), _unknown(name, "view", self.views)))
        if findings:
            return findings
        findings = self._check_names(line) + self._check_monotone(line) + self._check_cluster(line)
        findings += self._check_types_on_demand(line) + outcomes.check(self.resolve(line)) + self._check_parts(line)
        return findings + types.unsuited(
            typed,
            [
                (("observe", "where"), line.observe.where, "true or false"),
                (("label", "expression"), line.label.expression, _wanted(line.task)),
            ],
        )

    def _check_names(self, line: Line) -> list[Mistake]:
        declared = self.resolve(line)
        places: dict[tuple[str, ...], list[str | None]] = {
            ("segments", "levels"): [*line.segments.levels],
            ("observe", "carry"): [*line.observe.carry],
            ("observe", "entity"): [line.observe.entity],
            ("features",): [
                *declared.row_features,
                *on_demand.observed(declared.features, declared.derived),
                *(key for view in declared.views.values() for key in view.entity),
            ],
        }
        probabilities = {f"{PROBABILITY}{name}" for name in classes_of(line.task)}
        return [
            (path, f"{name!r} is a name that the line's tables use; give the column another one by derive")
            for path, names in places.items()
            for name in dict.fromkeys(names)
            if name and (name.lower() in RESERVED_OF_LINES or name in probabilities)
        ]

    def _check_types_on_demand(self, line: Line) -> list[Mistake]:
        """Mistakes where a feature computed on demand gives no number from the columns of the observed event."""
        declared = self.resolve(line)
        texts = [text for text in declared.derived.values() if expressions.observed(text)]
        if not texts:
            return []
        asked: list[tuple[tuple[str, ...], str | None, types.Wanted]] = [
            (("features",), text, "a number") for text in texts
        ]
        return types.unsuited(declared.observed.types | declared.types, asked, canonical=True)

    def _check_monotone(self, line: Line) -> list[Mistake]:
        if not any(candidate.monotone for candidate in line.candidates.values()):
            return []
        declared = self.resolve(line)
        found = {name: declared.observed.types[name] for name in declared.row_features}
        return candidates.check_monotone(declared, found | declared.types)

    def _check_cluster(self, line: Line) -> list[Mistake]:
        kept = self.resolve(line).kept
        if line.gate.cluster is None or line.gate.cluster in kept:
            return []
        return [
            (
                ("gate", "cluster"),
                f"{line.gate.cluster!r} is no column of the examples, which have {', '.join(kept) or 'none'}; "
                "name it in observe.carry to have it there",
            )
        ]

    def _check_parts(self, line: Line) -> list[Mistake]:
        declared = self.resolve(line)
        if not parts.are_declared(line.gate) or any(self.check_view(view) for view in declared.views.values()):
            return []
        return parts.check(declared)

    def _check_label(self, line: Line) -> list[Mistake]:
        if line.label.event is None:
            if line.observe.entity:
                return [(("label", "expression"), "an entity has no row to take it from; use event and within")]
            return []
        if line.label.event not in self.streams:
            return [(("label", "event"), _unknown(line.label.event, "stream", self.streams))]
        columns = list(self.streams[line.label.event].types)
        if bool(line.observe.entity) == bool(line.label.same):
            return [(("label", "event"), _whose(line))]
        path = ("label", "same" if line.label.same else "event")
        keys = [line.observe.entity] if line.observe.entity else line.label.same
        findings = _columns(path, keys, columns) + _columns(path, keys, self.streams[line.observe.stream].types)
        findings += _expression(("label", "where"), line.label.where, columns)
        if findings:
            return list(dict.fromkeys(findings))
        asked: list[tuple[tuple[str, ...], str | None, types.Wanted]] = [
            (("label", "where"), line.label.where, "true or false")
        ]
        findings = [found for key in keys for found in self._check_entity(line, path, line.label.event, key)]
        return findings + types.unsuited(self.streams[line.label.event].types, asked)

    def _check_entity(self, line: Line, path: tuple[str, ...], stream: str, entity: str) -> list[Mistake]:
        """An entity is found again in another stream by its value: both must be of one type."""
        here, there = (self.streams[name].types.get(entity) for name in (line.observe.stream, stream))
        if here and there and here != there:
            return [
                (path, f"{entity!r} is {there} in {stream} and {here} in {line.observe.stream}; they must be the same")
            ]
        return []

    def _check_feature(self, line: Line, path: tuple[str, ...], name: str, columns: KeysView[str]) -> list[Mistake]:
        view_name, dot, _ = name.partition(".")
        if not dot:
            if line.observe.entity:
                return [(path, f"{name!r}: an entity has no row of its own; use features of views")]
            return _columns(path, [name], columns)
        if view_name in self.on_demand:
            return self._check_derived(line, path, name, columns)
        if view_name not in self.views:
            return [(path, _unknown(view_name, "view", self.every_view))]
        view = self.views[view_name]
        if name != f"{view_name}.*" and name not in self._features[view.name]:
            return [(path, _unknown(name, "feature", [*view.canonical, f"{view_name}.*"]))]
        described = " and ".join(map(repr, view.entity))
        known = {line.observe.entity, *line.segments.levels, *line.observe.carry}
        if line.observe.entity and not set(view.entity) <= known:
            lacking = ", ".join(repr(key) for key in view.entity if key not in known)
            return [
                (
                    path,
                    f"{view_name} describes {described}, the line observes {line.observe.entity!r}; "
                    f"name {lacking} in observe.carry, and its latest values find the features",
                )
            ]
        if not line.observe.entity and not set(view.entity) <= columns:
            return [(path, f"{view_name} describes {described}, which {line.observe.stream} does not have")]
        if view.include_current and view.stream != line.observe.stream:
            return [(path, f"{view_name} includes the current event, but {line.name} observes {line.observe.stream}")]
        if view.include_current and (line.observe.entity or view_name in line.snapshot):
            return [(path, f"{view_name} includes the current event, but here no event is observed together with it")]
        if view.stream not in self.streams:
            return []
        return [found for key in view.entity for found in self._check_entity(line, path, view.stream, key)]

    def _check_derived(self, line: Line, path: tuple[str, ...], name: str, columns: KeysView[str]) -> list[Mistake]:
        """Mistakes that keep a line from computing a feature on demand: its inputs must be there, and of one moment."""
        view = self.on_demand[name.partition(".")[0]]
        if name != f"{view.name}.*" and name not in self._features[view.name]:
            return [(path, _unknown(name, "feature", [*view.canonical, f"{view.name}.*"]))]
        if view.name in self._unsound:
            return []
        texts, findings = self._texts, list[Mistake]()
        for feature in written_out([name], self.on_demand):
            read, along = on_demand.sources(feature, texts), on_demand.observed([feature], texts)
            views = list(dict.fromkeys(source.partition(".")[0] for source in read))
            findings += [
                (path, f"{feature} reads {source}: {message}")
                for source in [*read, *along]
                for _, message in self._check_feature(line, path, source, columns)
            ]
            closed = [one for one in views if one in line.snapshot]
            if closed and closed != views:
                findings.append(
                    (path, f"{feature} reads {', '.join(views)} at one moment: name all of them in snapshot, or none")
                )
        return findings

    def resolve(self, line: Line) -> DeclaredLine:
        """The line with its streams and views; call after `check_line` found nothing."""
        texts = on_demand.texts(self.on_demand)
        asked = written_out(line.features, self.on_demand)
        derived = on_demand.in_order(asked, texts)
        read = [*asked, *derived, *(source for name in derived for source in expressions.features(texts[name]))]
        names = {name.partition(".")[0] for name in read if "." in name}
        views = {name: view for name, view in self.views.items() if name in names}
        computed = {name: view for name, view in self.on_demand.items() if name in names}
        return DeclaredLine(line, self.streams[line.observe.stream], views, dict(self.streams), computed)


def load(folder: Path, render: Callable[[Any], Any] = lambda value: value) -> Catalogue:
    """Read every defs.yaml below a folder. `render` fills in templates such as {{ env.DATA }}.

    Raises DeclarationError with all problems found, not only the first.

    >>> import factory_assets
    >>> demo = load(Path(factory_assets.__file__).parent / "defs")
    >>> sorted(demo.streams), sorted(demo.lines)
    (['orders'], ['delivery_time', 'repeat_order'])
    """
    folder = Path(folder)
    files = sorted(folder.rglob("defs.yaml")) if folder.is_dir() else [folder]
    if not files:
        raise DeclarationError([Problem(folder, 1, "folder", "holds no defs.yaml")])
    problems: list[Problem] = []
    documents: list[Document] = []
    for file in files:
        try:
            documents += read(file)
        except DeclarationError as error:
            problems += error.problems
    entries: list[tuple[Document, BaseModel]] = []
    broken: set[str] = set()
    for document in documents:
        entry = _entry(document, render, problems)
        if entry is None:
            broken.add(_name(document))
        else:
            entries.append((document, entry))
    catalogue = _assemble(entries, broken, problems)
    if problems:
        raise _told(problems, documents)
    return catalogue


def _told(problems: list[Problem], documents: list[Document]) -> DeclarationError:
    """The problems of a deployment, without what its templates were filled in with: one may show what another declares."""
    declared = [document.value for document in documents]
    return DeclarationError([replace(one, message=templates.concealed(one.message, declared)) for one in problems])


def _entry(document: Document, render: Callable[[Any], Any], problems: list[Problem]) -> BaseModel | None:
    value = document.value if isinstance(document.value, dict) else {"type": document.value}
    kind = str(value.get("type")).rpartition(".")[2]
    if kind not in KINDS:
        allowed = ", ".join(f"factory_assets.components.{name}" for name in KINDS)
        message = f"found {value.get('type')!r}; allowed: {allowed}"
        problems.append(Problem(document.file, document.line(("type",)), "type", message))
        return None
    before = len(problems)
    for key in value:
        if key not in TOP_FIELDS:
            message = f"unknown field {key!r}; allowed: {', '.join(TOP_FIELDS)}"
            problems.append(Problem(document.file, document.line((str(key),)), str(key), message))
        elif key in FILLED_IN_BY_DAGSTER:
            _rendered(document, value[key], (str(key),), templates.render_all, problems)
    declared = value.get("attributes") or {}
    attributes = _rendered(document, declared, ("attributes",), render, problems)
    try:
        # A template stands in a text: Dagster asks of every field what it takes before the texts are filled in.
        for written in (declared, attributes) if attributes != declared else (attributes,):
            entry = KINDS[kind].model_validate(written)
    except ValidationError as error:
        problems += problems_of(error, KINDS[kind], document, ("attributes",))
    return entry if len(problems) == before else None


def require_plain(folder: Path) -> None:
    """Raise DeclarationError for every template below a folder that Dagster would run as code; call before it reads them.

    Dagster fills in all that a file of its own says beside the attributes of a declaration, and every text of components
    that are not the factory's.
    """
    problems: list[Problem] = []
    for file in _read_by_dagster(folder):
        text = file.read_bytes()
        if any(mark.encode() in text for mark in MAY_HOLD_TEMPLATES):
            for document in read(file):
                _require_plain(document, problems)
    if problems:
        raise DeclarationError(problems)


def _require_plain(document: Document, problems: list[Problem]) -> None:
    value = document.value if isinstance(document.value, dict) else {}
    ours = str(value.get("type")).rpartition(".")[2] in KINDS
    for key, inner in value.items():
        if key == "template_vars_module":
            message = f"unknown field {key!r}; allowed: {', '.join(TOP_FIELDS)}"
            problems.append(Problem(document.file, document.line((key,)), key, message))
        render = templates.render if ours and key == "attributes" else templates.render_all
        _rendered(document, inner, (str(key),), render, problems)


def _read_by_dagster(folder: Path) -> Iterator[Path]:
    """Files of declarations as Dagster finds them: in every folder, also behind a link, by each of the names that it knows."""
    seen: set[str] = set()
    for place, folders, _ in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in DAGSTERS_FILES if (Path(place) / name).is_file())


def _rendered(
    document: Document, value: Any, path: Path_, render: Callable[[Any], Any], problems: list[Problem]
) -> Any:
    """The value with its templates filled in; one that cannot be stays as it is and is a problem."""
    if isinstance(value, dict):
        return {key: _rendered(document, inner, (*path, str(key)), render, problems) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rendered(document, inner, (*path, index), render, problems) for index, inner in enumerate(value)]
    try:
        return render(value)
    except ValueError as error:
        problems.append(Problem(document.file, document.line(path), ".".join(map(str, path)), str(error)))
        return value


def read_contract(stream: Stream, folder: Path) -> Contract:
    """The contract of a stream in this environment, from the file beside its declaration. Raises DeclarationError."""
    require(_absent(stream, folder), folder, stream.name)
    documents = read(folder / stream.contract)
    if len(documents) != 1:
        raise DeclarationError([Problem(folder / stream.contract, 1, "file", "must hold one YAML document")])
    try:
        return Contract.model_validate(documents[0].value).within(_environment())
    except ValidationError as error:
        raise DeclarationError(problems_of(error, Contract, documents[0])) from None


def contract_file(folder: Path, stream: str) -> Path:
    """The file of a stream's contract, below a folder of declarations. Raises LookupError for an unknown stream."""
    for file in sorted(folder.rglob("defs.yaml")) if folder.is_dir() else [folder]:
        for document in read(file):
            if _name(document) == stream:
                return file.parent / str(document.value["attributes"].get("contract", "contract.yaml"))
    raise LookupError(f"no stream {stream!r} is declared below {folder}")


def _environment() -> Environment:
    """Whether this process reads for training or for serving, where labels are not there yet."""
    found = os.environ.get("FACTORY_ENVIRONMENT", "training")
    if found not in get_args(Environment):
        raise ValueError(f"FACTORY_ENVIRONMENT is {found!r}; allowed: {', '.join(get_args(Environment))}")
    return cast(Environment, found)


def require(findings: list[Mistake], folder: Path, name: str) -> None:
    """Raise DeclarationError with the place of each finding about the declaration `name` below a folder."""
    if not findings:
        return
    documents = _documents(folder)
    for document in documents:
        if _name(document) == name:
            raise _told(_located(findings, document, name), documents)
    raise DeclarationError([Problem(folder, 1, f"{name}: {'.'.join(path)}", message) for path, message in findings])


def filled(model: type[BaseModel], declared: Mapping[str, Any], folder: Path) -> BaseModel:
    """A declaration of a folder with its templates filled in. Raises DeclarationError where it then is none."""
    try:
        return model.model_validate(templates.render(declared))
    except ValueError:  # told below, with its line
        documents = [one for one in _documents(folder) if _name(one) == str(declared.get("name"))]
    document = documents[0] if documents else Document(folder, {"attributes": dict(declared)}, {})
    problems: list[Problem] = []
    attributes = _rendered(document, dict(declared), ("attributes",), templates.render, problems)
    try:
        if not problems:
            return model.model_validate(attributes)
    except ValidationError as error:
        problems += problems_of(error, model, document, ("attributes",))
    raise DeclarationError(problems) from None


def _documents(folder: Path) -> list[Document]:
    files = sorted(_read_by_dagster(folder)) if folder.is_dir() else [folder]
    return [document for file in files for document in read(file)]


def _name(document: Document) -> str:
    """The name that a document declares, also where the rest of it is wrong."""
    attributes = document.value.get("attributes") if isinstance(document.value, dict) else None
    return str(attributes.get("name")) if isinstance(attributes, dict) else ""


def _assemble(entries: list[tuple[Document, BaseModel]], broken: set[str], problems: list[Problem]) -> Catalogue:
    """Put sound declarations together. broken: names of those that could not be read."""
    taken: dict[str, Document] = {}
    own: list[tuple[Document, BaseModel]] = []
    for document, entry in entries:
        name = _name(document)
        if name in taken:
            other = taken[name]
            message = f"{name!r} is declared already, at {other.file}:{other.line(('attributes', 'name'))}"
            problems.append(Problem(document.file, document.line(("attributes", "name")), "name", message))
            continue
        taken[name] = document
        own.append((document, entry))
    streams: dict[str, DeclaredStream] = {}
    for document, entry in own:
        if isinstance(entry, Stream):
            found, declared = _with_contract(document, entry)
            problems += found
            if declared is not None and not found:
                streams[entry.name] = declared
            else:
                broken.add(entry.name)
    catalogue = Catalogue(
        streams,
        {entry.name: entry for _, entry in own if isinstance(entry, View)},
        {entry.name: entry for _, entry in own if isinstance(entry, Line)},
        {entry.name: entry for _, entry in own if isinstance(entry, OnDemandView)},
    )
    # A declaration that has problems of its own is not missing as well.
    known = tuple(f"{name!r} is not a " for name in broken)
    for document, entry in own:
        findings: list[Mistake] = []
        if isinstance(entry, View):
            findings = catalogue.check_view(entry) or units.check_view(entry, streams[entry.stream])
        elif isinstance(entry, OnDemandView):
            findings = catalogue.check_on_demand(entry) or units.check_on_demand(entry)
        elif isinstance(entry, Line):
            findings = catalogue.check_line(entry)
        problems += _located([one for one in findings if not one[1].startswith(known)], document, _name(document))
    return catalogue


def _with_contract(document: Document, stream: Stream) -> tuple[list[Problem], DeclaredStream | None]:
    folder = document.file.parent
    if absent := _absent(stream, folder):
        return _located(absent, document, stream.name), None
    try:
        declared = DeclaredStream(stream, read_contract(stream, folder))
    except DeclarationError as error:
        return error.problems, None
    return _located(declared.check(), document, stream.name), declared


def _absent(stream: Stream, folder: Path) -> list[Mistake]:
    """That the folder does not hold the contract of a stream, if so."""
    if reason := outside(folder / stream.contract, folder):
        return [(("contract",), reason)]
    if (folder / stream.contract).is_file():
        return []
    others = sorted(file.name for file in folder.glob("*.yaml") if file.name not in DAGSTERS_FILES)
    return [
        (("contract",), f"{stream.contract!r} is not a file in {folder}; files there: {', '.join(others) or 'none'}")
    ]


def _located(findings: list[Mistake], document: Document, name: str) -> list[Problem]:
    located = []
    for path, message in findings:
        steps = tuple(int(part) if part.isdigit() else part for part in path)
        where = f"{name}: {'.'.join(path)}"
        answered = templates.answered(message, document.at(("attributes", *steps)))
        located.append(Problem(document.file, document.line(("attributes", *steps)), where, answered))
    return located


def _wanted(task: str) -> types.Wanted:
    """What a label's expression must give."""
    if task == "binary":
        return "0 or 1, or true or false, as answer = 'yes' gives"
    return "a text or a whole number" if classes_of(task) else "a number"


def _unknown(name: str, kind: str, known: Any) -> str:
    return f"{name!r} is not a {kind}; {kind}s here: {', '.join(known) or 'none'}"


def _whose(line: Line) -> str:
    """Of what an event makes the label, where the declaration says nothing of it, or two things."""
    if line.observe.entity:
        return f"is asked of {line.observe.entity!r}, which the line observes: same is for an observed event"
    return "needs same, the columns in which it has the observed event's values, as in same: [customer_id]; or observe.entity"


def _columns(path: tuple[str, ...], names: list[str], known: Collection[str]) -> list[Mistake]:
    return [(path, _unknown(name, "column", known)) for name in names if name not in known]


def _expression(path: tuple[str, ...], text: str | None, known: Collection[str]) -> list[Mistake]:
    if text is None:
        return []
    try:
        expressions.sql(text, known)
    except ValueError as error:
        return [(path, str(error))]
    return []
