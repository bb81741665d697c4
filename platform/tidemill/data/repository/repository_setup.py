"""Initialises a project's folder as a git and DVC repository."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidemill.data.repository.dvc_command import ignore_line, last_lines, run_dvc, site_cache
from tidemill.data.repository.git import commit_staged, git, git_try
from tidemill.data.repository.private_dvc import Config, Repo, set_loggers_level, take_braces_in_paths
from tidemill.data.repository.remotes import Remote, parse_remote, set_remote
from tidemill.errors import DataError

__all__ = ["init_workspace", "open_dvc"]

_IGNORED = ".tidemill/\n__pycache__/\n*.py[cod]\n"


def init_workspace(root: Path, remote: Path | str, endpoint_url: str | None = None) -> None:
    """Make ``root``, a project's folder, a git and DVC repository whose data is copied to ``remote``.

    All files in ``root`` that git does not ignore go into the first commit. Existing repositories and
    settings are kept, so a second call changes nothing.

    Args:
        root: the project's folder.
        remote: where DVC keeps a second copy of the data: a folder, kept relative when it lies beside or
            below ``root``, or an address such as ``s3://bucket/path`` or ``ssh://user@host/path``.
        endpoint_url: endpoint of an S3-compatible store.

    Raises:
        DataError: git or DVC refused, a folder cannot be made, or a package for such a remote is missing.
        UsageError: there is no such kind of remote, or its address carries a password.
    """
    root, place = root.resolve(), parse_remote(remote, endpoint_url)
    _make(root, "the workspace")
    if place.folder is not None:
        _make(place.folder, "the DVC remote")
    if not (root / ".git").exists():
        git(root, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Tidemill"), ("user.email", "tidemill@localhost")):
        if git_try(root, "config", name).returncode != 0:
            git(root, "config", name, value)
    fresh = git_try(root, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0
    if fresh and not (root / ".gitignore").exists():
        (root / ".gitignore").write_text(_IGNORED)
    if not any((root / ".dvc" / name).exists() for name in ("config", "cache")):  # --force deletes a cache
        finished = run_dvc(root, "init", "--quiet", "--force", on_line=ignore_line, patience=60)
        if finished.code:
            raise DataError(
                f"{root}: `dvc init` failed: {last_lines(finished.lines)}",
                hint="correct what DVC names, and run again",
            )
    _configure(root, place)
    git(root, "add", "--", *(["."] if fresh else [".dvc/config", ".dvc/.gitignore", ".dvcignore"]))
    commit_staged(root, "Begin a workspace" if fresh else "Keep data in DVC")


def _make(folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made as {what}: {error.strerror}",
            hint="name a folder in a place you may write to",
        ) from error


@contextmanager
def open_dvc(root: Path, revision: str | None = None) -> Iterator[Repo]:
    """Open the DVC repository at ``root``, on disk or at ``revision``, without DVC's output.

    DVC would log to standard output, which belongs to the caller, and draw progress bars.
    """
    take_braces_in_paths()
    config: dict[str, Any] = {"core": {"site_cache_dir": str(site_cache(root))}}
    with set_loggers_level(logging.CRITICAL), Repo(str(root), config=config) as repo:
        if revision is None:
            yield repo
            return
        # The remote of an old configuration may be gone, and relative paths mean nothing inside a commit.
        remotes = {"remote": repo.config["remote"], "core": config["core"] | _default_remote(repo)}
        with Repo(str(root), rev=revision, config=remotes) as earlier:
            yield earlier


def _default_remote(repo: Repo) -> dict[str, str]:
    name = repo.config["core"].get("remote")
    return {"remote": name} if name else {}


def _configure(root: Path, remote: Remote) -> None:
    with Config(str(root / ".dvc")).edit("repo") as config:
        config["core"].update(analytics=False, check_update=False, autostage=False)
        config["cache"]["type"] = "reflink,hardlink,copy"
    set_remote(root, remote)
