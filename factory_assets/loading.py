"""How does Dagster get the declarations and the stores of this deployment?"""

import sys
from types import ModuleType
from typing import Any

import dagster as dg

from factory_assets.deployment import PACKAGE, declarations, stores
from factory_resources.lake import Lake
from factory_resources.processes import name_process

#: Name under which declarations outside the package are known to Dagster.
OUTSIDE = "factory_declarations"


def load_declarations() -> dg.Definitions:
    folder = declarations()
    if folder == PACKAGE / "defs":
        return dg.load_from_defs_folder(path_within_project=PACKAGE)
    if not folder.is_dir():
        raise FileNotFoundError(f"FACTORY_DEFS is {folder}, which is no folder; it must hold defs.yaml files")
    # Dagster loads declarations from a module. This one has no code: only a place.
    module = ModuleType(OUTSIDE)
    module.__path__ = [str(folder)]
    module.__file__ = None
    sys.modules[OUTSIDE] = module
    return dg.ComponentTree(defs_module=module, project_root=folder).build_defs()


def resources() -> dict[str, Any]:
    """The stores as Dagster's resources: plain objects, of which neither a page nor a launch sees or changes where they are."""

    @dg.resource(description="Tables. A run that opens them names the process that executes it.")
    def lake(context: dg.InitResourceContext) -> Lake:
        if context.dagster_run is not None and context.instance is not None:
            name_process(context.instance, context.dagster_run)
        return opened["lake"]

    opened = stores()
    return opened | {"lake": lake}
