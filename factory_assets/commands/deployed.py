"""What the commands work on: the declarations, definitions and resources of this deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from factory_assets.commands.programs import refuse

if TYPE_CHECKING:
    import dagster as dg

    from factory_assets.declarations.catalogue import Catalogue
    from factory_assets.governor.executor import Deployment


def catalogue_of(folder: Path | None) -> "Catalogue":
    """The declarations of a folder, or of this deployment; ends the command with what is wrong with them."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.documents import DeclarationError
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations

    try:
        return load(folder or declarations(), render)
    except DeclarationError as error:
        refuse(str(error), error.problems)


@contextmanager
def deployed() -> Iterator["Deployment"]:
    """This deployment, opened: reading its definitions takes a second, so only commands that run assets need it.

    Ends the command with what is wrong with a declaration, whenever that shows.
    """
    import dagster as dg

    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.documents import DeclarationError
    from factory_assets.declarations.templates import render
    from factory_assets.definitions import loaded
    from factory_assets.deployment import declarations, prepare_home
    from factory_assets.loading import deployment_of
    from factory_resources.dagster_private.printed import print_where_asked

    prepare_home()
    try:
        with dg.DagsterInstance.get() as instance:
            print_where_asked(instance)
            yield deployment_of(load(declarations(), render), loaded(described=False), instance)
    except DeclarationError as error:
        refuse(str(error), error.problems)


@contextmanager
def opened() -> Iterator["dg.DagsterInstance"]:
    """Dagster's event log of this deployment, without its definitions."""
    import dagster as dg

    from factory_assets.deployment import prepare_home

    prepare_home()
    with dg.DagsterInstance.get() as instance:
        yield instance


def show_decision(line: str, observation: "dg.AssetObservation") -> None:
    """Show what somebody decided on the page of the line's champions, and draw its leaderboard."""
    from factory_assets.deployment import stores
    from factory_assets.release.board import board

    catalogue, resources = catalogue_of(None), stores()
    with opened() as instance:
        instance.report_runless_asset_event(observation)
        # Of a line that is not declared any more there is no board.
        if line in catalogue.lines:
            declared = catalogue.resolve(catalogue.lines[line])
            drawn = board(declared, resources["lake"], resources["engine"], resources["ledger"], instance)
            instance.report_runless_asset_event(drawn)
