"""The registry follows the feature repository, and is left alone where both say the same."""

import polars as pl
import pytest

from tidemill.errors import FeatureError
from tidemill.features.definition_changes import apply_changes
from tidemill.features.feature_store import apply, service_features

pytestmark = pytest.mark.engine


def test_definitions_are_applied_when_they_are_new_or_have_changed(project, define):
    assert not apply_changes(project, first=False)  # a stage may be to apply them
    assert apply_changes(project)
    assert not apply_changes(project)
    assert service_features(project)[-1] == "rain"
    define(('name="rain"', 'name="snow"'), ('["rain"]', '["snow"]'))
    assert apply_changes(project, first=False)
    assert service_features(project)[-1] == "snow"
    assert not apply_changes(project)


def test_types_that_are_left_out_are_inferred_and_not_applied_again(project, define):
    define(
        ('    schema=[Field(name="late_share", dtype=Float64), Field(name="flights", dtype=Int64)],\n', ""),
    )
    registry = project.root / ".tidemill" / "registry.db"
    assert apply_changes(project)
    before = registry.stat().st_mtime_ns
    assert not apply_changes(project)
    assert registry.stat().st_mtime_ns == before
    source = project.root / "data" / "lateness.parquet"
    pl.read_parquet(source, memory_map=False).with_columns(delay=1.5).write_parquet(source)
    assert apply_changes(project)
    assert "delay" in service_features(project)


def test_what_does_not_change_a_meaning_is_not_applied(project):
    apply(project)
    path = project.root / "feature_repo" / "mini_views.py"
    path.write_text("# a comment\n" + path.read_text())
    assert not apply_changes(project)


def test_a_service_that_is_no_longer_defined_is_named(project, define):
    apply(project)
    define(('FeatureService(name="mini"', 'FeatureService(name="maxi"'))
    with pytest.raises(FeatureError, match=r"defines no feature service 'mini' \(there are: maxi"):
        apply_changes(project)
