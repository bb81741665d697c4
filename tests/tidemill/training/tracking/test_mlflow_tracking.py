"""What is said of MLflow's store when it does not open."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.tidemill.serving.small_project import PARAMS
from tidemill.errors import TrainingError
from tidemill.project import load_project
from tidemill.training.tracking.mlflow_tracking import connect


def test_a_store_that_is_locked_is_said_to_be_and_by_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    database = tmp_path / "runs.db"
    monkeypatch.setenv("TIDEMILL_TRACKING_URI", f"sqlite:///{database}?timeout=0.01")
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE another (x)")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            TrainingError, match=r"opened: another process locks its database.*time$"
        ) as caught:
            connect(load_project(tmp_path))
    assert caught.value.hint is not None
    assert f"process {os.getpid()} (" in caught.value.hint
