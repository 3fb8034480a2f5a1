"""The page of a line, that of all lines, and that of two versions, written where pages are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.evaluation.dependence import dependences
from factory_assets.governor.work import CALLING, Called, Plan
from factory_assets.models.archived import ModelRefused, ReleasedModel, load
from factory_assets.pages.compare_page import Pair, compare_page, most_important
from factory_assets.pages.details import Tables
from factory_assets.pages.document import FLEET, page_of, page_of_pair
from factory_assets.pages.fleet import Stand
from factory_assets.pages.fleet_page import fleet_page
from factory_assets.pages.line_page import line_page
from factory_assets.pages.lines import State, of_line, stands_of, state_of
from factory_assets.release.comparison import Comparison
from factory_assets.release.rebuild import Origin
from factory_resources import clock
from factory_resources.archive_folder import ArchiveDamaged
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.issues import Issues
from factory_resources.reports import Reports

#: Features whose partial dependence is drawn: those that matter most to either version.
DRAWN = 3


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


def write_pair(
    declared: DeclaredLine,
    found: Comparison,
    both: tuple[VersionRecord, VersionRecord],
    origin: Origin,
    seeds: int,
    reports: Reports,
) -> Written:
    """Write the page of two versions from their comparison. seeds: as it was asked, for the command that makes the page again."""
    line = declared.line.name
    name = page_of_pair(line, found.a, found.b)
    models = [model for each in both if (model := _model(origin, each)) is not None]
    of_features = dependences(models, most_important(*both, DRAWN), declared.line.task)
    decisions, judged = origin.ledger.decisions(line), origin.ledger.judged(line)
    pair = Pair(declared, found, *both, decisions, judged, of_features, reports.holds(page_of(line)), seeds)
    html = compare_page(pair, clock.now())
    return Written(reports.write(name, html), reports.url(name), len(html.encode()))


def _model(origin: Origin, record: VersionRecord) -> ReleasedModel | None:
    """The version's model; None where it cannot be used here, which the comparison notes."""
    try:
        return load(origin.archive, record.line, record.version)
    except (ModelRefused, ArchiveDamaged, FileNotFoundError, KeyError):
        return None
