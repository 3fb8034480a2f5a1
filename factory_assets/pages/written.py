"""The page of a line, that of all lines, and that of two versions, written where pages are kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.evaluation.dependence import dependences
from factory_assets.evaluation.effects import DRAWN, Effects, as_json, effects_of, from_json
from factory_assets.governor.work import CALLING, Called, Plan
from factory_assets.models.archived import ModelRefused, ReleasedModel, load
from factory_assets.pages.compare_page import Pair, compare_page, most_important
from factory_assets.pages.details import Reported, Tables
from factory_assets.pages.document import FLEET, effects_of_version, page_of, page_of_pair
from factory_assets.pages.fleet import Stand
from factory_assets.pages.fleet_page import fleet_page
from factory_assets.pages.line_page import line_page
from factory_assets.pages.lines import State, called_by, of_line, stands_of, state_of
from factory_assets.release.comparison import Comparison
from factory_assets.release.rebuild import Origin
from factory_resources import clock
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.issues import Issues
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


def write(
    declared: DeclaredLine,
    tables: Tables,
    called: Called,
    state: State | None,
    reports: Reports,
    archive: ArchiveFolder | None = None,
) -> Written:
    """Write the page of a line as tables and ledger are now. state: None where no plan was asked.

    archive: of the versions, by which is computed what features do to one that the page shows for the first time. Without it the
    page has what was computed before.
    """
    name = page_of(declared.line.name)
    of_pair = partial(_page_of_pair, declared.line.name, tables.ledger, reports)
    reported = Reported(partial(_effects, declared, reports, archive), of_pair)
    html = line_page(declared, tables, called, state, clock.now(), reported)
    return Written(reports.write(name, html), reports.url(name), len(html.encode()))


def _page_of_pair(line: str, ledger: Ledger, reports: Reports, a: str, b: str) -> str:
    """The name of the page of two versions, empty where there is none; it is that of the versions that were judged."""
    judged = ledger.judged(line, {a, b})
    name = page_of_pair(line, judged.get(a, a), judged.get(b, b))
    return name if reports.holds(name) else ""


def _effects(
    declared: DeclaredLine, reports: Reports, archive: ArchiveFolder | None, versions: Collection[VersionRecord]
) -> dict[str, Effects]:
    """Version -> what its features do, of those of which that is known."""
    found = dict[str, Effects]()
    for each in versions:
        name = effects_of_version(declared.line.name, each.version)
        kept = reports.read(name)
        effects = None if kept is None else from_json(kept)
        if effects is None and archive is not None and (model := _model(archive, each)) is not None:
            effects = effects_of(model, each.importances, declared.line.task)
            reports.write(name, as_json(effects))
        if effects is not None:
            found[each.version] = effects
    return found


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


def write_again(
    catalogue: Catalogue, planned: Plan, lines: Collection[str], tables: Tables, issues: Issues, reports: Reports
) -> list[str]:
    """Write the pages of these lines by a plan of the deployment; where they are. That of all lines, if there is one, follows."""
    resolved = {name: catalogue.resolve(each) for name, each in catalogue.lines.items()}
    if reports.holds(FLEET):
        every = list(resolved.values())
        write_fleet(every, called_by(planned, every), tables.lake, tables.ledger, issues, reports)
    return [write(resolved[name], tables, *called(resolved[name], planned), reports).where for name in lines]


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
    models = [model for each in both if (model := _model(origin.archive, each)) is not None]
    of_features = dependences(models, most_important(*both, DRAWN), declared.line.task)
    decisions, judged = origin.ledger.decisions(line), origin.ledger.judged(line)
    pair = Pair(declared, found, *both, decisions, judged, of_features, reports.holds(page_of(line)), seeds)
    html = compare_page(pair, clock.now())
    return Written(reports.write(name, html), reports.url(name), len(html.encode()))


def _model(archive: ArchiveFolder, record: VersionRecord) -> ReleasedModel | None:
    """The version's model; None where it cannot be used here, which a comparison notes, and `factory verify`."""
    try:
        return load(archive, record.line, record.version)
    except (ModelRefused, ArchiveDamaged, FileNotFoundError, KeyError):
        return None
