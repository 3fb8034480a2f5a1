"""How does each line stand? What holds it back, what is due, and how many of its nodes need somebody.

A line has the first of these that is true of it:

- blocked: something of it, or of what it stands on, is not made until somebody decides or mends, or failed on what is there
- damaged: something that was made is not there any more, or not whole; the next run makes it again
- due: work is due
- current: all that can be made is made
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.governor.work import Kind, Notice, Plan, Work
from factory_assets.pages.fleet import HEALTH, Health, Stand, fleet
from factory_assets.words import counted, listed
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

State = Literal["blocked", "damaged", "due", "current"]
#: Notices that somebody has to act on.
PRESSING: tuple[Kind, ...] = ("blocked", "failed")


@dataclass(frozen=True)
class LineStand:
    """How a line stands. notices: of all kinds, those first that somebody has to act on. due: work, in order."""

    line: str
    owner: str
    state: State
    notices: Sequence[Notice]
    due: Sequence[Work]
    nodes: dict[Health, int]

    @property
    def pressing(self) -> list[Notice]:
        """What somebody has to act on, or has to know."""
        return [notice for notice in self.notices if notice.kind in (*PRESSING, "damaged")]

    @property
    def summary(self) -> str:
        """The line in a sentence."""
        nodes = ", ".join(f"{number} {health}" for health, number in self.nodes.items() if number)
        due = f"; due: {listed([work.what for work in self.due], 2, 'work')}" if self.due else ""
        return f"{self.state}; {counted(sum(self.nodes.values()), 'node')}{f': {nodes}' if nodes else ''}{due}"


def stands_of(
    declared: Sequence[DeclaredLine], planned: Plan, lake: Lake, ledger: Ledger
) -> tuple[list[LineStand], list[Stand]]:
    """How these lines stand by the plan of their deployment, and their nodes, as `fleet` gives them."""
    damaged = {notice.asset for notice in planned.notices_of("damaged")}
    nodes = fleet(declared, lake, ledger, damaged)
    return [
        line_stand(each, planned, [node for node in nodes if node.line == each.line.name]) for each in declared
    ], nodes


def line_stand(declared: DeclaredLine, planned: Plan, nodes: Sequence[Stand]) -> LineStand:
    """How a line stands by the plan of its deployment. nodes: of the line."""
    notices, due = of_line(declared, planned)
    healths = Counter(each.health for each in nodes)
    return LineStand(
        declared.line.name,
        declared.line.owner,
        state_of(notices, due),
        notices,
        due,
        {health: healths[health] for health in HEALTH},
    )


def of_line(declared: DeclaredLine, planned: Plan) -> tuple[list[Notice], list[Work]]:
    """Notices of a line and of what it stands on, those first that somebody has to act on; and the work on them, in order."""
    own = planned.of_line(declared)
    notices = sorted(own.notices, key=lambda notice: (notice.kind not in PRESSING, notice.kind != "damaged"))
    # A page follows by itself, and nothing waits for it.
    return notices, [work for work in own.work if work.page is None]


def state_of(notices: Sequence[Notice], due: Sequence[object]) -> State:
    """The state of a line with these notices and this work."""
    kinds = {notice.kind for notice in notices}
    if kinds & {*PRESSING}:
        return "blocked"
    if "damaged" in kinds:
        return "damaged"
    return "due" if due else "current"
