"""Fits the model of a record once more, in a process that imports the project's code of that time.

Run as ``python -P -m tidemill.training.reproduction.refitting ROOT REQUEST FOLDER``.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from tidemill.errors import TidemillError
from tidemill.project import load_project
from tidemill.training.candidate_windows import parse_shown
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.final_fit import fit_model
from tidemill.training.fitting.judgement import judge, reference_of
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.fitting.window_choice import rows_of_window
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.origins.environment_capture import environment
from tidemill.training.tracking.training_result import TrainedModel
from tidemill.version import __version__

__all__ = ["ENVIRONMENT", "METRICS", "REFERENCE_AGAIN", "refit"]

ENVIRONMENT = "environment.json"
METRICS = "metrics.json"
REFERENCE_AGAIN = "reference.parquet"


def refit(root: Path, trained: TrainedModel, as_of: datetime, folder: Path) -> None:
    """Fit what was judged, and write its metrics and its reference to ``folder``.

    Args:
        root: the project as it was, with its training set.
        trained: the record. Its family, parameters and rounds are taken from it: nothing is searched.
        as_of: labels that became known later are left out.
        folder: gets `ENVIRONMENT`, `METRICS` and `REFERENCE_AGAIN`.

    Raises:
        TrainingError: it cannot be fitted.
    """
    project = load_project(root)
    rows = read_split(project, trained.features, as_of)
    if trained.window is not None:
        rows = rows_of_window(project, rows, parse_shown(trained.window))
    spec = load_spec(project)
    estimator = fit_model(project, spec, rows, trained.chosen)
    answers = project.task.answers(estimator, as_features(rows.holdout, rows.features))
    reference_of(project, rows, answers).table().write_parquet(folder / REFERENCE_AGAIN)
    metrics = {name: float(value) for name, value in judge(project, rows.holdout, answers).items()}
    (folder / METRICS).write_text(json.dumps(metrics))
    here = environment(root)
    here["packages"]["tidemill"] = __version__  # a rebuilt environment borrows it
    (folder / ENVIRONMENT).write_text(json.dumps(here))


def main() -> None:
    """Do it by the arguments of the command line."""
    root, request, folder = map(Path, sys.argv[1:4])
    wanted = json.loads(request.read_text())
    trained = TrainedModel.from_json(wanted["run_id"], json.dumps(wanted["trained"]))
    try:
        refit(root, trained, datetime.fromisoformat(wanted["as_of"]), folder)
    except TidemillError as error:
        sys.exit(f"{error}" + (f" ({error.hint})" if error.hint else ""))


if __name__ == "__main__":
    main()
