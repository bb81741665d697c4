"""Runs git in a given folder, independent of the caller's folder and git variables."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from tidemill.errors import DataError

__all__ = ["commit_staged", "commits", "git", "git_try", "own_environment", "read_blob", "read_blobs"]

_LOCKED = re.compile(r"Unable to create '(.+\.lock)': File exists")
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"})
_LOCK_PATIENCE = 10.0  # seconds
_LOCK_LEFT_BEHIND = 2.0  # seconds; git and other writers of its index hold the lock for milliseconds


def own_environment() -> dict[str, str]:
    """Return the environment without variables that name another repository (as in a git hook)."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}


def git(root: Path, *arguments: str, given: str | None = None) -> str:
    """Run git in ``root`` and return what it printed.

    Raises:
        DataError: git is missing or failed; the message contains git's own.
    """
    result = git_try(root, *arguments, given=given)
    if result.returncode != 0:
        words = result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}"
        raise DataError(f"{root}: `git {arguments[0]}` failed: {words}", hint=f"see `git -C {root} status`")
    return result.stdout


def git_try(root: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run git in ``root``; a lock that a killed git left behind is removed.

    Raises:
        DataError: git is not installed, or ``root`` is not a folder.
    """
    start = time.monotonic()
    while True:
        result = _run(root, arguments, given)
        locked = _LOCKED.search(result.stderr) if result.returncode else None
        if locked is None:
            return result
        waited = time.monotonic() - start
        if waited > _LOCK_LEFT_BEHIND and not _git_runs_for(root):
            Path(locked.group(1)).unlink(missing_ok=True)
        elif waited > _LOCK_PATIENCE:
            return result
        time.sleep(0.1)


def commits(root: Path, *arguments: str) -> list[tuple[str, datetime, str]]:
    """Return id, time and subject of the commits that ``git log`` with these arguments lists, newest first.

    Raises:
        DataError: git is missing or failed.
    """
    # A subject may hold any character but NUL; some of them end a line for Python, but not for git.
    shown = git(root, "log", "-z", "--format=%H%x1f%ct%x1f%s", *arguments)
    parts = [commit.split("\x1f", 2) for commit in shown.split("\0") if commit]
    return [(revision, datetime.fromtimestamp(int(at), UTC), subject) for revision, at, subject in parts]


def commit_staged(root: Path, message: str, *files: str, before: Callable[[], None] | None = None) -> None:
    """Commit staged changes (only of ``files``, if any are named); do nothing if there are none.

    Args:
        root: folder of the repository.
        message: of the commit.
        files: the only ones to commit.
        before: called if there is something to commit, right before it is done.

    Raises:
        DataError: git refused.
    """
    if git_try(root, "rev-parse", "--quiet", "--verify", "HEAD").returncode == 0:
        same = git_try(root, "diff", "--cached", "--quiet", "HEAD", "--", *files)
        if same.returncode == 0:
            return
    if before is not None:
        before()
    git(root, "commit", "--quiet", "--message", message, "--", *files)


def read_blob(root: Path, name: str) -> bytes:
    """Return the content of one object.

    Raises:
        DataError: git cannot read it.
    """
    return read_blobs(root, [name])[name]


def read_blobs(root: Path, ids: Iterable[str]) -> dict[str, bytes]:
    """Return the content of the objects with these full ids.

    Raises:
        DataError: git cannot read them.
    """
    wanted = list(ids)
    done = subprocess.run(
        ["git", "cat-file", "--batch"],
        cwd=root,
        env=own_environment(),
        input="".join(f"{one}\n" for one in wanted).encode(),
        capture_output=True,
        check=False,
    )
    found, rest = {}, done.stdout
    for one in wanted:
        head, _, rest = rest.partition(b"\n")
        words = head.split()
        if len(words) != 3:
            raise DataError(
                f"{root}: git has no object {one}: {head.decode()}",
                hint="see `git fsck`; is the clone shallow?",
            )
        size = int(words[2])
        found[one], rest = rest[:size], rest[size + 1 :]
    return found


def _run(root: Path, arguments: tuple[str, ...], given: str | None) -> subprocess.CompletedProcess[str]:
    if any("\0" in one for one in arguments):  # no program can be given it
        return subprocess.CompletedProcess(arguments, 128, "", "an argument of git cannot hold NUL")
    # A file's name may contain wildcards of git; only POINTERS and the like are meant as patterns.
    patterns = arguments[0] == "check-ignore" or any(one.startswith(":(") for one in arguments)
    literal = [] if patterns else ["--literal-pathspecs"]
    try:
        return subprocess.run(
            [
                "git",
                "-c",
                "log.showSignature=false",
                *literal,
                *arguments,
            ],  # signatures would be printed, too
            cwd=root,
            env={**own_environment(), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},  # C: messages in English
            input=given if given is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        if not root.is_dir():
            raise DataError(f"{root} is not a folder", hint="check the path") from error
        raise DataError("git is not installed, or not on the PATH", hint="install git") from error


def _git_runs_for(root: Path) -> bool:
    import psutil

    for process in psutil.process_iter(["name", "cwd"]):
        name, folder = process.info["name"], process.info["cwd"]
        if name == "git" and (
            folder is None or root.is_relative_to(folder) or Path(folder).is_relative_to(root)
        ):
            return True
    return False
