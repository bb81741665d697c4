"""Lists data versions and their contents from git alone, without waiting for a lock."""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tidemill.data.repository.git import commits, git, git_try, read_blobs
from tidemill.errors import DataError, VersionNotFound
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml
from tidemill.project import ProjectFolder

__all__ = [
    "POINTERS",
    "DataVersion",
    "DataVersionInfo",
    "Output",
    "current",
    "list_versions",
    "outputs_at",
    "repository",
    "resolve",
    "version_of",
]

POINTERS = ":(top,glob)**/*.dvc"
"""Pattern of the ``.dvc`` files, by which DVC tracks data that was added by hand."""

_VERSIONED = (":(top,glob)**/dvc.lock", POINTERS)


@dataclass(frozen=True)
class DataVersion:
    """One state of all versioned data: the outputs of the pipeline, and data that was added by hand."""

    revision: str
    """Full id of the git commit."""
    outputs: Mapping[str, str]
    """Path relative to the project → MD5 of the content (``….dir`` for a folder)."""


@dataclass(frozen=True)
class DataVersionInfo(DataVersion):
    """A data version with the time and message of its commit."""

    time: datetime
    """Time of the commit, in UTC."""
    message: str
    """First line of the commit message."""


@dataclass(frozen=True)
class Output:
    """A file or folder in one version."""

    path: str
    """Path relative to the project."""
    md5: str
    """MD5 of the content; ``….dir`` for a folder."""
    size: int | None
    """Size in bytes."""
    files: int | None
    """Number of files in a folder."""
    legacy: bool = False
    """Whether it was recorded by DVC 2, whose cache has another layout."""
    kept: bool = True
    """Whether DVC stores the content; False with ``cache: false``."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.md5.endswith(".dir")


def repository(project: ProjectFolder) -> Path:
    """Return the project's folder.

    Raises:
        DataError: it is not the root of a git and DVC repository.
    """
    root = project.root
    for folder, name in ((".git", "git"), (".dvc", "DVC")):
        if not (root / folder).exists():
            raise DataError(
                f"{root} is not the root of a {name} repository",
                hint="`tidemill init DIR` makes a project with both",
            )
    return root


def current(project: ProjectFolder) -> DataVersion:
    """Return the version that is committed now.

    Raises:
        VersionNotFound: no version was made yet.
    """
    root = repository(project)
    head = git_try(root, "rev-parse", "--verify", "HEAD")
    revision = head.stdout.strip()
    states = _states(root, [revision]) if head.returncode == 0 else {}
    if revision not in states:
        raise VersionNotFound(
            f"{root} has no data version yet: no dvc.lock and no .dvc file is committed",
            hint="make one with `tidemill run` or `tidemill data add PATH`",
        )
    return DataVersion(revision, {path: output.md5 for path, output in states[revision].items()})


def list_versions(project: ProjectFolder, limit: int | None = None) -> list[DataVersionInfo]:
    """Return the versions on the current branch, newest first: the commits that changed data in DVC.

    Args:
        project: the project.
        limit: the greatest number of versions.
    """
    root = repository(project)
    if git_try(root, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
        return []
    at_most = [] if limit is None else [f"--max-count={limit}"]
    log = commits(root, *at_most, "HEAD", "--", *_VERSIONED)
    states = _states(root, [revision for revision, _, _ in log])
    return [
        DataVersionInfo(
            revision,
            {path: output.md5 for path, output in states[revision].items()},
            time,
            message,
        )
        for revision, time, message in log
        if revision in states  # otherwise the commit removed all data
    ]


def resolve(project: ProjectFolder, revision: str) -> str:
    """Return the full id of the commit that ``revision`` names: an id or its start, a tag, ``HEAD~2``.

    Raises:
        VersionNotFound: ``revision`` names no commit.
    """
    root = repository(project)
    name = f"{revision}^{{commit}}"
    found = git_try(root, "rev-parse", "--quiet", "--verify", "--end-of-options", name)
    if found.returncode != 0:
        raise VersionNotFound(f"{root} has no version {revision!r}", hint="see `tidemill data log`")
    return found.stdout.strip()


def outputs_at(project: ProjectFolder, commit: str) -> dict[str, Output]:
    """Return the versioned outputs at ``commit``, a full id, by path.

    Raises:
        DataError: git cannot read it.
    """
    return _states(repository(project), [commit]).get(commit, {})


def version_of(project: ProjectFolder, commit: str) -> str | None:
    """Return the data version at ``commit``: the last commit up to it that changed data."""
    log = git_try(repository(project), "log", "--max-count=1", "--format=%H", commit, "--", *_VERSIONED)
    return log.stdout.strip() or None if log.returncode == 0 else None


def _states(root: Path, commits: Iterable[str]) -> dict[str, dict[str, Output]]:
    """Return the outputs at each commit that has DVC files; each content is read once."""
    trees = {commit: _files_of_dvc(root, commit) for commit in commits}
    contents = read_blobs(root, {blob for tree in trees.values() for blob in tree.values()})
    parsed = {blob: _parse(text) for blob, text in contents.items()}
    states = {}
    for commit, tree in trees.items():
        outputs: dict[str, Output] = {}
        for file, blob in tree.items():
            folder = posixpath.dirname(file)
            if file.endswith(".dvc"):
                wdir = posixpath.join(folder, str(parsed[blob].get("wdir", "")))
                outputs |= _outputs(parsed[blob].get("outs"), wdir)
            elif posixpath.basename(file) == "dvc.lock":
                stages = parsed.get(tree.get(posixpath.join(folder, "dvc.yaml"), ""), {}).get("stages")
                for name, entry in (parsed[blob].get("stages") or {}).items():
                    stage = (stages or {}).get(name.partition("@")[0]) or {}
                    stage = stage.get("do") or stage  # of a foreach
                    wdir = _wdir(root, commit, stage, name, folder)
                    outputs |= _outputs(entry.get("outs"), wdir, _uncached(stage))
        if any(posixpath.basename(file) != "dvc.yaml" for file in tree):
            states[commit] = dict(sorted(outputs.items()))
    return states


def _files_of_dvc(root: Path, commit: str) -> dict[str, str]:
    tree = {}
    for entry in git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
        about, _, file = entry.partition("\t")
        if posixpath.basename(file) in ("dvc.lock", "dvc.yaml") or file.endswith(".dvc"):
            tree[file] = about.split()[2]
    return tree


def _parse(text: bytes) -> dict[str, Any]:
    try:
        content = parse_dvc_yaml(text)
    except YamlError:
        return {}  # an unfinished merge; DVC reports it when it is used
    return content if isinstance(content, dict) else {}


def _uncached(stage: dict[str, Any]) -> frozenset[str]:
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind) or ()]
    options = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return frozenset(path for path, option in options if (option or {}).get("cache") is False)


def _outputs(entries: Any, wdir: str, uncached: frozenset[str] = frozenset()) -> dict[str, Output]:
    found = {}
    for entry in entries or ():
        path = str(entry["path"])
        if "://" in path or posixpath.isabs(path):
            continue  # outside of the project: it is not restored
        kept = path not in uncached and entry.get("cache") is not False
        path = posixpath.normpath(posixpath.join(wdir, path))
        md5 = str(entry.get("md5") or entry.get("etag") or entry.get("checksum") or "")
        found[path] = Output(path, md5, entry.get("size"), entry.get("nfiles"), "hash" not in entry, kept)
    return found


def _wdir(root: Path, commit: str, stage: dict[str, Any], name: str, folder: str) -> str:
    wdir = str(stage.get("wdir") or "")
    if "${" not in wdir:
        return posixpath.join(folder, wdir)
    from tidemill.data.repository.repository_setup import open_dvc  # importing DVC takes a second

    with open_dvc(root, commit) as repo:  # only DVC can resolve its templates
        for found in repo.index.stages:
            if (
                getattr(found, "name", None) == name
                and posixpath.dirname(_inside(repo, found.path)) == folder
            ):
                return _inside(repo, found.wdir)
    raise DataError(f"{root}: the folder of stage {name!r} is unknown", hint="correct its wdir in dvc.yaml")


def _inside(repo: Any, path: str) -> str:
    relative = posixpath.relpath(path, repo.root_dir)
    return "" if relative == "." else relative
