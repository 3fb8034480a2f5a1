"""One training of a segmented line in a process of its own, that a test may kill: folder, segments, as_of as arguments.

Every node that is fitted is noted in the file `fitted`, so that a test can tell what was done again.
"""

import datetime as dt
import os
import sys
import threading
from pathlib import Path
from typing import Any

import dagster as dg

from factory_assets.training.fit import pool
from factory_resources.processes import close_gone_runs
from tests.training.segmented import Segmented


def main(folder: Path, as_of: dt.date) -> None:
    os.environ["FACTORY_DEFS"] = str(folder / "defs")
    fit, lock = pool.fit_node, threading.Lock()

    def noted(line: Any, rows: Any, features: Any, node: str, metric: str, parents: Any) -> Any:
        with lock, (folder / "fitted").open("a") as file:
            file.write(f"{node}\n")
        return fit(line, rows, features, node, metric, parents)

    pool.fit_node = noted
    (folder / "dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        close_gone_runs(instance)
        line = Segmented(folder, instance)
        (folder / "started").touch()
        if failed := line.train(as_of):
            sys.exit("; ".join(failed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), dt.date.fromisoformat(sys.argv[2]))
