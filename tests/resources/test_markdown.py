"""Is a text that is shown by a page of Markdown the text that it was?"""

import ast
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import factory_assets
from factory_assets.daily_checks import Finding
from factory_resources.markdown import block, literal

#: What a page of Dagster's shows the description of as Markdown, beside what is declared.
EVENTS = {"AssetCheckResult", "AssetCheckEvaluation", "AssetObservation", "AssetMaterialization"}
#: With what pages of GitHub's dialect read beside CommonMark.
PAGE = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(text: str) -> str:
    """What a page shows of the text. Fails where anything in it is more than text."""
    lines = []
    for one in PAGE.parse(text):
        assert one.type in ("paragraph_open", "paragraph_close", "inline"), (text, one.type)
        lines.append("\n")
        for part in one.children or ():
            assert part.type in ("text", "softbreak", "hardbreak"), (text, part.type)
            lines.append(part.content or "\n")
    return "".join(lines)


def words(text: str) -> list[str]:
    return text.replace("\0", "\ufffd").split()


@pytest.mark.parametrize(
    "text",
    [
        "![a](http://x.org/p.png)", "[a](http://x.org)", "[a]: http://x.org", "<img src=http://x.org>", "<http://x.org>", "<b>a</b>",
        "*a* **b** _c_ __d__ ~~e~~ `f`", "# a", "> a", "- a", "+ a", "* a", "1. a", "1) a", "---", "===", "a\n---", "a\n===", "```\na",
        "~~~\na", "a | b\n--|--\nc | d", "|a|\n|-|\n|b|", "    a", "a\n\n\tb", "&lt;b&gt; &#33;", "\\*a\\*", "a\\", "a\\\nb",
        "\\![a](b)", "a_b_ _c", "[^1]: a", "a\r- b",
    ],
)  # fmt: skip
def test_markup_is_shown_as_it_was_written(text: str) -> None:
    assert words(shown(literal(text))) == words(text)


@given(st.text(alphabet="ab1 \n\r\t\\`*_[]()<>#+-=.!&;~|:/"))
def test_no_text_is_more_than_text(text: str) -> None:
    assert words(shown(literal(text))) == words(text)


@pytest.mark.parametrize(
    "text",
    [
        "drifted: shift: values of habit.mean_x_2d of FR/Lyon since 2026-01-02 (PSI 0.31, limit 0.2, 1,234 rows)",
        "mae 0.2303 on average of 1 day, the floor is 15; 50 % & more", "nothing of the future",
    ],
)  # fmt: skip
def test_an_ordinary_sentence_stays_as_it_is(text: str) -> None:
    assert literal(text) == text


def test_no_text_reaches_a_page_as_markdown_but_by_a_door() -> None:
    assert Finding(dt.date(2026, 1, 1), True, message="<b> of [x](y)").outcome["description"] == r"\<b> of \[x\](y)"
    found = 0
    for file in Path(factory_assets.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            texts = [each.value for each in node.keywords if each.arg == "description" and called(node) in EVENTS]
            texts += node.args if called(node) == "md" else []
            for text in texts:
                names = {called(each) for each in ast.walk(text) if isinstance(each, ast.Call)}
                assert names & {"literal", "block", "markdown", "_course", "link"}, f"{file}:{text.lineno}"
                found += 1
    assert found > 15


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("text", ["```\n![x](http://x.org/p.png)", "~~~", "`````\n<b>", "a\r```\r\n[x](y)", ""])
def test_a_block_of_code_ends_where_it_ends_whatever_is_in_it(text: str) -> None:
    (fence,) = PAGE.parse(block(text, "diff"))
    assert fence.type == "fence" and fence.info == "diff"
    assert fence.content.rstrip("\n") == text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
