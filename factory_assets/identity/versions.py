"""On which fields of its declaration does each asset depend? Hashes of declarations: of a stream, a view, examples, a model."""

from typing import Any

from factory_assets.declarations.catalogue import DeclaredLine, DeclaredStream
from factory_assets.declarations.contract import MEANING
from factory_assets.declarations.days import EPOCH
from factory_assets.declarations.view import View
from factory_assets.identity.code import code_version
from factory_assets.identity.hashes import hash_of


def stream_version(declared: DeclaredStream) -> str:
    """Changes with everything in the stream's declaration and contract that its rows depend on.

    The place of the source is left out: its content counts, by its fingerprint. So is the start, except for a stream that
    begins before 1970: there it decides which stamps are believed.
    """
    left_out: dict[str, Any] = {
        "owner": True,
        "description": True,
        "end": True,
        "grace": True,
        "plan": True,
        "statistics": True,
        "source": {"uri", "url"},
    }
    if declared.stream.start > EPOCH:
        left_out["start"] = True
    stream = declared.stream.model_dump(mode="json", exclude=left_out)
    contract = declared.contract.model_dump(mode="json", exclude={"version": True, "columns": {"__all__": MEANING}})
    return hash_of(stream, contract)


def view_definition(view: View) -> dict[str, Any]:
    """The fields of a view's declaration on which its values depend."""
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
        [view_definition(view) for view in declared.views.values()],
        *([declared.derived] if declared.derived else []),
    )


def model_version(declared: DeclaredLine) -> str:
    """Changes with everything in the declaration that a model is made by; it is the id of the configuration."""
    line = declared.line
    fields = line.model_dump(mode="json", include={"task", "observe", "label", "candidates", "seed"})
    fields["train"] = line.train.model_dump(mode="json", exclude={"workers", "pool", "missing", "refit"})
    fields["segments"] = line.segments.model_dump(mode="json", include={"levels", "min_rows", "min_positives"})
    return hash_of(fields, declared.features)


def contract_hash(declared: DeclaredLine) -> str:
    """Changes with the contract, or the derived columns, of any stream that the line stands on."""
    return hash_of([stream_version(declared.streams[name]) for name in declared.stands_on])
