"""Makes a folder a workspace: a git and DVC repository with a quiet configuration."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.config_schema import RelPath
from dvc.logger import set_loggers_level
from dvc.repo import Repo

from tidemill.data.command import last_words, run_dvc, silent, site_cache
from tidemill.data.git import commit_staged, git, git_try
from tidemill.errors import DataError

__all__ = ["init_workspace", "open_dvc"]

_IGNORED = ".tidemill/\n__pycache__/\n*.py[cod]\n"


def init_workspace(root: Path, remote: Path) -> None:
    """Make ``root``, with the project in it, a git and DVC repository whose data is kept in ``remote`` too.

    Everything in ``root`` that git does not ignore goes into the first commit. What is there already stays as
    it is, so a second call changes nothing.

    Args:
        root: the project's folder.
        remote: folder for DVC's second copy of the data; kept relative when it lies beside or below ``root``.

    Raises:
        DataError: git or DVC refused, or a folder cannot be made.
    """
    root, remote = root.resolve(), remote.resolve()
    _make(root, "the workspace")
    _make(remote, "the DVC remote")
    if not (root / ".git").exists():
        git(root, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Tidemill"), ("user.email", "tidemill@localhost")):
        if git_try(root, "config", name).returncode != 0:
            git(root, "config", name, value)
    fresh = git_try(root, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0
    if fresh and not (root / ".gitignore").exists():
        (root / ".gitignore").write_text(_IGNORED)
    if not any((root / ".dvc" / name).exists() for name in ("config", "cache")):  # --force deletes a cache
        finished = run_dvc(root, "init", "--quiet", "--force", on_line=silent, patience=60)
        if finished.code:
            raise DataError(f"{root}: `dvc init` failed: {last_words(finished.lines)}")
    _configure(root, remote)
    git(root, "add", "--", *(["."] if fresh else [".dvc/config", ".dvc/.gitignore", ".dvcignore"]))
    commit_staged(root, "Begin a workspace" if fresh else "Keep data in DVC")


def _make(folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made to be {what}: {error.strerror}",
            hint="name a folder in a place you may write to",
        ) from error


@contextmanager
def open_dvc(root: Path, revision: str | None = None) -> Iterator[Repo]:
    """Open the DVC repository at ``root``, as it is on disk or was at ``revision``, to be used quietly.

    DVC logs to standard output, which belongs to whoever called us, and draws progress bars.
    """
    config: dict[str, Any] = {"core": {"site_cache_dir": str(site_cache(root))}}
    with set_loggers_level(logging.CRITICAL), Repo(str(root), config=config) as repo:
        if revision is None:
            yield repo
            return
        # An old configuration's remote may be gone, and its relative paths mean nothing inside a commit.
        remotes = {"remote": repo.config["remote"], "core": config["core"] | _default_remote(repo)}
        with Repo(str(root), rev=revision, config=remotes) as earlier:
            yield earlier


def _default_remote(repo: Repo) -> dict[str, str]:
    name = repo.config["core"].get("remote")
    return {"remote": name} if name else {}


def _configure(root: Path, remote: Path) -> None:
    with Config(str(root / ".dvc")).edit("repo") as config:
        config["core"].update(analytics=False, check_update=False, autostage=False, remote="local")
        config["cache"]["type"] = "reflink,hardlink,copy"
        near = remote.is_relative_to(root.parent)
        config["remote"]["local"] = {"url": RelPath(str(remote)) if near else str(remote)}
