"""The assets `<line>/page` and `fleet`: what people look at, written by the run that follows what changed it."""

from collections import Counter

import dagster as dg
from pydantic import Field

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.governor.book import page_content
from factory_assets.governor.plan import fleet_state, page_state
from factory_assets.governor.runs import called_of, called_of_lines
from factory_assets.governor.work import FLEET, PAGE
from factory_assets.identity.hashes import hash_of
from factory_assets.identity.places import introduced, station
from factory_assets.launching import launched, written_out
from factory_assets.materialization import IN_SHORT, INPUTS, table_shown
from factory_assets.pages.details import Tables
from factory_assets.pages.fleet import HEALTH
from factory_assets.pages.lines import state_of
from factory_assets.pages.written import write, write_fleet
from factory_assets.release.resolver import state_of as decided_of
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.reports import Reports

#: Assets that it is drawn behind.
READ = ("evaluation", "champion", "performance", "estimates", "monitors")
#: Of how a page is made: with another one all pages are written again.
VERSION = 3
#: Nodes on the asset's page in Dagster; the page has all of them.
SHOWN = 50


class OnPage(dg.Config):
    """What the plan knew of a line when it asked for its page."""

    notices: list[str] = Field([], description="What somebody has to act on; the plan writes them.")
    due: list[str] = Field([], description="What is due and nothing carries out; the plan writes it.")
    is_planned: bool = Field(
        False,
        description="Whether the plan asked for it. Else the page says that it was not told what is held back or due.",
    )


def page_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key, code = dg.AssetKey([line.name, PAGE]), hash_of(PAGE, VERSION)

    @dg.asset(
        config_schema=written_out(OnPage),
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.AllPartitionMapping()) for name in READ],
        group_name=line.name,
        tags=station("pages"),
        owners=[line.owner],
        kinds={"html"},
        code_version=code,
        description=introduced(
            "Is it good, is it safe, who decided, and what is to be done: a page for people, as one "
            "file. It is written once nothing that it shows is about to change.",
            line.description,
        ),
    )
    def page(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
        reports: dg.ResourceParam[Reports],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> dg.MaterializeResult:
        config = launched(OnPage, context)
        called = called_of(config.notices, config.due)
        # Before what is shown: a decision that is made in between has another state.
        standing = ledger.standing(line.name)
        decided = decided_of(standing, ledger.tags(line.name)) if standing else None
        state = page_state(key.to_user_string(), page_content(context.instance, line.name, code, decided), called)
        stands = state_of(called.notices, called.due) if config.is_planned else None
        written = write(declared, Tables(lake, engine, ledger), called, stands, reports, archive)
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.url(written.url),
                "file": dg.MetadataValue.path(written.where),
                "state": stands or "not told",
                "bytes": written.size,
            },
            tags={INPUTS: state} if config.is_planned else {},
        )

    return page


class OnFleet(dg.Config):
    """What the plan knew of the lines when it asked for their page."""

    lines: list[str] = Field(
        [],
        description="Of each line what somebody has to act on, and what is due and nothing carries out; the plan writes it. "
        "Without it the page says of the nodes alone how they stand.",
    )


def fleet_asset(catalogue: Catalogue) -> dg.AssetsDefinition:
    lines, code = list(catalogue.lines.values()), hash_of(FLEET, VERSION)

    @dg.asset(
        config_schema=written_out(OnFleet),
        key=dg.AssetKey(FLEET),
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.AllPartitionMapping())
            for line in lines
            for name in ("champion", "monitors")
        ],
        group_name=FLEET,
        tags=station("pages"),
        owners=sorted({line.owner for line in lines}),
        kinds={"html"},
        code_version=code,
        description="All lines and all of their nodes on one page: who answers, since when, how well, what is amiss, and who decided. "
        "Those first that need somebody. It is what `factory status` tells, and is written after all other work.",
    )
    def fleet(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        issues: dg.ResourceParam[Issues],
        reports: dg.ResourceParam[Reports],
    ) -> dg.MaterializeResult:
        called, states = called_of_lines(launched(OnFleet, context).lines), list[str]()
        # Before what is shown: a decision that is made in between has another state.
        for name, each in called.items():
            standing, page = ledger.standing(name), f"{name}/{PAGE}"
            decided = decided_of(standing, ledger.tags(name)) if standing else None
            content = page_content(context.instance, name, hash_of(PAGE, VERSION), decided)
            states.append(page_state(page, content, each))
        declared = [catalogue.resolve(line) for line in lines]
        written, nodes = write_fleet(declared, called, lake, ledger, issues, reports)
        healths = Counter(node.health for node in nodes)
        how = ", ".join(f"{healths[health]} {health}" for health in HEALTH if healths[health])
        columns = ["health", "node", "why", "version", "decision"]
        worst = [
            [
                node.health,
                f"{node.line}: {node.node}",
                node.why,
                (node.version or "nobody")[:8],
                f"{node.verdict}, {node.decided_by}",
            ]
            for node in nodes[:SHOWN]
        ]
        return dg.MaterializeResult(
            metadata={
                IN_SHORT: f"{counted(len(declared), 'line')}, {counted(len(nodes), 'node')}: {how or 'nothing answers yet'}",
                "page": dg.MetadataValue.url(written.url),
                "nodes": table_shown([dict(zip(columns, row, strict=True)) for row in worst], columns),
                "file": dg.MetadataValue.path(written.where),
                "bytes": written.size,
            },
            tags={INPUTS: fleet_state(code, states)} if called else {},
        )

    return fleet
