"""`factory run` over the small line, one day of which breaks its contract, each time in a process of its own: see `forking`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.forked import Server, environment
from tests.governor.world import ORDERS_CONTRACT, SMALL, day, orders_of
from tests.stations import csv

OWN = {"FACTORY_THREADS": "1", "OMP_WAIT_POLICY": "passive", "COLUMNS": "200"}


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
        self._server = Server(module, **OWN)

    def ask(self, home: Path, *arguments: str, **how: Any) -> tuple[int, str]:
        """Exit code of `factory run`, and what it printed. how: as the module takes it."""
        done = self._server.run(
            "run", str(self.folder / "defs"), *arguments, env=environment(**OWN, FACTORY_HOME=str(home)), together=True,
            **how,
        )  # fmt: skip
        return done.returncode, done.stdout

    def close(self) -> None:
        self._server.close()
