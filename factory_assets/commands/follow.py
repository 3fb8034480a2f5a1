"""What somebody decides in the terminal shows on the pages at once, without a run."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory_assets.governor.executor import Deployment


def follow(*, line: str = "", stream: str = "") -> list[str]:
    """Write the page of a line, or those of the lines that stand on a stream, again; where they are.

    A line without a page gets its first with its first run: a deployment that was never run is not asked what is due.
    """
    from factory_assets.commands.deployed import catalogue_of, deployed
    from factory_assets.deployment import stores
    from factory_assets.pages.document import page_of

    catalogue, reports = catalogue_of(None), stores()["reports"]
    resolved = {name: catalogue.resolve(each) for name, each in catalogue.lines.items()}
    asked = [name for name, each in resolved.items() if name == line or stream in each.stands_on]
    there = [name for name in asked if reports.holds(page_of(name))]
    if not there:
        return []
    with deployed() as deployment:
        return written(deployment, there)


def written(deployment: "Deployment", lines: Collection[str]) -> list[str]:
    """Write the pages of these lines; where they are. That of all lines, if there is one, follows."""
    from factory_assets.deployment import stores
    from factory_assets.governor.plan import plan
    from factory_assets.pages.details import Tables
    from factory_assets.pages.written import write_again

    tables = Tables(deployment.lake, deployment.engine, deployment.ledger)
    planned, reports = plan(deployment.book()), stores()["reports"]
    return write_again(deployment.catalogue, planned, lines, tables, deployment.issues, reports)
