"""Reads the report of stage validate as it was committed with a data version. Imports no engine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.data.repository.git import git_try

__all__ = ["committed_report", "parse_report"]


def committed_report(root: Path, commit: str, path: str) -> Mapping[str, Any] | None:
    """Return the report ``path`` of ``commit`` from git, or None where git has none."""
    shown = git_try(root, "show", f"{commit}:./{path}")
    return parse_report(shown.stdout) if shown.returncode == 0 else None


def parse_report(text: str | bytes) -> Mapping[str, Any] | None:
    """Return a report; None if the text is not a JSON object.

    >>> parse_report('{"flights": {"rows": 3}}'), parse_report("[]"), parse_report("{")
    ({'flights': {'rows': 3}}, None, None)
    """
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
