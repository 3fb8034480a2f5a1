"""Does a reader of a problem know which line to change? YAML read with its lines, wrong YAML refused with them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field, ValidationError

from factory_assets.declarations.base import Declared, Duration
from factory_assets.declarations.documents import DeclarationError, Document, problems_of, read

REPOSITORY = Path(__file__).parents[2]


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "defs.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def refused(folder: Path, text: str | bytes) -> list[str]:
    """What is said about the text, with the file's name alone before the line."""
    file = written(folder, text)
    with pytest.raises(DeclarationError) as error:
        read(file)
    return [str(problem).removeprefix(f"{file}:") for problem in error.value.problems]


def test_documents_of_a_file_know_the_line_of_every_part(tmp_path: Path) -> None:
    text = "# a note\nname: a\nlist:\n  - x\n  - deep: {key: 1}\n---\nname: b\n"
    first, second = read(written(tmp_path, text))
    assert first.value == {"name": "a", "list": ["x", {"deep": {"key": 1}}]}
    assert [first.line(path) for path in [(), ("name",), ("list",), ("list", 1), ("list", 1, "deep", "key")]] == [
        2,
        2,
        3,
        5,
        5,
    ]
    assert second.line(("name",)) == 7


def test_what_is_not_in_the_document_has_the_line_of_what_it_would_be_in(tmp_path: Path) -> None:
    (document,) = read(written(tmp_path, "a:\n  b: 1\n"))
    assert document.line(("a", "missing", "deeper")) == 1
    assert document.line(("missing",)) == 1


@pytest.mark.parametrize("text", ["", "# only a note\n", "---\n", "---\n---\n# nothing\n---\n", "null\n", "~\n---\n"])
def test_empty_documents_are_none(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, text)) == []


def test_empty_documents_between_others_move_no_lines(tmp_path: Path) -> None:
    documents = read(written(tmp_path, "---\n# nothing\n---\na: 1\n---\n---\nb: 2\n---\n"))
    assert [(one.value, one.line(())) for one in documents] == [({"a": 1}, 4), ({"b": 2}, 7)]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", 2, "cannot start any token"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
        ("a: 1\nb: 'open\n", 3, "found unexpected end of stream"),
        ("a: *nobody\n", 1, "found undefined alias"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "could not determine a constructor"),
        ("a: !shell ls\n", 1, "could not determine a constructor"),
        ("? [1, 2]\n: x\n", 1, "found unhashable key"),
        ("a: \x07bell\n", 1, "special characters are not allowed"),
        ("a: !!int no number\n", 1, "invalid literal"),
        ("a: &a [*a]\n", 1, "recursion"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    (found,) = refused(tmp_path, text)
    assert found.startswith(f"{line}: YAML: ")
    assert reason in found


WRITTEN = [
    file for folder in ("factory_assets", "examples", "deploy") for file in (REPOSITORY / folder).rglob("*.yaml")
]


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_values_and_lines_are_the_same_where_there_is_no_libyaml(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read(file)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    plain = read(file)
    assert fast == plain
    assert [one.lines for one in fast] == [one.lines for one in plain]


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_a_document_that_is_nested_too_deeply_is_refused(tmp_path: Path, depth: int) -> None:
    (found,) = refused(tmp_path, f"a: {'[' * depth}{']' * depth}\n")
    assert "recursion" in found


def test_a_file_that_is_not_there_or_no_text_is_refused_by_name(tmp_path: Path) -> None:
    assert "1: file: cannot be read" in refused(tmp_path, b"\xff\xfe\x00a")[0]
    with pytest.raises(DeclarationError, match=r"absent\.yaml:1: file: cannot be read: .*No such file"):
        read(tmp_path / "absent.yaml")


def test_every_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n---\nlist:\n- x: 1\n  x: 2\n"
    assert refused(tmp_path, text) == [
        "4: b.c: 'c' stands already on line 3; keep one",
        "5: a: 'a' stands already on line 1; keep one",
        "9: list.0.x: 'x' stands already on line 8; keep one",
    ]


def test_dates_stay_text_so_that_a_wrong_one_is_a_problem_of_its_field(tmp_path: Path) -> None:
    (document,) = read(written(tmp_path, "start: 2026-13-45\nend: 2026-01-05\n"))
    assert document.value == {"start": "2026-13-45", "end": "2026-01-05"}


class Small(Declared):
    kind: Literal["small"]
    size: int = Field(gt=0)


class Large(Declared):
    kind: Literal["large"]
    height: int
    parts: list[Small] = Field([])


class Whole(Declared):
    name: str
    source: Small | Large = Field(discriminator="kind")
    named: dict[str, Small] = Field({})
    listed: list[Large] = Field([])
    maybe: Small | None = None
    length: Duration | None = None


def problems(text: str, tmp_path: Path) -> list[str]:
    (document,) = read(written(tmp_path, text))
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(document.value["attributes"])
    found = problems_of(error.value, Whole, document, ("attributes",))
    assert all(problem.file == document.file for problem in found)
    return [f"{problem.line}: {problem.where}: {problem.message}" for problem in found]


def test_an_unknown_field_is_named_with_those_that_are_known_at_its_place(tmp_path: Path) -> None:
    text = """attributes:
  name: a
  source:
    kind: large
    height: 3
    wdith: 4
    parts: [{kind: small, size: 1, sized: 2}]
  named:
    one: {kind: small, size: 1}
    two: {kind: small, size: 1, siez: 1}
  listed:
  - {kind: large, height: 1}
  - kind: large
    height: 1
    hieght: 2
  maybe: {kind: small, size: 1, x: 1}
  nmae: b
"""
    assert problems(text, tmp_path) == [
        "6: attributes.source.wdith: unknown field 'wdith'; allowed: kind, height, parts",
        "7: attributes.source.parts.0.sized: unknown field 'sized'; allowed: kind, size",
        "10: attributes.named.two.siez: unknown field 'siez'; allowed: kind, size",
        "15: attributes.listed.1.hieght: unknown field 'hieght'; allowed: kind, height, parts",
        "16: attributes.maybe.x: unknown field 'x'; allowed: kind, size",
        "17: attributes.nmae: unknown field 'nmae'; allowed: name, source, named, listed, maybe, length",
    ]


def test_a_wrong_value_is_shown_beside_what_is_allowed_and_only_once(tmp_path: Path) -> None:
    text = "attributes:\n  name: [a]\n  source:\n    kind: medium\n  length: 7 days\n"
    assert problems(text, tmp_path) == [
        "2: attributes.name: Input should be a valid string; found ['a']",
        "3: attributes.source: Input tag 'medium' found using 'kind' does not match any of the expected tags: 'small', 'large'",
        "5: attributes.length: '7 days' is not a duration; write a whole number and a unit of s, m, h, d or w, such as 7d",
    ]
    text = "attributes:\n  name: a\n  source: {kind: small, size: 0}\n"
    assert problems(text, tmp_path) == ["3: attributes.source.size: Input should be greater than 0; found 0"]


def test_a_missing_field_is_named_at_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    text = "attributes:\n  name: a\n  source: {kind: small, size: 1}\n  named:\n    one:\n      kind: small\n"
    assert problems(text, tmp_path) == ["5: attributes.named.one.size: 'size' is required; fields here: kind, size"]


def test_a_document_is_the_same_whatever_its_lines_are(tmp_path: Path) -> None:
    file = tmp_path / "defs.yaml"
    assert Document(file, {"a": 1}, {}) == Document(file, {"a": 1}, {("a",): 3})


def test_aliases_of_aliases_are_refused_before_they_are_written_out(tmp_path: Path) -> None:
    """Nine lines that stand for a thousand million values: YAML keeps them as one list, whoever walks through it does not."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    reason = "1: YAML: with its aliases written out it has more than 1,000,000 values"
    assert refused(tmp_path, "\n".join(lines)) == [reason]
    merged = ["a0: &a0 {k: 1}"]
    merged += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    assert refused(tmp_path, "\n".join(merged)) == [reason]
    (few,) = read(written(tmp_path, "a: &a [1, 2]\nb: [*a, *a]\nc: {<<: {d: *a}}"))
    assert few.value == {"a": [1, 2], "b": [[1, 2], [1, 2]], "c": {"d": [1, 2]}}


def test_a_link_that_leads_out_of_its_folder_is_not_read(tmp_path: Path) -> None:
    """What it holds would be shown: whoever may propose a declaration would read any file of the machine that checks it."""
    secret, folder = tmp_path / "secret", tmp_path / "defs"
    folder.mkdir()
    secret.write_text("hunter2")
    (folder / "defs.yaml").symlink_to(secret)
    with pytest.raises(DeclarationError) as error:
        read(folder / "defs.yaml")
    assert (
        str(error.value)
        == f"{folder}/defs.yaml:1: file: 'defs.yaml' lies outside of {folder}; put the file itself there"
    )
    # As Kubernetes mounts a folder of settings.
    (folder / "..data").mkdir()
    (folder / "..data" / "real.yaml").write_text("name: a")
    (folder / "inside.yaml").symlink_to("..data/real.yaml")
    assert [each.value for each in read(folder / "inside.yaml")] == [{"name": "a"}]


def test_a_message_shows_the_beginning_of_a_long_value(tmp_path: Path) -> None:
    (document,) = read(written(tmp_path, "name: " + "x" * 5000))
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(document.value)
    assert all(len(problem.message) < 500 for problem in problems_of(error.value, Whole, document))
