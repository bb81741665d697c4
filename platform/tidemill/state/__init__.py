"""Stores the platform's own records: decisions, who made them and when, and the progress of actions."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.state.store import State, expect_state, open_state, read_state

__all__ = ["State", "expect_state", "open_state", "read_state"]


def __getattr__(name: str) -> Any:
    """Import the store on first use, because `tidemill.state.record_reader` needs no SQLAlchemy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tidemill.state import store

    return getattr(store, name)
