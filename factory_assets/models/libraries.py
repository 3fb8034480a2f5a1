"""With which libraries is a model made here?"""

import functools
import re
from importlib.metadata import PackageNotFoundError, entry_points, version

from factory_assets.declarations.tasks import PLUG_INS

#: Those whose release shows in the bytes of a model: its numbers, and the files that hold them.
LIBRARIES = ("lightgbm", "scikit-learn", "numpy", "scipy", "skops", "pyarrow")
#: The name at the beginning of what a package requires.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@functools.cache
def libraries() -> dict[str, str]:
    """Library -> version that is installed here: our own estimators', and packages that bring others, with what these require."""
    return {name: version(name) for name in LIBRARIES} | dict(_of_plug_ins())


def _of_plug_ins() -> list[tuple[str, str]]:
    found = []
    for package in {point.dist.name: point.dist for point in entry_points(group=PLUG_INS) if point.dist}.values():
        found.append((package.name, package.version))
        for required in package.requires or ():
            name = NAME.match(required)
            assert name, required
            try:
                found.append((name[0], version(name[0])))
            except PackageNotFoundError:
                continue  # of an extra that nobody asked for
    return found
