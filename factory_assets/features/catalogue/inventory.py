"""Which features are there, what do they come from, who uses them, and is one declared twice?

Told from declarations alone: nothing is read and nothing computed. `duplicates` compares values.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from factory_assets.declarations import expressions, on_demand, units
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.declared import COUNTS, DeclaredLine, DeclaredStream, written_out
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.readers import derived_from, on_demand_from, places_of, reading_places, through
from factory_assets.declarations.shapes import shape
from factory_assets.declarations.view import View

#: Fields of a view that its features' values do not depend on, or that a feature has as its own.
NOT_COMPARED = frozenset(
    {"name", "owner", "description", "units", "freshness", "windows", "features", "derive", "flag", "where", "default"}
    | {"serve"}
)


@dataclass(frozen=True)
class Definition:
    """How a feature of a view is computed: one aggregate over one window, or from others, which has no window."""

    view: View | OnDemandView
    feature: str
    text: str
    window: dt.timedelta | None

    @property
    def without_events(self) -> str:
        """The value where no event is in the window: 0, the view's default, or empty."""
        if isinstance(self.view, OnDemandView) or not self.window:
            return "what it is derived from gives"
        if self.feature == self.view.flag:
            return "1"
        if expressions.aggregate(self.text).function in COUNTS:
            return "0"
        return "empty" if self.view.default is None else f"{self.view.default:g}"

    def __str__(self) -> str:
        if isinstance(self.view, OnDemandView) or not self.window:
            return self.text
        parts = [f"{self.text} over {format_duration(self.window)}"]
        parts += [f"where {self.view.where}"] if self.view.where else []
        parts += [f"known {format_duration(self.view.delay)} after the event"] if self.view.delay else []
        parts += ["with the observed event"] if self.view.include_current else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Entry:
    """A feature of the catalogue.

    sources: column of the contract -> where it enters, such as `where via first_hand`; of a feature computed on demand
        `stream.column` -> the features through which it does.
    steps: derived columns and rules of the stream on the way from them, and features, with their expressions.
    lines: those that ask for it, and those that compute from it what they ask for: `returns through ratio.spent`.
    """

    name: str
    definition: Definition
    unit: str
    sources: Mapping[str, list[str]]
    steps: Mapping[str, str]
    lines: list[str]
    same_as: list[str]

    @property
    def view(self) -> View | OnDemandView:
        return self.definition.view

    @property
    def columns(self) -> dict[str, list[str]]:
        """`stream.column` of everything that it comes from -> where that enters."""
        if isinstance(self.view, OnDemandView):
            return dict(self.sources)
        return {f"{self.view.stream}.{column}": places for column, places in self.sources.items()}

    def mentions(self, text: str) -> bool:
        """Whether the name, the unit, the description, the owner or a column on the way to the feature holds the text."""
        texts = [self.name, self.unit, self.view.description, self.view.owner, *self.sources, *self.steps]
        return any(text.lower() in one.lower() for one in texts)


def definitions(view: View | OnDemandView) -> dict[str, Definition]:
    """Canonical name -> definition, in the view's order."""
    if isinstance(view, OnDemandView):
        return {f"{view.name}.{name}": Definition(view, name, text, None) for name, text in view.derive.items()}
    pairs = product(view.features.items(), view.windows)
    found = [Definition(view, feature, text, window) for (feature, text), window in pairs]
    found += [Definition(view, name, text, None) for name, text in view.derive.items()]
    found += [Definition(view, view.flag, "1 without an event", max(view.windows))] if view.flag else []
    return dict(zip(view.canonical, found, strict=True))


def entries(catalogue: Catalogue) -> dict[str, Entry]:
    """Canonical name -> entry, for all features of the deployment."""
    used, same = lines_by_feature(catalogue, catalogue.views), _same(catalogue)
    found: dict[str, Entry] = {}
    for view in catalogue.views.values():
        declared = catalogue.streams[view.stream]
        sources, steps, measured = sources_of(declared, view), _steps_of(declared, view), units.of_view(view, declared)
        for (name, definition), unit in zip(definitions(view).items(), measured.values(), strict=True):
            found[name] = Entry(
                name, definition, unit, sources[name], steps[name], used.get(name, []), same.get(name, [])
            )
    expressed = on_demand.texts(catalogue.on_demand)
    of_events = {
        f"{stream}.{column}": _from_observed(catalogue, stream, column)
        for stream, declared in (catalogue.streams.items() if expressed else ())
        for column in declared.contract.columns
    }
    for computed in catalogue.on_demand.values():
        for name, definition in definitions(computed).items():
            read = {source: found[source] for source in on_demand.sources(name, expressed) if source in found}
            more = {step: expressed[step] for step in on_demand.in_order([name], expressed) if step != name}
            more |= {step: text for entry in read.values() for step, text in entry.steps.items()}
            columns = _merged({source: list(entry.columns) for source, entry in read.items()})
            for column, features in of_events.items():
                columns.setdefault(column, []).extend(features.get(name, []))
            columns = {column: places for column, places in columns.items() if places}
            unit = computed.units.get(definition.feature, "")
            found[name] = Entry(name, definition, unit, columns, more, used.get(name, []), [])
    return found


def _merged(columns: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Column -> `through` the features that come from it. columns: feature -> the columns that it comes from."""
    every = dict.fromkeys(column for several in columns.values() for column in several)
    return {column: [through(name for name, several in columns.items() if column in several)] for column in every}


def sources_of(declared: DeclaredStream, view: View) -> dict[str, dict[str, list[str]]]:
    """For each feature of a view the columns of the contract that it comes from, and where each enters.

    Derived columns, rules and cleansing are followed back to delivered columns. The columns that the feature aggregates come
    first, then the columns by which its view chooses and places events.
    """
    steps = {column: derived_from(declared.stream, column) for column in declared.contract.columns}
    found: dict[str, dict[str, list[str]]] = {}
    for name, read in places_of(view).items():
        found[name] = {}
        for (place, columns), column in product(read.items(), steps):
            for where in reading_places({place: columns}, steps[column]):
                found[name].setdefault(column, []).append(where)
    return found


def _steps_of(declared: DeclaredStream, view: View) -> dict[str, dict[str, str]]:
    """For each feature of a view the derived columns and rules that it comes from: name -> expression."""
    derived = declared.stream.derive | declared.stream.rules
    leads_to = {name: derived_from(declared.stream, name) for name in derived}
    return {
        feature: {name: text for name, text in derived.items() if reading_places(read, leads_to[name])}
        for feature, read in places_of(view).items()
    }


def from_column(catalogue: Catalogue, stream: str, column: str) -> dict[str, list[str]]:
    """Features that come from a column of a stream, delivered or derived, and where it enters each."""
    names = derived_from(catalogue.streams[stream].stream, column)
    found = {
        feature: places
        for view in catalogue.views.values()
        if view.stream == stream
        for feature, read in places_of(view).items()
        if (places := reading_places(read, names))
    }
    computed = on_demand_from(catalogue, found)
    for feature, places in _from_observed(catalogue, stream, column).items():
        computed[feature] = [*computed.get(feature, []), *places]
    return found | computed


def _from_observed(catalogue: Catalogue, stream: str, column: str) -> dict[str, list[str]]:
    """Features computed on demand that read the column in the event that a line observes, and which lines these are."""
    names, texts = set(derived_from(catalogue.streams[stream].stream, column)), on_demand.texts(catalogue.on_demand)
    found: dict[str, list[str]] = {}
    for line in catalogue.lines.values():
        asked = written_out(line.features, catalogue.on_demand) if line.observe.stream == stream else []
        for feature in on_demand.in_order(asked, texts):
            if names & set(on_demand.observed([feature], texts)):
                found.setdefault(feature, []).append(f"in what {line.name} observes")
    return found


def of_on_demand(catalogue: Catalogue, view: OnDemandView) -> list[dict[str, str]]:
    """As `of_view`, of features computed on demand."""
    every = entries(catalogue)
    return [
        {
            "feature": name,
            "definition": str(every[name].definition),
            "unit": every[name].unit,
            "comes from": ", ".join(every[name].columns),
            "used by": ", ".join(every[name].lines),
        }
        for name in view.canonical
    ]


def of_line(declared: DeclaredLine) -> list[dict[str, str]]:
    """The features of a line's vector: feature, view, owner, definition, and the columns that it comes from.

    A column of the observed event has no view; the stream's owner answers for it.
    """
    records, measured = [], units.of_line(declared)
    known = {name: one for view in declared.every_view.values() for name, one in definitions(view).items()}
    for name, columns in _line_sources(declared).items():
        if name in known:
            view, text = known[name].view, str(known[name])
            name_of_view, owner = view.name, view.owner
        else:
            stream = declared.observed.stream
            name_of_view, owner = "", stream.owner
            text = (stream.derive | stream.rules).get(name, f"column of {stream.name}")
        records.append(
            {
                "feature": name,
                "view": name_of_view,
                "owner": owner,
                "definition": text,
                "unit": measured[name],
                "comes from": ", ".join(columns),
            }
        )
    return records


def fed_by(declared: DeclaredLine) -> dict[str, list[str]]:
    """`stream.column` of a contract -> the line's features that come from it, `view.*` where it is a whole view."""
    found: dict[str, list[str]] = {}
    for feature, columns in _line_sources(declared).items():
        for column in columns:
            found.setdefault(column, []).append(feature)
    return {column: _shortened(declared, found[column]) for column in sorted(found)}


def _shortened(declared: DeclaredLine, features: list[str]) -> list[str]:
    """The features with `view.*` in place of all features of a view."""
    whole = {
        name: f"{view.name}.*"
        for view in declared.every_view.values()
        if set(view.canonical) <= set(features)
        for name in view.canonical
    }
    return list(dict.fromkeys(whole.get(name, name) for name in features))


def _line_sources(declared: DeclaredLine) -> dict[str, list[str]]:
    """Feature of the line -> `stream.column` of everything that it comes from."""
    observed = declared.observed
    steps = {column: derived_from(observed.stream, column) for column in observed.contract.columns}
    found = {
        name: [f"{observed.stream.name}.{column}" for column in steps if name in steps[column]]
        for name in declared.row_features
    }
    for view in declared.views.values():
        for name, columns in sources_of(declared.streams[view.stream], view).items():
            found[name] = [f"{view.stream}.{column}" for column in columns]
    for name in declared.derived:
        read = on_demand.sources(name, declared.derived)
        along = set(on_demand.observed([name], declared.derived))
        own = [f"{observed.stream.name}.{column}" for column in steps if along & set(steps[column])]
        found[name] = list(dict.fromkeys([*own, *(column for source in read for column in found[source])]))
    return {name: found[name] for name in declared.features}


def of_view(catalogue: Catalogue, view: View) -> list[dict[str, str]]:
    """A record of each feature of a view: definition, the columns of the contract that it comes from, and lines that use it.

    Looks at this view alone, as it is asked for each of them when definitions are loaded.
    """
    sources = sources_of(catalogue.streams[view.stream], view)
    used = lines_by_feature(catalogue, {view.name: view})
    measured = units.of_view(view, catalogue.streams[view.stream])
    return [
        {
            "feature": name,
            "definition": str(definition),
            "unit": measured[name.partition(".")[2]],
            "comes from": ", ".join(sources[name]),
            "used by": ", ".join(used.get(name, [])),
        }
        for name, definition in definitions(view).items()
    ]


def twins(catalogue: Catalogue) -> list[dict[str, Definition]]:
    """Groups of features that are declared more than once: same events, same window, same aggregate.

    A view's default may differ: it fills in, and says nothing of the events.
    """
    groups: dict[tuple[object, ...], dict[str, Definition]] = {}
    for view in catalogue.views.values():
        identities = _identities(catalogue.streams[view.stream], view)
        for name, definition in definitions(view).items():
            if definition.feature not in identities:
                continue
            groups.setdefault((identities[definition.feature], definition.window), {})[name] = definition
    return [group for group in groups.values() if len(group) > 1]


def _identities(declared: DeclaredStream, view: View) -> dict[str, tuple[object, ...]]:
    """A key for each of a view's aggregates: equal keys compute the same from the same events."""
    derived = declared.stream.derive | declared.stream.rules
    where = shape(view.where, derived) if view.where else None
    rest = json.dumps(view.model_dump(mode="json", exclude=set(NOT_COMPARED)), sort_keys=True)
    found: dict[str, tuple[object, ...]] = {}
    for name, text in view.features.items():
        aggregate = expressions.aggregate(text)
        argument = shape(aggregate.argument, derived) if aggregate.argument else None
        condition = shape(aggregate.where, derived) if aggregate.where else None
        same = replace(aggregate, argument=argument, where=condition, columns=frozenset(), text=None, condition=None)
        found[name] = (same, where, rest)
    return found


def notes(catalogue: Catalogue) -> list[str]:
    """A sentence for each aggregate that is declared more than once, whatever the number of windows."""
    windows: dict[tuple[str, ...], list[Definition]] = {}
    for group in twins(catalogue):
        named = tuple(f"{one.view.name}.{one.feature}" for one in group.values())
        windows.setdefault(named, []).append(next(iter(group.values())))
    return [
        f"{' and '.join(names)} are the same feature over {', '.join(format_duration(one.window) for one in same if one.window)}: "
        f"{same[0].text} of each {' and '.join(view.entity)} in {view.stream}"
        for names, same in windows.items()
        for view in [catalogue.views[same[0].view.name]]
    ]


def _same(catalogue: Catalogue) -> dict[str, list[str]]:
    """Feature -> the features that are the same, each with its value without an event where that differs."""
    found: dict[str, list[str]] = {}
    for group in twins(catalogue):
        for name, definition in group.items():
            found[name] = [
                other if one.without_events == definition.without_events else f"{other} ({one.without_events} if none)"
                for other, one in group.items()
                if other != name
            ]
    return found


def lines_by_feature(catalogue: Catalogue, views: Mapping[str, View]) -> dict[str, list[str]]:
    """Canonical feature of these views, and computed on demand -> lines that ask for it, or compute others from it."""
    expressed = on_demand.texts(catalogue.on_demand)
    found: dict[str, list[str]] = {}
    for line in catalogue.lines.values():
        # A line may still be wrong when its views are built: what it names that is not there is its own problem.
        asked = written_out(line.features, {**views, **catalogue.on_demand})
        for name in asked:
            found.setdefault(name, []).append(line.name)
        leading: dict[str, list[str]] = {}
        for name in asked:
            for read in (
                [*on_demand.in_order([name], expressed), *on_demand.sources(name, expressed)]
                if name in expressed
                else []
            ):
                leading.setdefault(read, []).append(name)
        for read, names in leading.items():
            if read not in asked:
                found.setdefault(read, []).append(f"{line.name} {through(names)}")
    return found
