"""Say which rollouts have steps that nothing judges by quality."""

from collections.abc import Mapping
from typing import Any

from tidemill.plurals import counted

__all__ = ["unjudged_note"]


def unjudged_note(task: str, plan: Mapping[str, Any]) -> str | None:
    """Return what to know of a rollout whose quality nothing estimates; None where scores do.

    >>> unjudged_note("regression", {"min_labels": 200})[:62]
    'without labels nothing estimates the quality of a regression: '
    >>> unjudged_note("binary", {"min_labels": 200}) is None
    True
    """
    if task == "binary":
        return None
    what = {"multiclass": "several classes", "custom": "a custom task"}.get(task, f"a {task}")
    return (
        f"without labels nothing estimates the quality of {what}: steps are not judged by it until each "
        f"version has {counted(plan['min_labels'], 'labelled answer')} (serve.rollout.min_labels)"
    )
