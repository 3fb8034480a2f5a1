"""Is a command in a fork what it would be in a process of its own?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

SHOWS = "import os; print(sorted(os.environ)); print(os.getcwd())"
#: What a process knows of, and whether anything runs in it, before it has done anything.
BEFORE = """
import os, sys, threading
print(sorted(name for name in sys.modules if name.startswith("factory_")), threading.active_count(), sys.stdin.read() == "")
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""


def test_it_is_given_the_whole_environment_and_the_factory_s_own_switches() -> None:
    apart = subprocess.run(
        [sys.executable, "-c", f"import factory_assets; {SHOWS}"], env={"A": "1", "PYTHONPATH": str(forked.ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    together = forked.python(SHOWS, env={"A": "1", "PYTHONPATH": str(forked.ROOT)})
    # Which locale is meant is told by the interpreter when it starts.
    assert together.stdout == apart.stdout.replace("'LC_CTYPE', ", "")


def test_nothing_of_the_factory_is_read_before_and_no_thread_runs() -> None:
    assert forked.python(BEFORE).stdout.splitlines() == ["['factory_assets'] 1 True", "1"]


def test_a_terminal_is_as_wide_as_the_command_is_told_whatever_the_one_before_was_told(tmp_path: Path) -> None:
    widths = [
        max(map(len, forked.factory("--help", env=forked.environment(COLUMNS=width), cwd=tmp_path).stdout.splitlines()))
        for width in ("100", "60", "100")
    ]
    assert widths == [100, 60, 100]


def test_its_exit_code_and_both_outputs_are_told_and_it_ends_in_time() -> None:
    ended = forked.python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "out\n", "err\n")
    failed = forked.python("1 / 0")
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
    server = forked._server()
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(env={}, timeout=1, code="import time; time.sleep(60)")
    assert server.run(env={}, code="print('next')").stdout == "next\n"
