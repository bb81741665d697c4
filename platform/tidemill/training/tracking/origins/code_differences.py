"""Makes the unified diff between the code of two runs, of their commits and of what no commit held."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tidemill.data.repository.git import own_environment
from tidemill.data.repository.uncommitted_code import is_code, is_text_beside_code

__all__ = ["CodeDiff", "code_diff"]

_HAS_CHANGES = b"diff --git "


@dataclass(frozen=True)
class CodeDiff:
    """How the code of one run differs from that of another."""

    text: str
    """A unified diff; empty where they are equal, or it is unknown."""
    files: tuple[str, ...]
    """Paths of the files of code that differ, and of texts beside it that a patch makes."""
    problem: str | None = None
    """Why it is unknown."""


def code_diff(root: Path, before: tuple[str | None, bytes], after: tuple[str | None, bytes]) -> CodeDiff:
    """Return the diff between two states of the code.

    Args:
        root: the project, which is the root of its git repository. Nothing is written to it.
        before: a commit, and a patch of what it did not hold.
        after: likewise.
    """
    if before == after and before[0] is not None:
        return CodeDiff("", ())
    with TemporaryDirectory() as folder:
        objects = Path(folder, "objects")
        objects.mkdir()
        try:
            own = _git(root, {}, "rev-parse", "--git-path", "objects").decode().strip()
            env = {
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / own).resolve()),
                "GIT_INDEX_FILE": str(Path(folder, "index")),
            }
            trees = [_tree(root, env, commit, patch) for commit, patch in (before, after)]
            listed = _git(root, env, "diff", "--name-only", "--no-renames", "-z", *trees).decode()
            patches = before[1] + after[1]
            files = tuple(file for file in listed.split("\0") if file and _is_shown(file, patches))
            text = _git(root, env, *_DIFF, *trees, "--", *files).decode(errors="replace") if files else ""
            return CodeDiff(text, files)
        except _Unknown as error:
            return CodeDiff("", (), str(error))
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
            return CodeDiff("", (), f"git failed in {root}: {said}")


_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")


_OF_DATA_OR_PACKAGES = (".dvc", ".lock")
"""Other sections tell how these differ."""


def _is_shown(file: str, patches: bytes) -> bool:
    """Return whether a file is code, or a text beside it that a patch makes or changes."""
    if is_code(file):
        return True
    beside = is_text_beside_code(file) and not file.endswith(_OF_DATA_OR_PACKAGES)
    return beside and f" b/{file}\n".encode() in patches


class _Unknown(Exception):
    """Raised where the code of a run is not known any more; says why."""


def _tree(root: Path, env: Mapping[str, str], commit: str | None, patch: bytes) -> str:
    """Return the tree of a commit and a patch; its new objects are not written to the repository."""
    if commit is None:
        raise _Unknown("a run has no commit on record")
    try:
        tree = _git(root, env, "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").decode().strip()
    except subprocess.CalledProcessError as error:
        raise _Unknown(
            f"{root} does not have commit {commit[:10]}: fetch it from where the run was"
        ) from error
    if _HAS_CHANGES not in patch:
        return tree
    _git(root, env, "read-tree", tree)
    try:
        _git(root, env, "apply", "--cached", "--whitespace=nowarn", "-", given=patch)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise _Unknown(f"the patch of commit {commit[:10]} does not apply to it: {said}") from error
    return _git(root, env, "write-tree").decode().strip()


def _git(root: Path, env: Mapping[str, str], *arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", "--literal-pathspecs", "-c", "core.quotePath=false", *arguments],
        cwd=root,
        env={**own_environment(), "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **env},
        input=given,
        capture_output=True,
        check=True,
    ).stdout
