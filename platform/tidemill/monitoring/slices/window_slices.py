"""Judges the slices of a window whose labels are known, beside those of the version's hold-out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from tidemill.data.tables.column_names import literal_names
from tidemill.monitoring.slice_config import SliceDeclaration, SliceQualityConfig
from tidemill.monitoring.slices.slice_quality import JudgedRows, SliceQuality, slice_qualities
from tidemill.monitoring.slices.slice_rows import Slice, declared_slices, unknown_columns
from tidemill.monitoring.slices.slice_search import searched_slices
from tidemill.tasks.task import Task
from tidemill.tasks.task_names import allowed_loss
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["WindowSlices", "judge_slices"]

_LOSS, _SHARE = 0.05, 0.15
_SHOWN = 5


@dataclass(frozen=True)
class WindowSlices:
    """The quality of a window's slices."""

    metric: str
    max_drop: float | None
    """How far the metric in a slice may lie below that in the hold-out's slice."""
    slices: tuple[SliceQuality, ...] = ()
    """The declared ones, then the worst of a search, each the worst first."""
    searched: int = 0
    """How many slices the search tried."""
    few: tuple[str, ...] = ()
    """Declared segments with too few labelled rows to judge."""
    unknown: tuple[str, ...] = ()
    """Features that segments name and that the version does not have."""
    note: str | None = None
    """Why nothing is judged."""
    worst_rows: tuple[int, ...] = ()
    """Places among the labelled rows of those with the greatest losses in the worst slice that decayed."""

    @property
    def decayed(self) -> tuple[SliceQuality, ...]:
        """Return the slices that are worse than they were, the least likely by chance first."""
        return tuple(sorted((one for one in self.slices if one.decayed), key=lambda one: one.p_value))


def judge_slices(
    reference: ReferenceRows,
    labelled: pl.DataFrame,
    features: pl.DataFrame,
    task: Task,
    declared: Sequence[SliceDeclaration],
    config: SliceQualityConfig,
) -> WindowSlices:
    """Judge declared segments, and search for others.

    Args:
        reference: of the version; its held-out rows count.
        labelled: predictions of the version with known labels, as the log has them.
        features: of the same rows.
        task: what is predicted.
        declared: the monitor's segments.
        config: which metric, and when a slice is too bad.
    """
    task = task.judged_by(config.metric)
    made = WindowSlices(task.metric, None)
    if task.kind == "custom":
        return replace(made, note="a custom task has no loss of single rows")
    if reference.held_out is None or reference.held_out_labels is None:
        return replace(made, note="the version's reference has no held-out rows with labels")
    names = [name for name in reference.held_out.columns if name in features.columns]
    before, now = _held_out(reference, names, task), _window(labelled, features, names, task)
    few = [(side, len(rows.truth)) for side, rows in (("hold-out", before), ("window", now))]
    if short := [f"{rows} labelled rows in the {side}" for side, rows in few if rows < 2 * config.min_rows]:
        return replace(made, note=f"{' and '.join(short)}, {2 * config.min_rows} are needed")
    expected = float(task.evaluate(before.truth, before.answers)[task.metric])
    allowed = config.max_drop or allowed_loss(task.metric, _LOSS, _SHARE, expected)
    own = declared_slices(declared, before.features, now.features)
    large = [one for one in own if min(one.before.sum(), one.now.sum()) >= config.min_rows]
    found = slice_qualities(before, now, large, task, allowed, searched=False)
    searched = list[Slice]()
    if config.search:
        losses = before.losses, now.losses
        searched = searched_slices(before.features, now.features, losses, config.min_rows)
        tried = slice_qualities(before, now, searched, task, allowed, searched=True)
        declared_rows = {_rows_within(one) for one in large}
        twice = {one.name for one in searched if _rows_within(one) in declared_rows}
        found += [one for one in tried if one.name not in twice]  # a declared one is judged, and told, once
    made = replace(
        made,
        max_drop=allowed,
        slices=tuple(found),
        searched=len(searched),
        few=tuple(one.name for one in own if one not in large),
        unknown=tuple(unknown_columns(declared, names)),
        note=None if found else "no slice has enough labelled rows",
    )
    return replace(made, worst_rows=_worst_rows(made.decayed, now, large, searched))


def _rows_within(one: Slice) -> tuple[bytes, bytes]:
    return one.before.tobytes(), one.now.tobytes()


def _worst_rows(
    decayed: Sequence[SliceQuality], now: JudgedRows, declared: Sequence[Slice], searched: Sequence[Slice]
) -> tuple[int, ...]:
    if not decayed:
        return ()
    among = searched if decayed[0].searched else declared
    return now.worst(next(one.now for one in among if one.name == decayed[0].name), _SHOWN)


def _held_out(reference: ReferenceRows, names: Sequence[str], task: Task) -> JudgedRows:
    assert reference.held_out is not None
    assert reference.held_out_labels is not None
    truth = task.labels(reference.held_out_labels).values.cast(pl.Float64).to_numpy()
    answers = task.answers_of_log(reference.scores, reference.answers)
    return JudgedRows.of(reference.held_out.select(literal_names(names)), truth, answers, task)


def _window(labelled: pl.DataFrame, features: pl.DataFrame, names: Sequence[str], task: Task) -> JudgedRows:
    answers = task.given_in_log(labelled)
    return JudgedRows.of(features.select(literal_names(names)), task.truth_of_log(labelled), answers, task)
