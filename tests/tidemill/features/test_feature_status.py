"""The age of features is told from the record of the views as Feast's own way tells it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.serving.small_project import KNOWN, make_project
from tidemill.features.feature_status import feature_status
from tidemill.features.feature_store import apply, materialise, open_store
from tidemill.features.online.freshness import freshness
from tidemill.features.online.view_freshness import freshness_on_record, marks_of
from tidemill.project import Project, open_folder

pytestmark = pytest.mark.engine

LATER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("status") / "parcels [v2]")


def by_feast(project: Project, at: datetime):
    return freshness(open_store(project), project.feature_service, at, sources=True)


def on_record(project: Project, at: datetime):
    features = project.config.features
    return freshness_on_record(project, (project.root / features.repo).resolve(), features.service, at)


@pytest.mark.parametrize("at", [LATER, KNOWN + timedelta(days=2)])
def test_the_record_of_materialisation_tells_what_feast_tells(project: Project, at: datetime):
    told = by_feast(project, at)
    assert told
    assert on_record(project, at) == told == feature_status(open_folder(project.root), at)


def test_the_record_is_of_the_sources_that_params_yaml_names(project: Project):
    feature_status(open_folder(project.root), LATER)
    repo = (project.root / project.config.features.repo).resolve()
    asked = repo, project.config.features.service, LATER
    assert freshness_on_record(project, *asked, "store") is not None
    assert freshness_on_record(project, *asked, {"weather": "request"}) is None


def test_how_far_a_source_reaches_up_to_an_earlier_moment_is_looked_up(project: Project):
    early = KNOWN - timedelta(days=3650)
    assert on_record(project, early) is None
    assert feature_status(open_folder(project.root), early) == by_feast(project, early)


def source_of(project: Project) -> Path:
    return next((project.root / "data").glob("*.parquet"))


def test_a_source_that_grew_is_looked_into_again(project: Project):
    source = source_of(project)
    rows = pl.read_parquet(source, glob=False)
    day = pl.col("event_timestamp") + pl.duration(days=1)
    pl.concat([rows, rows.with_columns(day)]).write_parquet(source)
    assert on_record(project, LATER) is None
    told = feature_status(open_folder(project.root), LATER)
    assert told[0].source_newest == rows["event_timestamp"].max() + timedelta(days=1)
    assert on_record(project, LATER) == told
    materialise(project, LATER)
    assert on_record(project, LATER) == by_feast(project, LATER) != told


def test_changed_definitions_are_read_again(project: Project):
    file = next((project.root / "feature_repo").glob("*.py"))
    file.write_text(file.read_text() + "\n# as before\n")
    apply(project)
    assert on_record(project, LATER) is None
    feature_status(open_folder(project.root), LATER)
    assert on_record(project, LATER) == by_feast(project, LATER)


def test_a_folder_has_changed_when_a_file_in_it_has(tmp_path: Path):
    (tmp_path / "year=2013").mkdir()
    (tmp_path / "year=2013" / "0.parquet").write_text("a")
    paths = [str(tmp_path), str(tmp_path / "none")]
    before = marks_of(paths)
    assert before == marks_of(before)
    assert before[str(tmp_path / "none")] is None
    (tmp_path / "year=2013" / "1.parquet").write_text("b")
    assert marks_of(paths) != before
