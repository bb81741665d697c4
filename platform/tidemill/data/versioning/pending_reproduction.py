"""Records a reproduction in a journal before it changes a file, so that it can be undone after a kill."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tidemill.data.repository.dvc_command import scratch_folder
from tidemill.data.repository.git import git
from tidemill.data.repository.private_dvc import LockError, make_lock
from tidemill.data.versioning.journals import is_text, is_text_or_none, read_journal
from tidemill.data.versioning.params_file import read_file, set_values
from tidemill.errors import ConfigError
from tidemill.files.atomic import replace_file

__all__ = ["begin", "finish", "forget_dead_processes", "is_committed", "undo"]

LOCK = "dvc.lock"
PARAMS = "params.yaml"


def begin(root: Path, values: Mapping[str, object]) -> None:
    """Record ``params.yaml`` and ``dvc.lock`` in the journal, then set ``values`` in the former.

    Raises:
        ConfigError: there is no ``params.yaml``, or no such parameter in it.
        UsageError: a value is not allowed in it.
    """
    before = read_file(root / PARAMS)
    if before is None:
        raise ConfigError(f"{root} has no {PARAMS}", hint="a project declares its parameters there")
    after = set_values(before, values)
    note = {"before": before, "after": after, "lock": read_file(root / LOCK)}
    replace_file(_note(root), json.dumps(note))
    if after != before:
        replace_file(root / PARAMS, after)


def finish(root: Path) -> None:
    """Delete the journal, because the reproduction is committed."""
    _note(root).unlink(missing_ok=True)


def undo(root: Path) -> bool:
    """Restore both files to their state before the last reproduction, unless it was committed.

    Later changes by a user in ``params.yaml`` are kept.

    Returns:
        Whether there was anything to undo.
    """
    note = read_journal(_note(root), _fits)
    if note is None:
        return False
    undone = False
    if not is_committed(root, PARAMS, LOCK):
        if read_file(root / PARAMS) == note["after"] != note["before"]:
            replace_file(root / PARAMS, note["before"])
            undone = True
        if read_file(root / LOCK) != note["lock"]:
            undone = True
            if note["lock"] is None:
                (root / LOCK).unlink()
            else:
                replace_file(root / LOCK, note["lock"])
    finish(root)
    return undone


def is_committed(root: Path, *files: str) -> bool:
    """Return whether each of ``files`` is equal on disk and in git."""
    tracked = git(root, "ls-files", "-z", "--", *files).split("\0")
    return all(file in tracked for file in files) and not git(root, "status", "--porcelain", "--", *files)


def forget_dead_processes(root: Path) -> None:
    """Delete DVC's file of read and write locks if all its processes are dead, or if it is incomplete.

    DVC removes a dead process itself, but not an incomplete file, and it mistakes any process that has
    the dead one's id (as happens in every restarted container) for the dead one.
    """
    scratch = scratch_folder(root)
    note = scratch / "rwlock"
    if not note.exists():
        return
    # The holder of the lock is alive, and cleans up the file.
    with suppress(LockError), make_lock(str(scratch / "rwlock.lock"), tmp_dir=str(scratch)):
        if not any(_is_dvc(pid) for pid in _pids(note)):
            note.unlink(missing_ok=True)


def _pids(note: Path) -> set[int]:
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        writers = list(content.get("write", {}).values())
        readers = [reader for readers in content.get("read", {}).values() for reader in readers]
        return {int(info["pid"]) for info in (*writers, *readers)}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return set()


def _is_dvc(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return any("dvc" in word for word in (process.name(), *process.cmdline()))
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def _fits(note: dict[str, Any]) -> bool:
    return (
        all(is_text(note.get(name)) for name in ("before", "after"))
        and "lock" in note
        and is_text_or_none(note["lock"])
    )


def _note(root: Path) -> Path:
    return scratch_folder(root) / "tidemill-attempt.json"
