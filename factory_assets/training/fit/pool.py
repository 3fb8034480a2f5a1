"""How are hundreds of nodes trained at once? By workers side by side, which get nodes a little ahead of the outcomes taken.

Threads serve LightGBM, which lets go of Python's lock while it fits; processes serve what holds it. They are spawned:
a fork after OpenMP was used can hang. Which of the two, and how many, changes nothing in the models.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields, replace
from multiprocessing import get_context
from typing import NamedTuple, TypeVar

import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.measures.habits import Stretches
from factory_assets.models.archived import load
from factory_assets.training.archiving import Release, release
from factory_assets.training.dataset import NodeRows, RefitRows, TrainingRows
from factory_assets.training.fit.again import Disagreement, again_of, disagreement, refitted
from factory_assets.training.fit.fitting import Failed, Fitted, Outcome, fit_node
from factory_assets.training.fit.warm import Continued, read_all, versions_of
from factory_assets.training.fit.warm_fit import Parents
from factory_assets.training.made import Made, made_of
from factory_assets.training.timeline import Timeline
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.ledger import VersionRecord

#: Nodes handed out to each worker, the one that it trains included: they bound the rows and models in memory.
AHEAD = 2
#: Outcomes of so many seconds of training are recorded at once.
TOGETHER = 2.0
#: Seconds between two reports of progress.
TELL_EVERY = 10.0
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What the nodes of a training have in common. archive: root of the archive that their models go to."""

    declared: DeclaredLine
    metric: str
    span: Timeline
    past: Stretches
    archive: str

    def made(self, task: "Task", rows: NodeRows) -> Made:
        """What the node's model is made from."""
        judged = task.judged.version if task.judged else ""
        return made_of(self.declared, self.span, task.node, task.line, rows, versions_of(task.continued), judged)

    def train(self, task: "Task", rows: NodeRows) -> "Done":
        """The node trained, or why it was not.

        An error is the node's outcome, except where the next node would meet it too: no room on the disk, no memory.
        """
        declared, node = self.declared, task.node
        try:
            archive = ArchiveFolder(self.archive)
            parents = read_all(archive, task.continued)
            if task.judged is not None:
                return self._again(task, task.judged, rows, archive, parents)
            outcome = fit_node(task.line, rows.train, declared.features, node, self.metric, parents)
            if not isinstance(outcome, Fitted):
                return Done(outcome)
            made = self.made(task, rows)
            released = release(archive, declared, self.span, self.past, outcome, rows, task.answered)
            return Done(replace(outcome, fit=outcome.fit[:0].copy()), released, made)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
            return Done(Failed(node, rows.train.num_rows, reason, trace))

    def _again(
        self, task: "Task", record: VersionRecord, rows: NodeRows, archive: ArchiveFolder, parents: Parents
    ) -> "Done":
        judged = load(archive, record.line, record.version)
        outcome, released = refitted(
            archive, self.declared, self.span, task.line, judged, again_of(record, parents), rows.train, task.answered
        )
        if not isinstance(outcome, Fitted) or released is None:
            return Done(outcome)
        apart = disagreement(judged, load(archive, record.line, released.version), rows.train)
        return Done(replace(outcome, fit=outcome.fit[:0].copy()), released, self.made(task, rows), apart)


class Done(NamedTuple):
    """A node's outcome and, where it is a model, its version in the archive and what it was made from.

    disagreement: of a refit with the judged version.
    """

    outcome: Outcome
    released: Release | None = None
    made: Made | None = None
    disagreement: Disagreement | None = None


@dataclass(frozen=True)
class Task:
    """A node to train. line: with the parameters that were found for it. answered: who answered for it and above it before.

    continued: what its candidates may continue. judged: the version that is fitted again; None to train a new one.
    """

    node: str
    line: Line
    answered: Mapping[str, str]
    continued: Continued = field(default_factory=dict)
    judged: VersionRecord | None = None


def train_nodes(job: Job, rows: TrainingRows | RefitRows, tasks: Iterable[Task]) -> Iterator[Done]:
    """Each node's outcome as soon as it is there; memory does not grow with the number of nodes."""
    train = job.declared.line.train
    workers = train.workers or os.cpu_count() or 1
    left, running = iter(tasks), set[Future[Done]]()
    pool: Executor
    if train.pool == "processes":
        pool = processes(workers)
        hand_out = _to_process(pool, job, rows)
    else:
        pool = ThreadPoolExecutor(workers)
        hand_out = _to_thread(pool, job, rows)
    try:
        while True:
            while len(running) < AHEAD * workers and (task := next(left, None)) is not None:
                running.add(hand_out(task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            while done:
                # Taken out before it is given away: the next node's rows come while this one is looked at.
                yield done.pop().result()
    finally:
        pool.shutdown(cancel_futures=True)


def processes(workers: int) -> Executor:
    """Worker processes that leave a Ctrl-C in the terminal, which reaches them too, to the one that hands out: it says what stays."""
    return ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )


HandOut = Callable[[Task], "Future[Done]"]


def _to_thread(pool: Executor, job: Job, rows: TrainingRows | RefitRows) -> HandOut:
    def train(task: Task) -> Done:
        return job.train(task, rows.of(task.node))

    return lambda task: pool.submit(train, task)


def _to_process(pool: Executor, job: Job, rows: TrainingRows | RefitRows) -> HandOut:
    def hand_out(task: Task) -> "Future[Done]":
        of_node = rows.of(task.node)
        return pool.submit(_apart, job, task, *(_packed(getattr(of_node, each.name)) for each in fields(NodeRows)))

    return hand_out


def _apart(job: Job, task: Task, *packed: pa.Buffer) -> Done:
    """In a worker process: the rows of one node come as Arrow's own bytes."""
    return job.train(task, NodeRows(*(pa.ipc.open_stream(each).read_all() for each in packed)))


def _packed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def together(items: Iterable[T], clock: Callable[[], float] = time.monotonic) -> Iterator[list[T]]:
    """Items of a short time together, in lists that are never empty. An error is raised after the items before it."""
    group, began = list[T](), clock()
    try:
        for item in items:
            group.append(item)
            if clock() - began >= TOGETHER:
                yield group
                group, began = [], clock()
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


class Pace:
    """How far is it, how fast and how long yet? Reported at most every few seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic):
        self._total, self._clock, self._done = total, clock, 0
        self._started = self._reported = clock()

    def one_more(self) -> str | None:
        """Count a node; the progress in words, where a report is due."""
        self._done += 1
        now = self._clock()
        if now - self._reported < TELL_EVERY:
            return None
        self._reported = now
        rate = self._done / (now - self._started)
        left = round((self._total - self._done) / rate)
        return f"{self._done} of {counted(self._total, 'node')}, {60 * rate:.0f} a minute, {left // 60} min {left % 60} s left"
