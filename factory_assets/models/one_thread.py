"""How is BLAS limited to one thread while several models are fitted side by side?"""

from __future__ import annotations

import threading
from typing import Any


class _OneBlasThread:
    """While anyone is inside, BLAS runs on one thread: how it splits a sum shows in the last bits of a coefficient.

    The limit is the whole process's, and models are trained side by side; so the first to enter sets it and the last
    to leave lifts it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        from threadpoolctl import ThreadpoolController

        with self._lock:
            if not self._inside:
                _take_control()
                self._limit = ThreadpoolController().select(user_api="blas").limit(limits=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _take_control()
                self._limit.restore_original_limits()
                _take_control()


def _take_control() -> None:
    """From 3.8 on threadpoolctl lets one thread set OpenBLAS's limit, and ignores what another asks for, without a word.

    The first to enter and the last to leave are not the same thread.
    """
    import threadpoolctl

    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


ONE_BLAS_THREAD = _OneBlasThread()
