"""The asset `<line>/page`: what people look at, written by the run that follows what changed it."""

import dagster as dg
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.governor.book import page_content
from factory_assets.governor.plan import page_state
from factory_assets.governor.runs import called_of
from factory_assets.governor.work import PAGE
from factory_assets.identity.hashes import hash_of
from factory_assets.materialization import INPUTS
from factory_assets.pages.details import Tables
from factory_assets.pages.lines import state_of
from factory_assets.pages.written import write
from factory_assets.release.resolver import state_of as decided_of
from factory_assets.training.run_config import launched, written_out
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.reports import Reports

#: Assets that it is drawn behind.
READ = ("evaluation", "champion", "performance", "estimates", "monitors")
#: Of how a page is made: with another one all pages are written again.
VERSION = 1


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
        group_name="monitoring",
        owners=[line.owner],
        kinds={"html"},
        code_version=code,
        description=f"{line.description}\n\nIs it good, is it safe, who decided, and what is to be done: a page for people, as one "
        "file. It is written once nothing that it shows is about to change.",
    )
    def page(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
        reports: dg.ResourceParam[Reports],
    ) -> dg.MaterializeResult:
        config = launched(OnPage, context)
        called = called_of(config.notices, config.due)
        # Before what is shown: a decision that is made in between has another state.
        standing = ledger.standing(line.name)
        decided = decided_of(standing, ledger.tags(line.name)) if standing else None
        state = page_state(key.to_user_string(), page_content(context.instance, line.name, code, decided), called)
        stands = state_of(called.notices, called.due) if config.is_planned else None
        written = write(declared, Tables(lake, engine, ledger), called, stands, reports)
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
