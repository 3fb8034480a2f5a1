"""How are arrays kept as bytes that are equal for equal arrays, and read back as nothing but arrays?"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy

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


def require_plain(archive: zipfile.ZipFile, size: int, but: str = "") -> None:
    """Refuse what could grow in memory: compressed files, files that lie over each other, arrays larger than their file.

    size: bytes of the archive. Ours hold arrays of numbers, stored as they are. but: the file that is no array.
    """
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
        raise ValueError(f"it would unpack to {sum(entry.file_size for entry in entries)} bytes, from {size}")
    for entry in entries:
        if entry.filename == but:
            continue
        with archive.open(entry) as file:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} says it holds {shape} of {dtype} in {entry.file_size} bytes")


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
            require_plain(archive, len(content))
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
