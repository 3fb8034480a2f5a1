"""`factory rebuild` and `factory vacuum`: is a version what its record says, and what may be forgotten?"""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from factory_assets.commands.screen import console, styled
from factory_assets.words import counted
from factory_resources.people import process_user

if TYPE_CHECKING:
    from factory_resources.records.certificates import Certificate

EXIT = {"equal": 0, "different": 1, "not comparable": 2}
STYLES = {"equal": "green", "different": "red", "not comparable": "yellow"}
#: A file that was replaced a moment ago may be read by a run at this moment.
SOONEST = dt.timedelta(days=1)


def rebuild(
    version: Annotated[
        str | None,
        typer.Argument(
            help="Its id or the beginning of it, its UUID, or LINE[/NODE]@TAG; absent, a random released one."
        ),
    ] = None,
    restore: Annotated[bool, typer.Option(help="Put back what the archive lacks, if it comes out equal.")] = False,
) -> None:
    """Make a version again from its record, in a fresh process, and compare it with the archive, part by part.

    Ends with 0 where all is equal, 1 where it is not, 2 where other library versions make it no comparison.
    """
    from factory_assets.deployment import stores
    from factory_assets.release.jobs import chosen
    from factory_assets.release.rebuild import Origin
    from factory_assets.release.rebuild import rebuild as make_again
    from factory_assets.training.remake import NotRebuildable

    resources = stores()
    ledger = resources["ledger"]
    try:
        record = chosen(ledger, version or "", seed=str(dt.datetime.now(dt.UTC)))
        if record is None:
            console.print("no version was champion yet: there is nothing to make again")
            return
        read = ", ".join(f"{table} at version {number}" for table, number in record.tables.items())
        console.print(
            f"{record.line} {record.node}, as of {record.as_of}: {record.candidate} on {record.rows:,} rows; from {read}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        origin = Origin(resources["lake"], resources["engine"], ledger, resources["archive"])
        certificate = make_again(record, origin, by=process_user(), restore=restore)
    except (LookupError, NotRebuildable) as error:
        console.say(str(error.args[0]), style="red")
        raise typer.Exit(1) from None
    resources["certificates"].record(certificate)
    _show(certificate)
    raise typer.Exit(EXIT[certificate.verdict])


def _show(certificate: "Certificate") -> None:
    table = Table(title=f"{certificate.line} {certificate.version}", title_justify="left")
    for column in ("part", "archived", "rebuilt", ""):
        table.add_column(column)
    for name, (then, now) in certificate.parts.items():
        same = styled(("equal", "green") if then == now else ("different", "red"))
        table.add_row(name, (then or "-")[:16], (now or "-")[:16], same)
    for name, (was, now_is) in certificate.made_from.items():
        table.add_row(styled((name, "dim")), was[:16], now_is[:16], styled(("not as then", "yellow")))
    console.print(table)
    console.say(styled((certificate.verdict, STYLES[certificate.verdict]), f": {certificate.message}"))


def vacuum(
    older_than: Annotated[str, typer.Option(help="Keep what was replaced within this time, such as 7d.")] = "7d",
    delete: Annotated[bool, typer.Option(help="Remove the files; without it they are only counted.")] = False,
) -> None:
    """Remove files of past table versions; those that a released or tagged version names stay readable."""
    from factory_assets.declarations.base import parse_duration
    from factory_assets.deployment import stores
    from factory_assets.release.rebuild import tables_named
    from factory_assets.training.fit.warm import continued_by

    try:
        span = parse_duration(older_than)
        if span < SOONEST:
            raise ValueError(f"--older-than {older_than} is too short: a run may still read these files; at least 1d")
    except ValueError as error:
        console.say(str(error), style="red")
        raise typer.Exit(1) from None
    resources = stores()
    lake, ledger = resources["lake"], resources["ledger"]
    named = tables_named(continued_by(ledger, ledger.relied_on()))
    for name in lake.tables():
        files = lake.vacuum(name, span, named.get(name, set()), dry_run=not delete)
        kept = (
            f", {counted(len(named[name]), 'version')} kept for models that were released or are tagged"
            if name in named
            else ""
        )
        console.say(f"{len(files):>7} files  {name}{kept}")
    if not delete:
        console.print("nothing was removed; --delete removes them")
