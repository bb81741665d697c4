"""Finds processes of a stack by name, also while some of them end."""

from contextlib import suppress

import psutil

from tidemill.orphan_reaper import marked_processes


def named_processes(mark: str, name: str) -> list[psutil.Process]:
    """Return the living processes with ``mark`` whose title begins with a name, as Ray's workers' do."""
    found = []
    for one in marked_processes(mark):
        with suppress(psutil.NoSuchProcess):
            if name in one.name() or name in "".join(one.cmdline()[:1]):
                found.append(one)
    return found
