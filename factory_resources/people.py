"""Who does this? The user of the process, by the name that its deployment or its machine has for it; and who says so."""

import os
import pwd


def process_user() -> str:
    """FACTORY_USER, or the name of the user that the process runs as; its number where the machine has no name for it.

    Not what LOGNAME and the like say: they are no deployment's to set.
    """
    if named := os.environ.get("FACTORY_USER", "").strip():
        return named
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not stand in its passwd file
        return f"uid {os.getuid()}"


def with_claim(user: str, claim: str) -> str:
    """Who did something, and beside it the name that was only claimed: `ana`, or `root (claims: ana)`."""
    claim = claim.strip()
    return f"{user} (claims: {claim})" if claim and claim != user else user
