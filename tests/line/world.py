"""The demo in small: the same declarations, fewer orders and days, in a folder and a home of its own."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tests.forked import environment, factory

DEMO = Path(__file__).parents[2] / "factory_assets" / "defs" / "marketplace"
SMALLER = {
    "orders_per_day: 1500": "orders_per_day: 300",
    "end: 2026-04-12": "end: 2026-03-27",
    "min_rows: 1000": "min_rows: 400",
    "min_rows: 5000": "min_rows: 2000",
}


def declare(folder: Path) -> Path:
    """Write the small demo's declarations."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (DEMO / "defs.yaml").read_text()
    for found, smaller in SMALLER.items():
        assert found in text
        text = text.replace(found, smaller)
    (folder / "defs.yaml").write_text(text)
    # The script spoils a fixed number of rows a day: of fewer orders that is a larger share.
    contract = (DEMO / "contract.yaml").read_text().replace("tolerance: 0.02", "tolerance: 0.1")
    (folder / "contract.yaml").write_text(contract)
    return folder


@dataclass(frozen=True)
class Home:
    """A factory's home, and the `factory` command in it."""

    folder: Path
    declarations: Path
    extra: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return environment(**{"FACTORY_HOME": str(self.folder), "COLUMNS": "200", **self.extra})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).parent / "factory"), *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str) -> str:
        done = factory("run", str(self.declarations), *arguments, env=self.environment, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def tables(self) -> list[str]:
        lake = self.folder / "lake"
        return sorted(str(log.parent.relative_to(lake)) for log in lake.rglob("_delta_log"))

    def contents(self) -> dict[str, tuple[int, int]]:
        """Table -> rows and a hash of them, whatever their order and whatever the table's version."""
        from factory_resources.lake import Lake

        lake, found = Lake(root=str(self.folder / "lake")), {}
        for table in self.tables:
            with duckdb.connect(":memory:") as con:
                lake.view(con, "rows", table, empty_if_absent=True)
                columns = ", ".join(f'"{name}"' for name in sorted(lake.columns(table)))
                found[table] = con.execute(
                    f"SELECT count(*), sum(hash({columns})::HUGEINT)::VARCHAR FROM rows"
                ).fetchall()[0]
        return found
