"""`factory features`: which features are there, what do they come from, who uses them, and are there two of one kind?"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console, styled

if TYPE_CHECKING:
    from factory_assets.declarations.catalogue import Catalogue
    from factory_assets.declarations.on_demand import OnDemandView
    from factory_assets.declarations.view import View
    from factory_assets.features.catalogue.inventory import Entry


def features(
    search: Annotated[
        str | None,
        typer.Argument(
            help="A feature or a view by name, to see all of it; or any text in a name, description, owner or column."
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="What comes from this stream.column, and who reads it.")] = None,
    line: Annotated[str | None, typer.Option(help="What this line uses, and what each column feeds.")] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Pairs whose values correlate on the newest day of their tables.")
    ] = False,
    declarations: Annotated[
        Path | None, typer.Option(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the features of this deployment: what they are, what they come from, and who uses them."""
    if sum(map(bool, (search, column, line, duplicates))) > 1:
        raise typer.BadParameter("give one of SEARCH, --column, --line and --duplicates")
    catalogue = catalogue_of(declarations)
    if column:
        _show_column(catalogue, column, as_json)
    elif line:
        _show_line(catalogue, line, as_json)
    elif duplicates:
        _show_duplicates(catalogue, as_json)
    elif as_json:
        give([_as_object(entry) for entry in _found(catalogue, search)])
    elif search and search in catalogue.every_view:
        _show_view(catalogue, catalogue.every_view[search])
    else:
        _show_found(catalogue, search)


def _found(catalogue: "Catalogue", search: str | None) -> "list[Entry]":
    """The feature, or those of the view, of this very name; or else those that mention the text."""
    from factory_assets.features.catalogue.inventory import entries

    every = entries(catalogue)
    if search in every:
        return [every[search]]
    if search in catalogue.every_view:
        return [entry for entry in every.values() if entry.view.name == search]
    matching = [entry for entry in every.values() if search is None or entry.mentions(search)]
    if not matching and search is not None:
        view, views = search.partition(".")[0], catalogue.every_view
        names = views[view].canonical if view in views else [f"{name}.*" for name in views]
        unknown(search, "feature, nor in any's unit, description, owner or columns", names, "features")
    return matching


def _as_object(entry: "Entry") -> dict[str, Any]:
    of_view = _named(_of_view(entry.view))
    return {
        "feature": entry.name, "definition": entry.definition.text, "unit": entry.unit, "view": entry.view.name, **of_view,
        "comes_from": entry.columns, "used_by": entry.lines, "same_as": entry.same_as,
    }  # fmt: skip


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    """What people read, by names that a program can use as they are."""
    return {name.replace(" ", "_"): value for name, value in fields.items()}


def _show_found(catalogue: "Catalogue", search: str | None) -> None:
    """One feature where it has the very name, or else the list of those that mention the text."""
    found = _found(catalogue, search)
    if search and [entry.name for entry in found] == [search]:
        _show_feature(found[0])
    elif found:
        _show_entries(found)
    else:
        console.print("no view declares a feature; see FeatureView")


def _show_entries(shown: "list[Entry]") -> None:
    twins = any(entry.same_as for entry in shown)
    table = _table(
        f"{len(shown)} features",
        "feature",
        "unit",
        "entity",
        "owner",
        "fresh",
        "used by",
        *(["same as"] if twins else []),
    )
    views = {entry.view.name: entry.view for entry in shown}
    for view in views.values():
        for entry in shown:
            if entry.view == view:
                of_view = _of_view(view)
                cells = [of_view.get("fresh within", ""), ", ".join(entry.lines) or "nobody", ", ".join(entry.same_as)]
                _row(
                    table,
                    entry.name,
                    entry.unit,
                    of_view.get("entity", ""),
                    view.owner,
                    *cells[: None if twins else -1],
                )
        table.add_section()
    console.print(table)
    # Beside every feature they would leave no room for names.
    _show_fields("Views", {view.name: view.description for view in views.values()})


def _show_feature(entry: "Entry") -> None:
    _show_fields(
        entry.name,
        {
            "definition": entry.definition.text,
            "unit": entry.unit,
            **_events_of(entry),
            "view": entry.view.name,
            **_of_view(entry.view),
            "used by": ", ".join(entry.lines) or "nobody",
            "same as": ", ".join(entry.same_as) or "none",
        },
    )
    table = _table("Comes from", "column", "enters by")
    for column, places in entry.columns.items():
        _row(table, column, ", ".join(places))
    console.print(table)


def _events_of(entry: "Entry") -> dict[str, str]:
    """Which events a feature looks at, and what it is without one."""
    from factory_assets.declarations.base import format_duration
    from factory_assets.declarations.on_demand import OnDemandView

    view, definition = entry.view, entry.definition
    steps = {f"{name} is": text for name, text in entry.steps.items()}
    if isinstance(view, OnDemandView):
        return steps
    return {
        "window": format_duration(definition.window) if definition.window else "none: of other features",
        "where": view.where or "every event",
        **steps,
        "delay": format_duration(view.delay) if view.delay else "none",
        "without events": definition.without_events,
        "observed event": "included" if view.include_current else "left out",
    }


def _show_view(catalogue: "Catalogue", view: "View | OnDemandView") -> None:
    from factory_assets.declarations.on_demand import OnDemandView
    from factory_assets.features.catalogue.inventory import entries, of_on_demand, of_view

    every = entries(catalogue)
    _show_fields(view.name, _of_view(view))
    records = of_on_demand(catalogue, view) if isinstance(view, OnDemandView) else of_view(catalogue, view)
    _show_records(
        f"{len(view.canonical)} features",
        [one | {"same as": ", ".join(every[one["feature"]].same_as)} for one in records],
    )


def _of_view(view: "View | OnDemandView") -> dict[str, str]:
    from factory_assets.declarations.base import format_duration
    from factory_assets.declarations.on_demand import OnDemandView

    owned = {"description": view.description, "owner": view.owner}
    if isinstance(view, OnDemandView):
        return owned
    return owned | {
        "entity": " and ".join(view.entity),
        "stream": view.stream,
        "fresh within": format_duration(view.freshness),
    }


def _show_column(catalogue: "Catalogue", name: str, as_json: bool) -> None:
    """Features that come from a column, and everything else that reads it."""
    from factory_assets.declarations.readers import readers
    from factory_assets.features.catalogue.inventory import entries, from_column

    stream, _, column = name.partition(".")
    if stream not in catalogue.streams:
        unknown(stream, "stream", catalogue.streams)
    declared = catalogue.streams[stream]
    columns = declared.stream.columns(declared.contract)
    if column not in columns:
        unknown(column, f"column of {stream}", columns, "columns")
    places_of, every = from_column(catalogue, stream, column), entries(catalogue)
    reading = list(readers(catalogue, stream, declared.contract, column))
    if as_json:
        come = [_as_object(every[feature]) | {"enters_by": places} for feature, places in places_of.items()]
        read_by = [{"kind": one.kind, "name": one.name, "where": one.where} for one in reading]
        give({"column": name, "features": come, "read_by": read_by})
        return
    table = _table(f"{len(places_of)} features come from {name}", "feature", "definition", "enters by", "used by")
    for feature, places in places_of.items():
        entry = every[feature]
        _row(table, feature, str(entry.definition), ", ".join(places), ", ".join(entry.lines) or "nobody")
    if places_of:
        console.print(table)
    else:
        console.print(f"no feature comes from {name}", highlight=False)
    read = [{"read by": f"{one.kind} {one.name}", "where": one.where} for one in reading]
    if read:
        _show_records(f"Who reads {name}", read)
    else:
        console.print(f"nobody reads {name}", highlight=False)


def _show_line(catalogue: "Catalogue", name: str, as_json: bool) -> None:
    from factory_assets.features.catalogue.inventory import fed_by, of_line

    if name not in catalogue.lines:
        unknown(name, "line", catalogue.lines)
    declared = catalogue.resolve(catalogue.lines[name])
    if as_json:
        give({"line": name, "features": [_named(each) for each in of_line(declared)], "feeds": fed_by(declared)})
        return
    _show_records(f"{name} uses {len(declared.features)} features", of_line(declared))
    feeds = [{"column": column, "feeds": ", ".join(fed)} for column, fed in fed_by(declared).items()]
    if feeds:  # nothing is delivered for what is derived from constants
        _show_records("What each column feeds", feeds)


def _show_duplicates(catalogue: "Catalogue", as_json: bool) -> None:
    from factory_assets.deployment import stores
    from factory_assets.features.catalogue.duplicates import CORRELATED, MIN_ENTITIES, comparable, duplicates
    from factory_assets.features.catalogue.inventory import twins

    resources = stores()
    lake = resources["lake"]
    days = {name: lake.days(f"features/{name}") for name in catalogue.views}
    missing = [name for name, made in days.items() if not made]
    same = [set(group) for group in twins(catalogue)]
    found = []
    for views in comparable(catalogue):
        with resources["engine"].connect() as con:
            found += duplicates(con, views, days, partial(lake.view, con))
    declared = [
        "the same" if any({one.first, one.second} <= group for group in same) else "differently" for one in found
    ]
    if as_json:
        pairs = [asdict(pair) | {"declared": how} for pair, how in zip(found, declared, strict=True)]
        give({"pairs": pairs, "without_a_table": missing})
        return
    if missing:
        console.print(f"no table yet, so not compared: {', '.join(missing)}", style="yellow", highlight=False)
    table = _table("Features whose values say the same", "feature", "and", "r", "entities", "day", "declared")
    for pair, how in zip(found, declared, strict=True):
        _row(table, pair.first, pair.second, f"{pair.r:.5f}", f"{pair.entities:,}", str(pair.day), how)
    if table.row_count:
        console.print(table)
    else:
        console.print(f"no two features correlate by more than {CORRELATED} over {MIN_ENTITIES} entities or more")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        number = column in ("r", "entities")
        table.add_column(
            column, overflow="fold", justify="right" if number else "left", no_wrap=number or column == "feature"
        )
    return table


def _row(table: Table, *values: str) -> None:
    table.add_row(*values)


def _show_records(title: str, records: Iterable[Mapping[str, str]]) -> None:
    records = list(records)
    table = _table(title, *records[0])
    for record in records:
        _row(table, *record.values())
    console.print(table)


def _show_fields(title: str, fields: Mapping[str, str]) -> None:
    console.print(title, style="bold", highlight=False)
    grid = Table.grid("", "", padding=(0, 2))
    for name, value in fields.items():
        grid.add_row(styled((name, "dim")), value)
    console.print(grid)
