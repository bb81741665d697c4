"""Puts what a command is about to do into the audit log, by the name of who runs it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.project import ProjectFolder

__all__ = ["own_act"]


def own_act(
    project: "ProjectFolder",
    action: str,
    resource: tuple[str, str],
    reason: str | None = None,
    **details: Any,
) -> Callable[[], None]:
    """Return what puts an act on record when it is called: right before it takes effect.

    Args:
        project: whose records.
        action: what is done.
        resource: the kind of what it is done to, and which one.
        reason: why, as the person says it.
        details: whatever JSON has.
    """
    from tidemill.accounts.recording import recorder

    who = project.settings.who
    return recorder(
        project.state_url, who, action, resource, model=project.model, reason=reason, details=details
    )
