"""`factory contract`: propose a contract from data, and see what a change of one means before it is made."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.screen import console, styled
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_assets.declarations.catalogue import Catalogue
    from factory_assets.declarations.contract import Contract
    from factory_assets.declarations.stream import Stream
    from factory_assets.events.sources import Delivery

app = typer.Typer(no_args_is_help=True, help="Propose contracts, and see what a change of one means.")
Declarations = Annotated[
    Path | None, typer.Option(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")
]
#: Newest days of a stream by name that a contract is proposed from.
RECENT_DAYS = 28
STYLES = {"loosened": "yellow", "tightened": "cyan", "added": "green", "removed": "red", "other": "dim"}


@app.command()
def infer(
    source: Annotated[
        list[str],
        typer.Argument(help="Paths or globs of Parquet and CSV files, looked at together; or the name of a stream."),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; the terminal if absent.")] = None,
    time: Annotated[str | None, typer.Option(help="Column that tells a row's day.")] = None,
    delimiter: Annotated[str, typer.Option(help="Of CSV files.")] = ",",
    null: Annotated[list[str] | None, typer.Option(help="Text that stands for an empty value in CSV files.")] = None,
    encoding: Annotated[str, typer.Option(help="Of CSV files, such as latin-1.")] = "utf-8",
    declarations: Declarations = None,
) -> None:
    """Propose a contract from data: types, formats, empty values, codes, rows a day, id and event time."""
    import duckdb

    from factory_assets.declarations.base import NAME
    from factory_assets.events.contract.inference import infer as propose
    from factory_assets.events.sources import SourceError, deliveries, places, problem_of
    from factory_resources.engine import Engine

    if out is not None and out.exists():
        _refuse(f"{out} exists; write elsewhere, and see `factory contract diff`")
    if len(delimiter) != 1:
        _refuse(f"--delimiter is {delimiter!r}; allowed: one character")
    if len(source) == 1 and NAME.fullmatch(source[0]) and not Path(source[0]).exists():
        stream, days = _named(catalogue_of(declarations), source[0])
        streams = [stream]
    else:
        streams, days = _files(source, delimiter, null, encoding), [dt.date(1970, 1, 1)]
    with Engine(reads=[place for stream in streams for place in places(stream)]).connect() as con:
        try:
            delivered = {each.sources: each for stream in streams for each in deliveries(con, stream, days)}
            text = propose(con, streams[0], _each_once(delivered.values()), time).text
        except (SourceError, ValueError) as error:
            _refuse(str(error))
        except duckdb.Error as error:
            _refuse(f"{', '.join(source)} {problem_of(error)}")
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
        console.say(f"{out} is written: read it, and describe its columns")


def _each_once(delivered: "Iterable[Delivery]") -> "list[Delivery]":
    """Deliveries without those whose files another has: two patterns may match one file."""
    taken: set[str] = set()
    found = []
    for each in delivered:
        if not taken & {*each.sources}:
            found.append(each)
            taken |= {*each.sources}
    return found


def _files(uris: list[str], delimiter: str, null: list[str] | None, encoding: str) -> "list[Stream]":
    """A stream for each path or glob, those of text first: what is text in one file is read as text of all."""
    from pydantic import ValidationError

    from factory_assets.declarations import periods
    from factory_assets.declarations.stream import Stream

    found = []
    for uri in uris:
        source: dict[str, Any] = {"kind": "parquet", "uri": uri}
        if not uri.lower().endswith((".parquet", ".pq")):
            source = {"kind": "csv", "uri": uri, "delimiter": delimiter, "null_values": ["", *(null or [])]}
            source["encoding"] = encoding
        # Only how to read the files is known. No column has the name that stands for the times.
        unknown = {"id": "unknown_", "event_time": "unknown_", "start": "1970-01-01"}
        own = {"name": "files", "owner": "team:none", "description": uri, "source": source, **unknown}
        try:
            found.append(Stream.model_validate(own))
        except ValidationError as error:
            _refuse("; ".join(f"{one['loc'][-1]} {one['msg'].removeprefix('Value error, ')}" for one in error.errors()))
        if periods.unit(uri):
            _refuse(
                f"{uri} is of one file a day, month or year: give files, or a pattern such as *, or the name of the stream"
            )
    return sorted(found, key=lambda stream: stream.source.kind)


def _named(catalogue: "Catalogue", name: str) -> tuple["Stream", list[dt.date]]:
    """A stream of the declarations, and its newest days."""
    if name not in catalogue.streams:
        _refuse(f"{name!r} is no file and no stream; streams here: {', '.join(catalogue.streams)}")
    stream = catalogue.streams[name].stream
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    last = min(stream.end or yesterday, yesterday)
    first = max(stream.start, last - dt.timedelta(days=RECENT_DAYS - 1))
    return stream, [first + dt.timedelta(days=offset) for offset in range((last - first).days + 1)]


def _refuse(message: str) -> NoReturn:
    console.say(message, style="red")
    raise typer.Exit(1)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="File of the contract as it was.")],
    after: Annotated[Path, typer.Argument(help="File of the contract as it is to be.")],
    declarations: Declarations = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="Streams that have the contract; those whose contract is one of the two.")
    ] = None,
) -> None:
    """Show what a change of a contract loosens and tightens, who reads what it touches, and what will retrain."""
    from rich.table import Table

    from factory_assets.commands.impact import streams_under
    from factory_assets.declarations.changes import compare
    from factory_assets.declarations.contract import MEANING

    old, new = _contract(before), _contract(after)
    changes = compare(old, new)
    table = Table(title=f"Version {old.version} to {new.version}", title_justify="left", title_style="bold")
    for column in ("column", "field", "before", "after", ""):
        table.add_column(column, overflow="fold")
    for change in changes:
        marked = styled((change.direction, STYLES[change.direction]))
        table.add_row(change.column or "(all)", change.field, _shown(change.before), _shown(change.after), marked)
    if not changes:
        console.print("the two contracts are the same")
        return
    console.print(table)
    if old.version == new.version and any(change.field not in MEANING for change in changes):
        console.print("the version is the same: raise it by one", style="yellow")
    catalogue = catalogue_of(declarations)
    unknown = [name for name in stream or [] if name not in catalogue.streams]
    if unknown:
        _refuse(f"{unknown[0]!r} is not a stream; streams here: {', '.join(catalogue.streams)}")
    names = stream or streams_under(catalogue, old, new)
    if names:
        _show_impact(catalogue, names, old, new)
    else:
        message = f"no stream of the declarations has either contract (streams: {', '.join(catalogue.streams)}); name one by --stream"
        console.say(message)


def _show_impact(catalogue: "Catalogue", names: list[str], old: "Contract", new: "Contract") -> None:
    from rich.table import Table

    from factory_assets.commands.impact import impact

    effects = impact(catalogue, names, old, new)
    reading = Table(title="Who reads what changed", title_justify="left", title_style="bold")
    for column in ("column", "stream", "read by", "where"):
        reading.add_column(column, overflow="fold")
    for touched in effects.touched:
        reading.add_row(
            touched.column, touched.stream, f"{touched.reader.kind} {touched.reader.name}", touched.reader.where
        )
    if effects.touched:
        console.print(reading)
    else:
        console.print("no declaration reads what changed")
    lines = Table(title="What will retrain", title_justify="left", title_style="bold")
    for column in ("line", "retrains", "why"):
        lines.add_column(column, overflow="fold")
    for line in effects.lines:
        lines.add_row(line.name, styled(("yes", "yellow")) if line.retrains else "no", line.why)
    if effects.lines:
        console.print(lines)
    for problem in effects.problems:
        console.say(styled(("no longer holds:", "red"), f" {problem}"))


@app.command()
def patch(
    stream: Annotated[str, typer.Argument(help="Name of the stream.")],
    day: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A day to look at; those with open issues, or the newest, if absent."),
    ] = None,
    write: Annotated[bool, typer.Option("--apply", help="Change the contract's file.")] = False,
) -> None:
    """Suggest, for all that a day breaks, a change of the contract under which it passes, or say why none should."""
    from factory_assets.declarations.catalogue import contract_file
    from factory_assets.declarations.edits import EditError
    from factory_assets.deployment import declarations, stores
    from factory_assets.events.contract.proposal import NothingToJudge, propose

    resources, catalogue = stores(), catalogue_of(None)
    if stream not in catalogue.streams:
        _refuse(f"{stream!r} is not a stream; streams here: {', '.join(catalogue.streams)}")
    declared, asked = catalogue.streams[stream], day.date() if day else None
    try:
        proposal = propose(resources["lake"], resources["engine"], resources["issues"], declared, asked)
    except NothingToJudge as refused:
        _refuse(str(refused))
    for rule, suggested in proposal.by_rule.items():
        console.print(rule, style="bold", highlight=False)
        console.say(f"    {suggested.message}")
    if not proposal.by_rule:
        console.print(proposal.nothing_is_wrong)
    elif write and proposal.patches:
        file = contract_file(declarations(), stream)
        try:
            file.write_text(proposal.applied(file.read_text()))
        except EditError as refused:
            _refuse(f"{file}: {refused}")
        made = counted(len(proposal.patches), "patch", "patches")
        console.print(f"{file}: {made}, version {proposal.version + 1}", soft_wrap=True)


def _contract(file: Path) -> "Contract":
    from pydantic import ValidationError

    from factory_assets.declarations.contract import Contract
    from factory_assets.declarations.documents import DeclarationError, problems_of, read

    try:
        documents = read(file)
        if len(documents) != 1:
            _refuse(f"{file} must hold one YAML document")
        return Contract.model_validate(documents[0].value)
    except DeclarationError as error:
        _refuse(str(error))
    except ValidationError as error:
        _refuse("\n".join(map(str, problems_of(error, Contract, documents[0]))))


def _shown(value: Any) -> str:
    """A value of a change for a person; empty where there is none."""
    from pydantic import BaseModel

    from factory_assets.declarations.contract import MEANING
    from factory_assets.declarations.edits import flow

    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True, exclude=MEANING)
    return "" if value is None else flow(value)
