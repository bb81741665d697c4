"""Files in the project that nobody declared: exports, notebooks, versions checked out beside the data."""

from pathlib import Path

from tidemill.data.repository.git import git_try
from tidemill.project import Project

__all__ = ["loose_files"]

_ELSEWHERE = (".dvc/", "venv/", ".venv/", "node_modules/", "__pycache__/", ".*_cache/")
"""DVC's own files, which are looked into as data versions, and what no rows are kept in."""
_DATABASES = (".db", ".db-wal", ".db-shm", ".db-journal")
"""Online stores and registries, in which a subject is looked up by its key."""


def loose_files(project: Project) -> list[Path]:
    """Return the files that git does not keep, whether it ignores them or not; none without a repository.

    What is in the project's ``.tidemill``, and files of SQLite, are left out: they are looked into otherwise.
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
