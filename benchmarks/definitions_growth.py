"""Does loading definitions take time in proportion to the declarations, and how long does a code server take?

    .venv/bin/python benchmarks/definitions_growth.py [--quick]

Folders of 2, 8, 32 and 128 lines, with a stream and three views for every four lines, all after the demo's: a contract
of 13 columns a stream, a line in two observing an entity. Each is loaded in a process of its own as a code server does
it: definitions built, assets resolved, and every job, sensor and schedule described for the web server. Beside them the
demo, also as a command loads it, and as a measure `import dagster`. CPU seconds, which other work on the machine moves less
than the clock, up to the moment at which all is loaded; the least of a few turns, since noise only adds.

Ends with exit code 1 where a bound does not hold.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from bounds import conclude
from raw_to_examples import console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
DEMO = REPOSITORY / "factory_assets" / "defs" / "marketplace"
SIZES, QUICK = (2, 8, 32, 128), (8, 32, 96)
LINES_A_STREAM = 4
#: How many times what a line costs at the size before it may cost at the largest, imports left out. Time in proportion
#: gives 1, time that grows with the square 4, or 3 with --quick; a contract read again for every declaration, as it once
#: was, gave 2.2 and 1.9. Two runs on a busy machine differ by a tenth.
GROWTH = 1.5
#: CPU seconds for 128 lines, from the start of the interpreter. Dagster gives a code server 180 seconds on the clock.
LARGEST = 20.0
#: CPU seconds that the demo may take more than `import dagster`: every command that runs assets waits for them.
BEYOND_DAGSTER = 1.5
#: The demo, as a command that runs assets loads it, and as a code server, which describes all of it to the web server.
COMMANDS, SERVERS = "the demo, by a command", "the demo, by a server"

IMPORT = "import time, dagster; print(time.process_time(), 0)"
LOAD = """
import time
from dagster._core.remote_representation.external_data import RepositorySnap
from factory_assets.definitions import loaded
imported = time.process_time()
definitions = loaded()
assert len(list(definitions.resolve_all_asset_specs())) >= {assets}
RepositorySnap.from_def(definitions.get_repository_def(), defer_snapshots=True)
print(time.process_time(), time.process_time() - imported)
"""
COMMAND = """
import time
from factory_assets.definitions import loaded
imported = time.process_time()
definitions = loaded(described=False)
assert len(list(definitions.resolve_all_asset_specs())) >= {assets}
print(time.process_time(), time.process_time() - imported)
"""


@dataclass
class Load:
    """CPU seconds from the start of the interpreter, and without what was imported first."""

    whole: float
    own: float


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Up to 96 lines in two turns: under a minute.")] = False,
    repeat: Annotated[int, typer.Option(help="Turns; the least counts.")] = 3,
) -> None:
    """Measure how loading grows with the declarations."""
    sizes = QUICK if quick else SIZES
    with tempfile.TemporaryDirectory(prefix="definitions-growth-") as folder, console.status("") as status:
        home = Path(folder)
        subjects: dict[str | int, tuple[str, Path]] = {
            "import dagster": (IMPORT, DEMO.parent),
            COMMANDS: (COMMAND.format(assets=20), DEMO.parent),
            SERVERS: (LOAD.format(assets=20), DEMO.parent),
        }
        for lines in sizes:
            declare(home / str(lines), lines)
            # Ten assets a line, and those of streams and views.
            subjects[lines] = (LOAD.format(assets=10 * lines), home / str(lines))
        turns: dict[str | int, list[Load]] = {name: [] for name in subjects}
        for turn in range(2 if quick else repeat):
            for name, (code, declared) in subjects.items():
                status.update(f"turn {turn + 1}: {name if isinstance(name, str) else f'{name} lines'}")
                turns[name].append(loaded(code, declared, home))
    least = {
        name: Load(min(one.whole for one in found), min(one.own for one in found)) for name, found in turns.items()
    }
    start, demos = least["import dagster"].whole, {name: least[name] for name in (COMMANDS, SERVERS)}
    by_size = {lines: least[lines] for lines in sizes}
    show(start, demos, by_size)
    broken = beyond_bounds(start, demos[COMMANDS], by_size)
    conclude(broken)


def declare(folder: Path, lines: int) -> None:
    """Write a folder of so many lines: a folder inside for each stream, with its contract, views and lines."""
    folder.mkdir()
    demo = list(yaml.safe_load_all((DEMO / "defs.yaml").read_text()))
    streams = max(1, lines // LINES_A_STREAM)
    for number in range(streams):
        # The demo's names, each with the number of the stream: `orders` in the text is the stream, or a count of a view.
        names = {one["attributes"]["name"]: f"{one['attributes']['name']}_{number}" for one in demo}
        documents = [renamed(one, names) for one in demo if not one["type"].endswith("ModelLine")]
        patterns = [one for one in demo if one["type"].endswith("ModelLine")]
        for line in range(lines // streams):
            pattern = renamed(patterns[line % len(patterns)], names)
            pattern["attributes"]["name"] += f"_{line}"
            documents.append(pattern)
        inside = folder / f"stream_{number}"
        inside.mkdir()
        (inside / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        (inside / "contract.yaml").write_text((DEMO / "contract.yaml").read_text())


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A declaration with other names: wherever a value is a name, or `name.feature`. Keys stay as they are."""
    if isinstance(value, dict):
        return {key: renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    name, dot, feature = value.partition(".") if isinstance(value, str) else ("", "", "")
    return names[name] + dot + feature if name in names else value


def loaded(code: str, declared: Path, home: Path) -> Load:
    """What a fresh interpreter takes to run the code over a folder of declarations, by its own account."""
    own = {"FACTORY_DEFS": str(declared), "FACTORY_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    # As a server starts: what it loads is compiled already.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | own
    done = subprocess.run(command, env=environment, cwd=home, check=True, stdout=subprocess.PIPE, text=True)
    return Load(*map(float, done.stdout.splitlines()[-1].split()))


def growth(by_size: Mapping[int, Load]) -> float:
    """What a line costs at the largest size over what it costs at the size before."""
    *_, before, last = (load.own / lines for lines, load in by_size.items())
    return last / before


def beyond_bounds(start: float, demo: Load, by_size: Mapping[int, Load]) -> list[str]:
    """The bounds that do not hold, each in a sentence."""
    broken, largest = list[str](), max(by_size)
    beyond_dagster = demo.whole - start
    if (found := growth(by_size)) > GROWTH:
        broken.append(
            f"a line of {largest} costs {found:.2f} times what it costs at the size before; allowed: {GROWTH}"
        )
    if by_size[largest].whole > LARGEST:
        broken.append(f"{largest} lines take {by_size[largest].whole:.1f} CPU seconds; allowed: {LARGEST:g}")
    if beyond_dagster > BEYOND_DAGSTER:
        broken.append(
            f"the demo takes {beyond_dagster:.2f} CPU seconds beyond `import dagster`; allowed: {BEYOND_DAGSTER}"
        )
    return broken


def show(start: float, demos: Mapping[str, Load], by_size: Mapping[int, Load]) -> None:
    table = Table("", "CPU s", "x dagster", "without imports", "x size before", "ms a line", box=None)
    table.add_row("import dagster", f"{start:.2f}")
    for name, demo in demos.items():
        table.add_row(name, f"{demo.whole:.2f}", f"{demo.whole / start:.1f}", f"{demo.own:.2f}")
    before = {more: by_size[less].own for less, more in pairwise(by_size)}
    for lines, load in by_size.items():
        table.add_row(
            f"{lines} lines",
            f"{load.whole:.2f}",
            f"{load.whole / start:.1f}",
            f"{load.own:.2f}",
            f"{load.own / before[lines]:.2f}" if lines in before else "",
            f"{load.own / lines * 1e3:.0f}",
        )
    console.print(table)
    console.print(f"{COMMANDS} beyond `import dagster`: {demos[COMMANDS].whole - start:.2f} s", highlight=False)
    console.print(f"a line at the largest size over one at the size before: {growth(by_size):.2f}", highlight=False)


if __name__ == "__main__":
    typer.run(run)
