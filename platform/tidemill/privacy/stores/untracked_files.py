"""Lists the project's undeclared files: exports, notebooks, data versions checked out beside the data."""

from pathlib import Path

from tidemill.data.repository.git import git_try
from tidemill.project import Project

__all__ = ["list_untracked"]

_ELSEWHERE = (".dvc/", "venv/", ".venv/", "node_modules/", "__pycache__/", ".*_cache/")
"""DVC's own files, which are searched as data versions, and files that contain no rows."""
_DATABASES = (".db", ".db-wal", ".db-shm", ".db-journal")
"""Online stores and registries, in which a subject is looked up by its key."""


def list_untracked(project: Project) -> list[Path]:
    """Return the files that git does not track, ignored ones too; nothing if there is no repository.

    Files in the project's ``.tidemill`` and SQLite files are left out: other modules search them.
    """
    root = project.root.resolve()
    excluded = [f"--exclude={pattern}" for pattern in _ELSEWHERE]
    if project.home.resolve().is_relative_to(root):
        excluded.append(f"--exclude=/{project.home.resolve().relative_to(root)}/")
    listed = git_try(root, "ls-files", "-z", "--others", *excluded)
    if listed.returncode != 0:
        return []
    found = (root / name for name in listed.stdout.split("\0") if name and not name.endswith(_DATABASES))
    return [path for path in found if path.is_file() and not path.is_symlink()]
