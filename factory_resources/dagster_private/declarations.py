"""How does Dagster load a folder of declarations that no package holds, and what runs all assets of them?"""

import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import dagster as dg

from factory_resources.dagster_private.versions import private, require

T = TypeVar("T")
#: Name under which declarations outside the package are known to Dagster.
OUTSIDE = "factory_declarations"
#: Dagster's name for the job of all assets, as its documents and its UI have it.
ALL_ASSETS = "__ASSET_JOB"


def _take() -> type[Any]:
    require(dg.ComponentTree.__new__, "cls", "defs_module", "project_root")
    require(dg.ComponentTree.for_project, "path_within_project")
    require(dg.ComponentTree.build_defs, "loc")
    return dg.ComponentTree


_tree = private("declarations outside the package", _take)


def load_package(package: Path, folder: Path, described: bool) -> dg.Definitions:
    """Definitions of the defs.yaml files in the folder of a package. described: see `load_folder`."""
    if described or _tree is None:
        return dg.load_from_defs_folder(path_within_project=package)
    definitions: dg.Definitions = _tree.for_project(path_within_project=package).build_defs(folder)
    return definitions


def load_folder(folder: Path, described: bool = True) -> dg.Definitions:
    """Definitions of the defs.yaml files in a folder. Raises what Dagster says of files that it cannot load.

    described: with a schema of each type of component, which Dagster shows on its pages.
    """
    # Dagster loads declarations from a module. This one has no code: only a place.
    module = ModuleType(OUTSIDE)
    module.__path__ = [str(folder)]
    module.__file__ = None
    sys.modules[OUTSIDE] = module
    if _tree is not None:
        tree = _tree(defs_module=module, project_root=folder)
        definitions: dg.Definitions = tree.build_defs() if described else tree.build_defs(folder)
        return definitions
    return _as_project()


def _as_project() -> dg.Definitions:
    """The public way knows projects only: one that says nothing but the module's name. Code references are to the same files."""
    with tempfile.TemporaryDirectory(prefix="factory-project-") as project:
        settings = f'directory_type = "project"\n[project]\nroot_module = "{OUTSIDE}"\ndefs_module = "{OUTSIDE}"\n'
        (Path(project) / "dg.toml").write_text(settings)
        try:
            return dg.load_from_defs_folder(path_within_project=Path(project))
        except (TypeError, AttributeError) as changed:
            raise RuntimeError(
                f"Dagster {dg.__version__} does not load declarations from outside the package ({changed}): put them into "
                "factory_assets/defs, or install a Dagster that was tried"
            ) from changed


def loaded_in(context: dg.ComponentLoadContext) -> object | None:
    """The object in which Dagster keeps what it has loaded of a component's tree; None where there is none to be seen.

    Not the tree: that is a tuple which equals every other tree of the same folder, so a reloaded one would be taken for the old.
    """
    return getattr(context.component_tree, "state_tracker", None)


def components_beside(context: dg.ComponentLoadContext, kind: type[T]) -> Sequence[T]:
    """All components of a kind in the tree that this one is of. Raises RuntimeError where Dagster does not tell."""
    try:
        return list(context.component_tree.get_all_components(of_type=kind))  # type: ignore[type-var]
    except (AttributeError, TypeError) as changed:
        raise RuntimeError(
            f"Dagster {dg.__version__} does not tell a component of the others ({changed}): install a Dagster that was tried"
        ) from changed


def job_of_all_assets(definitions: dg.Definitions) -> dg.JobDefinition:
    """The job by which any assets of the definitions are run."""
    resolve = getattr(definitions, "resolve_implicit_global_asset_job_def", None)
    # Not `get_job_def`: it looks through sensors for a name that it warns of, and refuses those that have no job.
    return resolve() if resolve else definitions.get_repository_def().get_job(ALL_ASSETS)


def checks_of(definitions: dg.Definitions) -> Mapping[dg.AssetKey, Collection[dg.AssetCheckKey]]:
    """Asset -> its checks."""
    declared: list[Any] = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    found: dict[dg.AssetKey, list[dg.AssetCheckKey]] = {}
    for each in declared:
        for spec in getattr(each, "check_specs", ()):
            found.setdefault(spec.asset_key, []).append(spec.key)
    return found
