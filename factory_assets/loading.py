"""How does Dagster get the declarations and the stores of this deployment, and how are its runs started from within?"""

from dataclasses import replace
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import Catalogue, load, require_plain
from factory_assets.declarations.templates import render
from factory_assets.deployment import PACKAGE, declarations, stores
from factory_assets.governor.executor import Deployment
from factory_assets.governor.jobs import jobs_by_hand
from factory_assets.pages.sensors import follow_sensor
from factory_resources.dagster_private.declarations import load_folder, load_package
from factory_resources.lake import Lake
from factory_resources.processes import name_process

#: Jobs by which people decide something that pages show.
DECIDE = ("rollback", "approve", "tag", "issue")


def load_declarations(*, described: bool = True) -> dg.Definitions:
    """described: with what Dagster's pages tell of the declarations' language: a third of a second that commands do without."""
    folder = declarations()
    require_plain(folder)
    if folder == PACKAGE / "defs":
        return load_package(PACKAGE, folder, described)
    if not folder.is_dir():
        raise FileNotFoundError(f"FACTORY_DEFS is {folder}, which is no folder; it must hold defs.yaml files")
    return load_folder(folder, described)


def resources() -> dict[str, dg.ResourceDefinition]:
    """The stores as Dagster's resources. No page shows where they are, and no launch may say that they are elsewhere."""
    return {name: _fixed(store) for name, store in stores().items()} | {"io_manager": in_memory}


def deployment_of(catalogue: Catalogue, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Deployment:
    """This deployment, with everything needed to run assets in this process."""
    kept = stores()
    return Deployment(catalogue, definitions, instance, kept["lake"], kept["ledger"], kept["archive"], kept["engine"])


def with_jobs_by_hand(definitions: dg.Definitions) -> dg.Definitions:
    """The definitions, the jobs that start runs of their assets, and the sensor by which pages follow all that people decide."""
    found: dict[str, list[str]] = {"raw": [], "model": []}
    for each in definitions.assets or ():
        # A view may have any of these names, in the group of its stream.
        for key, group in each.group_names_by_key.items() if isinstance(each, dg.AssetsDefinition) else ():
            if key.path[0] == group and key.path[-1] in found:
                found[key.path[-1]].append(group)

    def opened(instance: dg.DagsterInstance) -> Deployment:
        return deployment_of(load(declarations(), render), definitions, instance)

    jobs = jobs_by_hand(found["raw"], found["model"], opened)
    decided = [each for each in definitions.jobs or () if isinstance(each, dg.JobDefinition) and each.name in DECIDE]
    followed = follow_sensor([*decided, *jobs], opened, stores()["reports"]) if decided or jobs else None
    return dg.Definitions.merge(definitions, dg.Definitions(jobs=jobs, sensors=[followed] if followed else []))


@dg.io_manager(config_schema={}, description="Steps hand on nothing: what one made, the next reads in the lake.")
def in_memory(_context: dg.InitResourceContext) -> dg.IOManager:
    """In place of Dagster's own, which a launch may tell to write to any folder."""
    return dg.InMemoryIOManager()


def _fixed(store: Any) -> dg.ResourceDefinition:
    def opened(context: dg.InitResourceContext) -> Any:
        # Every asset of the factory needs the lake: no run of one goes without the name of its process.
        if isinstance(store, Lake) and context.run is not None and context.instance is not None:
            name_process(context.instance, context.run)
            return replace(store, writer=f"run {context.run.run_id}")
        return store

    # An empty schema refuses configuration; none would take any.
    return dg.ResourceDefinition(opened, config_schema={}, description=(type(store).__doc__ or "").partition("\n\n")[0])
