"""Makes versions of a project's data: DVC stores the content, git commits name the versions.

A data version is a git commit: its ``params.yaml`` has the parameters, its ``dvc.lock`` the digests of the
results, and DVC's cache and remote store the content.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tidemill.data.repository.dvc_command import (
    CommandResult,
    ignore_line,
    last_lines,
    run_dvc,
)
from tidemill.data.repository.git import commit_staged, git, git_try
from tidemill.data.repository.repository_setup import init_workspace
from tidemill.data.repository.revisions import (
    POINTERS,
    DataVersion,
    DataVersionInfo,
    current,
    list_versions,
    repository,
)
from tidemill.data.repository.transfer import copy_to_remote
from tidemill.data.versioning.checkout import fetch
from tidemill.data.versioning.content_reading import record_shapes
from tidemill.data.versioning.exclusive import PATIENCE, exclusive_access
from tidemill.data.versioning.pending_reproduction import LOCK, PARAMS, begin, finish, undo
from tidemill.errors import DataError
from tidemill.files.yaml_reading import parse_dvc_yaml
from tidemill.project import Project

__all__ = [
    "DataVersion",
    "DataVersionInfo",
    "current",
    "fetch",
    "init_workspace",
    "list_versions",
    "reproduce",
]

_STAGE = re.compile(r"^Running stage '(?P<name>.+)':$")
_OF_DVC = re.compile(r"^(Running stage |> |ERROR: failed to reproduce .*: failed to run: )")
"""What DVC itself says around a stage that fails: the error names the stage already. What fails in DVC
itself after a stage has run stands in no other line."""
_ADVICE = ("\t", "> ", "To track", "To enable", "Use `dvc", "Updating lock", "Generating lock")
"""What DVC says of commands that are run anyway."""


def reproduce(
    project: Project,
    overrides: Mapping[str, object],
    message: str,
    on_line: Callable[[str], None] | None = None,
    *,
    patience: float = PATIENCE,
) -> DataVersion:
    """Set parameters, run the stages whose inputs changed, commit the results and copy them to the remote.

    All or nothing: when a stage fails, or the process is interrupted or killed, ``params.yaml`` and
    ``dvc.lock`` are restored (after a kill: by the next call). The next call does not repeat finished stages.

    Args:
        project: the project; its folder is a git and DVC repository.
        overrides: dotted name in ``params.yaml`` → new value.
        message: message of the commit, which is made only if something changed.
        on_line: called with every line that DVC and the stages print.
        patience: seconds to wait for another process that works in the same repository.

    Raises:
        DataError: a stage failed (its name and last lines are in the message), or DVC or git did.
        ConfigError: ``params.yaml`` has no such parameter.
        UsageError: a value is not allowed in ``params.yaml``.
    """
    root, tell = repository(project), _plain(on_line or ignore_line)
    with exclusive_access(root, tell, patience):
        begin(root, overrides)
        try:
            _check(root, run_dvc(root, "repro", on_line=tell, patience=patience))
            _commit_outcome(root, message)
        except DataError:
            if undo(root):  # the failed stage's outputs are deleted: restore those of the version before
                # (dvc.yaml: data added by hand may have been changed since)
                run_dvc(
                    root, "checkout", "--force", "--quiet", "dvc.yaml", on_line=ignore_line, patience=patience
                )
                _restore_kept_in_git(root)
            raise
        except BaseException:
            undo(root)
            raise
        finish(root)
        version = current(project)
        copy_to_remote(root, version.revision, tell, patience)
    record_shapes(project, version)
    return version


def _plain(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return a callback that passes on what stages say, and of DVC's lines only which stage runs."""

    def tell_plainly(line: str) -> None:
        if line.strip() and not line.lstrip(" ").startswith(_ADVICE):
            stage = _STAGE.match(line)
            tell(f"stage {stage['name']}" if stage else line)

    return tell_plainly


def _check(root: Path, finished: CommandResult) -> None:
    if finished.code == 0:
        return
    stage, start = None, 0
    for number, line in enumerate(finished.lines):
        if found := _STAGE.match(line):
            stage, start = found["name"], number
    failed = f"stage {stage!r} failed" if stage else "`dvc repro` failed"
    said = [line for line in finished.lines[start:] if stage is None or not _OF_DVC.match(line)]
    raise DataError(
        f"{root}: {failed}: {last_lines(said)}",
        hint="correct it and run again: finished stages are not repeated, and params.yaml is unchanged",
    )


def _commit_outcome(root: Path, message: str) -> None:
    paths = _lock_paths(root)
    ignores = {str(Path(path).parent / ".gitignore") for path in paths}  # DVC writes them
    # DVC updates the pointer of added data that was changed, when a stage depends on it.
    pointers = git(root, "ls-files", "--modified", "-z", "--", POINTERS).split("\0")
    # Metrics, of which DVC keeps no copy, go into git; git ignores all other outputs.
    files = [PARAMS, "dvc.yaml", LOCK, *sorted(ignores), *pointers, *paths]
    files = [file for file in files if file and (root / file).exists()]
    ignored = set(git_try(root, "check-ignore", "-z", "--stdin", given="\0".join(files)).stdout.split("\0"))
    files = [file for file in files if file not in ignored]
    git(root, "add", "--", *files)
    commit_staged(root, message, *files)


def _lock_paths(root: Path) -> list[str]:
    lock = parse_dvc_yaml((root / LOCK).read_bytes()) if (root / LOCK).exists() else {}
    return [out["path"] for stage in lock.get("stages", {}).values() for out in stage.get("outs", ())]


def _restore_kept_in_git(root: Path) -> None:
    paths = _lock_paths(root)
    listed = git(root, "ls-files", "-z", "--", *paths) if paths else ""
    if tracked := [file for file in listed.split("\0") if file]:
        git(root, "checkout", "HEAD", "--", *tracked)
