"""Read the training set and split its labelled rows for the search, the final fit and the judgement."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import TrainingError
from tidemill.features.project_features import requested_columns
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, read_columns
from tidemill.project.project_config import DatasetConfig
from tidemill.tasks.target_labels import Labels
from tidemill.tasks.task import Task
from tidemill.training.feature_table import FeatureTable
from tidemill.training.hashed_split import HashedSplit, Sides, split_by_hash
from tidemill.training.search.trial import TrialData
from tidemill.training.splits import Split, known_before, known_too_late, split_by_time
from tidemill.training.training_rows import read_labelled

__all__ = ["SplitRows", "read_split", "sample_rows", "trial_data"]

_SHOWN = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitRows:
    """The labelled rows of each side of the split."""

    features: tuple[str, ...]
    split: Split | HashedSplit
    train: pl.DataFrame
    validation: pl.DataFrame
    fit: pl.DataFrame
    """The rows that the final model is fitted on."""
    holdout: pl.DataFrame
    without_label: int
    """Rows that are in none of them, because their label is null."""
    labelled: int | None = None
    """All rows with a label, before ``train.max_rows`` left any out."""
    wrong_label: int = 0
    """Rows that are in none of them, because the task does not have their label."""
    known: pl.DataFrame | None = None
    """All labelled rows, those held out among them, where the model is fitted once more on them."""

    def sizes(self) -> dict[str, int]:
        """Rows of each."""
        periods = ("train", "validation", "fit", "holdout")
        sizes = {f"rows_{name}": getattr(self, name).height for name in periods}
        left_out = {"rows_without_label": self.without_label, "rows_with_wrong_label": self.wrong_label}
        return {**sizes, **left_out}


def read_split(project: Project, features: tuple[str, ...], as_of: datetime) -> SplitRows:
    """Read the training set and split it as the project's ``split`` section says.

    Raises:
        TrainingError: the file is not what it must be, or a period has too little in it.
        DataError: many labels are not of the task.
    """
    dataset, newest, task = project.config.dataset, project.config.train.max_rows, project.task
    rows, without_label, labels, infinite, with_gaps = read_labelled(project, features, as_of)
    _tell_left_out(task, without_label, labels)
    if infinite:
        _log.warning("infinite values of features count as missing: %s", _by_feature(infinite))
    refused = {name: count for name, count in with_gaps.items() if name in _required(project)}
    if refused:
        _log.warning(
            "lists with gaps inside are learnt from, but requests must bring whole ones, as %s does not say "
            "`required: false` of them: %s",
            COLUMNS_FILE,
            _by_feature(refused),
        )
    split, sides = _sides(project, rows, features, as_of)
    seed = project.config.train.seed
    if newest is not None and isinstance(split, HashedSplit):  # without time no rows are the newest
        train, fit, known = (sample_rows(side, newest, seed) for side in (sides.train, sides.fit, rows))
    else:
        train, fit, known = (side.tail(newest or side.height) for side in (sides.train, sides.fit, rows))
    found = SplitRows(
        features=features,
        split=split,
        train=train,
        validation=sides.validation,
        fit=fit,
        holdout=sides.holdout,
        without_label=without_label,
        labelled=rows.height,
        wrong_label=labels.wrong_rows,
        known=known if project.config.train.refit else None,
    )
    _require_learnable(found, task, dataset, rows)
    return found


def _required(project: Project) -> set[str]:
    """Return the features that requests must bring."""
    if project.config.features.source == "store":
        return set()
    required = {column.name for column in read_columns(project) if column.required}
    if project.config.project.application is None:
        return required
    return required & requested_columns(project)


def _by_feature(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} in {counted(count, 'row')}" for name, count in list(counts.items())[:_SHOWN])
    return f"{shown}, and {len(counts) - _SHOWN} more features" if len(counts) > _SHOWN else shown


def _tell_left_out(task: Task, without_label: int, labels: Labels) -> None:
    if labels.wrong:
        _log.warning(
            "%s of the training set left out, with a label that is not %s: %s",
            counted(labels.wrong_rows, "row"),
            task.meant,
            labels.described(),
        )
    if without_label:
        _log.warning("%s of the training set left out, with null for a label", counted(without_label, "row"))


def _require_learnable(found: SplitRows, task: Task, dataset: DatasetConfig, rows: pl.DataFrame) -> None:
    """Raise an error that names the first side of the split with too little to learn from or to judge by."""
    for name in ("train", "validation", "holdout"):
        of_side = getattr(found, name)[dataset.label]
        problem = task.unlearnable(of_side)
        if problem is None:
            continue
        if isinstance(found.split, HashedSplit):
            raise TrainingError(
                f"of {rows.height:,} labelled rows {of_side.len():,} are for {name}, but {problem}",
                hint="add rows, make split.validation and split.holdout larger, or split stratified",
            )
        if of_side.is_empty() and (late := known_too_late(rows, getattr(found.split, name), name, dataset)):
            raise late
        known = f"{counted(of_side.len(), 'row')} whose label was known in time, but {problem}"
        raise TrainingError(
            f"the {name} period {getattr(found.split, name)} has "
            + (known if of_side.len() else "no row whose label was known in time"),
            hint="train on more months, or change the periods in the split section of params.yaml",
        )


def _sides(
    project: Project, rows: pl.DataFrame, features: tuple[str, ...], as_of: datetime
) -> tuple[Split | HashedSplit, Sides]:
    dataset, config = project.config.dataset, project.config.split
    if config.by != "time":
        label = rows[dataset.label]
        if (problem := project.task.unlearnable(label)) is not None:
            raise TrainingError(
                f"{project.dataset_path}: nothing can be learnt from column {dataset.label}: it has "
                f"{label.n_unique()} value in {rows.height:,} rows, {problem}",
                hint="add rows of other classes or values, or name another column in dataset.label",
            )
        return split_by_hash(rows, features, dataset, config, project.config.train.seed)
    moments = rows[dataset.time_column]
    split = split_by_time(as_of, moments[0], moments[-1], config)
    return split, Sides(
        train=known_before(rows, split.train, dataset),
        validation=known_before(rows, split.validation, dataset),
        fit=known_before(rows, split.fit, dataset),
        holdout=rows.filter(pl.col(literal_name(dataset.time_column)) >= split.holdout.start),
    )


def trial_data(project: Project, rows: SplitRows) -> TrialData:
    """Return the data of the trials: the training rows, or a sample of them, and the validation rows."""
    train, config, task, label = rows.train, project.config.train, project.task, project.config.dataset.label
    if config.search_rows is not None and train.height > config.search_rows:
        train = train.sample(config.search_rows, seed=config.seed)
    return TrialData(
        FeatureTable.of(train, rows.features),
        task.truth(train, label),
        FeatureTable.of(rows.validation, rows.features),
        task.truth(rows.validation, label),
    )


def sample_rows(rows: pl.DataFrame, size: int, seed: int) -> pl.DataFrame:
    """Return at most ``size`` of the rows, the same ones for the same seed."""
    return rows if rows.height <= size else rows.sample(size, seed=seed)
