"""Explains the gain of one run over another: fits the first once more with single differences exchanged."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.errors import TrainingError
from tidemill.files.declaration_files import parse_declaration
from tidemill.project import Project
from tidemill.tasks.task import Answers
from tidemill.training.reproduction.fitted_recipes import FittedRecipes, SidePlace
from tidemill.training.reproduction.gain_shares import Explanation, weigh
from tidemill.training.reproduction.reproduce import code_worktree, require_record
from tidemill.training.reproduction.run_factors import Factor, Recipe, RunSide, factors_between, recipe
from tidemill.training.tracking.origins.code_differences import code_diff
from tidemill.training.tracking.whole_runs import read_whole_runs

__all__ = ["explain"]


def explain(
    project: Project,
    run_a: str,
    run_b: str,
    *,
    refits: int | None = 0,
    minutes: float | None = None,
    each_parameter: bool = False,
    tell: Tell = ignore_progress,
) -> Explanation:
    """Say which differences between two runs made the gain of the second over the first.

    Both are fitted once more, and the first once for each difference, taken from the second. All are judged
    on the hold-out of the later run, of which none of them learns a row. What was fitted is kept in
    ``.tidemill/explained``: the next call goes on from there, after Ctrl-C too.

    Args:
        project: whose runs they are; its files and runs are not changed.
        run_a: the run to begin with, a finished training of Tidemill.
        run_b: the run whose gain is explained.
        refits: models that may be fitted now; None: as many as it takes; 0: none, only name the
            differences, with what earlier calls measured.
        minutes: after so many no further fit begins.
        each_parameter: whether each parameter of the family counts alone; default: all are one difference.
        tell: the callback for progress.

    Raises:
        RunNotFound: there is no such run.
        TrainingError: the records are not enough, or one of the runs cannot be fitted any more.
        DataError: git or DVC does not have the code or the data any more.
    """
    with TemporaryDirectory(prefix="tidemill-explain-") as name, ExitStack() as stack:
        a, b = (
            _open(project, run, Path(name) / which, stack, tell)
            for which, run in (("a", run_a), ("b", run_b))
        )
        factors = _factors(project, a.side, b.side, each_parameter)
        fits = FittedRecipes(project, a, b, Path(name))
        wanted = {"a": recipe(factors, "a"), "b": recipe(factors, "b")}
        wanted |= {each.name: recipe(factors, "a", each.name) for each in factors}
        done = _Done()
        if factors and (refits != 0 or any(fits.is_kept(each) for each in wanted.values())):
            done = _fit_all(fits, wanted, _Budget(refits, minutes), tell)
        needed = len({fits.key(each) for each in wanted.values()}) if factors else 0
        return _explanation(project, (a.side, b.side), factors, fits.judge, done, needed)


@dataclass(frozen=True)
class _Budget:
    refits: int | None
    minutes: float | None
    begun: float = field(default_factory=time.monotonic)

    def is_spent(self, made: int) -> bool:
        late = self.minutes is not None and time.monotonic() - self.begun >= 60 * self.minutes
        return late or (self.refits is not None and made >= self.refits)


@dataclass
class _Done:
    """What was fitted so far."""

    judged: pl.DataFrame = field(default_factory=pl.DataFrame)
    answers: dict[str, Answers] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    made: int = 0
    kept: int = 0
    stopped: str | None = None


def _open(project: Project, run_id: str, folder: Path, stack: ExitStack, tell: Tell) -> SidePlace:
    [run] = read_whole_runs(project, [run_id])
    lineage, trained = require_record(run.lineage, run.trained, run.patch, run_id)
    folder.mkdir()
    tell("code", f"commit {lineage.git_commit[:10]}", None, None)
    tree = stack.enter_context(code_worktree(project, lineage.git_commit, folder, run.patch))
    file = tree / "params.yaml"
    params = parse_declaration(file.read_text(encoding="utf-8"), file).content
    return SidePlace(RunSide(run_id, lineage, trained, run.patch, params), folder)


def _factors(project: Project, a: RunSide, b: RunSide, each_parameter: bool) -> list[Factor]:
    code = code_diff(project.root, (a.lineage.git_commit, a.patch), (b.lineage.git_commit, b.patch))
    if code.problem is not None:
        raise TrainingError(
            f"the code of both runs cannot be compared: {code.problem}", hint="see `tidemill runs diff`"
        )
    return factors_between(a, b, code.files, each_parameter=each_parameter)


def _fit_all(fits: FittedRecipes, wanted: Mapping[str, Recipe], budget: _Budget, tell: Tell) -> _Done:
    """Fit recipes as long as the budget lasts; those of equal content once."""
    done, seen = _Done(), dict[str, Answers]()
    try:
        done.judged = fits.bring_rows(tell)
        for place, (name, chosen) in enumerate(wanted.items()):
            key = fits.key(chosen)
            known = seen.get(key)
            if known is None and (known := fits.kept(chosen)) is not None:
                done.kept += 1
            if known is None and budget.is_spent(done.made):
                done.stopped = None if budget.refits == 0 else "budget"
                continue
            tell("fit", f"run {name}" if place < 2 else f"with the other {name}", place, len(wanted))
            try:
                if known is None:
                    done.made += 1
                    known = fits.fit(chosen)
            except TrainingError as error:
                if place < 2:
                    raise TrainingError(f"{fits.named(name)}: {error}", hint=error.hint) from error
                done.problems[name] = str(error)
                continue
            done.answers[name] = seen[key] = known
    except KeyboardInterrupt:
        done.made, done.stopped = len(seen) - done.kept, "interrupted"
    return done


def _explanation(
    project: Project,
    sides: tuple[RunSide, RunSide],
    factors: Sequence[Factor],
    judge: RunSide,
    done: _Done,
    needed: int,
) -> Explanation:
    values, total, gains = weigh(project, done.judged, factors, done.answers, done.problems)
    whole = total.gain is not None and all(each.gain is not None for each in gains)
    before, after = (side.lineage.packages for side in sides)
    if any(side.lineage.environment is None for side in sides):  # earlier releases had fewer on record
        before, after = ({name: of[name] for name in before if name in after} for of in (before, after))
    return Explanation(
        metric=project.task.metric,
        runs=(sides[0].run_id, sides[1].run_id),
        judged_by=judge.run_id,
        rows=done.judged.height,
        values=values,
        gains=gains,
        total=total.gain,
        total_interval=total.interval,
        interaction=(total.gain or 0.0) - sum(each.gain or 0.0 for each in gains) if whole else None,
        not_exchanged=[
            f"{name} {before.get(name, 'none')}, then {after.get(name, 'none')}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ],
        fits=done.made,
        kept=done.kept,
        needed=needed,
        stopped=done.stopped,
    )
