"""The page of a line, written where pages are kept."""

from dataclasses import dataclass

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.governor.work import Plan
from factory_assets.pages.details import Tables
from factory_assets.pages.document import page_of
from factory_assets.pages.line_page import Called, line_page
from factory_assets.pages.lines import PRESSING, of_line, state_of
from factory_resources import clock
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports


@dataclass(frozen=True)
class Written:
    """A page. where: path or URI of its file. url: by which a browser opens it. size: bytes."""

    where: str
    url: str
    size: int


def called(declared: DeclaredLine, planned: Plan) -> Called:
    """What the plan of the deployment says of a line."""
    notices, due = of_line(declared, planned)
    pressing = [notice for notice in notices if notice.kind in (*PRESSING, "damaged")]
    return Called(state_of(notices, due), pressing, [(work.what, work.reason) for work in due])


def write(
    declared: DeclaredLine, tables: tuple[Lake, Engine, Ledger], called_for: Called, reports: Reports
) -> Written:
    """Write the page of a line as tables and ledger are now."""
    name = page_of(declared.line.name)
    html = line_page(declared, Tables(*tables), called_for, clock.now())
    return Written(reports.write(name, html), reports.url(name), len(html.encode()))
