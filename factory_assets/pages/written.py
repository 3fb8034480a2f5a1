"""The page of a line, and that of all lines, written where pages are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.governor.work import CALLING, Called, Plan
from factory_assets.pages.details import Tables
from factory_assets.pages.document import FLEET, page_of
from factory_assets.pages.fleet import Stand
from factory_assets.pages.fleet_page import fleet_page
from factory_assets.pages.line_page import line_page
from factory_assets.pages.lines import State, of_line, stands_of, state_of
from factory_resources import clock
from factory_resources.issues import Issues
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports


@dataclass(frozen=True)
class Written:
    """A page. where: path or URI of its file. url: by which a browser opens it. size: bytes."""

    where: str
    url: str
    size: int


def called(declared: DeclaredLine, planned: Plan) -> tuple[Called, State]:
    """What the plan of the deployment calls for of a line, and the line's state by it."""
    notices, due = of_line(declared, planned)
    calling = tuple(notice for notice in notices if notice.kind in CALLING)
    return Called(calling, tuple((work.what, work.reason) for work in due)), state_of(notices, due)


def write(declared: DeclaredLine, tables: Tables, called: Called, state: State | None, reports: Reports) -> Written:
    """Write the page of a line as tables and ledger are now. state: None where no plan was asked."""
    name = page_of(declared.line.name)
    html = line_page(declared, tables, called, state, clock.now())
    return Written(reports.write(name, html), reports.url(name), len(html.encode()))


def write_fleet(
    declared: Sequence[DeclaredLine],
    called: Mapping[str, Called],
    lake: Lake,
    ledger: Ledger,
    issues: Issues,
    reports: Reports,
) -> tuple[Written, list[Stand]]:
    """Write the page of all lines as tables and ledger are now, and give its nodes as it shows them. called: of each line."""
    lines, nodes = stands_of(declared, called, lake, ledger, issues)
    html = fleet_page(lines, nodes, clock.now(), reports.dagster)
    return Written(reports.write(FLEET, html), reports.url(FLEET), len(html.encode())), nodes
