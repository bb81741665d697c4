"""A Feast offline store on Polars, with point-in-time joins over parquet files."""

from typing import Any

__all__ = ["PolarsOfflineStore", "PolarsOfflineStoreConfig"]


def __getattr__(name: str) -> Any:
    """Load the store when Feast asks for it by the address in ``feature_store.yaml``."""
    if name in __all__:
        from tidemill.features.offline import offline_store

        return getattr(offline_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
