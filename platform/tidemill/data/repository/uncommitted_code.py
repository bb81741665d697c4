"""Finds code in a project's folder that no commit holds, and makes a patch of it."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tidemill.data.repository.git import git, own_environment
from tidemill.data.repository.notebook_code import is_notebook, same_code
from tidemill.data.repository.secret_patterns import holds_secret, is_secret_file
from tidemill.data.repository.untracked_patches import MOST_TEXTS, may_be_read, untracked_patches

__all__ = [
    "IN_PATCH",
    "PATCH_LIMIT",
    "UncommittedCode",
    "files_left_out",
    "find_uncommitted",
    "is_code",
    "is_text_beside_code",
    "may_change_training",
]

PATCH_LIMIT = 1024 * 1024
"""Largest patch, in bytes; files that would make it larger are named instead."""

IN_PATCH = "in the patch"

_TOO_LARGE = "# too large for this patch: "
_HIDDEN = "# not in this patch, for what looks like a secret: "

_CODE = frozenset(
    {".cfg", ".ini", ".ipynb", ".py", ".pyx", ".r", ".sh", ".sql", ".toml", ".yaml", ".yml"}
)  # an untracked file may be anything else too: data, a secret, a note
_DOCUMENTS = frozenset({".md", ".rst"})
_READ_BY_NO_TRAINING = frozenset(
    {"card.yaml", "deployments.yaml", "docs", "monitoring", "tests", "webhooks.yaml"}
)
_FILES_OF_RUNS = frozenset({"mlartifacts", "mlruns", "wandb"})
"""Folders that trackers make wherever a script is started."""


@dataclass(frozen=True)
class UncommittedCode:
    """Changes of a project's code since its last commit.

    >>> str(UncommittedCode(("pipelines/flights.py",), b""))
    '1 file with uncommitted changes: pipelines/flights.py'
    """

    files: tuple[str, ...]
    """Paths relative to the project, of tracked files that differ from the commit and of untracked code."""
    patch: bytes
    """What `git apply` needs to make them of the commit; at most about ``PATCH_LIMIT`` bytes.

    Its first lines name files that would make it larger, that look like secrets, or hold what does.
    """
    texts: bytes = b""
    """The patch of small untracked texts beside the code, which it may read."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Such texts by path: `IN_PATCH`, or why they are not in ``texts``."""

    def __str__(self) -> str:
        count = len(self.files)
        more = f" and {count - 3} more" if count > 3 else ""
        return (
            f"{count} file{'s' if count != 1 else ''} with uncommitted changes: "
            f"{', '.join(self.files[:3])}{more}"
        )


def find_uncommitted(root: Path) -> UncommittedCode:
    """Return the changes of code in a git repository since its last commit.

    Documents, tests, the files in ``monitoring/``, and what MLflow and W&B write beside scripts are left out,
    as no training reads them, and notebooks of which only the outputs differ.

    Raises:
        DataError: git is missing, or refused.
    """
    tracked = [
        file
        for file in _listed(git(root, "diff", "--name-only", "-z", "HEAD"))
        if may_change_training(file) and not _only_outputs_differ(root, file)
    ]
    others = _listed(git(root, "ls-files", "--others", "--exclude-standard", "-z"))
    untracked = [file for file in others if is_code(file)]
    parts, left_out, size = [], [], 0
    for file in (*tracked, *untracked):
        source = ["HEAD", "--", file] if file in tracked else ["--no-index", "--", "/dev/null", file]
        part = _diff(root, *source) if _may_fit(root / file) else None
        if is_secret_file(file) or (part is not None and holds_secret(file, part)):
            left_out.append(f"{_HIDDEN}{file}\n")
        elif part is None or size + len(part) > PATCH_LIMIT:
            left_out.append(f"{_TOO_LARGE}{file}\n")
        else:
            parts.append(part)
            size += len(part)
    head = "".join(left_out).encode()
    texts, beside = _texts(root, others)
    return UncommittedCode(tuple(sorted((*tracked, *untracked))), head + b"".join(parts), texts, beside)


def files_left_out(patch: bytes) -> dict[str, str]:
    """Return the files that a patch of `find_uncommitted` lacks, and why.

    >>> files_left_out(b"# too large for this patch: rows.py\\ndiff --git a/b.py b/b.py\\n+# x\\n")
    {'rows.py': 'too large'}
    """
    found = {}
    for line in patch.decode(errors="replace").splitlines():
        for begin, why in ((_TOO_LARGE, "too large"), (_HIDDEN, "what looks like a secret")):
            if line.startswith(begin):
                found[line.removeprefix(begin)] = why
        if not line.startswith("#"):
            break
    return found


def _texts(root: Path, untracked: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    files = [file for file in untracked if is_text_beside_code(file)]
    made, left_out = untracked_patches(root, files[:MOST_TEXTS])
    further = {"…": f"more than {MOST_TEXTS} files"} if len(files) > MOST_TEXTS else {}
    size, kept = 0, []
    for file, part in made.items():
        size += len(part)
        if size > PATCH_LIMIT:
            left_out[file] = f"the patch would be larger than {PATCH_LIMIT:,} bytes"
        else:
            kept.append(file)
    return b"".join(made[file] for file in kept), {**dict.fromkeys(kept, IN_PATCH), **left_out, **further}


def _listed(names: str) -> list[str]:
    return [name for name in names.split("\0") if name]


def is_code(file: str) -> bool:
    """Return whether training may read a file as code, by its path in the project.

    >>> [is_code(path) for path in ("pipelines/rows.py", "docs/conf.py", "data/raw.csv.dvc")]
    [True, False, False]
    """
    return may_change_training(file) and PurePosixPath(file).suffix.lower() in _CODE


def is_text_beside_code(file: str) -> bool:
    """Return whether training may read an untracked file that is no code, by its path in the project.

    >>> [is_text_beside_code(path) for path in ("lookup.json", "train.py", "tests/rows.json", "run.log")]
    [True, False, False, False]
    """
    return may_change_training(file) and not is_code(file) and may_be_read(file)


def may_change_training(file: str) -> bool:
    """Return whether a training may have read a changed file: no documents, tests, monitors, files of runs.

    >>> [may_change_training(path) for path in ("train.py", "sub/mlruns/2/conda.yaml", "card.yaml")]
    [True, False, False]
    """
    path = PurePosixPath(file)
    if path.parts[0] in _READ_BY_NO_TRAINING or not _FILES_OF_RUNS.isdisjoint(path.parts):
        return False
    return path.suffix.lower() not in _DOCUMENTS


def _only_outputs_differ(root: Path, file: str) -> bool:
    """Return whether a notebook was run, and nothing else, since its commit."""
    if not is_notebook(file) or not (root / file).is_file():
        return False
    command = ["git", "show", f"HEAD:./{file}"]
    done = subprocess.run(command, cwd=root, env=own_environment(), capture_output=True, check=False)
    return done.returncode == 0 and same_code(done.stdout, (root / file).read_bytes())


def _may_fit(path: Path) -> bool:
    """Return whether a file is small enough to be compared; a deleted one is."""
    return not path.is_file() or path.stat().st_size <= PATCH_LIMIT


def _diff(root: Path, *arguments: str) -> bytes:
    """Return git's patch, as bytes because a file may have any encoding."""
    command = ["git", "--literal-pathspecs", "diff", "--binary", "--no-color", "--no-ext-diff", *arguments]
    done = subprocess.run(command, cwd=root, env=own_environment(), capture_output=True, check=False)
    return done.stdout
