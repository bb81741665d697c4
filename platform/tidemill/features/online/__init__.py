"""Online features: stores in SQLite and Redis, written by the column, with a cache and a circuit breaker."""

from importlib import import_module
from typing import Any

_HOMES = {
    "ColumnarComputeEngine": "materialise",
    "ColumnarComputeEngineConfig": "materialise",
    "RedisOnlineStore": "redis_store",
    "RedisOnlineStoreConfig": "redis_store",
    "SqliteOnlineStore": "sqlite_store",
    "SqliteOnlineStoreConfig": "sqlite_store",
}


def __getattr__(name: str) -> Any:
    """Load a store when Feast asks for it by the address in ``feature_store.yaml``."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
