"""`factory run` over the small line, one day of which breaks its contract, each time in a process of its own: see `forking`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.governor.world import ORDERS_CONTRACT, SMALL, day, orders_of
from tests.stations import csv


class Forked:
    """The line's feed and declarations in a folder, and the process that runs it."""

    def __init__(self, folder: Path, module: str, days: int, bad: int, rows: int):
        """module: calls `forking.serve` when it is executed.

        days: that there are. bad: offset of the day whose rows break the contract. rows: of a day.
        """
        self.folder = folder
        (folder / "feed").mkdir()
        (folder / "defs").mkdir()
        declared = SMALL.replace("FEED", str(folder / "feed")).replace("start:", f"end: {day(days - 1)}\n  start:")
        (folder / "defs" / "defs.yaml").write_text(declared)
        (folder / "defs" / "orders.yaml").write_text(ORDERS_CONTRACT)
        for offset in range(days):
            delivered = [row | ({"x": -5} if offset == bad else {}) for row in orders_of(day(offset))[:rows]]
            (folder / "feed" / f"orders-{day(offset)}.csv").write_text(csv(delivered))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FACTORY_", "DAGSTER_"))}
        own = {"FACTORY_THREADS": "1", "OMP_WAIT_POLICY": "passive", "COLUMNS": "200"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", module], env=kept | own, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "server.txt").open("w"),
        )  # fmt: skip

    def ask(self, home: Path, *arguments: str, **how: Any) -> tuple[int, str]:
        """Exit code of `factory run`, and what it printed. how: as the module takes it."""
        assert self._server.stdin and self._server.stdout
        output = self.folder / f"{home.name}.txt"
        asked = {
            "environment": {"FACTORY_HOME": str(home)}, "output": str(output),
            "arguments": ["run", str(self.folder / "defs"), *arguments], **how,
        }  # fmt: skip
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, f"the server ended with {self._server.wait()}: {(self.folder / 'server.txt').read_text()}"
        return json.loads(answer), output.read_text()

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()
