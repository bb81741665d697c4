"""Puts acts on record whose effect is no transaction of ours, such as a commit in git or a version in MLflow.

The entry is written right before: what fails then is on record without its effect, and nothing has an effect
without being on record.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tidemill.accounts import audit
from tidemill.state import open_state

__all__ = ["recorder"]


def recorder(
    state_url: str,
    actor: str,
    action: str,
    resource: tuple[str, str],
    *,
    model: str,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Callable[[], None]:
    """Return what puts an act on record when it is called.

    Args:
        state_url: of the records.
        actor: who acts.
        action: what is done.
        resource: the kind of what it is done to, and which one.
        model: of the project.
        reason: why, as the person says it.
        details: whatever JSON has.
    """
    act = audit.Act(actor, action, *resource, model, reason, details or {})

    def put_on_record() -> None:
        state = open_state(state_url)
        try:
            with state.transaction() as session:
                audit.append(session, act)
        finally:
            state.close()

    return put_on_record
