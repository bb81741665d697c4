"""Reads the validation reports of earlier data versions from git."""

import json
from pathlib import Path
from typing import Any

from tidemill.data.repository.git import git_try

__all__ = ["earlier_reports"]


def earlier_reports(root: Path, report: str, versions: int) -> list[dict[str, Any]]:
    """Return the last committed reports, newest first: those of the last commits that changed ``report``.

    A project without git or without a committed report has none. Unreadable reports are left out.

    Args:
        root: the project's folder.
        report: the file, relative to it.
        versions: the greatest number of reports.

    Raises:
        DataError: git is not installed.
    """
    log = git_try(root, "log", f"--max-count={versions}", "--format=%H", "HEAD", "--", report)
    if log.returncode != 0:
        return []
    found = []
    for revision in log.stdout.split():
        shown = git_try(root, "show", f"{revision}:./{report}")
        try:
            content = json.loads(shown.stdout)
        except json.JSONDecodeError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found
