"""`factory verify`: is everything that is kept still what was recorded of it? It reads every row and every model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import Screen, console, screen, styled
from factory_assets.words import counted
from factory_resources.people import process_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factory_assets.governor.executor import Deployment
    from factory_assets.governor.verified import Hole, Mismatch

Folder = Annotated[Path | None, typer.Argument(help="Folder of declarations; FACTORY_DEFS, or the demo, if absent.")]


def verify(
    folder: Folder = None,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Move files with other rows than recorded aside: `factory run` makes them again."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read all tables, models and the ledger, and compare them with what was recorded.

    A version that was trained on rows that were lost is marked, by a tag that says as of which day. Ends with 1 where something is
    not as it was recorded.
    """
    import os
    import warnings

    if folder is not None:
        os.environ["FACTORY_DEFS"] = str(folder.absolute())
    warnings.filterwarnings("ignore")
    from factory_assets.commands.deployed import deployed
    from factory_assets.governor import verified
    from factory_assets.governor.forgotten import forgotten
    from factory_resources.records.chain import Chains

    told = screen(stderr=True) if as_json else console
    with deployed() as deployment:
        lake, ledger, book = deployment.lake, deployment.ledger, deployment.book()
        assets = deployment.daily_assets
        lines = list(deployment.catalogue.lines)
        found = _told(verified.days_of_assets(book, lake, assets), told)
        found += _told(verified.other_tables(lake, assets), told)
        found += _told(verified.in_the_way(book, lake, assets, deployment.other_tables), told)
        found += _told(verified.scores(lake, ledger, lines), told)
        found += _told(verified.models(ledger, deployment.archive), told)
        found += _told(verified.rows_of_ledger(Chains(url=ledger.url)), told)
        found += _told(verified.standing(ledger, lines), told)
        found += _told(forgotten(book, ledger, lines), told)
        found += _told(verified.unknown_versions(lake, ledger, lines), told)
        moved: list[str] = []
        if set_aside:
            for each in found:
                if each.table and each.day:
                    names = lake.set_aside(each.table, each.day)
                    moved += names
                    told.say(f"set aside: {', '.join(names)}")
        holes = list(verified.holes(book, lake, ledger, lines))
        for hole in holes:
            _mark(deployment, hole, told)
        count, versions = len(found) + len(holes), len(ledger.identities())
        if as_json:
            trained = [{"line": each.line, "as_of": each.as_of, "message": each.message} for each in holes]
            mismatches = [asdict(each) for each in found]
            give(
                {
                    "assets": len(assets),
                    "versions": versions,
                    "mismatches": mismatches,
                    "holes": trained,
                    "set_aside": moved,
                }
            )
            raise typer.Exit(1 if count else 0)
        checked = f"{counted(len(assets), 'asset')}, {counted(versions, 'version')}"
        if not count:
            console.say(styled(("✓", "green"), f" {checked}: everything is as it was recorded"))
            return
        console.say(styled((counted(count, "mismatch", "mismatches"), "red"), f" in {checked}"))
    raise typer.Exit(1)


def _told(mismatches: "Iterable[Mismatch]", told: Screen) -> "list[Mismatch]":
    found = []
    for each in mismatches:
        told.say(f"  {each}", style="red")
        found.append(each)
    return found


def _mark(deployment: "Deployment", hole: "Hole", told: Screen) -> None:
    """Tag the versions of a training, so that whoever meets one sees what it learnt from."""
    from factory_resources.records.tags import Tagging

    for record in hole.versions:
        deployment.ledger.tag(
            Tagging(
                hole.line,
                record.node,
                f"hole-{hole.as_of}",
                record.version,
                f"trained on a hole: {hole.message}",
                process_user(),
            )
        )
    message = (
        f"{hole.line}/model as of {hole.as_of}: {counted(len(hole.versions), 'version')} trained on a hole, and tagged "
    )
    told.say(f"  {message}hole-{hole.as_of}: {hole.message}", style="red")
