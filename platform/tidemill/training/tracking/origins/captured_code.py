"""Captures a project's code within milliseconds: its commit, and a patch of what no commit holds.

Two calls of git, whatever the number of files, and one for each notebook that was run. Files that look like
secrets, or hold what looks like one, and large ones are left out of the patch, and named.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tidemill.data.repository.git import own_environment
from tidemill.data.repository.notebook_code import is_notebook, same_code
from tidemill.data.repository.uncommitted_code import PATCH_LIMIT, is_code, may_change_training
from tidemill.training.tracking.origins.secret_patterns import holds_secret, is_secret_file

__all__ = ["UNTRACKED_LIMIT", "CapturedCode", "capture_code", "new_file_patch"]

UNTRACKED_LIMIT = 64 * 1024
"""Largest untracked file that is kept, in bytes."""

_NOTEBOOK_LIMIT = 8 * 1024 * 1024
"""Whether the code of a larger notebook is the commit's is not asked: it would take too long."""
_SECONDS = 2.0
"""A repository whose git takes longer is not captured: a run must not wait for it."""
_MOST = 200
"""Files that are looked at; further ones are only counted."""
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f]+')
"""Names that git does not quote in patches."""


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
    untracked = [file for file in state.untracked if is_code(file) or file.endswith(".json")]
    left_out: dict[str, str] = {}
    parts: list[bytes] = []
    wanted: list[str] = []
    for file in tracked:
        why = _unfit(root / file, file, PATCH_LIMIT)
        if why or len(wanted) >= _MOST:
            left_out[file] = why or f"more than {_MOST} files are changed"
        else:
            wanted.append(file)
    for file, part in _differences(root, wanted if state.commit else []):
        if holds_secret(file, part):
            left_out[file] = "it holds what looks like a secret"
        else:
            parts.append(part)
    for file in untracked[:_MOST]:
        part_or_reason = _untracked(root, file)
        if isinstance(part_or_reason, str):
            left_out[file] = part_or_reason
        else:
            parts.append(part_or_reason)
    kept, size = [], 0
    for part in parts:
        size += len(part)
        if size > PATCH_LIMIT:
            left_out["…"] = f"the patch would be larger than {PATCH_LIMIT:,} bytes"
            break
        kept.append(part)
    return CapturedCode(state.commit, tuple(sorted((*tracked, *untracked))), b"".join(kept), left_out)


def _only_outputs_differ(root: Path, file: str) -> bool:
    """Return whether a notebook was run, and nothing else, since its commit."""
    path = root / file
    if not is_notebook(file) or not path.is_file() or path.stat().st_size > _NOTEBOOK_LIMIT:
        return False
    try:
        return same_code(_git(root, "show", f"HEAD:./{file}"), path.read_bytes())
    except subprocess.CalledProcessError:
        return False  # it is new


def _unfit(path: Path, file: str, most: int) -> str | None:
    """Return why a file is not kept, by its name and size alone."""
    if is_secret_file(file):
        return "it looks like a secret"
    if _PLAIN.fullmatch(file) is None:
        return "its name has quotes, backslashes or control characters"
    if path.is_symlink() or not path.is_file():
        return None  # a deleted one, or a link, is small
    size = path.stat().st_size
    return f"it is larger than {most:,} bytes" if size > most else None


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


def _untracked(root: Path, file: str) -> bytes | str:
    """Return the patch that makes an untracked file, or why it is not kept."""
    path = root / file
    why = _unfit(path, file, UNTRACKED_LIMIT)
    if why is None and path.is_symlink():
        why = "it is a link"
    if why is not None:
        return why
    content = path.read_bytes()
    if b"\0" in content:
        return "it is no text"
    if holds_secret(file, content):
        return "it holds what looks like a secret"
    return new_file_patch(file, content, executable=os.access(path, os.X_OK))


def new_file_patch(file: str, content: bytes, *, executable: bool = False) -> bytes:
    r"""Return the patch that makes a file of text.

    >>> print(new_file_patch("a.py", b"A = 1").decode())
    diff --git a/a.py b/a.py
    new file mode 100644
    --- /dev/null
    +++ b/a.py
    @@ -0,0 +1,1 @@
    +A = 1
    \ No newline at end of file
    <BLANKLINE>
    """
    head = f"diff --git a/{file} b/{file}\nnew file mode {100755 if executable else 100644}\n"
    if not content:
        return f"{head}index 0000000..e69de29\n".encode()
    lines = content.split(b"\n")
    unended = lines.pop()
    lines += [unended] if unended else []
    tab = "\t" if " " in file else ""  # as git ends a name with spaces
    head += f"--- /dev/null\n+++ b/{file}{tab}\n@@ -0,0 +1,{len(lines)} @@\n"
    end = b"\\ No newline at end of file\n" if unended else b""
    return head.encode() + b"".join(b"+" + line + b"\n" for line in lines) + end


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
