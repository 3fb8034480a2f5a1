"""Are the rules that a contract only warns of rules of the stream?"""

import difflib
from pathlib import Path

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.documents import DeclarationError, Problem, read
from factory_assets.events.contract.day_rules import day_rules
from factory_assets.events.contract.rules import delivery_rules, id_rules, row_rules


def rule_names(declared: DeclaredStream) -> list[str]:
    """The names that verdicts give to the rules of a stream."""
    rules = [*delivery_rules(declared), *row_rules(declared), *id_rules(declared.stream), *day_rules(declared)]
    return list(dict.fromkeys(rule.name for rule in rules))


def require_warned(declared: DeclaredStream, file: Path) -> None:
    """Raise DeclarationError, with its line, for each name that is no rule's. file: of the contract."""
    if not declared.contract.warn or {*declared.contract.warn} <= {*rule_names(declared)}:
        return
    (document,) = read(file)
    # A column that this environment lacks has fewer rules here.
    everywhere = DeclaredStream(declared.stream, Contract.model_validate(document.value))
    names, problems = rule_names(everywhere), []
    for place, name in enumerate(declared.contract.warn):
        if name in names:
            continue
        near = difflib.get_close_matches(name, names, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        message = f"{name!r} is no rule of {declared.stream.name}; {meant}its rules: {', '.join(map(repr, names))}"
        problems.append(Problem(file, document.line(("warn", place)), "warn", message))
    if problems:
        raise DeclarationError(problems)
