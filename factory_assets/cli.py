"""The `factory` command: run a whole line in this process, check declarations. It adds to Dagster's commands."""

import datetime as dt
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from factory_assets.commands import (
    backtest,
    calibrate,
    compare,
    contract,
    decay,
    demo,
    due,
    explain,
    features,
    issue,
    latency,
    mirror,
    page,
    plan,
    quarantine,
    rebuild,
    release,
    retrain,
    status,
    trials,
    verify,
)
from factory_assets.commands.failures import in_a_line
from factory_assets.commands.programs import STOPPED, Json, answered_in_json, give
from factory_assets.commands.screen import TextGroup, console, screen, styled
from factory_assets.words import counted
from factory_resources.private_files import keep_files_private
from factory_resources.stops import is_stop, stoppable

if TYPE_CHECKING:
    from factory_resources.records.issues import Issue

#: Nodes that the table of a line shows; the first are those with something amiss.
NODES = 30
#: Exit code where a disk, a database or a table cannot be used.
UNUSABLE = 3

app = typer.Typer(cls=TextGroup, no_args_is_help=True, add_completion=False, help="A model factory on Dagster.")
#: Parts of the help, in this order: what somebody comes for.
MAKE, LOOK, DECIDE, REPAIR = "Make", "Look", "Decide", "Repair"
_PARTS: dict[str, tuple[Callable[..., None] | tuple[str, typer.Typer], ...]] = {
    LOOK: (
        *(status.status, page.page, latency.latency, release.champion, release.history, release.tags),
        *(features.features, explain.explain),
        *(compare.compare, trials.trials, decay.decay, backtest.backtest, calibrate.calibrate, plan.plan),
    ),
    DECIDE: (
        *(("issue", issue.app), release.approve, release.rollback, release.tag, retrain.retrain),
        ("contract", contract.app),
    ),
    REPAIR: (
        *(("quarantine", quarantine.app), verify.verify, rebuild.rebuild, rebuild.vacuum),
        mirror.mirror,
    ),
}  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.say(f"model-factory {version('model-factory')}")
        raise typer.Exit


@app.callback()
def factory(
    version: Annotated[
        bool, typer.Option("--version", help="Say which release this is.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """A model factory on Dagster."""


Folder = Annotated[Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")]


@app.command(rich_help_panel=MAKE)
def home() -> None:
    """Prepare the folder in which Dagster keeps its runs, and print it."""
    from factory_assets.deployment import prepare_home

    console.say(str(prepare_home()))


@app.command(rich_help_panel=MAKE)
def check(folder: Folder = None, as_json: Json = False) -> None:
    """Say what is wrong with declarations: file, line, value found, values allowed."""
    from factory_assets.declarations.catalogue import contract_file, load, require
    from factory_assets.declarations.documents import DeclarationError
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations
    from factory_assets.evaluation import luck
    from factory_assets.events.contract.warned import require_warned
    from factory_assets.features.catalogue.inventory import notes
    from factory_assets.training.search import study as search

    chosen = folder or declarations()
    try:
        catalogue = load(chosen, render)
        for stream in catalogue.streams.values():
            require_warned(stream, contract_file(chosen, stream.stream.name))
        for line in catalogue.lines.values():
            require(search.check(line) or search.check_space(line), chosen, line.name)
    except DeclarationError as error:
        if answered_in_json(str(error), error.problems):
            raise typer.Exit(1) from None
        for problem in error.problems:
            console.print(
                styled((f"{problem.file}:{problem.line}", "bold"), f"  {problem.where}"),
                soft_wrap=True,
                highlight=False,
            )
            console.say(f"    {problem.message}")
        console.print(counted(len(error.problems), "problem"), style="red")
        raise typer.Exit(1) from None
    if as_json:
        names = {"streams": list(catalogue.streams), "views": list(catalogue.every_view)}
        lines = [{"line": line.name, "luck": luck.in_words(line)} for line in catalogue.lines.values()]
        give({"folder": str(chosen), **names, "lines": lines, "notes": list(notes(catalogue))})
        return
    counts = [
        counted(len(catalogue.streams), "stream"),
        counted(len(catalogue.every_view), "view"),
        counted(len(catalogue.lines), "line"),
    ]
    console.print(styled(("✓", "green"), f" {', '.join(counts)} in {chosen}"))
    for line in catalogue.lines.values():
        console.say(f"{line.name}: {luck.in_words(line)}")
    for note in notes(catalogue):
        console.say(styled(("note", "yellow"), f" {note}"))


@app.command(rich_help_panel=MAKE)
def run(
    folder: Folder = None,
    until: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day to bring up to date.")
    ] = None,
    new_ledger: Annotated[
        bool, typer.Option("--new-ledger", help="Make all decisions again, where the ledger has lost them.")
    ] = False,
) -> None:
    """Bring every line up to date in this process: events, features, models, predictions, monitors."""
    if folder is not None:
        os.environ["FACTORY_DEFS"] = str(folder.absolute())
    warnings.filterwarnings("ignore")
    from factory_assets.governor.executor import Stopped

    # A stopped process says what it was at, and its runs do not stay open.
    signal.signal(signal.SIGTERM, lambda *_: _stop())
    made: list[str] = []
    try:
        with stoppable():
            failures, remedies = _run(until.date() if until else None, new_ledger, made)
    except (Stopped, KeyboardInterrupt) as stopped:
        console.print(styled("\n", ("stopped", "red"), ": what was made stays, and the next run goes on from there"))
        left = stopped.left if isinstance(stopped, Stopped) else ()
        for what, names in (("made", made), ("not made", left)):
            console.say(f"  {what}: {', '.join(names) or 'nothing'}")
        raise typer.Exit(STOPPED) from None
    if failures:
        console.print(f"\n{len(failures)} not as it should be:", style="red")
        for failure in failures:
            console.say(f"  {failure}")
        for remedy in remedies:
            console.say(f"  {remedy}", style="dim")
        raise typer.Exit(1)


app.command(rich_help_panel=MAKE)(due.due)
app.command(rich_help_panel=MAKE)(demo.demo)
for _panel, _commands in _PARTS.items():
    for _one in _commands:
        if isinstance(_one, tuple):
            app.add_typer(_one[1], name=_one[0], rich_help_panel=_panel)
        else:
            app.command(rich_help_panel=_panel)(_one)


def _stop() -> NoReturn:
    raise KeyboardInterrupt


def _run(until: dt.date | None, new_ledger: bool, names: list[str]) -> tuple[list[str], list[str]]:
    """What is not as it should be, and what can be done. names: to which what was made is added, piece by piece."""
    from factory_assets.automation.summary import summarise
    from factory_assets.commands.deployed import deployed
    from factory_assets.events.aside import aside
    from factory_assets.governor.executor import catch_up
    from factory_assets.release.approval import waiting

    with deployed() as deployment, _progress() as progress:
        catalogue = deployment.catalogue
        task, made, begun = progress.add_task("looking", total=None, station=""), 0, time.monotonic()

        def begin(station: str, what: str) -> None:
            progress.update(task, description=what, station=station)
            if not console.is_terminal:
                # No bar moves in a file: a line says what is at hand, for as long as it takes.
                console.say(f"  {time.monotonic() - begun:>6.0f} s    {station}: {what} ...", style="dim")

        for step in catch_up(
            deployment,
            until,
            begin,
            new_ledger,
        ):
            made += step.days
            names += [f"{step.asset} ({step.days})"] if step.days else []
            progress.console.print(
                styled(
                    "  ",
                    (f"{step.station:<11}", "dim"),
                    f" {step.asset:<32} {step.detail or f'{step.days} computed'}",
                ),
                highlight=False,
                soft_wrap=True,
            )
            progress.update(task, advance=1)
        if not made:
            progress.console.print("  everything else is up to date", highlight=False)
    for stream, days in sorted(deployment.judged.items()):
        if found := str(aside(deployment.lake, stream, days)):
            console.say(f"\n{stream}: {found}. Look at them: factory quarantine show {stream}", style="yellow")
    for line in catalogue.lines:
        if waits := waiting(deployment.ledger, line):
            found = f"{line}: {counted(len(waits), 'challenger')} passed the gate, waiting for approval"
            console.say(f"\n{found}. Look at them: {shlex.join(['factory', 'approve', line])}", style="yellow")
    for table in summarise(catalogue, deployment.lake, deployment.ledger, deployment.archive):
        _show(*table)
    _where_to_look()
    open_issues = [
        issue for name in catalogue.streams for issue in deployment.issues.issues(name) if issue.state == "open"
    ]
    return deployment.failures, list(map(_remedy, open_issues))


def _remedy(issue: "Issue") -> str:
    from factory_resources.records.issues import NEVER_ACCEPTED

    blocks = f"{issue.stream}: {issue.rule!r} blocks {counted(len(issue.days), 'day')}"
    if issue.kind in NEVER_ACCEPTED:
        return f"{blocks}: {issue.owner} has the data delivered, or changes the contract"
    command = shlex.join(["factory", "issue", "accept", issue.stream, issue.rule, "--why", "REASON"])
    return f"{blocks}: {issue.owner} has the data delivered again, or lets them pass: {command}"


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.fields[station]}", style="bold", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}"), TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip


def _show(title: str, columns: list[str], rows: list[list[str]], note: str) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", caption=note, caption_justify="left")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in ("rows", "metric", "naive") else "left",
            no_wrap=column in ("node", "answers"),
        )
    for row in rows[:NODES]:
        table.add_row(*row)
    if len(rows) > NODES:
        table.add_row(f"and {len(rows) - NODES:,} more", *[""] * (len(columns) - 1))
    console.print(table)


def _where_to_look() -> None:
    from factory_assets.deployment import home as factory_home

    console.print("\nWhere to look next:", style="bold")
    console.print("  make ui                 the same in Dagster: lineage, checks, plots, sensors")
    console.say(f"  {factory_home() / 'reports' / 'fleet.html'}   every line and node, those first that need somebody")
    console.say(f"  {factory_home() / 'reports'}   a page a line, and drift by Evidently")
    console.say(f"  {factory_home() / 'lake'}      every table, as Delta Lake")


def main() -> None:
    """The command's entry point."""
    try:
        keep_files_private()
    except ValueError as error:
        screen(stderr=True).say(str(error), style="red")
        sys.exit(1)
    code: int | str | None = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    except Exception as error:
        stopped = is_stop(type(error).__name__, str(error))
        message = "stopped" if stopped else in_a_line(error)
        if message is None:
            raise
        if not answered_in_json(message):
            screen(stderr=True).say(message, style="red")
        code = STOPPED if stopped else UNUSABLE
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written and closed by now. A regular end would have DuckDB's binding list, over 60 lines, objects
    # that other libraries still hold while the interpreter is taken down.
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
