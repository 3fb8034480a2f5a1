"""`factory contract`: propose a contract from data, and see what a change of one means before it is made."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    from factory_assets.declarations.catalogue import Catalogue
    from factory_assets.declarations.stream import Stream

app = typer.Typer(no_args_is_help=True, help="Propose contracts, and see what a change of one means.")
console = Console()
Declarations = Annotated[
    Path | None, typer.Option(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")
]
#: Newest days of a stream by name that a contract is proposed from.
RECENT_DAYS = 28


@app.command()
def infer(
    source: Annotated[str, typer.Argument(help="Path or glob of Parquet or CSV files, or the name of a stream.")],
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if absent.")] = None,
    time: Annotated[str | None, typer.Option(help="Column that tells a row's day.")] = None,
    delimiter: Annotated[str, typer.Option(help="Of CSV files.")] = ",",
    null: Annotated[list[str] | None, typer.Option(help="Text that stands for an empty value in CSV files.")] = None,
    declarations: Declarations = None,
) -> None:
    """Propose a contract from data: types, formats, empty values, domains, rows a day."""
    import duckdb

    from factory_assets.declarations.base import NAME
    from factory_assets.events.inference import infer as propose
    from factory_assets.events.sources import SourceError, deliveries

    if out is not None and out.exists():
        _refuse(f"{out} exists; write elsewhere, and see `factory contract diff`")
    if NAME.fullmatch(source) and not Path(source).exists():
        stream, days = _named(_catalogue(declarations), source)
    else:
        stream, days = _files(source, delimiter, null), [dt.date(1970, 1, 1)]
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as con:
        con.execute("SET TimeZone = 'UTC'")
        try:
            text = propose(con, stream, deliveries(con, stream, days), time).text
        except (SourceError, ValueError) as error:
            _refuse(str(error))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
        console.print(f"{out} is written: read it, and describe its columns", soft_wrap=True, highlight=False)


def _files(uri: str, delimiter: str, null: list[str] | None) -> "Stream":
    from factory_assets.declarations.stream import Stream

    source: dict[str, Any] = {"kind": "parquet", "uri": uri}
    if not uri.lower().endswith((".parquet", ".pq")):
        source = {"kind": "csv", "uri": uri, "delimiter": delimiter, "null_values": ["", *(null or [])]}
    # Only how to read the files is known. No column has the name that stands for the times.
    unknown = {"id": "unknown_", "event_time": "unknown_", "start": "1970-01-01"}
    return Stream.model_validate(
        {"name": "files", "owner": "team:none", "description": uri, "source": source, **unknown}
    )


def _named(catalogue: "Catalogue", name: str) -> tuple["Stream", list[dt.date]]:
    """A stream of the declarations, and its newest days."""
    if name not in catalogue.streams:
        _refuse(f"{name!r} is no file and no stream; streams here: {', '.join(catalogue.streams)}")
    stream = catalogue.streams[name].stream
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    last = min(stream.end or yesterday, yesterday)
    first = max(stream.start, last - dt.timedelta(days=RECENT_DAYS - 1))
    return stream, [first + dt.timedelta(days=offset) for offset in range((last - first).days + 1)]


def _catalogue(folder: Path | None) -> "Catalogue":
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.documents import DeclarationError
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations

    try:
        return load(folder or declarations(), render)
    except DeclarationError as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    console.print(message, style="red", soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(1)


@app.callback()
def contracts() -> None:
    """Propose contracts, and see what a change of one means."""
