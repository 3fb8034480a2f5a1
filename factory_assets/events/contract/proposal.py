"""What should change in a stream's contract, for all that days of it break, and how does its file read then?"""

import datetime as dt
import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.edits import edited
from factory_assets.events.contract.patches import Patch, Suggestion, apply
from factory_assets.events.contract.verdicts import outcomes, suggestions
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.records.issues import Issues


class NothingToJudge(LookupError):
    """Days for which nothing can be suggested, since the lake has no rows of them as the contract reads them now."""


@dataclass(frozen=True)
class Proposal:
    """What is suggested for these days. by_rule: rule, or new column -> a patch, or why there is none. version: the contract's now."""

    stream: str
    days: tuple[dt.date, ...]
    by_rule: Mapping[str, Suggestion]
    version: int

    @property
    def patches(self) -> list[Patch]:
        return [each for each in self.by_rule.values() if isinstance(each, Patch)]

    @property
    def nothing_is_wrong(self) -> str:
        """The message where no rule is broken."""
        return f"{self.stream}: nothing is wrong with {', '.join(map(str, self.days))}"

    def applied(self, text: str) -> str:
        """The contract's text with all patches, its version raised by one. Raises EditError where it cannot be changed in place."""
        for patch in self.patches:
            text = apply(text, patch)
        return edited(text, {"version": self.version + 1})

    def difference(self, text: str, name: str) -> str:
        """The lines that the patches change, as `git apply` and `patch` take them. Raises EditError. name: of the contract's file."""
        lines, after = text.splitlines(keepends=True), self.applied(text).splitlines(keepends=True)
        changed = difflib.unified_diff(lines, after, f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in changed)


def propose(lake: Lake, engine: Engine, issues: Issues, declared: DeclaredStream, day: dt.date | None) -> Proposal:
    """What to change for a day; for None the days with open issues, or the newest if there are none. Raises NothingToJudge."""
    stream = declared.stream.name
    broken = {each for issue in issues.issues(stream) if issue.state == "open" for each in issue.days}
    delivered = lake.days(f"{stream}/deliveries")
    days = [day] if day else sorted(broken) or delivered[-1:]
    absent = sorted(set(days) - set(delivered))
    if absent or not days:
        named = ", ".join(map(str, absent)) or "any day"
        there = f"; days with one: {delivered[0]} to {delivered[-1]}" if delivered else ""
        raise NothingToJudge(f"{stream} has no delivery of {named}{there}: materialise {stream}/raw first")
    read = lake.columns(f"{stream}/raw")
    if unread := [name for name in declared.contract.columns if name not in read]:
        raise NothingToJudge(
            f"{stream}/raw was read by another contract, without {', '.join(unread)}: materialise {stream}/raw of these days first"
        )
    by_rule = suggestions(declared, outcomes(lake, engine, declared, days))
    return Proposal(stream, tuple(days), by_rule, declared.contract.version)
