import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from pipelines.features import VIEWS, write_features
from pipelines.ingest import ingest
from pipelines.stage import write_outputs
from pipelines.training_set import write_training_set
from pipelines.validate import validate_tables
from tests.pipelines.conftest import flights_project
from tidemill.errors import DataError

ROOT = Path(__file__).parents[2]
STAGES = (ingest, validate_tables, write_features, write_training_set)


def run(project):
    for stage in STAGES:
        stage(project)
    return pl.read_parquet(project.dataset_path)


@pytest.fixture(scope="module")
def two_months(tmp_path_factory):
    """The training set of January and February."""
    return run(flights_project(tmp_path_factory.mktemp("months"), last_month="2013-02"))


@pytest.mark.engine
def test_a_month_becomes_a_training_set(make_project):
    project = make_project(last_month="2013-01")
    rows = run(project)
    data = project.root / "data"
    assert rows.columns[:5] == ["carrier", "origin", "dest", "tailnum", "event_timestamp"]
    assert rows.columns[-2:] == ["late", "label_known_at"]
    features = rows.columns[5:-2]
    assert len(features) == 29
    assert set(rows.select(features).dtypes) == {pl.Float64}
    assert set(rows["late"]) == {0, 1}
    assert rows["event_timestamp"].is_sorted()
    assert (rows["label_known_at"] - rows["event_timestamp"]).unique().to_list() == [
        timedelta(days=2, hours=2)
    ]
    assert rows["label_known_at"].max() <= datetime(2013, 2, 1, 5, tzinfo=UTC)
    assert rows.select(features).null_count().sum_horizontal().item() < 0.15 * rows.height * len(features)
    report = json.loads((data / "validation.json").read_text())
    assert report["flights"]["rows"] == 27_004
    rejected = pl.read_parquet(data / "rejected" / "aircraft.parquet")
    assert rejected.height == report["aircraft"]["rejected"] == 39
    assert rejected["reason"].unique().to_list() == ["seats: in_range(15, 900)"]
    for view in VIEWS:
        known = pl.read_parquet(data / "features" / f"{view}.parquet")["event_timestamp"]
        assert known.max() <= datetime(2013, 2, 1, 5, tzinfo=UTC)


@pytest.mark.engine
def test_what_became_known_later_changes_no_earlier_training_row(make_project, two_months):
    moment = datetime(2013, 1, 20, 17, 30, tzinfo=UTC)
    early = run(make_project(last_month="2013-01", as_of=moment.isoformat()))
    assert early["label_known_at"].max() <= moment
    assert early.height > 10_000
    # in the order of the stage: flights of one moment are ordered by airline and number
    assert_frame_equal(two_months.filter(pl.col("label_known_at") <= moment), early, check_exact=True)


@pytest.mark.engine
def test_where_the_training_begins_changes_no_feature(make_project, two_months):
    later = run(make_project(first_month="2013-02", last_month="2013-02"))
    begin = datetime(2013, 2, 1, 5, tzinfo=UTC) - timedelta(hours=2)
    assert later.height > 10_000
    assert_frame_equal(two_months.filter(pl.col("event_timestamp") >= begin), later, check_exact=True)


@pytest.mark.engine
def test_without_a_known_label_there_is_no_training_set(make_project):
    project = make_project(last_month="2013-01", as_of="2013-01-02T12:00:00Z")
    with pytest.raises(DataError, match="no label of the flights") as caught:
        run(project)
    assert "data.as_of" in caught.value.hint
    assert not project.dataset_path.exists()


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_without_its_input_names_it(make_project, stage):
    with pytest.raises(DataError, match=r"parquet cannot be read") as caught:
        stage(make_project())
    assert "dvc repro" in caught.value.hint


def test_outputs_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "taken").write_text("a file where a folder must be")
    sound, broken = tmp_path / "sound.parquet", tmp_path / "taken" / "broken.parquet"
    frame = pl.DataFrame({"a": [1]})
    with pytest.raises(DataError, match=r"broken\.parquet cannot be written"):
        write_outputs({sound: frame, broken: frame})
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    write_outputs({sound: frame})
    assert [file.name for file in tmp_path.iterdir() if file.name != "taken"] == ["sound.parquet"]


def imported_by(module, seen=()):
    """Return the modules of pipelines that running ``module`` needs, itself included."""
    found = {module, *seen}
    for node in ast.walk(ast.parse((ROOT / "pipelines" / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pipelines":
            whole = node.module == "pipelines"
            names = [alias.name for alias in node.names] if whole else [node.module.split(".")[1]]
            for name in set(names) - found:
                found |= imported_by(name, found)
    return found


def test_dvc_knows_every_file_of_a_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage, declared in stages.items():
        code = {dep for dep in declared["deps"] if dep.startswith("pipelines/")}
        assert code == {f"pipelines/{name}.py" for name in imported_by(stage)}, stage
    assert {f"data/features/{view}.parquet" for view in VIEWS} == set(stages["features"]["outs"])


def test_params_are_of_types_that_dvc_can_read():
    def leaves(value):
        for item in value.values() if isinstance(value, dict) else [value]:
            yield from leaves(item) if isinstance(item, dict) else [item]

    odd = [leaf for leaf in leaves(yaml.safe_load((ROOT / "params.yaml").read_text())) if not _plain(leaf)]
    assert odd == [], "write moments in quotation marks"


def _plain(value):
    return value is None or isinstance(value, str | int | float | bool | list)
