"""How are arrays kept as bytes that are equal for equal arrays, and read back as nothing but arrays?"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

#: A file that claims to hold more is not read: a thousand bytes of a hostile one can unpack to gigabytes.
LARGEST = 2**31
#: Errors that zipfile and numpy raise for bytes that are no zip of arrays.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    EOFError,
    ValueError,
    OSError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files, sorted, stored as they are and without times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever this runs
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def dump(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays by name as one file, an .npz of numpy's."""
    files = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        files[f"{name}.npy"] = buffer.getvalue()
    return zipped(files)


def load(content: bytes, kinds: Mapping[str, str], part: str) -> dict[str, np.ndarray]:
    """The arrays that `kinds` names, name -> type such as "<f8", of one dimension each; others are not read.

    Raises ValueError naming the part for anything else: a file that is no zip, another type, an array of objects.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST} bytes")
            for name, kind in kinds.items():
                array = np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
                if array.dtype != np.dtype(kind) or array.ndim != 1:
                    raise ValueError(
                        f"{name} is of type {array.dtype} and {array.ndim} dimensions; it must be {kind}, 1"
                    )
                arrays[name] = array
    except UNREADABLE as error:
        raise ValueError(f"{part} is refused: {error}") from error
    return arrays
