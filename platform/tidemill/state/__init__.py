"""The platform's own records: what was decided, by whom, when, and how far an action has come."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.state.store import State, expect_state, open_state

__all__ = ["State", "expect_state", "open_state"]


def __getattr__(name: str) -> Any:
    """Import the store when it is used: `tidemill.state.record_reader` does without it, and SQLAlchemy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tidemill.state import store

    return getattr(store, name)
