"""Where do servers look features up? One contract for every kind of store, `Store`, and one module a kind.

    with store_of(view.serve) as store:
        store.read("habit", [7, 8])     # {7: {"orders_7d": 3, "as_of": ...}}; 8 is not known

To add a kind: its fields in declarations/serving.py, a subclass of `Store` in a module here, a line in STORES, and a
server in tests/serving/test_stores.py, which holds every kind to the same behaviour.
"""

from contextlib import AbstractContextManager
from typing import Any

from factory_assets.declarations.serving import PostgresServing, RedisServing
from factory_assets.serving.stores.base import AS_OF, Exported, Snapshot, Store, StoreError, Watermark
from factory_assets.serving.stores.postgres import Postgres
from factory_assets.serving.stores.redis import Redis

__all__ = ["AS_OF", "STORES", "Exported", "Snapshot", "Store", "StoreError", "Watermark", "store_of"]

STORES: dict[str, type[Store[Any]]] = {"postgres": Postgres, "redis": Redis}


def store_of(declared: PostgresServing | RedisServing) -> AbstractContextManager[Store[Any]]:
    """A connection to the store of a declaration. Raises StoreError."""
    return STORES[declared.kind].opened(declared)
