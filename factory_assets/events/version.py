"""What of a stream's declaration and contract do its rows depend on?"""

from typing import Any

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import MEANING
from factory_assets.events import landing
from factory_assets.identity.hashes import hash_of


def stream_version(declared: DeclaredStream) -> str:
    """Changes with everything in the stream's declaration and contract that its rows depend on.

    Where the source lies is not part of it: what lies there is, by its fingerprint. Nor is the start, but for a stream
    that begins before 1970: there it says which stamps are believed.
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
    if declared.stream.start > landing.EPOCH:
        left_out["start"] = True
    stream = declared.stream.model_dump(mode="json", exclude=left_out)
    contract = declared.contract.model_dump(mode="json", exclude={"version": True, "columns": {"__all__": MEANING}})
    return hash_of(stream, contract)
