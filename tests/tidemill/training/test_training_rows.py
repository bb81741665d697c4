"""Which columns of the training set are read."""

from dataclasses import replace

from tests.tidemill.training.small_project import FEATURES, day, make_project
from tidemill.features import personal_fields
from tidemill.project.project_config import ProjectConfig
from tidemill.training.fitting.split_rows import read_split


def test_a_hold_out_keeps_the_columns_by_which_gates_group_rows_unless_they_are_personal(
    tmp_path, monkeypatch
):
    project = make_project(tmp_path)
    assert "carrier" not in read_split(project, FEATURES, day(100)).holdout.columns
    gates = [
        {"check": "groups", "column": "carrier", "floor": 0.1},
        {"check": "slices", "columns": ["hour", "nowhere"], "floor": 0.1},
    ]
    given = ProjectConfig.model_validate({**project.params, "gates": gates})
    asked = replace(project, config=given)
    rows = read_split(asked, FEATURES, day(100))
    assert rows.holdout.columns == ["event_timestamp", "late", "label_known_at", *FEATURES, "carrier"]
    assert rows.features == FEATURES
    monkeypatch.setattr(personal_fields, "declared_columns", lambda project: {"carrier"})
    assert "carrier" not in read_split(asked, FEATURES, day(100)).holdout.columns
