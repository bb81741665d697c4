"""Brings back the code and the data of a run, fits its model once more, and compares the two."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.data.repository.git import git, git_try
from tidemill.data.repository.revisions import outputs_at
from tidemill.data.repository.uncommitted_code import IN_PATCH, files_left_out
from tidemill.data.versioning.checkout import checkout
from tidemill.errors import TrainingError
from tidemill.plurals import counted
from tidemill.project import Project, load_project
from tidemill.training.reproduction.rebuilt_environment import Interpreter, own_interpreter, rebuild
from tidemill.training.reproduction.refitting import ENVIRONMENT, METRICS, REFERENCE_AGAIN
from tidemill.training.reproduction.verdict import WITHIN, Reproduction, compare_models
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.origins.environment_capture import LOCKS
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import read_table
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import REFERENCE, TrainedModel
from tidemill.training.tracking.whole_runs import read_whole_runs

__all__ = ["bring_data", "code_worktree", "environment_changes", "lost_texts", "reproduce", "require_record"]

_OTHERS = 5


def reproduce(
    project: Project,
    run_id: str,
    *,
    within: float = WITHIN,
    rebuilt: bool = False,
    tell: Tell = ignore_progress,
) -> Reproduction:
    """Fit the model of a run once more, in a worktree of its commit with its patch and training set.

    Its family, parameters and rounds are those on record; the search that chose them is not repeated. Where
    the model was fitted again on all rows (``train.refit``), what was judged is compared.

    Args:
        project: whose run it is; its files and records are not changed.
        run_id: a finished training of Tidemill.
        within: the largest difference of two scores that counts as none.
        rebuilt: whether it is fitted in an environment that is built anew, from the lock file of the commit
            or the packages on record; default: in the one that is there.
        tell: the callback for progress.

    Raises:
        RunNotFound: there is no such run.
        TrainingError: the record is not enough, or the model cannot be fitted any more.
        DataError: git or DVC does not have its code or its data any more.
    """
    [run] = read_whole_runs(project, [run_id])
    if run.run.parent is not None:
        raise TrainingError(
            f"run {run_id} is a trial of run {run.run.parent[:8]}: its model was not kept",
            hint=f"`tidemill reproduce {run.run.parent[:8]}` fits the model that came of the search",
        )
    lineage, trained = require_record(run.lineage, run.trained, run.patch, run_id)
    recorded = ReferenceRows.from_table(
        read_table(connect(project), run_id, REFERENCE), project.config.dataset.label
    )
    with TemporaryDirectory(prefix="tidemill-reproduce-") as name:
        folder = Path(name)
        tell("code", f"commit {lineage.git_commit[:10]}", None, None)
        with code_worktree(project, lineage.git_commit, folder, run.patch) as tree:
            tell("data", "checking out the training set", None, None)
            bring_data(project, lineage, tree, folder, tell)
            interpreter = own_interpreter()
            if rebuilt:
                tell("environment", "installing the packages of the training", None, None)
                interpreter = rebuild(tree, lineage, folder)
            tell("fit", f"{trained.family}, {counted(trained.rounds, 'round')}", None, None)
            _refit(tree, trained, lineage, folder, interpreter)
        again = ReferenceRows.from_table(
            pl.read_parquet(folder / REFERENCE_AGAIN), project.config.dataset.label
        )
        metrics = json.loads((folder / METRICS).read_text())
        now = json.loads((folder / ENVIRONMENT).read_text())
    changes = environment_changes(lineage, now)
    changes += [] if rebuilt else _lock_changes(project.root, lineage.git_commit)
    return compare_models((recorded, trained.metrics), (again, metrics), changes, within, lost_texts(lineage))


def require_record(
    lineage: Lineage | None, trained: TrainedModel | None, patch: bytes, run_id: str
) -> tuple[Lineage, TrainedModel]:
    """Return what is needed to fit the model of a run once more.

    Raises:
        TrainingError: not all of it is on record; the message says what is not.
    """
    why = None
    if lineage is None or trained is None or lineage.imported is not None:
        why = "it is no finished training of Tidemill"
    elif lineage.parent is not None:
        why = f"it went on from version {lineage.parent.get('version')}: reproduce that one"
    elif lineage.uncommitted is None:
        why = "it is not on record whether its code was committed"
    elif lacking := files_left_out(patch):
        why = f"its patch lacks {', '.join(f'{file} ({cause})' for file, cause in lacking.items())}"
    elif lineage.has_patch and not patch:
        why = "the patch of its code that no commit held is gone"
    if why is not None or lineage is None or trained is None:
        raise TrainingError(
            f"the model of run {run_id} cannot be fitted once more: {why}",
            hint="`tidemill runs show` tells what is on record",
        )
    return lineage, trained


@contextmanager
def code_worktree(project: Project, commit: str, folder: Path, patch: bytes) -> Iterator[Path]:
    """Give a worktree of a commit and a patch, below ``folder``, which is gone after the block."""
    tree = folder / "project"
    git(project.root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
    try:
        if patch:
            (folder / "uncommitted.patch").write_bytes(patch)
            git(tree, "apply", "--whitespace=nowarn", str(folder / "uncommitted.patch"))
        yield tree
    finally:
        git_try(project.root, "worktree", "remove", "--force", str(tree))


def bring_data(project: Project, lineage: Lineage, tree: Path, folder: Path, tell: Tell) -> None:
    """Put the training set of a run into its worktree, by way of ``folder``.

    Raises:
        TrainingError: neither git nor DVC keeps it.
        DataError: DVC does not have it any more.
    """
    path = load_project(tree).config.dataset.path
    if path in outputs_at(project, lineage.git_commit):
        checkout(project, lineage.git_commit, [path], folder / "data", tell)
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / path).rename(tree / path)
    elif not (tree / path).is_file():
        raise TrainingError(
            f"commit {lineage.git_commit[:10]} has no {path}: neither git nor DVC keeps the training set",
            hint="let the last stage of dvc.yaml write it, or add it: `tidemill data add`",
        )


def _refit(
    tree: Path, trained: TrainedModel, lineage: Lineage, folder: Path, interpreter: Interpreter
) -> None:
    wanted = {"run_id": trained.run_id, "trained": trained.as_dict(), "as_of": lineage.as_of.isoformat()}
    (folder / "request.json").write_text(json.dumps(wanted, default=str))
    module = "tidemill.training.reproduction.refitting"
    done = subprocess.run(
        [interpreter.python, "-P", "-m", module, str(tree), str(folder / "request.json"), str(folder)],
        cwd=tree,
        env={**os.environ, **interpreter.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        said = said.replace(f"{tree}/", "").replace(str(tree), "the project")
        lost = "".join(f"; {one}" for one in lost_texts(lineage))
        raise TrainingError(
            f"the model of run {trained.run_id} cannot be fitted any more: {said}{lost}",
            hint="commit the files that its code reads, and train again"
            if lost
            else "its environment may have been another one: `tidemill runs show` lists its packages",
        )


def lost_texts(lineage: Lineage) -> list[str]:
    """Return which untracked files beside the code are not with the run, and why."""
    lost = [(file, why) for file, why in (lineage.beside or {}).items() if why != IN_PATCH]
    said = [f"{file}, which no commit held, was not kept: {why}" for file, why in lost[:_OTHERS]]
    return said + ([counted(len(lost) - _OTHERS, "other file")] if len(lost) > _OTHERS else [])


def environment_changes(lineage: Lineage, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return how an environment differs from that of a training.

    Packages that can change a model by what they compute come first, by name; of all others the first five.

    Args:
        lineage: of the training.
        now: ``packages``, ``hardware`` and ``threads``.
    """
    then: Mapping[str, Any] = lineage.environment or {}
    here, known = now["packages"], lineage.packages
    changed = list(_changes(known, here, sorted(known)))
    if whole := then.get("packages"):
        others = list(_changes(whole, here, sorted({*whole, *here} - {*known})))
        changed += others[:_OTHERS]
        changed += [counted(len(others) - _OTHERS, "other package")] if len(others) > _OTHERS else []
    for section in ("hardware", "threads") if then else ():
        before, after = then[section], now[section]
        changed += _changes(before, after, dict.fromkeys([*before, *after]))
    return changed


def _changes(before: Mapping[str, str], now: Mapping[str, str], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name, 'none')}, now {now.get(name, 'none')}"


def _lock_changes(root: Path, commit: str) -> Iterator[str]:
    for name in LOCKS:
        then = git_try(root, "show", f"{commit}:{name}")
        here = root / name
        before = hashlib.sha256(then.stdout.encode()).hexdigest() if then.returncode == 0 else None
        after = hashlib.sha256(here.read_bytes()).hexdigest() if here.is_file() else None
        if before != after:
            yield f"{name} is another one than at commit {commit[:10]}"
