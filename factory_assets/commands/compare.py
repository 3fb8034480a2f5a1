"""`factory compare`: why is one version better than another?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import Json, give, refuse
from factory_assets.commands.screen import console, screen, styled

if TYPE_CHECKING:
    from factory_assets.release.comparison import Comparison, Limits

#: Of longer values, as of lists of parameters, so much is shown.
LONGEST = 120


def compare(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    a: Annotated[
        str | None,
        typer.Argument(help="A version: the beginning of its id, its UUID or @TAG; or a node, such as FR/Lyon."),
    ] = None,
    b: Annotated[
        str | None, typer.Argument(help="Another version; the champion of the first's node if absent.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=0, max=50, help="So many further fits with other seeds say what luck does.")
    ] = 4,
    page: Annotated[
        bool, typer.Option("--page", help="Write it as a page among the reports, too, and print where that is.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say in what two versions differ, which is better on the same rows, and how much of that is whose doing.

    Fits them again with parts of each other. Reads, and writes nothing but the page. Ends with 1 where they cannot be compared.
    """
    from factory_assets.deployment import stores
    from factory_assets.identity.nodes import ROOT
    from factory_assets.release.comparison import NotComparable, as_json_object
    from factory_assets.release.comparison import compare as compared
    from factory_assets.release.pairs import pair
    from factory_assets.release.rebuild import Origin

    catalogue, resources = catalogue_of(None), stores()
    if line not in catalogue.lines:
        unknown(line, "line", catalogue.lines)
    declared = catalogue.resolve(catalogue.lines[line])
    ledger = resources["ledger"]
    node = ROOT
    if a and b is None and ledger.identities(line, a):
        node, a = a, None
    origin = Origin(*(resources[name] for name in ("lake", "engine", "ledger", "archive")))
    told = screen(stderr=True)
    try:
        first, second = pair(ledger, line, a, b, node)
        found = compared(declared, first, second, origin, seeds, lambda text: told.say(f"  {text}", style="dim"))
    except (LookupError, NotComparable) as error:
        refuse(str(error.args[0]))
    where = None
    if page:
        from factory_assets.commands.follow import follow
        from factory_assets.pages.written import write_pair

        where = write_pair(declared, found, (first, second), origin, seeds, resources["reports"]).where
        # The line's page leads to it from now on.
        follow(line=line)
    if as_json:
        give(as_json_object(found) | ({"page": where} if where else {}))
        return
    _show(found)
    if where:
        console.say(where)


def _show(found: "Comparison") -> None:
    from factory_assets.release.comparison import is_better

    console.say(styled((f"{found.line} {found.node}", "bold"), f": A {found.a}, B {found.b}"))
    table = Table(title="What differs", title_justify="left", title_style="bold")
    for column in ("", "", "A", "B"):
        table.add_column(column, overflow="fold")
    for each in found.differences:
        table.add_row(each.kind, each.what, _cut(each.a), _cut(each.b))
    console.print(table if table.row_count else "They were made from the same.")
    console.say(f"Measured on {found.rows:,} rows of {found.first} to {found.last}: {found.where}")
    measured = Table()
    for column in ("metric", "A", "B"):
        measured.add_column(column, justify="left" if column == "metric" else "right")
    values = [found.metrics.get(version, {}) for version in (found.a, found.b)]
    for name in dict.fromkeys([found.metric, *values[0], *values[1]]):
        note = f" ({is_better(name)})" if name == found.metric else ""
        measured.add_row(f"{name}{note}", *(f"{each[name]:.5g}" if name in each else "-" for each in values))
        if name == found.metric and found.limits:
            limits = (found.limits.get(version) for version in (found.a, found.b))
            measured.add_row("with 95 % between", *map(_between, limits))
    console.print(measured)
    if found.between:
        console.say(f"B - A in {found.metric} is with 95 % between {_between(found.between)}")
    _show_shares(found)
    for note in found.notes:
        console.say(styled(("note", "yellow"), f" {note}"))
    console.say(found.sentence, style="bold")


def _show_shares(found: "Comparison") -> None:
    if not found.shares:
        return
    table = Table(title=f"Of the difference in {found.metric}", title_justify="left", title_style="bold")
    for column in ("cause", "B - A", "alone", "last"):
        table.add_column(column, justify="left" if column == "cause" else "right")
    for each in found.shares:
        table.add_row(each.cause, *(_signed(value) for value in (each.size, each.alone, each.last)))
    table.add_section()
    table.add_row("all", _signed(sum(each.size for each in found.shares)), "", "")
    if found.seeds is not None:
        table.add_row("another seed", f"± {found.seeds:.3g}", "", "")
    console.print(table)


def _between(limits: "Limits | None") -> str:
    return "-" if limits is None else f"{limits[0]:.4g} and {limits[1]:.4g}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4g}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
