"""How does each line stand? What holds it back, what is due, and how many of its nodes need somebody.

A line has the first of these that is true of it:

- blocked: something of it, or of what it stands on, is not made until somebody decides or mends, or failed on what is there
- damaged: something that was made is not there any more, or not whole; the next run makes it again
- due: work is due
- current: all that can be made is made
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.governor.work import CALLING, Called, Kind, Notice, Plan, Work
from factory_assets.pages.fleet import HEALTH, Health, Stand, fleet
from factory_assets.words import counted, listed
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issue, Issues

State = Literal["blocked", "damaged", "due", "current"]
#: From what needs somebody most.
STATES: tuple[State, ...] = ("blocked", "damaged", "due", "current")
#: Notices that somebody has to act on.
PRESSING: tuple[Kind, ...] = ("blocked", "failed")


@dataclass(frozen=True)
class LineStand:
    """How a line stands.

    notices: those first that somebody has to act on. due: work in words, in order, and why. issues: open ones, of the streams that
    it stands on.
    """

    line: str
    owner: str
    state: State
    notices: Sequence[Notice]
    due: Sequence[tuple[str, str]]
    nodes: dict[Health, int]
    issues: Sequence[Issue] = ()

    @property
    def pressing(self) -> list[Notice]:
        """What somebody has to act on, or has to know."""
        return [notice for notice in self.notices if notice.kind in CALLING]

    @property
    def urgency(self) -> tuple[int, ...]:
        """The less, the sooner somebody is needed: by state, and then by how many of its nodes need somebody most."""
        return STATES.index(self.state), *(-number for number in self.nodes.values())

    @property
    def summary(self) -> str:
        """The line in a sentence."""
        nodes = ", ".join(f"{number} {health}" for health, number in self.nodes.items() if number)
        due = f"; due: {listed([what for what, _ in self.due], 2, 'work')}" if self.due else ""
        issues = f"; {counted(len(self.issues), 'open issue')}" if self.issues else ""
        return f"{self.state}; {counted(sum(self.nodes.values()), 'node')}{f': {nodes}' if nodes else ''}{issues}{due}"


def stands_of(
    declared: Sequence[DeclaredLine], called: Mapping[str, Called], lake: Lake, ledger: Ledger, issues: Issues
) -> tuple[list[LineStand], list[Stand]]:
    """How these lines stand, and their nodes, as `fleet` gives them. called: line -> what the plan of the deployment calls for."""
    nodes = fleet(declared, lake, ledger, set[str]().union(*(each.damaged for each in called.values())))
    healths: dict[str, Counter[Health]] = {}
    for node in nodes:
        healths.setdefault(node.line, Counter())[node.health] += 1
    left = [issue for issue in issues.issues() if issue.state == "open"]
    return [
        line_stand(each, called.get(each.line.name, Called()), healths.get(each.line.name, Counter()), left)
        for each in declared
    ], nodes


def line_stand(
    declared: DeclaredLine, called: Called, healths: Mapping[Health, int], issues: Sequence[Issue]
) -> LineStand:
    """How a line stands. healths: of how many nodes. issues: open ones, of any stream."""
    return LineStand(
        declared.line.name,
        declared.line.owner,
        state_of(called.notices, called.due),
        called.notices,
        called.due,
        {health: healths.get(health, 0) for health in HEALTH},
        [issue for issue in issues if issue.stream in declared.stands_on],
    )


def called_by(planned: Plan, declared: Sequence[DeclaredLine]) -> dict[str, Called]:
    """Line -> what the plan of the deployment says of it: notices of all kinds, and all that is due."""
    found = {}
    for each in declared:
        notices, due = of_line(each, planned)
        found[each.line.name] = Called(tuple(notices), tuple((work.what, work.reason) for work in due))
    return found


def of_line(declared: DeclaredLine, planned: Plan) -> tuple[list[Notice], list[Work]]:
    """Notices of a line and of what it stands on, those first that somebody has to act on; and the work on them, in order.

    A page that is to be written is no work on what it shows.
    """
    own = planned.of_line(declared)
    notices = sorted(own.notices, key=lambda notice: (notice.kind not in PRESSING, notice.kind != "damaged"))
    return notices, [work for work in own.work if not work.is_page]


def state_of(notices: Sequence[Notice], due: Sequence[object]) -> State:
    """The state of a line with these notices and this work."""
    kinds = {notice.kind for notice in notices}
    if kinds & {*PRESSING}:
        return "blocked"
    if "damaged" in kinds:
        return "damaged"
    return "due" if due else "current"
