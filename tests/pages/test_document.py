"""What any text may be, and a page still shows it as text; where pages are kept, and how they are replaced."""

import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest

from factory_assets.pages import document
from factory_assets.pages.document import Badge, Cell, Column, Table, anchor, shown, visible
from factory_resources.reports import Reports

HOSTILE = {
    "html": '<img src="https://evil.example/x.png" onerror=alert(1)>',
    "script": "</title></style></script><script>alert(1)</script>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "markdown": "![x](https://evil.example/p.png) **bold** [link](javascript:alert(1))",
    "jinja": "{{ 7 * 7 }}{% raw %}",
    "right to left": "\u202etxt.exe\u202c \u05d0\u05d1",
    "controls": "bell\x07 null\x00 escape\x1b[31m",
    "long": "x" * 10_000,
    "half of a pair": "\ud800",
}


class Read(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def a_page(text: str) -> str:
    table = Table(
        text, [Column(text, help=text)], [[text], [Cell(text, code=True)], [Cell(1, href="x", data=text)]], text, "t"
    )
    return document.document("sample.html.jinja", text, table=table, badge=Badge(text, "bad"))


def policy(page: str) -> str:
    return next(str(of["content"]) for tag, of in Read(page).tags if of.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that shows a text in every place that the shared parts have."""
    from jinja2 import ChoiceLoader, DictLoader

    source = (
        '{% extends "document.html.jinja" %}{% import "parts.html.jinja" as parts %}'
        "{% block content %}{{ parts.table(table) }}{{ parts.badge(badge) }}{% endblock %}"
    )
    templates = document._templates()
    monkeypatch.setattr(
        templates, "loader", ChoiceLoader([DictLoader({"sample.html.jinja": source}), templates.loader])
    )


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_adds_no_markup_to_a_page(text: str) -> None:
    harmless, hostile = Read(a_page("plain")), Read(a_page(text))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    names = [set(attributes) - {"title", "class"} for _, attributes in hostile.tags]
    assert names == [set(attributes) - {"title", "class"} for _, attributes in harmless.tags]


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("text", [each for each in HOSTILE.values() if len(each) < 80])
def test_hostile_text_is_read_as_it_is_written(text: str) -> None:
    assert visible(text) in Read(a_page(text)).text


@pytest.mark.usefixtures("sample")
def test_a_page_of_long_names_stays_small() -> None:
    assert len(a_page("&" * 10_000)) < 80_000


@pytest.mark.usefixtures("sample")
def test_a_page_may_load_nothing_and_runs_its_own_script_alone() -> None:
    page = document.document("sample.html.jinja", "x", "run()", table=Table("", [], []), badge=Badge("", ""))
    assert re.search(r"default-src 'none'.*script-src 'sha256-[\w+/=]{44}'", policy(page))
    assert re.search(r"default-src 'none'.*script-src 'none'", policy(a_page("x")))


def test_a_text_that_is_cut_has_the_whole_in_its_title() -> None:
    assert shown("a" * 90, 10) == f'<bdi title="{"a" * 90}">{"a" * 9}…</bdi>'
    assert shown("abc") == "<bdi>abc</bdi>"
    assert (shown(None), shown(0.123456), shown(True)) == ("-", "0.1235", "<bdi>True</bdi>")


def test_letters_of_all_scripts_stay_and_marks_of_direction_are_written_out() -> None:
    assert visible("Ünïcode 日本 שלום می\u200cخواهم") == "Ünïcode 日本 שלום می\u200cخواهم"
    assert visible("a\u2066b\ufeffc\x00") == "a\\u2066b\\ufeffc\\u0000"


def test_an_anchor_is_safe_whatever_it_is_of() -> None:
    assert all(re.fullmatch(r"n-[0-9a-f]{16}", anchor(text)) for text in HOSTILE.values())
    assert len({*map(anchor, HOSTILE.values())}) == len(HOSTILE)


def test_no_template_lets_markup_through() -> None:
    loader = document._templates().loader
    assert loader is not None
    for name in loader.list_templates():
        source, *_ = loader.get_source(document._templates(), name)
        assert not re.search(r"\|\s*safe|autoescape|Markup", source), name
        assert "http" not in source.replace("http-equiv", ""), name


def test_a_page_is_replaced_whole_with_the_rights_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(str(tmp_path))
    before = os.umask(0o027)
    try:
        where = reports.write("a/page.html", "old")
        reports.write("a/page.html", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "page.html").read_text() == "new"
    assert where == f"{tmp_path}/a/page.html"
    assert stat.S_IMODE((tmp_path / "a" / "page.html").stat().st_mode) == 0o640
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        reports.write("a/page.html", "newer")
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["page.html"]
    assert (tmp_path / "a" / "page.html").read_text() == "new"


def test_pages_have_an_address() -> None:
    assert Reports("/x y/reports").url("a/page.html") == "file:///x%20y/reports/a/page.html"
    assert Reports("/x", "https://pages.example/").url("a/page.html") == "https://pages.example/a/page.html"
    assert Reports("memory://x/").url("a/page.html") == "memory://x/a/page.html"
    assert document.link("card_fraud/page.html", "fleet.html", "n-1") == "../fleet.html#n-1"
