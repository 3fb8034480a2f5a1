"""Takes the pictures of the docs by a headless Chromium: one line of the demo in Dagster, and the demo's pages for people.

    FACTORY_HOME=.factory .venv/bin/python docs/pictures.py       # after `make run`; --chromium PATH where none is on the PATH

The browser is driven by its DevTools protocol, over the `websockets` that Dagster's web server brings: no driver is needed.
Server and browser listen on this machine alone, fetch nothing from elsewhere, and are gone with the script.
"""

import argparse
import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[1]
#: Picture -> page among the reports.
PAGES = {"fleet.png": "fleet.html", "line.png": "delivery_time/page.html"}
#: Pixels of a laptop's window: what people see first.
LAPTOP = (1280, 860)
#: One line from its source to its monitors; statistics, leaderboard and decay would be dead ends in the picture.
ASSETS = (
    *("orders/raw", "orders/events", "features/restaurant_pace", "features/city_load"),
    *(f"delivery_time/{name}" for name in ("examples", "labels", "model", "evaluation", "refit", "champion")),
    *(f"delivery_time/{name}" for name in ("predictions", "performance", "drift", "monitors")),
)
GROUPS = ("orders", "orders_features", "delivery_time")
#: Pixels. The graph is fitted into the window; at this width nodes show their names alone, which can be read at half the
#: picture's size.
WIDTH, HEIGHT, MARGIN, SCALE = 2020, 1100, 12, 1.5
#: Seconds for a server or a page; a busy machine takes a while to load all definitions.
PATIENCE = 180.0
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
#: What the page says of the graph: whether every asset is drawn, and the rectangle that holds it.
DRAWN = """(() => {
    const boxes = [...document.querySelectorAll('foreignObject')].map(each => each.getBoundingClientRect());
    const text = [...document.querySelectorAll('foreignObject')].map(each => each.textContent).join(' ');
    if (!boxes.length || /Loading/.test(text)) return null;
    const left = Math.min(...boxes.map(b => b.left)), top = Math.min(...boxes.map(b => b.top));
    return {text, x: left, y: top, width: Math.max(...boxes.map(b => b.right)) - left,
            height: Math.max(...boxes.map(b => b.bottom)) - top};
})()"""

#: Buttons and the slider of the zoom lie over the graph.
HIDE = """document.querySelectorAll('button, [class*=lider]').forEach(each => each.style.visibility = 'hidden')"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--chromium", default=next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="Folder to write the pictures to.")
    chosen = parser.parse_args()
    if chosen.chromium is None:
        sys.exit("no chromium on the PATH; name one by --chromium")
    with webserver() as address, page(chosen.chromium) as browser:
        (chosen.out / "lineage.png").write_bytes(lineage(browser, address))
    with page(chosen.chromium) as browser:
        for picture, file in PAGES.items():
            (chosen.out / picture).write_bytes(first_screen(browser, file))


@contextlib.contextmanager
def webserver() -> Iterator[str]:
    """Address of Dagster's web server on the home that FACTORY_HOME names."""
    from factory_assets.deployment import prepare_home

    environment = os.environ | {"DAGSTER_HOME": str(prepare_home()), "DAGSTER_DISABLE_TELEMETRY": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        waited(lambda: answers(f"{address}/server_info"), f"Dagster's web server at {address}")
        yield address
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def page(chromium: str) -> Iterator["Page"]:
    """An empty page of a browser of its own."""
    with tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True) as profile:
        size = f"--window-size={WIDTH},{HEIGHT}"
        command = [chromium, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-port=0", size, "about:blank"]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            chosen = Path(profile) / "DevToolsActivePort"
            waited(lambda: chosen.exists() and chosen.read_text().strip(), "the browser")
            port = chosen.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as told:
                target = next(each for each in json.load(told) if each["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None) as socket_:
                yield Page(socket_)
        finally:
            browser.terminate()
            browser.wait()


class Page:
    """A page of the browser, by the DevTools protocol."""

    def __init__(self, connection: ClientConnection):
        self._connection, self._numbers = connection, itertools.count(1)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the protocol. Raises RuntimeError with what the browser says of it."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def value(self, script: str) -> Any:
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")


def lineage(browser: Page, address: str) -> bytes:
    """The graph of ASSETS with its groups open, as PNG."""
    selection = quote(" or ".join(f'key:"{name}"' for name in ASSETS), safe="")
    expanded = quote(",".join(f"global@global:{group}" for group in GROUPS))
    browser.ask("Page.navigate", url=f"{address}/asset-groups~{selection}?expanded={expanded}")

    def drawn() -> dict[str, Any] | None:
        found: dict[str, Any] | None = browser.value(DRAWN)
        return found if found and all(name.partition("/")[2] in found["text"] for name in ASSETS) else None

    waited(drawn, "the graph of the assets")
    time.sleep(5)  # the graph is fitted into the window, and the states of the assets arrive one by one
    browser.value(HIDE)
    box = waited(drawn, "the graph of the assets")
    clip = {
        "x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "scale": SCALE,
        "width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN,
    }  # fmt: skip
    return base64.b64decode(browser.ask("Page.captureScreenshot", format="png", clip=clip)["data"])


def first_screen(browser: Page, file: str) -> bytes:
    """What a laptop shows first of a page among the reports, as PNG."""
    from factory_assets.deployment import stores

    width, height = LAPTOP
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    browser.ask("Page.navigate", url=(Path(stores()["reports"].root) / file).as_uri())
    waited(lambda: browser.value("document.readyState === 'complete' && document.title"), file)
    return base64.b64decode(browser.ask("Page.captureScreenshot", format="png")["data"])


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as told:
        return bool(told.status == 200)
    return False


def waited(ask: Callable[[], Any], what: str) -> Any:
    """The first answer that is true. Ends the program where there is none within PATIENCE."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := ask():
            return found
        time.sleep(0.5)
    return sys.exit(f"{what} did not answer within {PATIENCE:.0f} s")


if __name__ == "__main__":
    main()
