"""What does a person ask for, about which node, and why?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What a person decides about a node of a line. why: the reason. by: who decides.

    version: the one that is meant, named as in `models.names.find`; None: the one that is there, whichever it is.
    """

    line: str
    node: str
    why: str
    by: str
    version: str | None = None

    @property
    def complete(self) -> bool:
        """Whether somebody decides it and gives a reason."""
        return bool(self.why.strip() and self.by.strip())
