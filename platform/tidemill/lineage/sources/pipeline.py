"""Reads a data version from git: which stage read and wrote which content, and what was added by hand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from tidemill.data.repository.git import git_try
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml
from tidemill.project import Project

__all__ = ["Commit", "Content", "Pipeline", "Stage", "parse_lock", "read_commit", "read_pipeline", "revision"]


@dataclass(frozen=True)
class Content:
    """A file or folder, and the digest of its content."""

    path: str
    """Path relative to the project."""
    digest: str
    """MD5; ``….dir`` for a folder. Empty where DVC recorded none."""
    size: int | None = None
    """Bytes."""
    origin: str | None = None
    """The address that it was imported from; None if it was not imported."""


@dataclass(frozen=True)
class Stage:
    """A stage as it ran."""

    name: str
    command: str
    reads: tuple[Content, ...]
    """Data and code."""
    writes: tuple[Content, ...]
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Values that it depends on, by file."""
    description: str = ""


@dataclass(frozen=True)
class Pipeline:
    """The whole pipeline at one commit."""

    stages: Mapping[str, Stage]
    added: tuple[Content, ...] = ()
    """The content that `dvc add` or an import tracks without a stage."""

    def content(self, path: str) -> Content | None:
        """Return the recorded content of a path."""
        everything = (*self.added, *(c for s in self.stages.values() for c in (*s.writes, *s.reads)))
        return next((each for each in everything if each.path == path), None)

    def writer(self, path: str) -> Stage | None:
        """Return the stage that wrote a path, or the folder it lies in, or a part of it."""
        return next((s for s in self.stages.values() if any(_touch(c.path, path) for c in s.writes)), None)

    def readers(self, path: str) -> list[Stage]:
        """Return the stages that read a path, or the folder it lies in, or a part of it."""
        return [s for s in self.stages.values() if any(_touch(c.path, path) for c in s.reads)]

    def is_data(self, path: str) -> bool:
        """Return whether DVC tracks a path."""
        return self.writer(path) is not None or any(_touch(c.path, path) for c in self.added)

    def data_of(self, stage: Stage) -> list[Content]:
        """Return the data that a stage read: what DVC tracks, and what lies outside the project."""
        return [each for each in stage.reads if self.is_data(each.path) or _is_outside(each.path)]

    def code_of(self, stage: Stage) -> list[Content]:
        """Return the code and other files in git that a stage read."""
        data = self.data_of(stage)
        return [each for each in stage.reads if each not in data]

    @property
    def last_stages(self) -> list[Stage]:
        """Return the stages whose outputs no other stage reads."""
        return [s for s in self.stages.values() if not any(self.readers(c.path) for c in s.writes)]

    @property
    def outputs(self) -> dict[str, str]:
        """Return the digest of each path that DVC tracks."""
        written = (content for stage in self.stages.values() for content in stage.writes)
        return {content.path: content.digest for content in (*written, *self.added)}


@dataclass(frozen=True)
class Commit:
    """A commit of the project."""

    revision: str
    time: datetime
    """Wall-clock time of the commit, UTC."""
    author: str
    message: str
    """First line of the message."""
    tags: tuple[str, ...] = ()


def parse_lock(lock: str, declared: str = "") -> dict[str, Stage]:
    """Read ``dvc.lock`` and, for the descriptions, ``dvc.yaml``.

    >>> text = "stages: {clean: {cmd: python clean.py, deps: [{path: raw.csv, md5: 1a, size: 3}]}}"
    >>> parse_lock(text)["clean"].reads
    (Content(path='raw.csv', digest='1a', size=3, origin=None),)
    """
    stages = (_mapping(lock).get("stages") or {}).items()
    described = _mapping(declared).get("stages") or {}
    return {
        name: Stage(
            name=name,
            command=_command(stage.get("cmd")),
            reads=tuple(_contents(stage.get("deps"))),
            writes=tuple(_contents(stage.get("outs"))),
            params=stage.get("params") or {},
            description=str((described.get(name) or {}).get("desc") or ""),
        )
        for name, stage in stages
        if isinstance(stage, dict)
    }


def read_pipeline(project: Project, commit: str) -> Pipeline | None:
    """Return the pipeline recorded in a commit; None if the commit has no data, or no longer exists."""
    root = project.root
    lock = git_try(root, "show", f"{commit}:./dvc.lock")
    listed = git_try(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", ".")
    if listed.returncode != 0:
        return None
    added = [name for name in listed.stdout.split("\0") if name.endswith(".dvc")]
    if lock.returncode != 0 and not added:
        return None
    declared = git_try(root, "show", f"{commit}:./dvc.yaml")
    stages = parse_lock(lock.stdout if lock.returncode == 0 else "", declared.stdout)
    return Pipeline(stages, tuple(c for name in added for c in _added(project, commit, name)))


def read_commit(project: Project, commit: str) -> Commit | None:
    """Return a commit; None if git does not have it (any more)."""
    shown = git_try(project.root, "show", "--no-patch", "--format=%H%x1f%ct%x1f%an%x1f%s", commit, "--")
    parts = shown.stdout.removesuffix("\n").split("\x1f", 3)
    if shown.returncode != 0 or len(parts) != 4:
        return None
    tags = git_try(project.root, "tag", "--points-at", parts[0]).stdout.split()
    return Commit(parts[0], datetime.fromtimestamp(int(parts[1]), UTC), parts[2], parts[3], tuple(tags))


def revision(project: Project, text: str) -> str | None:
    """Return the full id of the commit that ``text`` names: the start of its id, a tag, ``HEAD~2``."""
    if not (project.root / ".git").exists() or text.startswith("-") or not text.strip():
        return None
    found = git_try(project.root, "rev-parse", "--quiet", "--verify", f"{text}^{{commit}}")
    return found.stdout.strip() if found.returncode == 0 else None


def _added(project: Project, commit: str, name: str) -> Iterable[Content]:
    record = _mapping(git_try(project.root, "show", f"{commit}:./{name}").stdout)
    folder = PurePosixPath(name).parent / str(record.get("wdir") or ".")
    sources = [str(each["path"]) for each in record.get("deps") or () if "path" in each]
    for each in _contents(record.get("outs")):
        yield Content(str(folder / each.path), each.digest, each.size, next(iter(sources), None))


def _contents(items: Any) -> Iterable[Content]:
    for item in items or ():
        digest = item.get("md5") or item.get("etag") or item.get("checksum") or ""
        yield Content(str(item["path"]), str(digest), item.get("size"))


def _command(cmd: Any) -> str:
    return " && ".join(cmd) if isinstance(cmd, list) else str(cmd or "")


def _mapping(text: str) -> dict[str, Any]:
    try:
        content = parse_dvc_yaml(text)
    except YamlError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_outside(path: str) -> bool:
    return path.startswith(("/", "../")) or "://" in path


def _touch(one: str, other: str) -> bool:
    """Return whether two paths are equal, or one is below the other."""
    return one == other or one.startswith(other.rstrip("/") + "/") or other.startswith(one.rstrip("/") + "/")
