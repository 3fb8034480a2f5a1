"""What of its declaration does a line's model depend on, and under which contract is it made?"""

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.events.version import stream_version
from factory_assets.identity.hashes import hash_of


def model_version(declared: DeclaredLine) -> str:
    """Changes with everything in the declaration that a model is made by; it is the id of the configuration."""
    line = declared.line
    fields = line.model_dump(mode="json", include={"task", "observe", "label", "candidates", "seed"})
    fields["train"] = line.train.model_dump(mode="json", exclude={"workers", "pool", "missing"})
    fields["segments"] = line.segments.model_dump(mode="json", include={"levels", "min_rows", "min_positives"})
    return hash_of(fields, declared.features)


def contract_hash(declared: DeclaredLine) -> str:
    """Changes with the contract, or the derived columns, of any stream that the line stands on."""
    return hash_of([stream_version(declared.streams[name]) for name in declared.stands_on])
