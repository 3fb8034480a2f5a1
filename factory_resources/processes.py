"""Which process executes a run, and is it still there? So that a killed run can be told from a slow one.

Dagster asks this of a launcher that watches its workers; a run of `factory run` or of `dagster asset materialize` has none, and
the default launcher forgets its runs when the code server is restarted.
"""

import datetime as dt
import os
import socket
from pathlib import Path

import dagster as dg

from factory_resources.dagster_private.reading import executing, launched_here

#: Run tag, which Dagster does not show: which process of which machine executes the run. Machines that share a deployment have
#: names of their own.
PROCESS = ".dagster/factory_process"
#: A run's process names itself when the run's resources are there, moments after the run began.
NAMED_WITHIN = dt.timedelta(minutes=10)
BEGUN = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELING)


def this_process() -> str:
    """The tag's value for runs that this process executes."""
    return f"{socket.gethostname()}:{os.getpid()}:{_began(os.getpid())}"


def name_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note on a run that this process executes it, unless another one is noted."""
    if PROCESS not in run.tags:
        instance.add_run_tags(run.run_id, {PROCESS: this_process()})


def is_gone(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether an open run will never end by itself: its process was one of this machine's, and is no more.

    Where nobody launched the run, a process that never named itself is taken as gone after ten minutes; one of another
    machine never is. Where a code server of this machine did, the run's own events tell the process before it names itself: it
    may be killed in between, and a code server that is restarted has forgotten it.
    """
    run = record.dagster_run
    if run.status not in BEGUN:
        return False
    if PROCESS not in run.tags:
        if run.remote_job_origin is None:
            return dt.datetime.now(dt.UTC) - record.create_timestamp > NAMED_WITHIN
        # A launched run is its launcher's to watch, and need not open our stores.
        pids = executing(instance, run.run_id) if launched_here(run) else set[int]()
        return bool(pids) and not any(map(_alive, pids))
    host, pid, began = (*run.tags[PROCESS].split(":"), "", "", "")[:3]
    if host != socket.gethostname() or not pid.isdigit() or _alive(int(pid), began):
        return False
    # With an executor of many processes the one that named itself made a step; the run's own started it.
    return not any(_alive(other) for other in executing(instance, run.run_id) - {int(pid)})


def close_gone_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed whose process is known and gone."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(BEGUN))):
        run = record.dagster_run
        if (PROCESS in run.tags or launched_here(run)) and is_gone(instance, record):
            named = run.tags.get(PROCESS, "").split(":")[1:2]
            pids = named or map(str, sorted(executing(instance, run.run_id)))
            instance.report_run_failed(run, f"the process {', '.join(pids)} that executed this run is gone")


def _stat(pid: int) -> list[str]:
    """What the kernel tells of a process, from its state on; nothing where it tells nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _began(pid: int) -> str:
    """When a process of this machine began, in the kernel's ticks: a number may be given to another process later."""
    stat = _stat(pid)
    return stat[19] if stat else ""


def _alive(pid: int, began: str = "") -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if (stat := _stat(pid)) and stat[0] in "ZX":  # it has ended, and nobody has asked how
        return False
    return not began or _began(pid) == began
