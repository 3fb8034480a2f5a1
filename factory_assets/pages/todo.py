"""What must an owner do now? What the plan and the nodes' health call for, each with the command that does it, or looks at it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from factory_assets.governor.work import Notice
from factory_assets.monitoring.monitors import DRIFT
from factory_assets.pages.document import Mood, anchor
from factory_assets.pages.fleet import Stand
from factory_assets.words import counted, listed
from factory_resources.records.issues import NEVER_ACCEPTED, Issue

#: Nodes of the same health that are named one by one.
NAMED = 4
#: Things that are named: more of them nobody does before looking again.
MOST = 10


@dataclass(frozen=True)
class Todo:
    """Something to be done.

    command: by which one does it, or looks at it; empty where it is done elsewhere. part: of the page that shows more of it.
    """

    what: str
    why: str
    command: str
    mood: Mood
    part: str = ""


def todo(
    line: str,
    notices: Sequence[Notice],
    due: Sequence[tuple[str, str]],
    nodes: Sequence[Stand],
    issues: Sequence[Issue],
) -> list[Todo]:
    """What there is to do about a line, what holds it back first.

    due: work in words, and why. nodes: those first that need somebody. issues: that are open, of the streams it stands on.
    """
    found = [*_of_notices(notices, issues), *_of_nodes(line, nodes), *_of_work(due)]
    if (left := len(found) - MOST) > 0:
        status = shlex.join(["factory", "status", "--line", line, "--all"])
        return [*found[:MOST], Todo(f"and {counted(left, 'thing')} more", "", status, "bad")]
    return found


def _of_work(due: Sequence[tuple[str, str]]) -> Iterator[Todo]:
    """One thing, however much is due: one command does it all."""
    if due:
        why = f"{listed([what for what, _ in due], NAMED)}. The first: {due[0][1]}"
        yield Todo(f"{counted(len(due), 'run')} due", why, "factory run", "warn")


def _of_notices(notices: Sequence[Notice], issues: Sequence[Issue]) -> Iterator[Todo]:
    by_stream: dict[str, list[Issue]] = {}
    for issue in issues:
        by_stream.setdefault(issue.stream, []).append(issue)
    for notice in notices:
        stream, _, kind = notice.asset.partition("/")
        if notice.kind == "blocked" and kind == "raw" and stream in by_stream:
            yield from map(_of_issue, by_stream.pop(stream))
        elif notice.kind in ("blocked", "failed"):
            # Another run would find the same; a failed one is tried again.
            command = "factory run" if notice.kind == "failed" else "factory due"
            yield Todo(f"{notice.kind}: {notice.asset}", str(notice), command, "bad")
        elif notice.kind == "damaged":
            yield Todo(f"lost or damaged: {notice.asset}", str(notice), "factory run", "bad")


def _of_issue(issue: Issue) -> Todo:
    days = sorted(issue.days)
    blocks = f"{issue.rule} blocks {counted(len(days), 'day')} of {issue.stream}: {', '.join(map(str, days[:3]))}"
    if issue.kind in NEVER_ACCEPTED:
        return Todo(
            blocks, f"{issue.owner} has the data delivered, or changes the contract", "factory issue list", "bad"
        )
    accept = shlex.join(["factory", "issue", "accept", issue.stream, issue.rule, "--why", "REASON"])
    return Todo(blocks, f"{issue.owner} has the data delivered again, or lets them pass", accept, "bad")


def _of_nodes(line: str, nodes: Sequence[Stand]) -> Iterator[Todo]:
    by_health: Mapping[str, list[Stand]] = {name: [] for name in ("unanswered", "alarm", "waits")}
    for node in nodes:
        if node.health in by_health:
            by_health[node.health].append(node)
    for health, of in by_health.items():
        for node in of[:NAMED]:
            yield _of_node(line, health, node)
        if (left := len(of) - NAMED) > 0:
            status = shlex.join(["factory", "status", "--line", line, "--all"])
            yield Todo(f"{counted(left, 'node')} more: {health}", "", status, "bad" if health != "waits" else "warn")


def _of_node(line: str, health: str, node: Stand) -> Todo:
    if health == "waits":
        approve = shlex.join(["factory", "approve", line, node.node, "--why", "REASON"])
        return Todo(f"{node.node}: a challenger waits for approval", node.why, approve, "warn")
    if health == "unanswered":
        look = shlex.join(["factory", "history", line, node.node])
        return Todo(f"{node.node}: nobody answers", node.why, look, "bad")
    look = shlex.join(["factory", "champion", line, node.node])
    began = f" since {node.since}" if node.since else ""
    what = "what it predicts from, or its labels, have changed" if node.why.startswith(DRIFT) else "an alarm"
    return Todo(f"{node.node}: {what}{began}", node.why, look, "bad", anchor(node.node))
