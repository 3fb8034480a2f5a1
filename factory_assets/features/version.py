"""What of their declarations do snapshots and examples depend on?"""

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.view import View
from factory_assets.identity.code import code_version


def _definition(view: View) -> dict:
    return view.model_dump(
        mode="json", exclude={"owner", "description", "freshness", "units", "serve"}, exclude_defaults=True
    )


def examples_version(declared: DeclaredLine) -> str:
    """Changes with everything in the declarations that the line's examples depend on."""
    line = declared.line
    return code_version(
        "examples",
        line.observe.model_dump(mode="json"),
        line.features,
        line.snapshot,
        line.segments.levels,
        [_definition(view) for view in declared.views.values()],
        *([declared.derived] if declared.derived else []),
    )
