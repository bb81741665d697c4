"""The platform's own records: what was decided, by whom, when, and how far an action has come."""

from tidemill.state.store import State, open_state

__all__ = ["State", "open_state"]
