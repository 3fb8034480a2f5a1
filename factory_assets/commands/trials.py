"""`factory trials`: which parameters were tried for a line, how did each do, and where do two of them differ?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from factory_assets.commands.deployed import catalogue_of
from factory_assets.commands.names import unknown
from factory_assets.commands.programs import Json, give
from factory_assets.commands.screen import console, screen
from factory_assets.words import counted

if TYPE_CHECKING:
    from factory_resources.records.trials import Trial


def trials(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    pair: Annotated[
        list[int] | None, typer.Argument(help="Two trials by id, to see where they differ.", show_default=False)
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only trials at this node, such as FR/Lyon.")] = None,
    candidate: Annotated[str | None, typer.Option(help="Only trials of this candidate.")] = None,
    sort: Annotated[str | None, typer.Option(help="A metric, to see the best first; without it the newest.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown.")] = 30,
    as_json: Json = False,
) -> None:
    """List the trials of a line's searches, or compare two of them."""
    from factory_assets.deployment import stores

    book = stores()["trials"]
    if pair:
        if len(pair) != 2:
            raise typer.BadParameter(f"give two trials to compare, not {len(pair)}")
        both = [_trial(book, line, number) for number in pair]
        if as_json:
            give([vars(each) for each in both])
        else:
            _compare(*both)
        return
    every = book.trials(line, node, candidate)
    if not every:
        lines = catalogue_of(None).lines
        if line not in lines:
            unknown(line, "line", lines)
        if as_json:
            give([])
            return
        console.print(f"{line} has no such trials; a candidate with `search` gets some when the line is trained")
        return
    if as_json:
        give([vars(each) for each in _sorted(every, sort)[:limit]])
        return
    _list(line, _sorted(every, sort), len(every), sort, limit)


def _trial(book: Any, line: str, number: int) -> "Trial":
    try:
        trial: Trial = book.trial(line, number)
        return trial
    except LookupError as error:
        screen(stderr=True).say(str(error.args[0]), style="red")
        raise typer.Exit(1) from None


def _sorted(trials: "list[Trial]", metric: str | None) -> "list[Trial]":
    """The best by a metric first, those without it left out; or the newest first."""
    from factory_assets.measures.metrics import METRICS

    if metric is None:
        return trials[::-1]
    measured = [trial for trial in trials if metric in trial.metrics]
    if not measured:
        unknown(metric, "metric", dict.fromkeys(name for trial in trials for name in trial.metrics))
    # A trial that was given up has been judged on other days: its mean is not comparable.
    complete = [trial for trial in measured if trial.state == "complete"]
    return sorted(complete, key=lambda trial: trial.metrics[metric], reverse=bool(METRICS[metric].greater_is_better))


def _list(line: str, shown: "list[Trial]", total: int, sort: str | None, limit: int) -> None:
    table = Table(
        title=f"{line}: {min(limit, len(shown))} of {counted(total, 'trial')}", title_justify="left", title_style="bold"
    )
    for column in ("id", "as of", "node", "candidate", "trial", "metric", "value", "state", "seconds", "params"):
        numeric = column in ("id", "trial", "value", "seconds")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for trial in shown[:limit]:
        metric = sort or trial.metric
        value = trial.metrics.get(metric)
        table.add_row(
            *(str(trial.id), str(trial.as_of), trial.node, trial.candidate, str(trial.number), metric),
            *("" if value is None else f"{value:.5g}", trial.state, f"{trial.seconds:.1f}", _params(trial.params)),
        )
    console.print(table)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in params.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _compare(one: "Trial", other: "Trial") -> None:
    both = (one, other)
    what = ("node", "candidate", "estimator", "as_of", "number", "state", "message", "seconds", "run_id")
    _show(
        f"{one.line}: trials {one.id} and {other.id}",
        both,
        {name: [getattr(each, name) for each in both] for name in what},
    )
    params = _side_by_side([one.params, other.params])
    differ = {name: values for name, values in params.items() if values[0] != values[1]}
    _show("Parameters that differ" if differ else "The parameters are equal", both, differ)
    _show("Means over the folds judged", both, _side_by_side([one.metrics, other.metrics]))
    _show("Folds", both, _side_by_side([_by_fold(each, one.metric) for each in both]))


def _by_fold(trial: "Trial", metric: str) -> dict[str, float]:
    return {
        f"{metric}, {fold['validate_from']} .. {fold['validate_to']}": fold["metrics"][metric]
        for fold in trial.folds
        if metric in fold["metrics"]
    }


def _side_by_side(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for each in values for name in each)
    return {name: [each.get(name) for each in values] for name in names}


def _show(title: str, both: "tuple[Trial, Trial]", rows: Mapping[str, Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=bool(rows))
    for column in ("", *(str(trial.id) for trial in both)):
        table.add_column(column, overflow="fold")
    for name, values in rows.items():
        table.add_row(name, *(_short(value) for value in values))
    console.print(table)
