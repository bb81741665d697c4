"""Finds the content of a version's files: in DVC's cache, after a fetch from the remote, or in git."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tidemill.data.repository.dvc_command import Tell, reading_folder, retry_while_locked, temporary_folder
from tidemill.data.repository.git import git_try, read_blob
from tidemill.data.repository.private_dvc import HashFileDB, HashInfo, ObjectFormatError, Repo, Tree
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.repository.revisions import Output
from tidemill.data.repository.transfer import bring_to_cache, remote_errors
from tidemill.errors import DataError, VersionNotFound
from tidemill.project import ProjectFolder

__all__ = [
    "RequestedOutput",
    "VersionFile",
    "VersionFiles",
    "ensure_space",
    "fetch_files",
    "listing",
    "select_outputs",
]

_NAMED = 10


@dataclass(frozen=True)
class RequestedOutput:
    """An output, or a part of an output that is a folder."""

    output: Output
    part: str | None = None
    """Path of the part within the folder."""

    @property
    def path(self) -> str:
        """Path relative to the project."""
        return self.output.path if self.part is None else f"{self.output.path}/{self.part}"


@dataclass(frozen=True)
class VersionFile:
    """A file of a version."""

    path: str
    """Path relative to the project."""
    md5: str
    file: Path
    """Path of its content, which must only be read."""
    cached: bool
    """Whether that is in DVC's cache; else it is a temporary copy."""


@dataclass(frozen=True)
class VersionFiles:
    """The files of a version."""

    contents: tuple[VersionFile, ...]
    not_kept: tuple[str, ...]
    """Outputs that the project declares with ``cache: false`` and that are not in git either."""


def select_outputs(outputs: dict[str, Output], paths: Iterable[str], commit: str) -> list[RequestedOutput]:
    """Return the outputs that ``paths`` name: an output, a folder with outputs, a file in an output folder.

    Raises:
        VersionNotFound: the version has no such path.
    """
    found: dict[str, RequestedOutput] = {}
    for path in paths:
        pure = PurePosixPath(path)
        whole = [
            RequestedOutput(out) for out in outputs.values() if PurePosixPath(out.path).is_relative_to(pure)
        ]
        parts = [
            RequestedOutput(out, str(pure.relative_to(out.path)))
            for out in outputs.values()
            if out.is_folder and pure.is_relative_to(out.path) and out.path != str(pure)
        ]
        if not whole and not parts:
            known = ", ".join(outputs) or "none"
            raise VersionNotFound(
                f"version {commit[:8]} has no {path}; its outputs: {known}",
                hint=f"`tidemill data show {commit[:8]}` lists them",
            )
        found |= {wanted.path: wanted for wanted in (*whole, *parts)}
    return list(found.values())


@contextmanager
def fetch_files(
    project: ProjectFolder, commit: str, wanted: Sequence[RequestedOutput], tell: Tell, patience: float
) -> Iterator[VersionFiles]:
    """Give the files of ``wanted``; fetch content that is missing or damaged in the cache from the remote.

    It waits for DVC's lock only if there is something to fetch.

    Raises:
        DataError: content is in neither cache nor remote, the remote does not answer, the disk is too full.
        VersionNotFound: a folder has no such file.
    """
    root = project.root
    with (
        temporary_folder(reading_folder(root), "tidemill-git") as folder,
        open_dvc(root) as repo,
    ):
        in_git = _extract(root, commit, [one for one in wanted if not one.output.kept], folder)
        not_kept = tuple(one.path for one in wanted if not one.output.kept and one.path not in in_git)
        kept = [one for one in wanted if one.output.kept]
        if any(_missing(repo, one) for one in kept):
            trouble = f"content of version {commit[:8]} is not in DVC's cache and cannot be fetched"
            with remote_errors(trouble, "see `dvc remote list`; is the remote there, and may you read it?"):
                retry_while_locked(root, partial(_fetch, repo, kept, tell), partial(_say, tell), patience)
        if missing := [entry for one in kept for entry in _missing(repo, one)]:
            raise _lost(commit, missing)
        files = [content for one in kept for content in _contents(repo, one, commit)]
        yield VersionFiles((*files, *in_git.values()), not_kept)


def listing(
    project: ProjectFolder, commit: str, wanted: RequestedOutput, tell: Tell, patience: float
) -> dict[str, str]:
    """Return path → MD5 of the files of a folder; only the list is fetched, not the files.

    Raises:
        DataError: the list is in neither cache nor remote.
    """
    root = project.root
    with open_dvc(root) as repo:
        if not _cache(repo, wanted.output).exists(wanted.output.md5):
            trouble = f"the list of files in {wanted.output.path} of version {commit[:8]} cannot be fetched"
            with remote_errors(trouble, "see `dvc remote list`; is the remote there, and may you read it?"):
                retry_while_locked(root, partial(_fetch_lists, repo, [wanted]), partial(_say, tell), patience)
        return dict(_entries(repo, wanted))


def ensure_space(folder: Path, needed: int, what: str) -> None:
    """Raise an error if a disk has too little space for the work ahead.

    Raises:
        DataError: fewer than ``needed`` bytes are free where ``folder`` is.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder}: {what} needs {needed / 1e6:,.1f} MB, and only {free / 1e6:,.1f} MB are free",
            hint="make room, and run again; nothing was written",
        )


def _fetch_lists(repo: Repo, wanted: Sequence[RequestedOutput]) -> None:
    for output in {one.output for one in wanted if one.output.is_folder}:
        cache = _cache(repo, output)
        if not cache.exists(output.md5):
            name = "md5-dos2unix" if output.legacy else "md5"
            remote = repo.cloud.get_remote_odb(None, "fetch", hash_name=name)
            with suppress(FileNotFoundError):  # the caller names what no remote has
                cache.add(remote.oid_to_path(output.md5), remote.fs, output.md5)


def _fetch(repo: Repo, wanted: Sequence[RequestedOutput], tell: Tell) -> None:
    with repo.lock:
        _fetch_lists(repo, wanted)
        missing = {md5: one for one in wanted for _, md5 in _missing(repo, one)}
        hashes = [
            HashInfo("md5-dos2unix" if one.output.legacy else "md5", md5)
            for md5, one in missing.items()
            if not md5.endswith(".dir")
        ]
        sizes = {one.output.md5: one.output.size for one in missing.values() if not one.output.is_folder}
        size = sum(size or 0 for size in sizes.values()) if len(sizes) == len(hashes) else None
        ensure_space(Path(repo.cache.local.path), size or 0, "fetching")
        if hashes:
            bring_to_cache(repo, hashes, tell, size)


def _missing(repo: Repo, wanted: RequestedOutput) -> list[tuple[str, str]]:
    """Return path and MD5 of contents that are missing or damaged in the cache."""
    cache = _cache(repo, wanted.output)
    if wanted.output.is_folder and not _holds(cache, wanted.output.md5):
        return [(wanted.path, wanted.output.md5)]
    return [(path, md5) for path, md5 in _entries(repo, wanted) if not _holds(cache, md5)]


def _holds(cache: HashFileDB, md5: str) -> bool:
    """Return whether the cache has an undamaged content; delete it if it was changed through a hard link.

    Only files that changed since DVC's last check are read: it stores inode, size and time of each file.
    """
    try:
        HashFileDB.check(cache, md5)  # not the local cache's own method, which trusts every read-only file
    except (FileNotFoundError, ObjectFormatError):
        return False
    return True


def _entries(repo: Repo, wanted: RequestedOutput) -> Iterator[tuple[str, str]]:
    output = wanted.output
    if not output.is_folder:
        yield output.path, output.md5
        return
    name = "md5-dos2unix" if output.legacy else "md5"
    try:
        tree = Tree.load(_cache(repo, output), HashInfo(name, output.md5))
    except (ObjectFormatError, OSError) as error:
        raise DataError(
            f"{output.path}: the list of its files in DVC's cache is broken: {error}",
            hint=f"remove {_cache(repo, output).oid_to_path(output.md5)}, and fetch it again",
        ) from error
    part = () if wanted.part is None else PurePosixPath(wanted.part).parts
    for key, _, found in tree:
        if key[: len(part)] == part:
            yield "/".join((output.path, *key)), found.value


def _contents(repo: Repo, wanted: RequestedOutput, commit: str) -> list[VersionFile]:
    cache = _cache(repo, wanted.output)
    found = [
        VersionFile(path, md5, Path(cache.oid_to_path(md5)), cached=True)
        for path, md5 in _entries(repo, wanted)
    ]
    if not found and wanted.part is not None:
        raise VersionNotFound(
            f"version {commit[:8]} has no {wanted.path}",
            hint=f"`tidemill data show {commit[:8]} {wanted.output.path}` shows what is in that folder",
        )
    return found


def _cache(repo: Repo, output: Output) -> HashFileDB:
    cache: HashFileDB = repo.cache.legacy if output.legacy else repo.cache.local
    return cache


def _extract(
    root: Path, commit: str, wanted: Sequence[RequestedOutput], folder: Path
) -> dict[str, VersionFile]:
    found = {}
    for number, one in enumerate(wanted):
        blob = git_try(root, "rev-parse", "--quiet", "--verify", f"{commit}:{one.path}")
        if blob.returncode == 0:
            file = folder / str(number)
            file.write_bytes(read_blob(root, blob.stdout.strip()))
            found[one.path] = VersionFile(one.path, one.output.md5, file, cached=False)
    return found


def _lost(commit: str, missing: Sequence[tuple[str, str]]) -> DataError:
    names = ", ".join(path for path, _ in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return DataError(
        f"version {commit[:8]}: the content of {names}{more} is in neither DVC's cache nor its remote",
        hint="`dvc gc` may have removed it, or a program changed the cache: look in other clones; "
        "`dvc remote list` names the remote",
    )


def _say(tell: Tell, line: str) -> None:
    tell("waiting", line, None, None)
