"""With which libraries, and which code of ours, is a model made here?"""

import functools
import hashlib
import importlib.metadata
from pathlib import Path

import factory_assets

#: Those whose release shows in the bytes of a model: its numbers, and the files that hold them.
LIBRARIES = ("lightgbm", "scikit-learn", "numpy", "scipy", "skops", "pyarrow")
#: Packages, and modules, of ours that make a model from rows.
MAKERS = ("training", "measures", "features/segments.py")


@functools.cache
def libraries() -> dict[str, str]:
    """Library -> version that is installed here."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


@functools.cache
def code() -> str:
    """Changes with the source of what makes a model."""
    root, digest = Path(factory_assets.__file__).parent, hashlib.sha256()
    for place in MAKERS:
        found = root / place
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            # Which lines end how is a matter of the checkout.
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_text().encode())
    return digest.hexdigest()[:12]
