"""With which libraries is a model made here?"""

import functools
import importlib.metadata

#: Those whose release shows in the bytes of a model: its numbers, and the files that hold them.
LIBRARIES = ("lightgbm", "scikit-learn", "numpy", "scipy", "skops", "pyarrow")


@functools.cache
def libraries() -> dict[str, str]:
    """Library -> version that is installed here."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
