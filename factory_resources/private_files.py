"""Who may read what this process writes? Its own user, unless FACTORY_UMASK says otherwise.

Tables, models, the ledger, spilled rows and Dagster's storages are written by many libraries: delta-rs, DuckDB, SQLite, fsspec.
The process's mask holds for all of them, and for the processes that it starts.
"""

import os
import re

#: Files 0600 and folders 0700.
OWNER_ALONE = 0o077
VARIABLE = "FACTORY_UMASK"


def keep_files_private() -> None:
    """Set the process's mask; call before the process writes anything. Raises ValueError for a mask that is none.

    FACTORY_UMASK: octal bits that files do not get, such as 027 where a group reads them, 022 where everybody does. A mask
    that hides files from their owner is refused: the process could not go on with what it wrote.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if text and not re.fullmatch("0{0,2}[0-7]{1,2}", text):
        raise ValueError(f"{VARIABLE} is {text!r}; allowed: octal digits for group and others, such as 077, 027 or 022")
    os.umask(int(text, 8) if text else OWNER_ALONE)
