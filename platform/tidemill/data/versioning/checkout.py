"""Checks out an earlier version into a folder of its own, with links instead of copies of its files."""

import errno
import glob
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from dvc.api import DVCFileSystem

from tidemill.data.repository.contents import VersionFile, ensure_space, fetch_files, select_outputs
from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.data.repository.private_dvc import DvcException, reflink
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.repository.revisions import outputs_at, repository, resolve
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.errors import DataError, UsageError, VersionNotFound
from tidemill.project import Project

__all__ = ["CheckedOut", "checkout", "fetch"]

_NOT_HERE = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}
    | {errno.EINVAL, errno.ENOSYS}
)
"""Error numbers of the system where a kind of link is not supported."""

_EVERY = 100  # files between two progress reports


@dataclass(frozen=True)
class CheckedOut:
    """The result of a checkout."""

    revision: str
    folder: Path
    files: int
    size: int
    """Bytes."""
    links: Mapping[str, int]
    """Number of files by how they were made: ``reflink``, ``hardlink``, ``copy``."""
    not_kept: tuple[str, ...]
    """Outputs that neither DVC nor git keeps (``cache: false``)."""


def checkout(
    project: Project,
    revision: str,
    paths: Sequence[str],
    folder: Path,
    tell: Tell = ignore_progress,
    *,
    patience: float = PATIENCE,
) -> CheckedOut:
    """Check out a version into ``folder`` under its paths in the project, whose own files do not change.

    Files are made as reflinks of DVC's cache where the file system can; else as hard links, which are
    read-only, because they are the cache's own files; else, such as on another disk, as copies. All or
    nothing: ``folder`` appears when it is complete.

    Args:
        project: the project.
        revision: anything that names a commit.
        paths: outputs, folders, or files in them, relative to the project; empty for all.
        folder: a new or empty folder.
        tell: the callback for progress.
        patience: seconds to wait for another process that holds DVC's lock, if content must be fetched.

    Raises:
        VersionNotFound: there is no such revision, or no such path in it.
        DataError: content is in neither cache nor remote, or the disk is full.
        UsageError: ``folder`` is not empty, or cannot be made.
    """
    root, commit, folder = repository(project), resolve(project, revision), folder.resolve()
    _require_new(root, folder)
    outputs = outputs_at(project, commit)
    wanted = select_outputs(outputs, paths or [*outputs], commit)
    if not wanted:
        raise VersionNotFound(f"version {commit[:8]} has no data", hint="see `tidemill data log`")
    with fetch_files(project, commit, wanted, tell, patience) as found, _appearing(folder) as part:
        if paths and found.not_kept:
            raise DataError(
                f"{', '.join(found.not_kept)} of version {commit[:8]} was not kept: it has `cache: false`",
                hint="remove `cache: false` in dvc.yaml, so that later versions keep it",
            )
        links, size = _place(found.contents, part, tell)
    return CheckedOut(commit, folder, len(found.contents), size, links, found.not_kept)


def fetch(project: Project, revision: str, path: str | Path, destination: Path) -> Path:
    """Copy one file of an earlier version to ``destination``, without changing the project's own file.

    Args:
        project: the project.
        revision: anything that names a commit: its id or the start of it, a tag, ``HEAD~2``.
        path: the file, relative to the project.
        destination: the file to write, or an existing folder to put it in.

    Returns:
        The file that was written.

    Raises:
        VersionNotFound: there is no such revision, or no such file in it.
        DataError: its content is in neither cache nor remote, or cannot be written.
    """
    root, commit = repository(project), resolve(project, revision)
    target = destination / Path(path).name if destination.is_dir() else destination
    try:
        with open_dvc(root, commit) as repo:
            files = DVCFileSystem(repo)
            if not files.isfile(str(path)):
                outputs = ", ".join(outputs_at(project, commit)) or "none"
                raise VersionNotFound(
                    f"version {commit[:8]} has no file {path}; its outputs: {outputs}",
                    hint=f"`tidemill data show {commit[:8]}` lists its outputs",
                )
            _write(files, str(path), target)
    except (DvcException, OSError) as error:
        raise DataError(
            f"{path} of version {commit[:8]} cannot be brought back to {target}: {error}",
            hint="its content must be in DVC's cache or remote, and the destination writable",
        ) from error
    return target


def _write(files: DVCFileSystem, path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        part = Path(folder) / "part"
        # Not `get_file`: it makes a hard link, so that later writes to the file would change the cache.
        with files.open(path, "rb") as content, part.open("wb") as copy:
            shutil.copyfileobj(content, copy, 1 << 20)
        part.replace(target)


def _require_new(root: Path, folder: Path) -> None:
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists and is not an empty folder", hint="name a new folder; nothing was written"
        )
    inside = [name for name in (".git", ".dvc") if folder.resolve().is_relative_to(root / name)]
    if inside:
        raise UsageError(f"{folder} lies in {inside[0]}", hint="name a folder elsewhere; nothing was written")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` that replaces it on success, or is deleted."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.tidemill-*"):
            number = left.suffix.rpartition("-")[2]
            if number.isdigit() and not psutil.pid_exists(int(number)):  # left by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
        part = folder.with_name(f".{folder.name}.tidemill-{os.getpid()}")
        part.mkdir()
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror}", hint="name a folder in a place you may write to"
        ) from error
    try:
        yield part
        part.replace(folder)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="free space on the disk; nothing was written",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _place(found: Sequence[VersionFile], part: Path, tell: Tell) -> tuple[dict[str, int], int]:
    ways: list[tuple[str, Callable[[Path, Path], None]]] = [
        ("reflink", _reflink),
        ("hardlink", _hardlink),
        ("copy", _copy),
    ]
    links: Counter[str] = Counter()
    sizes = [content.file.stat().st_size for content in found]
    for number, content in enumerate(found):
        if number % _EVERY == 0 or ways[0][0] == "copy":
            tell("placing", content.path, number, len(found))
        target = part / content.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not content.cached:
            _copy(content.file, target)
            links["copy"] += 1
            continue
        while not _made(ways[0][1], content.file, target, last=len(ways) == 1):
            del ways[0]  # a kind of link that fails for one file fails for all others
            if len(ways) == 1:
                ensure_space(part.parent, sum(sizes[number:]), "a copy (links cannot be made here)")
        links[ways[0][0]] += 1
    tell("placing", "", len(found), len(found))
    return dict(links), sum(sizes)


def _made(link: Callable[[Path, Path], None], source: Path, target: Path, last: bool) -> bool:
    try:
        link(source, target)
    except OSError as error:
        with suppress(FileNotFoundError):  # the attempt made no file
            target.unlink()
        if last or error.errno not in _NOT_HERE:
            raise
        return False
    return True


def _reflink(source: Path, target: Path) -> None:
    reflink(str(source), str(target))  # type: ignore[no-untyped-call]
    target.chmod(0o644)  # a reflink shares blocks, but not later writes


def _hardlink(source: Path, target: Path) -> None:
    if source.stat().st_mode & 0o222:  # left writable by an earlier `dvc config cache.protected false`
        source.chmod(0o444)
    os.link(source, target)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o644)
