"""Versions of a project's data: DVC makes and keeps them, git names them.

A data version is a git commit: its ``params.yaml`` says what was asked for, its ``dvc.lock`` which content
came out, and DVC's cache and remote hold that content.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from filelock import FileLock, Timeout

from tidemill.data.attempt import LOCK, PARAMS, begin, finish, forget_dead_processes, is_committed, undo
from tidemill.data.command import Finished, last_words, patiently, run_dvc, scratch_folder, silent
from tidemill.data.git import commit_staged, git, git_try
from tidemill.data.workspace import init_workspace, open_dvc
from tidemill.errors import DataError, VersionNotFound
from tidemill.project import Project

__all__ = [
    "DataVersion",
    "DataVersionInfo",
    "current",
    "fetch",
    "init_workspace",
    "is_clean",
    "list_versions",
    "reproduce",
]

_PATIENCE = 600.0
_STAGE = re.compile(r"^Running stage '(?P<name>.+)':$")


@dataclass(frozen=True)
class DataVersion:
    """One state of all outputs of the pipeline."""

    revision: str
    """Full id of the git commit."""
    outputs: Mapping[str, str]
    """Path relative to the project → MD5 of the content (``….dir`` for a folder)."""


@dataclass(frozen=True)
class DataVersionInfo(DataVersion):
    """A data version with its place in history."""

    time: datetime
    """When it was committed, in UTC."""
    message: str
    """First line of the commit message."""


def reproduce(
    project: Project,
    overrides: Mapping[str, object],
    message: str,
    on_line: Callable[[str], None] | None = None,
    *,
    patience: float = _PATIENCE,
) -> DataVersion:
    """Set parameters, run the stages whose inputs changed, commit the outcome and copy it to the remote.

    All or nothing: when a stage fails, or we are interrupted or killed, ``params.yaml`` and ``dvc.lock`` are
    put back (after a kill: by the next call). Stages that had finished are not repeated by the next call.

    Args:
        project: the project; its folder is a git and DVC repository.
        overrides: dotted name in ``params.yaml`` → new value.
        message: of the commit; made only if something changed.
        on_line: gets every line that DVC and the stages print.
        patience: seconds to wait for another process that works in the same repository.

    Raises:
        DataError: a stage failed (its name and last lines are in the message), or DVC or git did.
        ConfigError: ``params.yaml`` has no such parameter.
        UsageError: a value has no place in ``params.yaml``.
    """
    root, tell = _repository(project), on_line or silent
    with _alone(root, tell, patience):
        if undo(root):
            tell("the run before this one was killed: its changes of params.yaml and dvc.lock are undone")
        forget_dead_processes(root)
        begin(root, overrides)
        try:
            _check(root, run_dvc(root, "repro", on_line=tell, patience=patience))
            _commit_outcome(root, message)
        except DataError:
            if undo(root):  # the failed stage's outputs are gone: bring those of the version before back
                run_dvc(root, "checkout", "--force", "--quiet", on_line=silent, patience=patience)
            raise
        except BaseException:
            undo(root)
            raise
        finish(root)
        version = current(project)
        try:
            with open_dvc(root) as repo:
                pushed = patiently(root, repo.push, tell, patience)
        except (DvcException, OSError) as error:
            raise DataError(
                f"{root}: version {version.revision[:8]} is committed, but not copied to the remote: {error}",
                hint="check the remote (`dvc remote list`) and run again",
            ) from error
        if pushed:
            tell(f"{pushed} new files copied to the remote")
    return version


def current(project: Project) -> DataVersion:
    """Return the version that is committed now.

    Raises:
        VersionNotFound: none was made yet.
    """
    root = _repository(project)
    revision = git(root, "rev-parse", "--verify", "HEAD").strip()
    lock = git_try(root, "show", f"{revision}:./{LOCK}")
    if lock.returncode != 0:
        raise VersionNotFound(
            f"{root} has no data version yet: {LOCK} is not committed", hint="make one with `tidemill run`"
        )
    return DataVersion(revision, _outputs(lock.stdout))


def is_clean(project: Project) -> bool:
    """Tell whether the data on disk is what the committed ``dvc.lock`` says, made from what is on disk.

    Raises:
        DataError: DVC cannot tell, or another process held its lock for too long.
    """
    root = _repository(project)
    if not is_committed(root, LOCK):
        return False
    try:
        with open_dvc(root) as repo:
            return not patiently(root, repo.status, silent, _PATIENCE)
    except DvcException as error:
        raise DataError(f"{root}: DVC cannot tell the state of the data: {error}") from error


def list_versions(project: Project) -> list[DataVersionInfo]:
    """Return every version on the current branch, newest first: the commits that changed ``dvc.lock``."""
    root = _repository(project)
    log = git(root, "log", "--format=%H%x1f%ct%x1f%s", "HEAD", "--", LOCK).splitlines()
    found = []
    for revision, seconds, message in (line.split("\x1f") for line in log):
        lock = git_try(root, "show", f"{revision}:./{LOCK}")
        if lock.returncode == 0:  # else that commit removed it
            time = datetime.fromtimestamp(int(seconds), UTC)
            found.append(DataVersionInfo(revision, _outputs(lock.stdout), time, message))
    return found


def fetch(project: Project, revision: str, path: str | Path, destination: Path) -> Path:
    """Bring one file of an earlier version back, from cache or remote, without touching the project's own.

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
    root = _repository(project)
    found = git_try(root, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode != 0:
        raise VersionNotFound(
            f"{root} has no version {revision!r}", hint=f"see `git -C {root} log -- {LOCK}`"
        )
    commit = found.stdout.strip()
    target = destination / Path(path).name if destination.is_dir() else destination
    try:
        with open_dvc(root, commit) as repo:
            files = DVCFileSystem(repo)
            if not files.isfile(str(path)):
                outputs = ", ".join(_outputs(git_try(root, "show", f"{commit}:./{LOCK}").stdout)) or "none"
                raise VersionNotFound(f"version {commit[:8]} has no file {path}; its outputs: {outputs}")
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
        # Not `get_file`: it makes a hard link, and who then writes to the file writes into the cache.
        with files.open(path, "rb") as content, part.open("wb") as copy:
            shutil.copyfileobj(content, copy, 1 << 20)
        part.replace(target)


def _repository(project: Project) -> Path:
    root = project.root
    for folder, name in ((".git", "git"), (".dvc", "DVC")):
        if not (root / folder).exists():
            raise DataError(
                f"{root} is not the root of a {name} repository",
                hint="`tidemill init DIR` makes a project with both",
            )
    return root


@contextmanager
def _alone(root: Path, tell: Callable[[str], None], patience: float) -> Iterator[None]:
    # DVC's own lock is open while a stage runs; two runs would change params.yaml under each other's feet.
    lock = FileLock(scratch_folder(root) / "tidemill.lock")
    scratch_folder(root).mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(f"another process is reproducing {root}: waiting up to {patience:.0f} s for it")
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise DataError(
                f"{root}: another process has been reproducing for more than {patience:.0f} s",
                hint="wait for it, or end it, and run again",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _check(root: Path, finished: Finished) -> None:
    if finished.code == 0:
        return
    stage, start = None, 0
    for number, line in enumerate(finished.lines):
        if found := _STAGE.match(line):
            stage, start = found["name"], number
    failed = f"stage {stage!r} failed" if stage else "`dvc repro` failed"
    raise DataError(
        f"{root}: {failed}: {last_words(finished.lines[start:])}",
        hint="mend it and run again: what had finished is not repeated, and params.yaml is as it was",
    )


def _commit_outcome(root: Path, message: str) -> None:
    lock = _read(root / LOCK)
    ignores = {str(Path(path).parent / ".gitignore") for path in _outputs(lock)}  # DVC writes them
    files = [file for file in (PARAMS, "dvc.yaml", LOCK, *sorted(ignores)) if (root / file).exists()]
    ignored = set(git_try(root, "check-ignore", "-z", "--stdin", given="\0".join(files)).stdout.split("\0"))
    files = [file for file in files if file not in ignored]
    git(root, "add", "--", *files)
    commit_staged(root, message, *files)


def _outputs(lock: str) -> dict[str, str]:
    content = yaml.safe_load(lock) or {}
    return {
        output["path"]: output.get("md5") or output.get("etag") or output.get("checksum") or ""
        for stage in content.get("stages", {}).values()
        for output in stage.get("outs", ())
    }


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
