"""Captures a project's code within milliseconds: its commit, and a patch of what no commit holds.

Two calls of git, whatever the number of files, and one for each notebook that was run. Files that look like
secrets, or hold what looks like one, and large ones are left out of the patch, and named.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tidemill.data.repository.git import own_environment
from tidemill.data.repository.notebook_code import is_notebook, same_code
from tidemill.data.repository.secret_patterns import holds_secret
from tidemill.data.repository.uncommitted_code import (
    PATCH_LIMIT,
    is_code,
    is_text_beside_code,
    may_change_training,
)
from tidemill.data.repository.untracked_patches import MOST_TEXTS, unfit, untracked_patches

__all__ = ["CapturedCode", "capture_code"]

_NOTEBOOK_LIMIT = 8 * 1024 * 1024
"""Whether the code of a larger notebook is the commit's is not asked: it would take too long."""
_SECONDS = 2.0
"""A repository whose git takes longer is not captured: a run must not wait for it."""
_MOST = 200
"""Files that are looked at; further ones are only counted."""


@dataclass(frozen=True)
class CapturedCode:
    """The code of a run."""

    commit: str | None
    """None: there is no commit yet, or it is unknown."""
    changed: tuple[str, ...] = ()
    """Paths relative to the project, of tracked files that differ from the commit and of untracked code."""
    patch: bytes = b""
    """What `git apply` needs to make them of the commit, without those that were left out."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a changed file is not in the patch, by its path."""
    problem: str | None = None
    """Why the code could not be captured."""
    texts: tuple[str, ...] = ()
    """Untracked texts beside the code that are in the patch, too."""


def capture_code(root: Path) -> CapturedCode:
    """Return the code of the project at ``root``, which is the root of a git repository."""
    if not (root / ".git").exists():
        return CapturedCode(None, problem=f"{root} is not the root of a git repository")
    try:
        state = _read_status(_git(root, "status", "--porcelain=v2", "--branch", "-z", *_ALL_FILES).decode())
        return _capture(root, state)
    except subprocess.TimeoutExpired:
        return CapturedCode(None, problem=f"git took longer than {_SECONDS:g} s in {root}")
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip() or f"exit code {error.returncode}"
        return CapturedCode(None, problem=f"git failed in {root}: {said}")
    except (OSError, UnicodeDecodeError) as error:
        return CapturedCode(None, problem=f"the code in {root} cannot be read: {error}")


_ALL_FILES = ("--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")


class _State(NamedTuple):
    commit: str | None
    tracked: tuple[str, ...]
    untracked: tuple[str, ...]


def _read_status(text: str) -> _State:
    r"""Read the second format of git's status.

    >>> _read_status("# branch.oid 4f1d\0" "1 .M N... 100644 100644 100644 a b train.py\0" "? new one.py\0")
    _State(commit='4f1d', tracked=('train.py',), untracked=('new one.py',))
    """
    commit, tracked, untracked = None, [], []
    for entry in text.split("\0"):
        match entry[:2]:
            case "# ":
                name, _, value = entry[2:].partition(" ")
                commit = value if name == "branch.oid" and not value.startswith("(") else commit
            case "1 ":
                tracked.append(entry.split(" ", 8)[8])
            case "u ":
                tracked.append(entry.split(" ", 10)[10])
            case "? ":
                untracked.append(entry[2:])
    return _State(commit, tuple(tracked), tuple(untracked))


def _capture(root: Path, state: _State) -> CapturedCode:
    tracked = [
        file
        for file in state.tracked
        if may_change_training(file) and not (state.commit and _only_outputs_differ(root, file))
    ]
    code = [file for file in state.untracked if is_code(file)]
    texts = [file for file in state.untracked if is_text_beside_code(file)]
    left_out: dict[str, str] = {}
    parts: list[bytes] = []
    wanted: list[str] = []
    for file in tracked:
        why = unfit(root / file, file, PATCH_LIMIT)
        if why or len(wanted) >= _MOST:
            left_out[file] = why or f"more than {_MOST} files are changed"
        else:
            wanted.append(file)
    for file, part in _differences(root, wanted if state.commit else []):
        if holds_secret(file, part):
            left_out[file] = "it holds what looks like a secret"
        else:
            parts.append(part)
    made, why_not = untracked_patches(root, [*code[:_MOST], *texts[:MOST_TEXTS]])
    left_out |= why_not
    kept, size = [], 0
    for part in (*parts, *made.values()):
        size += len(part)
        if size > PATCH_LIMIT:
            left_out["…"] = f"the patch would be larger than {PATCH_LIMIT:,} bytes"
            break
        kept.append(part)
    beside = tuple(file for file in texts if file in made)
    return CapturedCode(
        state.commit, tuple(sorted((*tracked, *code))), b"".join(kept), left_out, texts=beside
    )


def _only_outputs_differ(root: Path, file: str) -> bool:
    """Return whether a notebook was run, and nothing else, since its commit."""
    path = root / file
    if not is_notebook(file) or not path.is_file() or path.stat().st_size > _NOTEBOOK_LIMIT:
        return False
    try:
        return same_code(_git(root, "show", f"HEAD:./{file}"), path.read_bytes())
    except subprocess.CalledProcessError:
        return False  # it is new


def _differences(root: Path, files: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the part of git's patch for each file that differs from the commit."""
    if not files:
        return
    patch = _git(root, *_DIFF, "HEAD", "--", *files)
    heads = {f"diff --git a/{file} b/{file}".encode(): file for file in files}
    for part in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE):
        if part:
            yield heads[part.partition(b"\n")[0]], part


_DIFF = (
    "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/",
    "--dst-prefix=b/",
)  # fmt: skip


def _git(root: Path, *arguments: str) -> bytes:
    """Run git without its optional locks, so that nothing that works in the repository meanwhile waits."""
    return subprocess.run(
        ["git", "--literal-pathspecs", "-c", "core.quotePath=false", *arguments],
        cwd=root,
        env={**own_environment(), "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_SECONDS,
    ).stdout
