"""Does a hash of code change with what the code computes, and with nothing else?"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory_assets.identity import code
from factory_assets.identity.hashes import hash_of
from factory_assets.identity.stations import STATIONS, Station

MODULE = '''
"""Says what it does."""
import math
from numpy import mean, median
from factory_assets.features.point_in_time.windows import interval

FACTOR: float = 2.0


class Window:
    """Some days."""
    length: int = 7

    @property
    def doubled(self) -> int:
        return self.length * 2


def scaled(values: list, *, by: float = FACTOR) -> float:
    """The mean, scaled."""
    total: float = mean(values)
    if total > 5:
        raise ValueError(f"{total} is too large; allowed: 5")
    return by * total  # in metres
'''

SAME = {
    "a comment": ("# in metres", "# in feet"),
    "a docstring": ('"""The mean, scaled."""', '"""Scaled mean."""\n\n    "and more"'),
    "no docstring at all": ('\n    """Some days."""', ""),
    "the layout": ("return by * total", "return (\n        by\n        * total\n    )"),
    "annotations of arguments": ("values: list, *, by: float = FACTOR) -> float", "values, *, by = FACTOR)"),
    "an annotation of a variable": ("total: float = mean", "total = mean"),
    "an annotation of a constant": ("FACTOR: float = 2.0", "FACTOR = 2.0"),
    "the words of an error": ("is too large; allowed: 5", "exceeds the limit of 5"),
    "the order of imports": ("from numpy import mean, median", "from numpy import median, mean"),
    "imports elsewhere": (
        "import math\nfrom numpy import mean, median",
        "from numpy import mean\nfrom numpy import median\nimport math",
    ),
    "imports for type checkers": (
        "FACTOR: float = 2.0",
        "import typing\nif typing.TYPE_CHECKING:\n    import os\nFACTOR = 2.0",
    ),
}
OTHER = {
    "a constant": ("2.0", "2.5"),
    "the type of a constant": ("2.0", "2"),
    "an operator": ("by * total", "by + total"),
    "a comparison": ("total > 5", "total >= 5"),
    "a default": ("by: float = FACTOR", "by: float = 1.0"),
    "a keyword that becomes positional": ("values: list, *, by", "values: list, by"),
    "the type of a field": ("length: int", "length: str"),
    "what a decorator may read": ("def doubled(self) -> int", "def doubled(self) -> float"),
    "a decorator": ("@property", "@staticmethod"),
    "the kind of an error": ("raise ValueError", "raise TypeError"),
    "what an error tells": ("{total} is too large", "{by} is too large"),
    "a name that is imported": ("mean, median", "mean, mode"),
    "a library that is imported": ("from numpy import", "from statistics import"),
    "an alias": ("mean, median", "mean, median as mean"),
    "a statement less": ("total: float = mean(values)", "total: float"),
}


def body(text: str) -> tuple[str, list[code.Import]]:
    found = code.parsed(text, "factory_assets.features.some")
    return found.body, sorted((one for one in found.imports if one.module != "typing"), key=str)


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=list(SAME))
def test_what_computes_nothing_does_not_count(old: str, new: str) -> None:
    assert old in MODULE
    assert body(MODULE.replace(old, new)) == body(MODULE)


@pytest.mark.parametrize(("old", "new"), OTHER.values(), ids=list(OTHER))
def test_what_computes_something_else_counts(old: str, new: str) -> None:
    assert old in MODULE
    assert body(MODULE.replace(old, new)) != body(MODULE)


Plant = Callable[[dict[str, str]], str]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Gives the hash of a package `plant` of these files, of which `painting` decides nothing."""
    caches = (code.code_of, code.source, code._file)
    monkeypatch.setattr(code, "OURS", ("plant",))
    monkeypatch.syspath_prepend(tmp_path)

    def told(files: dict[str, str]) -> str:
        for each in caches:
            each.cache_clear()
        for file in tmp_path.rglob("*.py"):
            file.unlink()
        for name, text in {"__init__": "", **files}.items():
            file = (tmp_path / "plant" / name).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        modules = [f"plant.{name.replace('/', '.')}" for name in files if name != "painting"]
        monkeypatch.setitem(STATIONS, "plant", Station(tuple(modules)))
        return code.code_of("plant")

    yield told
    for each in caches:
        each.cache_clear()


ENTRY = """
    from plant.saw import cut
    from plant.press import bend

    def make(log):
        from plant.painting import paint
        return paint(bend(cut(log)))
    """
FILES = {
    "entry": ENTRY,
    "press": "def bend(x): return x * 2",
    "saw": "def cut(x): return x - 1",
    "painting": "RED = 1",
}


def test_a_module_that_is_moved_changes_nothing(plant: Plant) -> None:
    here = plant(FILES)
    moved = {
        "saw": FILES["saw"],
        "workshop/entry": ENTRY.replace("plant.press", "plant.tools.press"),
        "tools/press": FILES["press"],
        "painting": "",
    }
    assert plant(moved) == here
    assert plant(dict(reversed(FILES.items()))) == here, "nor does the order in which they are named"


def test_pictures_do_not_count_and_every_named_module_does(plant: Plant) -> None:
    here = plant(FILES)
    assert plant(FILES | {"painting": "RED = 2"}) == here
    for name, text in {"press": "return x * 3", "saw": "return x - 2"}.items():
        changed = FILES | {name: FILES[name].split("return")[0] + text}
        assert plant(changed) != here
    assert plant(FILES | {"lathe": "SPEED = 3"}) != here


def test_the_same_name_taken_from_another_module_of_ours_counts(plant: Plant) -> None:
    files = FILES | {"saw": "def cut(x): return x - 1\ndef bend(x): return x * 5"}
    assert plant(files) != plant(files | {"entry": ENTRY.replace("plant.press", "plant.saw")})


def test_a_module_that_is_gone_or_a_station_that_is_unknown_is_told(plant: Plant) -> None:
    plant(FILES)
    STATIONS["plant"] = Station(("plant.entry", "plant.lathe"))
    code.code_of.cache_clear()
    with pytest.raises(LookupError, match=r"plant\.lathe is no module"):
        code.code_of("plant")
    with pytest.raises(LookupError, match="no station 'wood' names its modules; those that do: raw, events"):
        code.code_of("wood")


def test_imports_are_found_wherever_they_stand(plant: Plant) -> None:
    plant(
        {
            "entry": """
                import os, plant.saw
                from typing import TYPE_CHECKING
                from . import press as bending
                from .tools import lathe, SPEED
                if TYPE_CHECKING:
                    from plant import never
                else:
                    from plant import always
                def late():
                    async def later():
                        from plant.painting import RED
                """,
            **dict.fromkeys(["saw", "press", "never", "always", "painting", "tools/__init__", "tools/lathe"], ""),
        }
    )
    names = ("saw", "press", "tools.lathe", "tools", "always", "painting")
    assert code.imported("plant.entry") == {f"plant.{name}" for name in names}


#: Syntax of many kinds, of which `ast.dump` gives other text in other releases.
SAMPLE = r"""
from __future__ import annotations
import re as r
@decorated(1, *args, k=None, **rest)
class A(B, metaclass=C):
    x: list[int] = field(default=-1.5e-7)
    def f(self, a, /, b=(), *c, d, e=..., **g) -> None: ...
async def go(x): pass
def f(x):
    global y
    a, *b = {**x, "k": 1j, None: b"\x00", 'u': u"é\u2028"}
    with open(x) as g, h: y += a if b else not a
    try:
        match x:
            case {"a": [1, *_], **z} if z: return
            case A(x=1) | None: del x[1:2, ::3]
    except* (ValueError, TypeError) as e: raise RuntimeError("words") from e
    else: assert x, "told"
    finally: yield from (i async for i in x if (j := i) < 3 <= 4)
    return lambda *p: f"{{}}a" f"b{x!r:>{w}}{x=} %" "c", [*x], {1, 2}, x @ y // 1 ** -2, True is not False
"""


def test_the_hash_of_a_module_is_the_same_in_every_release_of_python() -> None:
    """Who changes it on purpose makes every table of every deployment be computed again."""
    assert code.parsed(SAMPLE, "m").body == "63b778d6703608910339699434ff12e58b89d741dee889fee42d6e32d9e74ae6"


def test_ids_that_ledgers_hold_stay_what_they_are() -> None:
    """Ids of configurations and contracts: of another one, a line is trained again."""
    assert hash_of(["a", None], {"c": 1, "b": 0.5}) == hash_of(["a", None], {"b": 0.5, "c": 1}) == "613c5620c06e"


def test_a_module_that_was_read_before_is_not_read_again_unless_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    file, name = tmp_path / "some.py", "factory_assets.features.some"
    file.write_text(MODULE)
    first = code._kept(file, name)
    assert first == code.parsed(MODULE, name)
    (note,) = (tmp_path / "__pycache__").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(code, "parsed", lambda *asked, **more: pytest.fail("it is written down"))
        assert code._kept(file, name) == first
    assert code._kept(file, "factory_assets.events.some") == code.parsed(MODULE, "factory_assets.events.some")
    for damaged in ("", "[]", "{}", note.read_text()[:-20], note.read_text().replace('"', "'"), '["x", "y", [["a"]]]'):
        note.write_text(damaged)
        assert code._kept(file, name) == first
    changed = MODULE.replace("by * total", "by + total")
    file.write_text(changed)
    assert code._kept(file, name) == code.parsed(changed, name) != first


def test_what_is_written_down_of_our_modules_is_what_they_are() -> None:
    for station in STATIONS.values():
        for module in station.modules:
            file = code._file(module)
            assert file is not None
            read = code.parsed(file.read_text(), module, package=file.name == "__init__.py")
            assert code.source(module) == read, module
