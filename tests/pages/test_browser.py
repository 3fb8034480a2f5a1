"""Can pages be read in a browser: on a laptop and a phone, in the light and the dark, by keyboard, whatever the names are?

The browser is a headless Chromium that is on the PATH; without one there is nothing to ask.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory_assets.pages.compare_page import compare_page
from factory_assets.pages.fleet_page import fleet_page
from tests.pages.looked_at import NOW, made
from tests.pages.test_compare_page import a_pair
from tests.pages.test_document import HOSTILE
from tests.pages.test_fleet_page import a_line, a_stand

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")]

SIZES = {
    "laptop": (1280, 800, False),
    "small laptop": (1024, 640, False),
    "phone": (390, 844, True),
    "small phone": (320, 640, True),
}
NAMES = ["a", *(text.replace("\ud800", "").replace("\x00", "") for text in HOSTILE.values()), "W" * 300]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> address of a page as a file."""
    folder = tmp_path_factory.mktemp("pages")
    nodes = [a_stand(node=f"{name} {at}", why=name, reason=name) for at, name in enumerate(NAMES * 30)]
    texts = {
        "line": made(folder / "line").page(),
        "hostile": made(
            folder / "hostile", ["global", *dict.fromkeys(filter(str.strip, NAMES))], "x" * 200, "y" * 900
        ).page(),
        "fleet": fleet_page([a_line(nodes)], nodes, NOW),
        "compare": compare_page(a_pair(), NOW),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8", errors="replace")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with pictures().page(CHROMIUM) as page:
        yield page


def pictures() -> ModuleType:
    """The script that takes the pictures of the docs; it drives the browser."""
    file = Path(__file__).parents[2] / "docs" / "pictures.py"
    spec = importlib.util.spec_from_file_location("pictures", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["pictures"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def opened(browser: Any, pages: dict[str, str]) -> Callable[..., Any]:
    def at(name: str, size: str = "laptop", scheme: str = "light") -> Any:
        width, height, is_mobile = SIZES[size]
        browser.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_mobile
        )
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.ask("Page.navigate", url="about:blank")
        browser.ask("Page.navigate", url=pages[name])
        until = time.monotonic() + 30
        while not browser.value(f"document.readyState === 'complete' && location.href === {json.dumps(pages[name])}"):
            assert time.monotonic() < until, f"{name} was not shown"
            time.sleep(0.05)
        return browser

    return at


PAGES = ("line", "hostile", "fleet", "compare")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_nobody_scrolls_sideways_and_nothing_lies_beside_the_screen(
    opened: Callable[..., Any], name: str, size: str
) -> None:
    page = opened(name, size)
    assert page.value("document.documentElement.scrollWidth") <= SIZES[size][0]
    beside = page.value(
        "[...document.querySelectorAll('main *')].filter(e => { const b = e.getBoundingClientRect();"
        f"return b.width && b.height && !e.closest('svg') && b.right > {SIZES[size][0]} + 1 }}).map(e => e.outerHTML.slice(0, 120))"
    )
    assert beside == []


@pytest.mark.parametrize("name", PAGES)
def test_text_stands_out_from_what_is_behind_it_by_day_and_by_night(opened: Callable[..., Any], name: str) -> None:
    behind = {}
    for scheme in ("light", "dark"):
        page = opened(name, "laptop", scheme)
        behind[scheme], faint = page.value(CONTRAST)
        assert not faint, faint[:5]
    assert sum(behind["light"]) > 600 and sum(behind["dark"]) < 150, behind


#: The colour behind the page, and each text whose contrast is below that of WCAG's level AA.
CONTRAST = """(() => {
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
    const light = c => c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
    const back = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c; }
        return [255, 255, 255]; };
    const faint = [];
    for (const e of document.querySelectorAll('main *')) {
        if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
        const [a, b] = [light(parse(getComputedStyle(e).color) || [0, 0, 0]), light(back(e))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) faint.push([ratio.toFixed(2), e.outerHTML.slice(0, 100)]);
    }
    return [back(document.body), faint];
})()"""


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_and_no_name_becomes_a_script(opened: Callable[..., Any], name: str) -> None:
    page = opened(name)
    assert page.value("performance.getEntriesByType('resource').map(each => each.name)") == []
    assert (
        page.value("document.querySelectorAll('script, img, iframe, object, embed, link, [onerror], [onload]').length")
        <= 1
    )


def press(page: Any, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        typed = {"text": text} if text and kind == "keyDown" else {}
        page.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)


def test_a_page_is_walked_by_keyboard(opened: Callable[..., Any]) -> None:
    page = opened("line")
    press(page, "Tab", 9)
    assert page.value("document.activeElement.textContent") == "To the content"
    for _ in range(60):
        press(page, "Tab", 9)
        if page.value("document.activeElement.tagName") == "SUMMARY":
            break
    # Whoever walks sees where they are.
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    before = page.value("document.activeElement.parentElement.open")
    press(page, "Enter", 13, "\r")
    assert page.value("document.activeElement.parentElement.open") is not before


def test_a_node_is_found_by_typing(opened: Callable[..., Any]) -> None:
    page = opened("fleet")
    all_rows = page.value("document.querySelectorAll('#nodes tbody tr').length")
    press(page, "/", 191, "/")
    assert page.value("document.activeElement.id") == "find"
    for letter in "a 0":
        press(page, letter, ord(letter.upper()), letter)
    found = page.value("[...document.querySelectorAll('#nodes tbody tr')].map(each => each.textContent.toLowerCase())")
    assert len(found) > 0 and all("a" in each and "0" in each for each in found)
    press(page, "Escape", 27)
    assert page.value("document.querySelectorAll('#nodes tbody tr').length") == all_rows
