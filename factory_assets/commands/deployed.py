"""What the commands work on: the declarations, definitions and resources of this deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory_assets.automation.catchup import Deployment


@contextmanager
def deployed() -> Iterator["Deployment"]:
    """This deployment, opened: reading its definitions takes a second, so only commands that run assets need it."""
    import dagster as dg

    from factory_assets.automation.catchup import Deployment
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.definitions import defs
    from factory_assets.deployment import declarations, prepare_home, resources

    prepare_home()
    held = resources()
    with dg.DagsterInstance.get() as instance:
        yield Deployment(load(declarations(), render), defs(), instance, held["lake"], held["ledger"])
