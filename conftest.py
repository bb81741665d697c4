"""Leaves files aside that have no test of those asked for, as importing them takes most of the time.

Garbage is looked for among what tests make, not among the half million objects of the engines, and threads of
OpenMP wait without spinning, as those of each command do.
"""

import gc
import os
import re
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the first engine is imported

_MARKS = re.compile(r"^pytestmark = (\[.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore modules without a doctest and, with ``-m "not engine"``, files without a selected test."""
    if collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    if not collection_path.name.startswith("test_"):
        return None if ">>> " in text else True
    if "not engine" not in config.option.markexpr:
        return None
    marks = "".join(_MARKS.findall(text))
    unwanted = re.findall(r"not (\w+)", config.option.markexpr)
    return True if any(f"mark.{name}" in marks for name in unwanted) else None


def pytest_configure() -> None:
    """Import the modules of tests with hardly a look for garbage: that took a third of the time."""
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    """Leave what is there now aside whenever garbage is looked for."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
