"""What does a person ask for, about which node, and why?"""

from dataclasses import dataclass

from factory_resources.people import with_claim
from factory_resources.records.decisions import CLAIM


@dataclass(frozen=True)
class Request:
    """What a person decides about a node of a line. why: the reason. by: who decides, as far as is known for
    sure. claim: who they say they are, "" where they say nothing else.

    version: the one that is meant, named as in `models.names.find`; None: the one that is there, whichever it is.
    """

    line: str
    node: str
    why: str
    by: str
    version: str | None = None
    claim: str = ""

    @property
    def complete(self) -> bool:
        """Whether somebody decides it and gives a reason."""
        return bool(self.why.strip() and self.by.strip())

    @property
    def who(self) -> str:
        """Who decides, and beside it the claim: for what is kept without evidence."""
        return with_claim(self.by, self.claim)

    @property
    def evidence(self) -> dict[str, str]:
        """What a decision keeps of who asked for it, beside who that was."""
        claim = self.claim.strip()
        return {CLAIM: claim} if claim and claim != self.by else {}
