"""How is a declaration, or any other plain value, told in a few digits that a ledger may keep?"""

import hashlib
import json
from typing import Any

#: Ledgers hold hashes that begin with it, as ids of configurations and of contracts: another one would be another id of
#: the same declaration, and every line would be trained again because its contract had "changed".
FIRST = "3"


def hash_of(*parts: Any) -> str:
    """12 hex digits that change with any of these values; the order of a mapping's keys does not count."""
    text = json.dumps([FIRST, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
