"""Fits the model of a recipe, in a process that imports its code, and writes its answers to the judged rows.

Run as ``python -P -m tidemill.training.reproduction.swapped_fit ROOT FOLDER``. No recipe learns from
a judged row, wherever its own split would put it.
"""

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import TidemillError, TrainingError
from tidemill.project import Project, load_project
from tidemill.training.candidate_windows import parse_shown
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.final_fit import fit_model
from tidemill.training.fitting.split_rows import SplitRows, read_split, sample_rows
from tidemill.training.fitting.window_choice import rows_of_window
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.spec_loading import spec_source
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import TrainedModel
from tidemill.training.training_rows import read_labelled

__all__ = ["ANSWERS", "JUDGED", "REQUEST", "fit_and_answer"]

ANSWERS, JUDGED, REQUEST = "answers.npy", "judged.parquet", "request.json"


def fit_and_answer(root: Path, folder: Path) -> None:
    """Fit a model, and write its answers to the judged rows.

    Args:
        root: the code, with its ``params.yaml`` and training set.
        folder: has `REQUEST` and `JUDGED`, and gets `ANSWERS`. The request has the record of the model
            (``trained``: nothing is searched), its moment (``as_of``), and the lineage of the run whose
            hold-out is judged (``judge``).

    Raises:
        TrainingError: it cannot be fitted, or its answers are no numbers.
    """
    wanted = json.loads((folder / REQUEST).read_text())
    trained = TrainedModel.from_json("", json.dumps(wanted["trained"]))
    judge, as_of = Lineage.from_dict(wanted["judge"]), datetime.fromisoformat(wanted["as_of"])
    project = load_project(root)
    rows = _rows(project, trained, as_of, judge)
    source = replace(spec_source(project), families=(trained.family,))  # the settings may be of another one
    estimator = fit_model(project, source.open(project.load), rows, trained.chosen)
    judged = pl.read_parquet(folder / JUDGED)
    answers = project.task.answers(estimator, as_features(judged, trained.features))
    if answers.dtype == object:
        raise TrainingError(
            "answers of a custom task are no numbers: its runs cannot be explained",
            hint="see `tidemill runs diff`",
        )
    np.save(folder / ANSWERS, answers, allow_pickle=False)


def _rows(project: Project, trained: TrainedModel, as_of: datetime, judge: Lineage) -> SplitRows:
    """Return the rows to fit on: those of the project's own split, but for judged ones."""
    features, split = trained.features, judge.split
    if isinstance(split, HashedSplit):
        names = tuple(dict.fromkeys((*features, *split.columns)))
        labelled = read_labelled(project, names, as_of).rows
        fit = labelled.filter(~split.held_out(labelled, None))
        newest, seed = project.config.train.max_rows, project.config.train.seed
        fit = fit if newest is None else sample_rows(fit, newest, seed)
        return SplitRows(features, split, train=fit, validation=fit, fit=fit, holdout=fit, without_label=0)
    rows = read_split(project, features, as_of)
    if trained.window is not None:
        rows = rows_of_window(project, rows, parse_shown(trained.window))
    time = pl.col(literal_name(project.config.dataset.time_column))
    return replace(rows, fit=rows.fit.filter(time < split.holdout.start))


def main() -> None:
    """Do it by the arguments of the command line."""
    try:
        fit_and_answer(*map(Path, sys.argv[1:3]))
    except TidemillError as error:
        sys.exit(f"{error}" + (f" ({error.hint})" if error.hint else ""))


if __name__ == "__main__":
    main()
