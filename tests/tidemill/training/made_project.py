"""A project that `init` makes of a table, run through its stages and trained without a search."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl

from tidemill.project import Project, load_project
from tidemill.quickstart import calibration
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import draft_project, write_draft
from tidemill.registry.versions.new_versions import register
from tidemill.stages.ingest import ingest_table
from tidemill.stages.training_set import write_training_set
from tidemill.stages.validate import validate_table
from tidemill.state import open_state
from tidemill.training.fitting.final_fit import finish
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.search.proposals import candidates
from tidemill.training.search.trial_records import TrialRecord
from tidemill.training.search.tuning import SearchResult
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_lineage import Lineage, installed
from tidemill.training.tracking.training_record import log_lineage
from tidemill.training.tracking.training_result import TrainedModel

AS_OF = datetime(2030, 1, 1, tzinfo=UTC)


def make_project(root: Path, table: str, target: str, **options: Any) -> Project:
    """Write a project for a table in a file, and run its stages."""
    here = Path(table)
    with patch.object(calibration, "_BLOCKS", 3):  # pieces of the table, which no test looks at
        draft = draft_project("made", here.name, here.parent, InitOptions(target, **options))
    write_draft(draft, root)
    project = load_project(root)
    for stage in (ingest_table, validate_table, write_training_set):
        stage(project)
    open_state(project.state_url).close()
    return project


def fit(project: Project, features: tuple[str, ...], family: str) -> tuple[TrainedModel, str]:
    """Fit one family with parameters of its space, without a search; return it with its version."""
    spec, client = load_spec(project), mlflow_tracking.connect(project)
    rows = read_split(project, features, AS_OF)
    lineage = Lineage("0" * 40, {}, "", "0", rows.split, AS_OF, installed())
    params = next(one["params"] for one in candidates(spec, 20, seed=0) if one["family"] == family)
    record = TrialRecord(0, family, params, 1, "none")
    with mlflow_tracking.parent_run(
        client, mlflow_tracking.experiment_id(client, project), family, {}
    ) as run_id:
        log_lineage(client, run_id, lineage)
        trained = finish(project, client, spec, rows, run_id, SearchResult(record, 0.8, 1, 1, 0))
    return trained, register(project, run_id)


def crown(project: Project, version: str) -> None:
    """Make a version champion."""
    mlflow_tracking.connect(project).set_registered_model_alias(project.model, "champion", version)


def write_csv(rows: pl.DataFrame, path: Path) -> str:
    """Write a table with lists as JSON arrays."""
    lists = [name for name, kind in rows.schema.items() if isinstance(kind, pl.List)]
    texts = [
        pl.Series(name, [None if one is None else str(one) for one in rows[name].to_list()]) for name in lists
    ]
    rows.with_columns(texts).write_csv(path)
    return str(path)
