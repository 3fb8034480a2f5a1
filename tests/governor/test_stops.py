"""Does a signal that ends a query stop the run, and is it told from an error of the query?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import pytest

from factory_assets.governor.executor import Stopped, execute
from factory_resources.engine import Engine
from factory_resources.stops import stoppable
from tests import forked

#: Takes minutes on one thread.
LONG = "SELECT sum(a.range * b.range) FROM range(200_000) a, range(200_000) b"


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that stops this process, whatever the shell that began it made of it."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


def ask(con: duckdb.DuckDBPyConnection, number: signal.Signals) -> None:
    """Ask what takes minutes, and send this process the signal when it is in the middle of it."""
    timer = threading.Timer(1, os.kill, (os.getpid(), number))
    timer.start()
    try:
        con.execute(LONG).fetchall()
    finally:
        timer.join()


def asks_by_the_door(number: signal.Signals) -> None:
    with Engine(threads=1).connect() as con:
        ask(con, number)


def asks_beside_it(number: signal.Signals) -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        ask(con, number)


def test_a_query_that_a_signal_ends_is_a_stop(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        asks_by_the_door(number)


def test_a_query_that_fails_by_itself_is_an_error() -> None:
    with pytest.raises(duckdb.Error, match="nowhere"), Engine(threads=1).connect() as con:
        con.execute("SELECT * FROM nowhere")
    with pytest.raises(RuntimeError, match=r"^broken$"), stoppable():
        raise RuntimeError("broken")


@pytest.mark.parametrize("asks", [asks_by_the_door, asks_beside_it])
def test_a_run_that_is_in_a_query_stops(number: signal.Signals, asks: Callable[[signal.Signals], None]) -> None:
    begun = list[str]()

    @dg.asset
    def first() -> None:
        begun.append("first")
        asks(number)

    @dg.asset
    def second() -> None:
        begun.append("second")

    jobs = [dg.define_asset_job("all", executor_def=dg.in_process_executor)]
    job = dg.Definitions(assets=[first, second], jobs=jobs).resolve_job_def("all")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(Stopped):
        execute(SimpleNamespace(job=job, instance=instance), [first.key, second.key], {})  # type: ignore[arg-type]
    # What asks by another door ends its step alone, and the run tells in the end.
    assert asks is asks_beside_it or begun == ["first"]


def test_a_stop_that_the_run_does_not_hear_is_one_all_the_same(number: signal.Signals) -> None:
    @dg.asset
    def deaf() -> None:
        # So does Dagster between the steps of a run.
        before = signal.signal(number, lambda *_: None)
        os.kill(os.getpid(), number)
        signal.signal(number, before)

    @dg.asset
    def hears() -> None:
        pass

    job = dg.Definitions(assets=[deaf, hears], jobs=[dg.define_asset_job("all")]).resolve_job_def("all")
    with dg.DagsterInstance.ephemeral() as instance:
        deployment: Any = SimpleNamespace(job=job, instance=instance)
        with pytest.raises(Stopped):
            execute(deployment, [deaf.key], {})
        assert execute(deployment, [hears.key], {}) == [], "the next one is not stopped by what stopped this one"


def test_a_command_that_is_in_a_query_says_that_it_was_stopped() -> None:
    program = f"""
import duckdb, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from factory_assets import cli
@cli.app.command()
def ask() -> None:
    print("asks", flush=True)
    duckdb.connect(config={{"threads": 1}}).execute({LONG!r}).fetchall()
cli.main()
"""
    asking = subprocess.Popen(
        [sys.executable, "-c", program, "ask"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=forked.environment(), start_new_session=True,
    )  # fmt: skip
    assert asking.stdout is not None and asking.stdout.readline() == "asks\n"
    threading.Timer(1, os.kill, (asking.pid, signal.SIGINT)).start()
    _, told = asking.communicate(timeout=60)
    assert (asking.returncode, told) == (130, "stopped\n")
