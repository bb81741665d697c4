"""For fast tests: leaves files aside that have none, as importing them takes most of the time."""

import re
from pathlib import Path

import pytest

_MARKS = re.compile(r"^pytestmark = (\[.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m "not engine"``: ignore modules without a doctest, and files without a selected test."""
    if "not engine" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    if not collection_path.name.startswith("test_"):
        return None if ">>> " in text else True
    marks = "".join(_MARKS.findall(text))
    unwanted = re.findall(r"not (\w+)", config.option.markexpr)
    return True if any(f"mark.{name}" in marks for name in unwanted) else None
