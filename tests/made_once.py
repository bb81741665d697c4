"""Templates that take seconds to make, made by one process of pytest-xdist and found by the others."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tidemill.files.locks import locked

T = TypeVar("T")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Return what ``make`` returned in the first of this run's processes that asked for ``name``.

    Args:
        factory: gives the run's own folder.
        name: of the template's folder, which no other template has.
        make: fills the empty folder that it is given. Its answer can be pickled, and tests change neither:
            other processes read them at the same time.
    """
    base = factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    answer = run / f"{name}.pickle"
    with locked(run / f"{name}.lock", wait_seconds=None):
        if not answer.exists():
            (run / name).mkdir()
            made = make(run / name)
            answer.write_bytes(pickle.dumps(made))
            return made
    found: T = pickle.loads(answer.read_bytes())
    return found
