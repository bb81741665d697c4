"""Decides whether a training goes on from an earlier model, and finds the rows that are new to it."""

from dataclasses import dataclass, replace

import polars as pl

from tidemill.errors import TrainingError
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.training.fitting.split_rows import SplitRows
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.search_plan import ParentModel, SearchPlan
from tidemill.training.splits import Split, not_learnt

__all__ = ["WarmStart", "begin_warm"]


@dataclass(frozen=True)
class WarmStart:
    """The model that a training goes on from, and the rows that are new to it."""

    parent: ParentModel
    fit: pl.DataFrame
    """Those before the hold-out."""
    known: pl.DataFrame | None
    """All with a label, where the model is fitted once more on them."""

    @property
    def said(self) -> str:
        """What is done, in words."""
        rows = self.fit if self.known is None else self.known
        return f"gone on from version {self.parent.version} with {counted(rows.height, 'new row')}"


def begin_warm(
    project: Project, spec: TrainingSpec, plan: SearchPlan, rows: SplitRows
) -> tuple[SearchPlan, WarmStart | None, str | None]:
    """Return the plan to follow, its warm start, and what became of that in words.

    Where the parent cannot be gone on from fairly, the plan becomes a full search, and the words say why.
    Of a plan that asks for no warm start, both are None.

    Raises:
        TrainingError: the family of the parent cannot go on from an earlier model at all.
    """
    if plan.search != "warm":
        return plan, None, None
    basis = plan.basis_in(spec)
    parent = "there is no champion of a family that the project has" if basis is None else basis.parent
    if basis is not None and isinstance(parent, ParentModel):
        if spec.family(basis.family).go_on is None:
            raise TrainingError(
                f"family {basis.family!r} cannot go on from version {parent.version}: it has no go_on",
                hint="give its Family one, or set recipe.search of the policy to narrow or same",
            )
        start = _start(project, parent, rows)
        if isinstance(start, WarmStart):
            return plan, start, start.said
        parent = start
    return replace(plan, search="full"), None, f"made anew: {parent}"


def _start(project: Project, parent: ParentModel, rows: SplitRows) -> WarmStart | str:
    """Return the warm start, or why it would not be a fair one."""
    whose, split = f"version {parent.version}", parent.split
    if parent.features != rows.features:
        return f"{whose} has other features"
    if not isinstance(split, Split) or not isinstance(rows.split, Split):
        return "rows are not split by time, so which ones are new cannot be told"
    if split.fit.end > rows.split.holdout.start:
        return (
            f"{whose} learnt from rows up to {split.fit.end:%Y-%m-%d %H:%M}, and the hold-out begins on "
            f"{rows.split.holdout.start:%Y-%m-%d %H:%M}"
        )
    dataset = project.config.dataset
    new = not_learnt(rows.fit, split.fit, dataset)
    if (problem := project.task.unlearnable(new[dataset.label])) is not None:
        return f"{counted(new.height, 'row')} before the hold-out are new to {whose}, and {problem}"
    classes = getattr(parent.estimator, "classes_", ())
    if missing := sorted(set(classes) - set(project.task.truth(new, dataset.label).tolist())):
        return f"rows before the hold-out that are new to {whose} lack {counted(len(missing), 'class')}"
    known = None if rows.known is None else not_learnt(rows.known, split.fit, dataset)
    return WarmStart(parent, new, known)
