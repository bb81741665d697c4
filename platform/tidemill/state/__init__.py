"""The platform's own records: what was decided, by whom, when, and how far an action has come."""

from tidemill.state.store import State, expect_state, open_state

__all__ = ["State", "expect_state", "open_state"]
