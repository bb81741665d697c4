"""Reads of ``expectations.yaml`` what takes no engine: the report's path, and whether the file changed."""

import hashlib
from pathlib import Path

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import read_declaration

__all__ = ["EXPECTATIONS", "REPORT", "expectations_digest", "report_path"]

EXPECTATIONS = "expectations.yaml"
"""Name of the file, at the root of a project."""

REPORT = "data/validation.json"
"""Where the report of stage validate goes unless the file says otherwise."""


def report_path(root: Path) -> str:
    """Return the path of the report of stage validate, relative to the project's folder ``root``.

    Declarations that are wrong today must not prevent looking at earlier versions: then it is the default.
    """
    try:
        file = read_declaration(root / EXPECTATIONS)
    except ConfigError:
        return REPORT
    declared = file.content.get("report", REPORT) if file and isinstance(file.content, dict) else REPORT
    return declared if isinstance(declared, str) else REPORT


def expectations_digest(root: Path) -> str:
    """Return a digest of the file, which changes with the types that it declares; empty without the file."""
    try:
        return hashlib.sha256((root / EXPECTATIONS).read_bytes()).hexdigest()
    except OSError:
        return ""
