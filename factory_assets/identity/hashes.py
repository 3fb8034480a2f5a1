"""How does a declaration, or any other plain value, get a short hash that a ledger may keep?"""

import hashlib
import json
from typing import Any

#: Ledgers hold hashes of texts that begin with it, as ids of configurations and of contracts: with another beginning, the same
#: declaration would get another id, and every line would be trained again because its contract had "changed".
FIRST = "3"


def hash_of(*parts: Any) -> str:
    """12 hex digits that change with any of these values; the order of a mapping's keys does not count."""
    text = json.dumps([FIRST, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
