"""A run of two steps, the second of which waits for ever: its folder and executor are told by the environment."""

import os
import time
from pathlib import Path

import dagster as dg

from factory_resources.lake import Lake
from factory_resources.processes import name_process

FOLDER = Path(os.environ["LONG_RUNS"])
EXECUTORS = {"one process": dg.in_process_executor, "many processes": dg.multiprocess_executor}


@dg.resource
def lake(context: dg.InitResourceContext) -> Lake:
    assert context.instance and context.run
    name_process(context.instance, context.run)
    return Lake(root=str(FOLDER))


@dg.asset
def quick(lake: dg.ResourceParam[Lake]) -> None:
    lake.uri("quick")


@dg.asset(deps=[quick])
def slow(lake: dg.ResourceParam[Lake]) -> None:
    (FOLDER / "slow").write_text(str(os.getpid()))
    while True:
        time.sleep(60)


definitions = dg.Definitions(
    [quick, slow], resources={"lake": lake}, executor=EXECUTORS[os.environ["LONG_RUNS_EXECUTOR"]]
)
