"""Who reads a column of a stream? Derived columns and rules, views, lines: through however many steps."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from factory_assets.declarations import expressions, on_demand, outcomes
from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.view import View

#: The times by which every window and every observation is placed.
TIMES = frozenset(["event_time", "known_at"])


@dataclass(frozen=True)
class Reader:
    """A view or a line that reads a column, and where: `features.spent`, or `segments.levels via country_code`."""

    kind: str
    name: str
    where: str


def derived_from(stream: Stream, column: str) -> dict[str, str]:
    """The column and all that the stream makes from it: name -> the step in between, empty for the column itself."""
    found = {column: ""}
    for rule in stream.cleanse.values():
        if rule.to is not None and expressions.columns(rule.to) & set(found):
            found.setdefault(rule.column, "cleanse")
    for field, texts in (("derive", stream.derive), ("rules", stream.rules)):
        for name, text in texts.items():
            if expressions.columns(text) & set(found):
                found[name] = field
    for role in ("event_time", "known_at"):
        if getattr(stream, role) in found:
            found[role] = "a time of the stream"
    if stream.known_at is None and "event_time" in found:
        found["known_at"] = "a time of the stream"
    return found


def readers(catalogue: Catalogue, stream: str, contract: Contract, column: str) -> list[Reader]:
    """Everything that reads a column of a stream, in the order in which data flow. contract: the one to look at."""
    declared = catalogue.streams[stream].stream
    names = derived_from(declared, column)
    found = [Reader(step, name, stream) for name, step in names.items() if step in ("cleanse", "derive", "rules")]
    roles = {"id": declared.id, "event_time": declared.event_time, "known_at": declared.known_at}
    found += [Reader("stream", stream, role) for role, name in roles.items() if name in names]
    stated = {f"exclude.{name}": text for name, text in declared.exclude.items()}
    stated |= {f"contract rules.{name}": text for name, text in contract.rules.items()}
    found += [Reader("stream", stream, _via(where, text, names)) for where, text in _reading(stated, names)]
    found += [
        Reader("stream", stream, f"contract presence of {name}")
        for name, other in contract.columns.items()
        if other.presence and other.presence.by in names
    ]
    views = {
        name: reading_places(places(view), names) for name, view in catalogue.views.items() if view.stream == stream
    }
    for name, of_view in views.items():
        found += [Reader("view", name, place) for place in of_view]
    for feature, ways in on_demand_from(catalogue, _touched(catalogue.views.values(), stream, names)).items():
        view, _, feature_name = feature.partition(".")
        found += [Reader("view", view, f"derive.{feature_name} {way}") for way in ways]
    for line in catalogue.lines.values():
        found += [Reader("line", line.name, place) for place in _of_line(catalogue, line.name, stream, names)]
    return found


def _touched(views: Iterable[View], stream: str, names: Mapping[str, str]) -> list[str]:
    """Features of these views that come from a stream's columns of these names."""
    of_stream = [view for view in views if view.stream == stream]
    return [name for view in of_stream for name, read in places_of(view).items() if reading_places(read, names)]


def on_demand_from(catalogue: Catalogue, features: Collection[str]) -> dict[str, list[str]]:
    """Features computed on demand that come from one of these features, and through which."""
    expressed = on_demand.texts(catalogue.on_demand)
    found = {name: [one for one in on_demand.sources(name, expressed) if one in features] for name in expressed}
    return {name: [through(read)] for name, read in found.items() if read}


def through(features: Iterable[str]) -> str:
    return f"through {', '.join(features)}"


def _reading(texts: Mapping[str, str | None], names: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((where, text) for where, text in texts.items() if text and expressions.columns(text) & set(names))


def _via(where: str, text: str, names: Mapping[str, str]) -> str:
    return _through(where, expressions.columns(text) & set(names), names)


def _through(where: str, touched: Collection[str], names: Mapping[str, str]) -> str:
    through = sorted(name for name in touched if names[name])
    return f"{where} via {', '.join(through)}" if through else where


def places(view: View) -> dict[str, frozenset[str]]:
    """Where a view reads columns of its stream, as they are called there: entity, where, features.<name>, windows."""
    found = {"entity": frozenset(view.entity)}
    if view.where:
        found["where"] = expressions.columns(view.where)
    found |= {f"features.{name}": expressions.aggregate(text).columns for name, text in view.features.items()}
    return found | {"windows": TIMES}


def places_of(view: View) -> dict[str, dict[str, frozenset[str]]]:
    """For each feature, by canonical name, the places of its view that its values depend on."""
    of_view = places(view)
    of_all = {place: columns for place, columns in of_view.items() if not place.startswith("features.")}
    own = [name for name in view.features for _ in view.windows]
    read = {
        windowed: {f"features.{name}": of_view[f"features.{name}"], **of_all}
        for windowed, name in zip(view.aggregated, own, strict=True)
    }
    for name, text in view.derive.items():
        read[name] = {
            place: columns for used in sorted(expressions.columns(text)) for place, columns in read[used].items()
        }
    if view.flag:
        read[view.flag] = of_all
    return {f"{view.name}.{name}": found for name, found in read.items()}


def reading_places(read: Mapping[str, frozenset[str]], names: Mapping[str, str]) -> list[str]:
    """The places that read one of the names, which `derived_from` gives, each with the columns in between."""
    touched = {place: columns & set(names) for place, columns in read.items() if columns & set(names)}
    return [place if place == "windows" else _through(place, columns, names) for place, columns in touched.items()]


def _of_line(catalogue: Catalogue, line_name: str, stream: str, names: Mapping[str, str]) -> list[str]:
    line, declared = catalogue.lines[line_name], catalogue.resolve(catalogue.lines[line_name])
    found: list[str] = []
    if line.observe.stream == stream:
        texts = {"observe.where": line.observe.where, "label.expression": line.label.expression}
        texts["observe.entity"] = f'"{line.observe.entity}"' if line.observe.entity else None
        for place, columns in (
            ("observe.carry", line.observe.carry),
            ("segments.levels", line.segments.levels),
            ("features", declared.row_features),
            ("label.same", line.label.same),
            ("gate.cluster", [line.gate.cluster] if line.gate.cluster else []),
            ("gate.groups", list(line.gate.groups)),
            *((f"gate.slices.{name}", expressions.observed(each.where)) for name, each in line.gate.slices.items()),
        ):
            texts |= {f"{place}: {column}": f'"{column}"' for column in columns}
        for name, outcome in line.outcomes.items():
            read = outcomes.read(declared, outcome.expression)
            texts |= {f"outcomes.{name}: {column}": f'"{column}"' for column in read}
        found += [_via(where, text, names) for where, text in _reading(texts, names)]
        found += ["observed_at"] if "event_time" in names else []
    if line.label.event == stream:
        texts = {"label.where": line.label.where}
        if line.observe.stream != stream:
            texts |= {f"label.same: {column}": f'"{column}"' for column in line.label.same}
        found += [_via(where, text, names) for where, text in _reading(texts, names)]
        found += ["label.within"] if "event_time" in names else []
    touched = set(_touched(declared.views.values(), stream, names))
    observed = set(names) if line.observe.stream == stream else set()
    touched |= {
        name
        for name in declared.derived
        if touched & set(on_demand.sources(name, declared.derived))
        or observed & set(on_demand.observed([name], declared.derived))
    }
    for view in declared.every_view.values():
        of_view = touched & set(view.canonical) & set(declared.features)
        whole = of_view == set(view.canonical)
        found += [f"{view.name}.*" if whole else ", ".join(sorted(of_view))] if of_view else []
    return found
